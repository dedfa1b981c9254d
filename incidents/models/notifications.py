"""Channels, what is told where, and the outbox: a row for each message to each channel, with a receipt of each attempt."""

from datetime import timedelta

from django.conf import settings
from django.db import models

from hawkops.core.environments import Environment
from hawkops.core.sealing import SealedField
from incidents.domain.message import Action, Message
from incidents.domain.retrying import Outcome, State
from incidents.domain.routing import Route as Row
from incidents.domain.routing import Topic
from monitoring.domain.criteria import Severity

ENVIRONMENTS = [(one.value, one.value) for one in Environment]
SEVERITIES = [(one.value, one.value) for one in Severity]
TOPICS = [(one.value, one.value) for one in Topic]


class Kind(models.TextChoices):
    """How a channel is reached."""

    SLACK = "slack", "Slack"
    PAGERDUTY = "pagerduty", "PagerDuty"
    EMAIL = "email", "E-mail"
    WEBHOOK = "webhook", "Webhook"
    APPRISE = "apprise", "Apprise"


class Channel(models.Model):
    """Where messages of one environment go: a team's, or one person's own. Never deleted: its deliveries stay."""

    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    # `hint` is what may be shown of the address
    address = SealedField()
    hint = models.CharField(max_length=200)
    # what webhooks are signed with, ours or PagerDuty's
    signing_secret = SealedField(blank=True)
    topics = models.JSONField(default=list)
    severities = models.JSONField(default=list)
    paused = models.BooleanField(default=False)
    # it asked to be left alone so long
    resting_until = models.DateTimeField(null=True)
    # when a test first reached its present address
    verified_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField()
    archived_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["environment", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "name"],
                condition=models.Q(archived_at=None),
                name="incidents_channel_name_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.name}"

    @property
    def kept_as(self) -> str:
        """What the history calls it: the name of somebody's own channel is theirs to be forgotten."""
        return self.name if self.person_id is None else f"channel {self.pk}"

    @property
    def takes(self) -> str:
        """What it takes, in words."""
        topics = "every topic" if len(self.topics) == len(Topic) else ", ".join(self.topics)
        every = len(self.severities) == len(Severity)
        return f"{topics}; {'every severity' if every else ', '.join(self.severities)}"


class Route(models.Model):
    """One row of what is told where; the first that matches counts."""

    position = models.PositiveIntegerField()
    verb = models.CharField(max_length=60)
    about = models.CharField(max_length=120, default="*")
    of_severity = models.CharField(max_length=10, blank=True, choices=SEVERITIES)
    topic = models.CharField(max_length=20, blank=True, choices=TOPICS)
    severity = models.CharField(max_length=10, blank=True, choices=SEVERITIES)

    class Meta:
        ordering = ["position", "pk"]

    def __str__(self) -> str:
        return f"{self.position} {self.verb} {self.topic}"

    def domain(self) -> Row:
        """The row as routing sees it."""
        return Row(
            verb=self.verb,
            about=self.about,
            of_severity=Severity(self.of_severity) if self.of_severity else None,
            topic=Topic(self.topic) if self.topic else None,
            severity=Severity(self.severity) if self.severity else None,
        )


class Dispatch(models.Model):
    """How far the history has been read: everything up to `seq` has its deliveries. One row, locked while one reads."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)
    at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="incidents_one_dispatch")]

    def __str__(self) -> str:
        return str(self.seq)


class Delivery(models.Model):
    """One message to one channel. `key` is the same at every attempt, so that who hears it twice can tell."""

    channel = models.ForeignKey(Channel, models.PROTECT, related_name="deliveries")
    # the first entry of the history that it tells of; None for a test
    entry = models.BigIntegerField(null=True)
    key = models.CharField(max_length=40, unique=True)
    thread = models.CharField(max_length=400)
    action = models.CharField(max_length=12, choices=[(one.value, one.value) for one in Action])
    severity = models.CharField(max_length=10, choices=SEVERITIES)
    topic = models.CharField(max_length=20, blank=True, choices=TOPICS)
    title = models.CharField(max_length=300)
    message = models.JSONField()
    state = models.CharField(
        max_length=10, choices=[(one.value, one.value) for one in State], default=State.PENDING.value
    )
    attempts = models.PositiveIntegerField(default=0)
    happened_at = models.DateTimeField()
    made_at = models.DateTimeField()
    next_at = models.DateTimeField()
    # who sends it now, and how long he may take
    lease = models.CharField(max_length=32, blank=True)
    leased_until = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            # however often the history is read, a channel is told once
            models.UniqueConstraint(
                fields=["channel", "entry", "thread", "action"],
                condition=models.Q(entry__isnull=False),
                name="incidents_delivery_once",
            )
        ]
        indexes = [
            # what is due, oldest first in each channel
            models.Index(fields=["channel", "id"], name="incidents_delivery_due", condition=models.Q(state="pending")),
            # what was told of a thread last
            models.Index(fields=["channel", "thread", "-id"], name="incidents_delivery_thread"),
            # the page's newest
            models.Index(fields=["-made_at"], name="incidents_delivery_made"),
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.title}"

    @property
    def told(self) -> Message:
        """What is said."""
        return Message.of(self.message)

    @property
    def delay(self) -> timedelta | None:
        """How long after it happened it was accepted; None before."""
        return self.done_at - self.happened_at if self.done_at and self.state == State.SENT else None

    @property
    def troubled(self) -> bool:
        """Whether it was refused, given up, or is tried again."""
        return self.state in (State.FAILED, State.GIVEN_UP) or (self.state == State.PENDING and self.attempts > 0)


class Receipt(models.Model):
    """What one attempt came to: the answer of the other side, or why there is none."""

    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="receipts")
    number = models.PositiveIntegerField()
    at = models.DateTimeField()
    seconds = models.FloatField(null=True)
    outcome = models.CharField(max_length=10, choices=[(one.value, one.value) for one in Outcome])
    # an HTTP or SMTP status; None without an answer
    status = models.IntegerField(null=True)
    answer = models.TextField(blank=True)

    class Meta:
        ordering = ["delivery", "number"]
        constraints = [models.UniqueConstraint(fields=["delivery", "number"], name="incidents_receipt_once")]

    def __str__(self) -> str:
        return f"{self.delivery_id} {self.number} {self.outcome}"


class HeardEvent(models.Model):
    """An event that PagerDuty told, so that the same one told again does nothing."""

    event_id = models.CharField(max_length=80, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return self.event_id
