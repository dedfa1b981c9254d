"""Reading alerts, silences, and when everything was looked at last."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from hawkops.core import clock
from monitoring.domain import alerting
from monitoring.domain.alerting import State
from monitoring.models import Alert, Evaluation, Silence

ORDER = {State.FIRING: 0, State.ACKNOWLEDGED: 1, State.PENDING: 2, State.RESOLVED: 3}
GRAVITY = {"critical": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Shown:
    """An alert as a page shows it: with what hides it, and whether it flaps."""

    alert: Alert
    silence: Silence | None
    flapping: bool

    @property
    def loud(self) -> bool:
        """Whether somebody must act: it fires, nothing explains it, nobody silenced it."""
        return self.alert.state == State.FIRING and not self.hushed_by

    @property
    def hushed_by(self) -> str:
        """What keeps it quiet, in words: what explains it, or who silenced it; empty where nothing does."""
        if self.alert.inhibited_by:
            return self.alert.inhibited_by
        return f"silenced until {self.silence.ends_at:%d %b %H:%M} UTC" if self.silence else ""


@dataclass(frozen=True)
class Group:
    """The open alerts of one group."""

    title: str
    alerts: list[Shown]

    @property
    def loud(self) -> int:
        """How many of them somebody must act on."""
        return sum(one.loud for one in self.alerts)

    @property
    def worst(self) -> str:
        """The worst severity among the loud ones; among all when none is."""
        considered = [one for one in self.alerts if one.loud] or self.alerts
        return min((one.alert.severity for one in considered), key=GRAVITY.__getitem__)


@dataclass(frozen=True)
class Watched:
    """How fresh the evaluation of an environment is."""

    looked_at: datetime | None
    late: bool
    failures: int
    error: str


def silences(environment: str, *, now: datetime | None = None, ended: bool = False) -> list[Silence]:
    """Return the silences in force, or those that ended."""
    rows = Silence.objects.filter(environment=environment)
    now = now or clock.now()
    return list(rows.filter(ends_at__lte=now)[:20] if ended else rows.filter(ends_at__gt=now))


def open_alerts(environment: str) -> list[Shown]:
    """Return what stands: loud ones first, then by severity and age. Three queries."""
    return _shown(environment, list(Alert.objects.filter(environment=environment, resolved_at=None)))


def standing_alerts(environment: str) -> list[Shown]:
    """Return what fires, acknowledged or hushed as it may be: only its end ends it. Three queries."""
    return [one for one in open_alerts(environment) if one.alert.state in (State.FIRING, State.ACKNOWLEDGED)]


def grouped(shown: Iterable[Shown]) -> list[Group]:
    """Put alerts under their groups: those with something loud first, the worst on top."""
    rows = sorted(shown, key=lambda one: one.alert.group)
    found = [
        Group(alerting.group_title(group), _ordered(alerts))
        for group, alerts in groupby(rows, key=lambda one: one.alert.group)
    ]
    return sorted(found, key=lambda one: (not one.loud, GRAVITY[one.worst], one.title))


def resolved_alerts(environment: str, *, limit: int = 30) -> list[Alert]:
    """Return what ended lately, newest first."""
    return list(
        Alert.objects.filter(environment=environment).exclude(resolved_at=None).order_by("-resolved_at")[:limit]
    )


def firing_count(environment: str) -> int:
    """Count the alerts that somebody must act on."""
    return sum(one.loud for one in open_alerts(environment))


def hidden_by(silence: Silence, shown: Iterable[Shown]) -> list[Alert]:
    """Return the open alerts that a silence hides now."""
    return [one.alert for one in shown if silence.hides(one.alert)]


def looked_at(environment: str) -> datetime | None:
    """Return when an environment's alerts were evaluated last; None before the first time. One query."""
    return Evaluation.objects.filter(pk=environment).values_list("looked_at", flat=True).first()


def watched(environment: str) -> Watched:
    """Return how fresh the evaluation is. One query."""
    found = Evaluation.objects.filter(pk=environment).first()
    if found is None:
        return Watched(None, late=False, failures=0, error="")
    age = clock.now() - (found.looked_at or found.began_at)
    return Watched(found.looked_at, age > alerting.LATE_AFTER, found.failures, found.error)


def _shown(environment: str, alerts: list[Alert]) -> list[Shown]:
    now = clock.now()
    quiet = silences(environment, now=now)
    fired: dict[tuple[str, str], list[datetime]] = {}
    lately = Alert.objects.filter(environment=environment, fired_at__gte=now - alerting.FLAP_SPAN)
    for one in lately:
        if one.fired_at is not None:
            fired.setdefault((one.key, one.kind), []).append(one.fired_at)
    return _ordered(
        Shown(
            alert,
            next((one for one in quiet if one.hides(alert)), None),
            alerting.flapping(fired.get((alert.key, alert.kind), []), now),
        )
        for alert in alerts
    )


def _ordered(shown: Iterable[Shown]) -> list[Shown]:
    return sorted(
        shown,
        key=lambda one: (not one.loud, ORDER[State(one.alert.state)], GRAVITY[one.alert.severity], one.alert.since_at),
    )
