"""What each device was told and obeys. Gateways write batches; the greatest revision wins, whichever process wrote it."""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class CensusDevice(models.Model):
    """One device (an app installation) in one environment."""

    environment = models.CharField(max_length=20)
    device_id = models.CharField(max_length=200)
    device_class = models.CharField(max_length=80, blank=True)
    simulated = models.BooleanField(default=False)
    # what it said of itself, of the attributes that rules know
    attributes = models.JSONField(default=dict)
    told_revision = models.BigIntegerField(default=0)
    obeyed_revision = models.BigIntegerField(default=0)
    obeyed_at = models.DateTimeField(null=True)
    served_on = ArrayField(models.CharField(max_length=80), default=list)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "device_id"], name="rollout_census_once")]
        indexes = [
            # the census: active devices of one environment
            models.Index(fields=["environment", "-last_seen_at"], name="rollout_census_active"),
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.device_id}"
