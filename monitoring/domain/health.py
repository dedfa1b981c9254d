"""Health checks: what is looked at, how often, for how long at most, and what a row of results says. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hawkops.core.verdicts import Verdict
from monitoring.domain.thresholds import Pace

EVERYWHERE = ""


@dataclass(frozen=True)
class HealthCheck:
    """One check of the runbook. `per_environment`: it asks each environment's devices, not this installation."""

    key: str
    title: str
    means: str
    interval: timedelta
    timeout: timedelta
    per_environment: bool = False

    def due_at(self, now: datetime) -> datetime:
        """Return the moment of the newest run that is due: whoever comes asks about the same one."""
        seconds = int(self.interval.total_seconds())
        return datetime.fromtimestamp(int(now.timestamp()) // seconds * seconds, tz=UTC)

    @property
    def late_after(self) -> timedelta:
        """How long after a run was due its result must be there; later, the scheduler has stopped."""
        return 2 * self.interval + self.timeout


@dataclass(frozen=True)
class Kind:
    """What a check looks at. How often and for how long stands in the threshold file's section `health`."""

    key: str
    title: str
    means: str
    per_environment: bool = False


KINDS = (
    Kind(
        "litert-availability",
        "LiteRT availability",
        "a device class has reported a successful inference, or the local device makes one now",
        per_environment=True,
    ),
    Kind("model-validation", "Model validation", "the signature of this host's model verifies"),
    Kind("fallback", "Fallback functionality", "cloud AI answers a real request"),
)


def checks(paces: Mapping[str, Pace]) -> tuple[HealthCheck, ...]:
    """Return every check at its pace."""
    return tuple(
        HealthCheck(one.key, one.title, one.means, paces[one.key].interval, paces[one.key].timeout, one.per_environment)
        for one in KINDS
    )


@dataclass(frozen=True)
class Tick:
    """One result in the strip."""

    due_at: datetime
    verdict: Verdict
    sentence: str
    seconds: float | None


def standing(check: HealthCheck, ticks: Sequence[Tick], now: datetime) -> tuple[Verdict, str]:
    """Return what the newest result says now; results that stopped coming are `STALE`, whatever the last one was."""
    if not ticks:
        return Verdict.NO_DATA, "never run yet"
    newest = max(ticks, key=lambda tick: tick.due_at)
    if now - newest.due_at > check.late_after:
        minutes = (now - newest.due_at).total_seconds() / 60
        return (
            Verdict.STALE,
            f"the scheduler has stopped: no result for {minutes:.0f} min, one is due every {_every(check)}",
        )
    return newest.verdict, newest.sentence


def _every(check: HealthCheck) -> str:
    seconds = check.interval.total_seconds()
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
