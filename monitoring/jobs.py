"""Monitoring's jobs by name."""

from hawkops.core.jobs import Job

HEALTH_RUN = Job("monitoring.health_run", "health")
