"""The runbook as data, and its loader. Bad data is refused with the place it stands at."""
