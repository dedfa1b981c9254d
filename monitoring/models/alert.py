"""Alerts, one row for each episode; silences; and when each environment was looked at last."""

from django.db import models

from monitoring.domain import alerting
from monitoring.domain.alerting import Action, Kind, State
from monitoring.domain.criteria import Severity

SEVERITIES = [(one.value, one.value) for one in Severity]


class Silence(models.Model):
    """Alerts that nobody wants to hear for a while: with an owner, a reason and an end. Empty matchers match all."""

    environment = models.CharField(max_length=20)
    pattern = models.CharField(max_length=120, blank=True)
    severity = models.CharField(max_length=10, blank=True, choices=SEVERITIES)
    # of Alertmanager's alerts, whose keys say nothing to people
    alertname = models.CharField(max_length=120, blank=True)
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
        return f"{self.environment} {self.says}"

    @property
    def says(self) -> str:
        """What it hides, in words."""
        parts = [self.pattern, f"severity {self.severity}" * bool(self.severity)]
        return ", ".join(filter(None, [*parts, f"alertname {self.alertname}" * bool(self.alertname)]))

    def hides(self, alert: "Alert") -> bool:
        """Whether it hides an alert."""
        return self.names(alert.name, severity=alert.severity, alertname=alert.alertname)

    def names(self, name: str, *, severity: str, alertname: str = "") -> bool:
        """Whether it hides an alert that is called so."""
        return alerting.hides(
            pattern=self.pattern,
            of_severity=self.severity,
            of_alertname=self.alertname,
            name=name,
            severity=severity,
            alertname=alertname,
        )


class Alert(models.Model):
    """One episode of one alert: from its first bad reading until it is well again."""

    environment = models.CharField(max_length=20)
    source = models.CharField(max_length=20)
    key = models.CharField(max_length=120)
    kind = models.CharField(max_length=10, choices=[(kind.value, kind.value) for kind in Kind])
    group = models.CharField(max_length=200, blank=True)
    title = models.CharField(max_length=200)
    metric = models.CharField(max_length=80, blank=True)
    severity = models.CharField(max_length=10, choices=SEVERITIES)
    action = models.CharField(max_length=20, blank=True, choices=[(one.value, one.label) for one in Action])
    state = models.CharField(max_length=12, choices=[(state.value, state.value) for state in State])
    sentence = models.TextField(blank=True)
    labels = models.JSONField(default=dict)
    # addresses by what stands there: the graph, the runbook
    links = models.JSONField(default=dict)
    # since: the first bad look; data_at: when that data was measured; fired_at: when it was told
    since_at = models.DateTimeField()
    data_at = models.DateTimeField(null=True)
    bad_at = models.DateTimeField()
    # the first of the good looks that came without a break
    well_at = models.DateTimeField(null=True)
    fired_at = models.DateTimeField(null=True)
    resolved_at = models.DateTimeField(null=True)
    closed_by = models.CharField(max_length=120, blank=True)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=120, blank=True)
    acknowledged_until = models.DateTimeField(null=True)
    # as the last evaluation found it; a change of either is a move
    inhibited_by = models.CharField(max_length=200, blank=True)
    silence = models.ForeignKey(Silence, models.SET_NULL, null=True, related_name="+")
    simulated = models.BooleanField(default=False)
    # the newest entry of the history about it: the cause of whatever it leads to
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
            # what people ended, so that the same data doesn't open it again
            models.Index(
                fields=["environment", "-resolved_at"],
                name="monitoring_alert_closed",
                condition=~models.Q(closed_by=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.key} {self.state}"

    @property
    def name(self) -> str:
        """What a silence calls it."""
        return alerting.name_of(self.source, self.key, self.kind)

    @property
    def alertname(self) -> str:
        """What Alertmanager calls it; empty for every other alert."""
        return str(self.labels.get("alertname", ""))

    @property
    def is_open(self) -> bool:
        """Whether it stands."""
        return self.resolved_at is None

    @property
    def told(self) -> bool:
        """Whether somebody was told: it fires or is acknowledged."""
        return self.state in (State.FIRING, State.ACKNOWLEDGED)

    @property
    def hushed(self) -> bool:
        """Whether something greater explains it, or somebody silenced it."""
        return bool(self.inhibited_by) or self.silence_id is not None

    @property
    def loud(self) -> bool:
        """Whether somebody must act: it fires and is not hushed, as the last evaluation found it."""
        return self.state == State.FIRING and not self.hushed

    @property
    def pattern_key(self) -> str:
        """The log pattern it is about; empty for every other alert."""
        return self.key.removeprefix("pattern-") if self.source == "pattern" else ""

    @property
    def action_label(self) -> str:
        """What the runbook wants done, in its words; empty without an action."""
        return Action(self.action).label if self.action else ""

    @property
    def detection_seconds(self) -> float | None:
        """How long after the newest data of its first bad look it was told; None before."""
        if self.fired_at is None or self.data_at is None:
            return None
        return max(0.0, (self.fired_at - self.data_at).total_seconds())


class Evaluation(models.Model):
    """The looks at one environment: the last one that came to its end, and what failed since."""

    environment = models.CharField(max_length=20, primary_key=True)
    began_at = models.DateTimeField()
    looked_at = models.DateTimeField(null=True)
    seconds = models.FloatField(null=True)
    failed_at = models.DateTimeField(null=True)
    failures = models.IntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)

    def __str__(self) -> str:
        return f"{self.environment} {self.looked_at}"
