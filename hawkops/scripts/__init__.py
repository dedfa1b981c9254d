"""The runbook's scripts: what there is, running them by Celery, and what they said. `bin/` mirrors the runbook's paths."""
