"""Incidents with their causes, roles, notes, tasks, reviews and links for people outside."""

from datetime import timedelta

from django.conf import settings
from django.db import models

from hawkops.core.environments import Environment
from incidents.domain.incidents import OPEN_STATES, RoleName, State
from monitoring.domain.criteria import Severity

OPEN = [one.value for one in OPEN_STATES]


class Incident(models.Model):
    """One incident. Never deleted; what happened in it is in the history."""

    environment = models.CharField(max_length=20, choices=[(one.value, one.value) for one in Environment])
    title = models.CharField(max_length=200)
    severity = models.CharField(max_length=10, choices=[(one.value, one.value) for one in Severity])
    state = models.CharField(max_length=12, choices=[(one.value, one.value) for one in State])
    # what joins it by itself (`alerts:litert:gpu`); empty for one that a person opened
    kind = models.CharField(max_length=220, blank=True)
    simulated = models.BooleanField(default=False)
    opened_by = models.CharField(max_length=150)
    # began: when what caused it was first measured; opened: when it became an incident
    began_at = models.DateTimeField()
    opened_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=150, blank=True)
    mitigated_at = models.DateTimeField(null=True)
    resolved_at = models.DateTimeField(null=True)
    reviewed_at = models.DateTimeField(null=True)
    # from when to when it counted as critical; it holds a validation's clock so long
    critical_from = models.DateTimeField(null=True)
    critical_until = models.DateTimeField(null=True)
    merged_into = models.ForeignKey("self", models.PROTECT, null=True, related_name="merged")
    releases = models.ManyToManyField("rollout.Release", related_name="+")
    # who was on call when it became critical and nobody commanded it
    proposed = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    proposed_at = models.DateTimeField(null=True)
    # the first kill in it, and when which share of the devices obeyed that
    killed_entry = models.BigIntegerField(null=True)
    killed_at = models.DateTimeField(null=True)
    kill_revision = models.BigIntegerField(null=True)
    obeyed = models.JSONField(default=dict)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            # two workers can't open two for one cause
            models.UniqueConstraint(
                fields=["environment", "kind"],
                condition=models.Q(state__in=OPEN) & ~models.Q(kind=""),
                name="incidents_one_open_of_a_kind",
            )
        ]
        indexes = [
            # the strip, the list, and whatever asks for those that stand
            models.Index(fields=["environment", "-opened_at"], name="incidents_incident_opened"),
            # which critical ones held a validation's clock
            models.Index(
                fields=["environment", "critical_from"],
                condition=models.Q(critical_from__isnull=False),
                name="incidents_incident_critical",
            ),
        ]

    def __str__(self) -> str:
        return f"Incident {self.pk}: {self.title}"

    @property
    def subject(self) -> str:
        """What the history calls it."""
        return f"incident:{self.pk}"

    @property
    def is_open(self) -> bool:
        """Whether it still stands."""
        return self.state in OPEN

    @property
    def lasted(self) -> timedelta | None:
        """How long it stood; None while it does."""
        return self.resolved_at - self.opened_at if self.resolved_at else None

    def document(self) -> dict[str, object]:
        """Return it as the history keeps it."""
        return {
            "title": self.title,
            "state": self.state,
            "severity": self.severity,
            "kind": self.kind,
            **({"simulated": True} if self.simulated else {}),
            **({"merged_into": self.merged_into_id} if self.merged_into_id else {}),
        }


class IncidentCause(models.Model):
    """An alert or a guardrail that opened an incident or joined it."""

    incident = models.ForeignKey(Incident, models.PROTECT, related_name="causes")
    subject = models.CharField(max_length=200)
    title = models.CharField(max_length=200)
    joined_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["incident", "subject"], name="incidents_cause_once")]

    def __str__(self) -> str:
        return self.subject

    @property
    def alert_id(self) -> int | None:
        """The alert that it is; None for a guardrail."""
        noun, _, number = self.subject.partition(":")
        return int(number) if noun == "alert" and number.isdecimal() else None


class IncidentRole(models.Model):
    """Who does what during an incident; each role is one person's."""

    incident = models.ForeignKey(Incident, models.PROTECT, related_name="roles")
    role = models.CharField(max_length=20, choices=[(one.value, one.value) for one in RoleName])
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["incident", "role"], name="incidents_role_once")]

    def __str__(self) -> str:
        return self.role


class IncidentNote(models.Model):
    """What somebody wrote into the timeline; public notes stand on the page for people outside."""

    incident = models.ForeignKey(Incident, models.PROTECT, related_name="notes")
    text = models.TextField()
    public = models.BooleanField(default=False)
    by = models.CharField(max_length=150)
    at = models.DateTimeField()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.text[:60]


class IncidentTask(models.Model):
    """Something to do. An action item of the review holds the next phase back until it is done."""

    incident = models.ForeignKey(Incident, models.PROTECT, related_name="tasks")
    title = models.CharField(max_length=200)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    blocks = models.BooleanField(default=False)
    made_at = models.DateTimeField()
    done_at = models.DateTimeField(null=True)
    done_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.title


class IncidentReview(models.Model):
    """The review. `facts` is the draft: times, timeline and charts as they were when it was made."""

    incident = models.OneToOneField(Incident, models.PROTECT, related_name="review")
    facts = models.JSONField()
    summary = models.TextField(blank=True)
    causes = models.TextField(blank=True)
    lessons = models.TextField(blank=True)
    drafted_at = models.DateTimeField()
    drafted_by = models.CharField(max_length=150)
    # grows with each change, so that two who write at once don't undo each other
    edition = models.PositiveIntegerField(default=1)

    def __str__(self) -> str:
        return f"Review of {self.incident}"


class IncidentLink(models.Model):
    """A link to the page for people outside. Only its hash is kept."""

    incident = models.ForeignKey(Incident, models.PROTECT, related_name="links")
    token_hash = models.CharField(max_length=64, unique=True)
    made_at = models.DateTimeField()
    made_by = models.CharField(max_length=150)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"Link to {self.incident}"


class Follow(models.Model):
    """How far the history has been read for incidents. One row, locked while one reads."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="incidents_one_follow")]

    def __str__(self) -> str:
        return str(self.seq)
