"""Results of health checks."""

from django.db import models

from hawkops.core.verdicts import Verdict


class HealthResult(models.Model):
    """One run of a check. The row is the claim: whoever inserts it runs it."""

    check_key = models.CharField(max_length=40)
    environment = models.CharField(max_length=20, blank=True)
    due_at = models.DateTimeField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    verdict = models.CharField(max_length=12, blank=True, choices=[(one.value, one.value) for one in Verdict])
    sentence = models.TextField(blank=True)

    class Meta:
        constraints = [
            # two workers never run the same one twice; also finds a check's newest results
            models.UniqueConstraint(fields=["check_key", "environment", "due_at"], name="monitoring_health_once")
        ]
        indexes = [models.Index(fields=["due_at"], name="monitoring_health_age")]

    def __str__(self) -> str:
        return f"{self.check_key} {self.environment} {self.due_at:%H:%M:%S}"
