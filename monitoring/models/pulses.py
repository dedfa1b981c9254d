"""Signs of life of HawkOps' own processes."""

from django.db import models


class Pulse(models.Model):
    """When a part of a process last did its work, as that process says. One row for each part and host."""

    part = models.CharField(max_length=40)
    host = models.CharField(max_length=80)
    # when it last did what it is for: heard a notification, ended a round, took a message
    at = models.DateTimeField(null=True)
    # when the process wrote this, by the database's clock
    seen_at = models.DateTimeField()
    # how long what it did last had waited
    lag_seconds = models.FloatField(null=True)
    # the process's clock less the database's
    skew_seconds = models.FloatField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["part", "host"], name="monitoring_pulse_once")]

    def __str__(self) -> str:
        return f"{self.part} on {self.host}"
