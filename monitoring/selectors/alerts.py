"""Reading alerts and silences."""

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from hawkops.core import clock
from monitoring.domain import alerting
from monitoring.domain.alerting import State
from monitoring.models import Alert, Silence

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
        return self.alert.state == State.FIRING and not self.alert.inhibited_by and self.silence is None


def silences(environment: str, *, now: datetime | None = None, ended: bool = False) -> list[Silence]:
    """Return the silences in force, or those that ended."""
    rows = Silence.objects.filter(environment=environment)
    now = now or clock.now()
    return list(rows.filter(ends_at__lte=now)[:20] if ended else rows.filter(ends_at__gt=now))


def open_alerts(environment: str) -> list[Shown]:
    """Return what stands: loud ones first, then by severity and age. Three queries."""
    return _shown(environment, list(Alert.objects.filter(environment=environment, resolved_at=None)))


def resolved_alerts(environment: str, *, limit: int = 30) -> list[Alert]:
    """Return what ended lately, newest first."""
    return list(
        Alert.objects.filter(environment=environment).exclude(resolved_at=None).order_by("-resolved_at")[:limit]
    )


def firing_count(environment: str) -> int:
    """Count the alerts that somebody must act on."""
    return sum(one.loud for one in open_alerts(environment))


def hidden_by(silence: Silence, shown: list[Shown]) -> int:
    """Count the open alerts that a silence hides now."""
    return sum(fnmatchcase(one.alert.key, silence.pattern) for one in shown)


def _shown(environment: str, alerts: list[Alert]) -> list[Shown]:
    now = clock.now()
    quiet = silences(environment, now=now)
    fired: dict[str, list[datetime]] = {}
    lately = Alert.objects.filter(environment=environment, fired_at__gte=now - alerting.FLAP_SPAN)
    for one in lately:
        if one.fired_at is not None:
            fired.setdefault(one.key, []).append(one.fired_at)
    found = [
        Shown(
            alert,
            next((one for one in quiet if fnmatchcase(alert.key, one.pattern)), None),
            alerting.flapping(fired.get(alert.key, []), now),
        )
        for alert in alerts
    ]
    return sorted(
        found,
        key=lambda one: (not one.loud, ORDER[State(one.alert.state)], GRAVITY[one.alert.severity], one.alert.since_at),
    )
