"""Drills of the kill switches on one group, with what they measured."""

from django.db import models
from django.db.models import Q

from rollout.domain import drills as domain
from rollout.models.flag import ENVIRONMENTS


class Drill(models.Model):
    """One flag forced to its safe value on one group for some minutes. Those of one press share its `series`."""

    environment = models.CharField(max_length=20, choices=ENVIRONMENTS)
    flag = models.CharField(max_length=80)
    # its safe variant, which the group's members got
    variant = models.CharField(max_length=3)
    group = models.CharField(max_length=60)
    series = models.UUIDField()
    minutes = models.SmallIntegerField()
    reason = models.CharField(max_length=300)
    by = models.CharField(max_length=150)
    asked_at = models.DateTimeField()
    state = models.CharField(max_length=10, default=domain.State.WAITING.value)
    # of the flag's overrides for some devices
    number = models.IntegerField(null=True)
    revision = models.BigIntegerField(null=True)
    # the history entry of the press
    entry = models.BigIntegerField(null=True)
    pressed_at = models.DateTimeField(null=True)
    restores_at = models.DateTimeField(null=True)
    # the group at the press: active devices that count, simulated ones among them, simulated ones that don't count here,
    # and active devices that were silent for longer than a lease
    devices = models.IntegerField(default=0)
    simulated = models.IntegerField(default=0)
    uncounted = models.IntegerField(default=0)
    unreachable = models.IntegerField(default=0)
    obeyed = models.IntegerField(default=0)
    obeyed_50_at = models.DateTimeField(null=True)
    obeyed_95_at = models.DateTimeField(null=True)
    obeyed_99_at = models.DateTimeField(null=True)
    obeyed_all_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=150, blank=True)
    outcome = models.CharField(max_length=12, blank=True)
    sentence = models.CharField(max_length=500, blank=True)
    restored_revision = models.BigIntegerField(null=True)
    back = models.IntegerField(default=0)
    back_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "flag"], condition=Q(state__in=domain.STANDING), name="rollout_drill_once"
            ),
            models.CheckConstraint(
                condition=Q(minutes__gte=domain.MINUTES_LEAST, minutes__lte=domain.MINUTES_MOST),
                name="rollout_drill_minutes",
            ),
        ]
        indexes = [
            # the newest drills of a flag: its row on the page, and its evidence
            models.Index(fields=["environment", "flag", "-ended_at"], name="rollout_drill_newest"),
        ]

    def __str__(self) -> str:
        return f"drill {self.pk} of {self.flag} in {self.environment}"

    @property
    def reached(self) -> list[tuple[int, float]]:
        """The shares of the group that obeyed, each with the seconds from the press to that."""
        times = zip(domain.SHARES, (self.obeyed_50_at, self.obeyed_95_at, self.obeyed_99_at), strict=True)
        return [(share, (at - self.pressed_at).total_seconds()) for share, at in times if at and self.pressed_at]

    @property
    def back_seconds(self) -> float | None:
        """Seconds from the end to the last device that was back; None while one is missing."""
        return (self.back_at - self.ended_at).total_seconds() if self.back_at and self.ended_at else None


class DrillDevice(models.Model):
    """A device that counts in a drill under way. The rows go when it is over: its numbers stay, and name nobody."""

    drill = models.ForeignKey(Drill, on_delete=models.CASCADE, related_name="members")
    device_id = models.CharField(max_length=200)
    simulated = models.BooleanField(default=False)
    obeyed_at = models.DateTimeField(null=True)
    back_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["drill", "device_id"], name="rollout_drill_device_once")]

    def __str__(self) -> str:
        return f"{self.drill_id} {self.device_id}"
