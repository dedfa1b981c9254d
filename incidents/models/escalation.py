"""Escalations under way with the copy of their policy, their steps at stored times, and what proves each of them."""

from django.db import models

from hawkops.core.environments import Environment
from incidents.domain.escalation import State, StepState, Target
from incidents.domain.retrying import Outcome
from incidents.models.notifications import Delivery
from monitoring.domain.criteria import Severity

ENVIRONMENTS = [(one.value, one.value) for one in Environment]
SEVERITIES = [(one.value, one.value) for one in Severity]


class EscalationPolicy(models.Model):
    """One row of the matrix; it counts in every environment for what begins from now on."""

    severity = models.CharField(max_length=10, primary_key=True, choices=SEVERITIES)
    document = models.JSONField()

    def __str__(self) -> str:
        return self.severity


class EscalationReading(models.Model):
    """How far the history has been read for escalations. One row, locked while one reads."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)
    at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="incidents_one_reading")]

    def __str__(self) -> str:
        return str(self.seq)


class Escalation(models.Model):
    """Somebody must have a subject: an alert group, an incident, the daily check. Never deleted."""

    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    kind = models.CharField(max_length=20)
    # `alerts:litert:gpu`, `incident:5`
    key = models.CharField(max_length=220)
    # what it took over, as the incident of an alert group does
    covers = models.JSONField(default=list)
    severity = models.CharField(max_length=10, choices=SEVERITIES)
    title = models.CharField(max_length=200)
    simulated = models.BooleanField(default=False)
    # the copy of the policy that it follows
    policy = models.JSONField()
    state = models.CharField(max_length=14, choices=[(one.value, one.value) for one in State])
    began_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=150, blank=True)
    # when the acknowledgement runs out; None: it does not
    acknowledged_until = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=200, blank=True)
    # the entry of the history that began it
    entry = models.BigIntegerField(null=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "key"],
                condition=~models.Q(state=State.ENDED.value),
                name="incidents_escalation_once",
            )
        ]
        indexes = [
            # the page's newest
            models.Index(fields=["environment", "-began_at"], name="incidents_escalation_began"),
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.key} {self.state}"

    @property
    def subject(self) -> str:
        """What the history calls it."""
        return f"escalation:{self.pk}"

    @property
    def thread(self) -> str:
        """The thread that its messages share with what is told of its subject."""
        return f"hawkops:{self.environment}:{self.key}"

    @property
    def is_open(self) -> bool:
        """Whether it goes on, or would when an acknowledgement runs out."""
        return self.state != State.ENDED


class EscalationStep(models.Model):
    """One step at its time."""

    escalation = models.ForeignKey(Escalation, models.PROTECT, related_name="steps")
    # from 1 through all rounds
    number = models.PositiveIntegerField()
    target = models.CharField(max_length=24, choices=[(one.value, one.label) for one in Target])
    says = models.CharField(max_length=200, blank=True)
    business = models.BooleanField(default=False)
    after_seconds = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField()
    state = models.CharField(
        max_length=10, choices=[(one.value, one.value) for one in StepState], default=StepState.WAITING.value
    )
    ran_at = models.DateTimeField(null=True)
    # whom it told, in words
    who = models.CharField(max_length=200, blank=True)
    note = models.CharField(max_length=300, blank=True)
    # when the auditor, or whoever ran it, found that it was late
    late_at = models.DateTimeField(null=True)
    # it was gone from this table, and the auditor put it back
    restored_at = models.DateTimeField(null=True)
    # when the second path took it over
    second_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["escalation", "number"]
        constraints = [models.UniqueConstraint(fields=["escalation", "number"], name="incidents_step_once")]
        indexes = [
            # what is due
            models.Index(fields=["due_at"], name="incidents_step_due", condition=models.Q(state="waiting")),
            # what is late
            models.Index(
                fields=["late_at"], name="incidents_step_late", condition=models.Q(late_at__isnull=False)
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.escalation_id} {self.number} {self.state}"

    @property
    def target_label(self) -> str:
        """Whom it tells, in words."""
        return Target(self.target).label


class StepDelivery(models.Model):
    """A message of a step in the outbox; its receipts are the step's proof."""

    step = models.ForeignKey(EscalationStep, models.PROTECT, related_name="pages")
    delivery = models.OneToOneField(Delivery, models.CASCADE, related_name="+")

    def __str__(self) -> str:
        return f"{self.step_id} {self.delivery_id}"


class SecondPage(models.Model):
    """What the second path sent for a late step, and what came back."""

    step = models.ForeignKey(EscalationStep, models.PROTECT, related_name="second_pages")
    # mail or webhook
    way = models.CharField(max_length=10)
    at = models.DateTimeField()
    outcome = models.CharField(max_length=10, choices=[(one.value, one.value) for one in Outcome])
    status = models.IntegerField(null=True)
    answer = models.TextField(blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.step_id} {self.way} {self.outcome}"


class SecondPath(models.Model):
    """When the second path last looked, and how it would page. One row."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    seen_at = models.DateTimeField(null=True)
    ways = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="incidents_one_second_path")]

    def __str__(self) -> str:
        return str(self.seen_at)


class VitalAlert(models.Model):
    """A sign of HawkOps' own life that is not as it should be: since when, and whether somebody was told."""

    key = models.CharField(max_length=60, primary_key=True)
    title = models.CharField(max_length=120)
    sentence = models.TextField()
    failing_since = models.DateTimeField()
    # when it was told; an alert that was never told ends silently
    told_at = models.DateTimeField(null=True)
    # since when it is well again, while that is too short to be believed
    well_since = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.key} since {self.failing_since}"
