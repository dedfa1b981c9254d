"""How long each kind of data is kept, what deletes it, and whether that happens: measured by the oldest row there is."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.sessions.models import Session
from django.db import connection, models

from hawkops.accounts import lockout, repeats
from hawkops.accounts.models import KeyedAnswer, LegalHold, LoginLink, SecretTries
from hawkops.accounts.services.signing import ENDED_KEPT
from hawkops.core.verdicts import Verdict
from hawkops.history.models import HistoryEntry, Verification
from hawkops.history.services import VERIFICATIONS_KEPT
from hawkops.scripts.models import Run
from incidents.domain.retrying import State
from incidents.models import Delivery, HeardEvent, Incident
from incidents.services import acknowledging, sending
from monitoring.domain.tiers import TIERS
from monitoring.models import (
    Alert,
    DeviceHour,
    DeviceHourCount,
    DeviceNote,
    DoorTotal,
    FoldedSeries,
    HealthResult,
    LogLine,
    PanelHour,
    PatternCount,
    PayloadDigest,
)
from monitoring.services import alerts, health, logs, patterns, telemetry
from rollout.models import Release

# a task that runs hourly may be an hour late, and half an hour slow
LATE = timedelta(minutes=90)
PRUNED = "monitoring.digests_prune"


@dataclass(frozen=True)
class Kind:
    """One kind of data. `keep` is None for what is kept for good, and `why` says why; `task` deletes it."""

    title: str
    model: type[models.Model]
    column: str
    keep: timedelta | None
    task: str = ""
    why: str = ""
    only: tuple[tuple[str, Any], ...] = ()

    def oldest(self) -> datetime | None:
        """Return the moment of the oldest row that may be deleted; None without any. One query."""
        rows = self.model._default_manager.filter(**dict(self.only)).order_by(self.column)
        return rows.values_list(self.column, flat=True).first()


KINDS = (
    Kind("Entries of the history", HistoryEntry, "at", None, why="the proof of who changed what"),
    Kind("Releases and their evidence", Release, "created_at", None, why="the proof that a gate was open"),
    Kind("Incidents and their reviews", Incident, "opened_at", None, why="the record of what happened"),
    Kind("Runs of scripts, output and files", Run, "requested_at", None, why="evidence of releases"),
    Kind("Results of the verifier", Verification, "at", VERIFICATIONS_KEPT, "history.verify"),
    Kind("Sessions", Session, "expire_date", ENDED_KEPT, "accounts.ended_prune"),
    Kind("Links to sign in", LoginLink, "expires_at", ENDED_KEPT, "accounts.ended_prune"),
    Kind("Answers to repeated requests", KeyedAnswer, "at", repeats.KEEP, "accounts.ended_prune"),
    Kind("Wrong passwords, counted", SecretTries, "last_at", lockout.FORGOTTEN_AFTER, "accounts.ended_prune"),
    Kind(
        "Messages sent and their receipts", Delivery, "made_at", sending.KEPT, "incidents.notifications_prune",
        only=(("state__in", [state.value for state in State if state is not State.PENDING]),),
    ),
    Kind("What pagers told", HeardEvent, "at", acknowledging.KEPT, "incidents.notifications_prune"),
    Kind(
        "Alerts that are over", Alert, "resolved_at", alerts.KEPT, "monitoring.alerts_prune",
        only=(("resolved_at__isnull", False),),
    ),
    Kind("Results of health checks", HealthResult, "due_at", health.KEPT, "monitoring.health_prune"),
    Kind("Log lines of devices", LogLine, "received_at", logs.KEEP_LINES, PRUNED),
    Kind("Log patterns, counted", PatternCount, "minute_at", patterns.KEPT, PRUNED),
    Kind("Digests of payloads", PayloadDigest, "seen_at", telemetry.KEEP_DIGESTS, PRUNED),
    Kind("Which devices reported", DeviceHour, "hour_at", telemetry.KEEP_DEVICE_HOURS, PRUNED),
    Kind("How many devices reported", DeviceHourCount, "hour_at", telemetry.KEEP_DEVICE_COUNTS, PRUNED),
    Kind("Values of the panel's devices", PanelHour, "hour_at", telemetry.KEEP_PANEL, PRUNED),
    Kind("What was understood of a payload", DeviceNote, "received_at", telemetry.KEEP_NOTES, PRUNED),
    Kind("Payloads taken, counted", DoorTotal, "hour_at", telemetry.KEEP_TOTALS, PRUNED),
    Kind("Series that were folded", FoldedSeries, "seen_at", telemetry.KEEP_FOLDED, PRUNED),
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A kind with its oldest row. `over` is by how much that row outlived its time."""

    title: str
    keep: timedelta | None
    task: str
    why: str
    oldest_at: datetime | None
    over: timedelta

    @property
    def verdict(self) -> Verdict:
        """Whether it is deleted in time; what is kept for good always is."""
        return Verdict.FAIL if self.over > LATE else Verdict.PASS

    @property
    def kept_for(self) -> str:
        """How long, in words."""
        if self.keep is None:
            return "for good"
        days, hours = divmod(int(self.keep.total_seconds()) // 3600, 24)
        return f"{self.keep.days} days" if days > 1 and not hours else f"{24 * days + hours} h"


def measured(*, now: datetime) -> list[Measured]:
    """Measure every kind. One short query each."""
    return [*(_measured(one.title, one.keep, one.task, one.why, one.oldest(), now) for one in KINDS), *_tiers(now)]


def holds() -> models.QuerySet[LegalHold]:
    """Return the legal holds that stand, newest first."""
    return LegalHold.objects.filter(lifted_at=None)


def _measured(
    title: str, keep: timedelta | None, task: str, why: str, oldest: datetime | None, now: datetime
) -> Measured:
    oldest = None if oldest is None or oldest > now else oldest  # what is yet to end is not old
    over = now - oldest - keep if keep is not None and oldest is not None else timedelta()
    return Measured(title, keep, task, why, oldest, max(over, timedelta()))


def _tiers(now: datetime) -> Iterator[Measured]:
    """Measure the rollups by their partitions, which are dropped whole: a partition's time begins when it is full."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT split_part(relname, '_', 3)::int, min(split_part(relname, '_', 4)::bigint) FROM pg_class"
            " WHERE relkind = 'r' AND relname ~ '^monitoring_rollup_[0-9]+_[0-9]+$' GROUP BY 1"
        )
        first = {int(width): datetime.fromtimestamp(int(place), UTC) for width, place in cursor.fetchall()}
    for tier in TIERS:
        keep = tier.keep + tier.partition
        title = f"Rollups of {tier.width} s"
        yield _measured(title, keep, "monitoring.partitions_keep", "", first.get(tier.width), now)
