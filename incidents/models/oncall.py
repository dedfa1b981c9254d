"""Who is on call, how people are reached, business hours, and links under which calendars read the rotation."""

from django.conf import settings
from django.db import models

from hawkops.core.environments import Environment
from incidents.domain.calendar import Calendar as Hours
from incidents.domain.calendar import holidays_of
from incidents.domain.contacts import ContactRole
from incidents.domain.rotation import Override as Taken
from incidents.domain.rotation import Rotation as Turns
from incidents.domain.rotation import SwapState

ENVIRONMENTS = [(one.value, one.value) for one in Environment]


class Rotation(models.Model):
    """An environment's people who take turns. The first of `people` has the shift that begins on `begins_on`."""

    environment = models.CharField(max_length=20, primary_key=True, choices=ENVIRONMENTS)
    # ids of people, in order
    people = models.JSONField(default=list)
    begins_on = models.DateField()
    handover = models.TimeField()
    length_days = models.PositiveSmallIntegerField(default=7)
    zone = models.CharField(max_length=60, default="UTC")
    # grows with each change, so that a form made from an older one is refused
    revision = models.PositiveIntegerField(default=1)

    def __str__(self) -> str:
        return f"{self.environment}: {len(self.people)} people, {self.length_days} days"

    def domain(self) -> Turns:
        """The rotation as arithmetic sees it."""
        return Turns(tuple(self.people), self.begins_on, self.handover, self.length_days, self.zone)


class OnCallOverride(models.Model):
    """Somebody takes a time, whoever's turn it is; of two that overlap the newer counts."""

    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.CharField(max_length=300, blank=True)
    made_by = models.CharField(max_length=150)
    made_at = models.DateTimeField()
    cancelled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["starts_at", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")), name="incidents_override_has_length"
            )
        ]
        indexes = [
            # what counts in a schedule
            models.Index(
                fields=["environment", "ends_at"],
                name="incidents_override_ends",
                condition=models.Q(cancelled_at=None),
            )
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.person_id} {self.starts_at:%Y-%m-%d %H:%M}"

    def domain(self) -> Taken:
        """The override as arithmetic sees it."""
        return Taken(self.person_id, self.starts_at, self.ends_at, self.pk)


class Swap(models.Model):
    """One asks another to take a time; in return for a time of the other's, or for nothing."""

    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    proposer = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    other = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    given_from = models.DateTimeField()
    given_until = models.DateTimeField()
    taken_from = models.DateTimeField(null=True)
    taken_until = models.DateTimeField(null=True)
    reason = models.CharField(max_length=300, blank=True)
    state = models.CharField(
        max_length=10, choices=[(one.value, one.value) for one in SwapState], default=SwapState.PROPOSED.value
    )
    made_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.environment} {self.proposer_id} → {self.other_id} {self.state}"


class Contact(models.Model):
    """One row of the runbook's contact table; it counts in every environment."""

    role = models.CharField(
        max_length=24, primary_key=True, choices=[(one.value, one.label) for one in ContactRole]
    )  # fmt: skip
    primary = models.CharField(max_length=120, blank=True)
    secondary = models.CharField(max_length=120, blank=True)
    emergency = models.CharField(max_length=120, blank=True)
    # whose own channels are told; empty for the on-call engineer, who is whoever has the shift
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")

    def __str__(self) -> str:
        return self.role

    @property
    def label(self) -> str:
        """The role in the runbook's words."""
        return ContactRole(self.role).label

    @property
    def ways(self) -> list[str]:
        """What is written in the row, in its order."""
        return [way for way in (self.primary, self.secondary, self.emergency) if way]

    @property
    def is_empty(self) -> bool:
        """Whether nobody could be reached by it."""
        return not self.ways and self.person_id is None


class BusinessHours(models.Model):
    """When people are at work; one row, for all environments."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    zone = models.CharField(max_length=60, default="UTC")
    weekdays = models.JSONField(default=list)
    opens = models.TimeField()
    closes = models.TimeField()
    # one a line: 2026-12-25 Christmas
    holidays = models.TextField(blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="incidents_one_calendar")]

    def __str__(self) -> str:
        return f"{self.opens:%H:%M} to {self.closes:%H:%M} {self.zone}"

    def domain(self) -> Hours:
        """The hours as arithmetic sees them."""
        return Hours(
            self.zone, frozenset(self.weekdays), self.opens, self.closes, holidays_of(self.holidays.splitlines())
        )  # fmt: skip


class CalendarLink(models.Model):
    """An address that nobody can guess, under which a calendar reads the shifts. Only the token's hash is kept."""

    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    # only the shifts of whose link it is, or everybody's
    own = models.BooleanField(default=False)
    token_hash = models.CharField(max_length=64, unique=True)
    made_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.environment} {self.person_id}"
