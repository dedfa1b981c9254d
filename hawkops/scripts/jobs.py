"""Names of the scripts' jobs."""

from hawkops.core.jobs import Job

RUN = Job("scripts.run", "scripts")
