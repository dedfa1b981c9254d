"""What the runbook's scripts call to measure. Plain programs: no Django, no database; they need only `litert-lm-api`."""
