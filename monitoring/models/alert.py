"""Alerts, one row for each episode, and silences."""

from django.db import models

from monitoring.domain.alerting import Kind, State
from monitoring.domain.criteria import Severity


class Alert(models.Model):
    """One episode of one alert: from its first bad reading until it is well again."""

    environment = models.CharField(max_length=20)
    source = models.CharField(max_length=20)
    key = models.CharField(max_length=120)
    kind = models.CharField(max_length=10, choices=[(kind.value, kind.value) for kind in Kind])
    title = models.CharField(max_length=200)
    metric = models.CharField(max_length=80, blank=True)
    severity = models.CharField(max_length=10, choices=[(one.value, one.value) for one in Severity])
    state = models.CharField(max_length=12, choices=[(state.value, state.value) for state in State])
    sentence = models.TextField(blank=True)
    labels = models.JSONField(default=dict)
    # since: the first bad look; data_at: when that data was measured; fired_at: when it was told
    since_at = models.DateTimeField()
    data_at = models.DateTimeField(null=True)
    bad_at = models.DateTimeField()
    fired_at = models.DateTimeField(null=True)
    resolved_at = models.DateTimeField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=120, blank=True)
    acknowledged_until = models.DateTimeField(null=True)
    inhibited_by = models.CharField(max_length=200, blank=True)
    simulated = models.BooleanField(default=False)
    entry = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            # two evaluators can't open the same episode twice
            models.UniqueConstraint(
                fields=["environment", "source", "key", "kind"],
                condition=models.Q(resolved_at=None),
                name="monitoring_alert_once",
            )
        ]
        indexes = [
            # what stands open, and what happened lately
            models.Index(fields=["environment", "-since_at"], name="monitoring_alert_since"),
            # how often one fired
            models.Index(fields=["environment", "key", "-fired_at"], name="monitoring_alert_fired"),
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.key} {self.state}"

    @property
    def is_open(self) -> bool:
        """Whether it stands."""
        return self.resolved_at is None

    @property
    def told(self) -> bool:
        """Whether somebody must know: it fires or is acknowledged, and nothing greater explains it."""
        return self.state in (State.FIRING, State.ACKNOWLEDGED) and not self.inhibited_by

    @property
    def pattern_key(self) -> str:
        """The log pattern it is about; empty for every other alert."""
        return self.key.removeprefix("pattern-") if self.source == "pattern" else ""

    @property
    def detection_seconds(self) -> float | None:
        """How long after the data was measured it was told; None before."""
        if self.fired_at is None or self.data_at is None:
            return None
        return max(0.0, (self.fired_at - self.data_at).total_seconds())


class Silence(models.Model):
    """Alerts that nobody wants to hear for a while: with an owner, a reason and an end."""

    environment = models.CharField(max_length=20)
    pattern = models.CharField(max_length=120)
    owner = models.CharField(max_length=120)
    reason = models.CharField(max_length=300)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()

    class Meta:
        ordering = ["-ends_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__gte=models.F("starts_at")), name="monitoring_silence_ends"
            )
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.pattern}"
