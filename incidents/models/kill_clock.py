"""What an immediate rollback reached, and when: kept, because devices move on to later revisions."""

from datetime import datetime, timedelta

from django.db import models

from hawkops.core.environments import Environment
from incidents.domain.kill_clock import State, Step


class KillClock(models.Model):
    """The clock of one kill in earnest. Never deleted."""

    environment = models.CharField(max_length=20, choices=[(one.value, one.value) for one in Environment])
    # the entry of the history that the press left
    entry = models.BigIntegerField(unique=True)
    revision = models.BigIntegerField()
    pressed_at = models.DateTimeField()
    pressed_by = models.CharField(max_length=200)
    reason = models.CharField(max_length=300, blank=True)
    # step → when it was reached
    moments = models.JSONField(default=dict)
    # active devices when it was last looked at
    devices = models.PositiveIntegerField(default=0)
    state = models.CharField(
        max_length=10, choices=[(one.value, one.value) for one in State], default=State.RUNNING.value
    )
    # the steps that were late
    late = models.JSONField(default=list)
    # since when nobody looks any more
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            # the page's newest
            models.Index(fields=["environment", "-pressed_at"], name="incidents_kill_clock_pressed"),
            # what is still looked at
            models.Index(
                fields=["pressed_at"], name="incidents_kill_clock_open", condition=models.Q(ended_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"Clock of entry {self.entry}: {self.state}"

    @property
    def subject(self) -> str:
        """What the history calls it."""
        return f"kill_clock:{self.entry}"

    @property
    def reached(self) -> dict[Step, datetime]:
        """When each step was reached."""
        return {Step(step): datetime.fromisoformat(at) for step, at in self.moments.items()}

    @property
    def took(self) -> timedelta | None:
        """How long the slowest of what was reached took, without what only the lease ends."""
        counted = [at for step, at in self.reached.items() if step.counts]
        return max(counted) - self.pressed_at if counted else None
