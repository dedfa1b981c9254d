"""Work of incidents, by name; tasks bind it."""

from hawkops.core.jobs import Job

NOTIFICATIONS_DUE = Job("incidents.notifications_due", "critical")
