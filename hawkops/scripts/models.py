"""Runs of scripts. These rows are the truth; the broker only carries word of them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum

from django.db import models

from hawkops.core.environments import Environment
from hawkops.core.verdicts import Verdict


class State(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    NO_DATA = "no_data"
    ERROR = "error"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"


# The only moves there are; each happens by compare-and-set.
MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset(set(State) - {State.RUNNING}),
    **{s: frozenset() for s in State if s not in (State.QUEUED, State.RUNNING)},
}
VERDICTS = {
    State.PASSED: Verdict.PASS,
    State.FAILED: Verdict.FAIL,
    State.TIMED_OUT: Verdict.FAIL,
    State.NO_DATA: Verdict.NO_DATA,
    State.ERROR: Verdict.ERROR,
    State.LOST: Verdict.ERROR,
    State.CANCELLED: Verdict.NO_DATA,
}


class Series(models.Model):
    """Several runs of a script, one after the other, of which so many must pass."""

    times = models.SmallIntegerField()
    needs = models.SmallIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(needs__gte=1, times__gte=2, needs__lte=models.F("times")),
                name="scripts_series_can_pass",
            )
        ]

    def __str__(self) -> str:
        return f"series {self.pk}: {self.needs} of {self.times}"


class Run(models.Model):
    """One run of one script. `token` names the attempt that may write; an older one is refused."""

    environment = models.CharField(max_length=20, choices=[(e.value, e.value) for e in Environment])
    script = models.CharField(max_length=120)
    arguments = models.JSONField(default=dict)
    subject = models.JSONField(default=dict)
    # it only said what it would do, and so is evidence of nothing
    dry_run = models.BooleanField(default=False)
    series = models.ForeignKey(Series, on_delete=models.SET_NULL, null=True, related_name="runs", db_index=False)
    # the program as it stood when the run was asked for
    program_sha256 = models.CharField(max_length=64, blank=True, default="")
    state = models.CharField(max_length=10, choices=[(s.value, s.value) for s in State], default=State.QUEUED.value)
    token = models.UUIDField(default=uuid.uuid4)
    attempt = models.SmallIntegerField(default=0)
    # what it needs for itself while it runs; empty: nothing
    concurrency_key = models.CharField(max_length=160, blank=True, default="")
    # when the broker was last told of it, while it is queued
    sent_at = models.DateTimeField(null=True)
    requested_by = models.CharField(max_length=150)
    requested_at = models.DateTimeField()
    request_entry = models.BigIntegerField(null=True)
    started_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    exit_code = models.IntegerField(null=True)
    summary = models.CharField(max_length=500, blank=True)
    results = models.JSONField(default=list)
    cancel_wanted = models.BooleanField(default=False)
    output_lines = models.IntegerField(default=0)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            # whoever is second stays queued
            models.UniqueConstraint(
                fields=["concurrency_key"],
                name="scripts_run_alone",
                condition=models.Q(state="running") & ~models.Q(concurrency_key=""),
            )
        ]
        indexes = [
            # the newest runs of a script in an environment: script page, gates
            models.Index(fields=["environment", "script", "-id"], name="scripts_run_newest"),
            # the runs of a series, in their order
            models.Index(fields=["series", "id"], name="scripts_run_series", condition=models.Q(series__isnull=False)),
            # what the sweeper looks after
            models.Index(
                fields=["state", "lease_until"],
                name="scripts_run_open",
                condition=models.Q(state__in=["queued", "running"]),
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.pk} {self.script} {self.state}"

    @property
    def verdict(self) -> Verdict | None:
        """What the run says; None while it has not ended."""
        return VERDICTS.get(State(self.state))

    @property
    def is_open(self) -> bool:
        """Whether it is still queued or running."""
        return self.state in (State.QUEUED, State.RUNNING)

    @property
    def seconds(self) -> float | None:
        """How long it ran; None before it ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def synthetic(self) -> bool:
        """Whether any result is of the generated model, not of a product's."""
        return any(result.get("synthetic") for result in self.results)


class RunOutput(models.Model):
    """A line of output, as it came."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="lines")
    number = models.IntegerField()
    at = models.DateTimeField()
    stream = models.CharField(max_length=6, choices=[("stdout", "stdout"), ("stderr", "stderr")])
    text = models.TextField()

    class Meta:
        ordering = ["run", "number"]
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="scripts_output_once")]

    def __str__(self) -> str:
        return f"{self.run_id}:{self.number}"


class RunFile(models.Model):
    """A file that a run left, a report say. Its digest stands in the history, in the entry of the run's end."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="files")
    name = models.CharField(max_length=150)
    content = models.BinaryField()
    size = models.IntegerField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ["run", "name"]
        constraints = [models.UniqueConstraint(fields=["run", "name"], name="scripts_file_once")]

    def __str__(self) -> str:
        return f"{self.run_id}: {self.name}"

    @property
    def kind(self) -> str:
        """What it is, in a word: HTML, JSON, CSV."""
        return self.name.rpartition(".")[2].upper()


class Schedule(models.Model):
    """A script that runs by itself: every so often, or daily at a time (UTC). Ended ones stay, as what once was."""

    environment = models.CharField(max_length=20, choices=[(e.value, e.value) for e in Environment])
    script = models.CharField(max_length=120)
    arguments = models.JSONField(default=dict)
    every = models.DurationField(null=True)
    daily_at = models.TimeField(null=True)
    next_at = models.DateTimeField()
    last_run = models.ForeignKey(Run, on_delete=models.SET_NULL, null=True, related_name="+")
    made_by = models.CharField(max_length=150)
    made_at = models.DateTimeField()
    made_entry = models.BigIntegerField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(every__isnull=False) ^ models.Q(daily_at__isnull=False),
                name="scripts_schedule_one_rhythm",
            )
        ]
        indexes = [
            # what the sweeper asks every ten seconds
            models.Index(fields=["next_at"], name="scripts_schedule_due", condition=models.Q(ended_at__isnull=True))
        ]

    def __str__(self) -> str:
        return f"schedule {self.pk} {self.script}"

    def following(self, now: datetime) -> datetime:
        """Return when it is due next, seen from a moment; what was missed meanwhile is not made up for."""
        if self.every is not None:
            missed = max(0, (now - self.next_at) // self.every)
            return self.next_at + self.every * (missed + 1)
        assert self.daily_at is not None
        return daily_next(self.daily_at, now)


def daily_next(at: time, now: datetime) -> datetime:
    """Return the next moment after now that has this time of day, in UTC."""
    today = datetime.combine(now.astimezone(UTC).date(), at, tzinfo=UTC)
    return today if today > now else today + timedelta(days=1)
