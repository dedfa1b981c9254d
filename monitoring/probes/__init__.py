"""The runbook's scripts that judge telemetry: criteria become lines. Registered with `manage.py probe`, called by bin/."""
