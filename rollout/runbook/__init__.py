"""The runbook as data: one YAML file a version, in our own words, its facts and numbers carried over; and its loader."""
