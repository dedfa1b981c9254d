"""Health checks: what is looked at, how often, for how long at most, and what a row of results says. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hawkops.core.verdicts import Verdict
from monitoring.domain.thresholds import Pace

EVERYWHERE = ""
AVAILABILITY = "litert-availability"


@dataclass(frozen=True)
class HealthCheck:
    """One check of the runbook. `per_environment`: it asks each environment's devices, not this installation.

    `stays`: what it looks at doesn't go away by itself, so a subject that passed and is missing now has failed.
    `for_` is how long a failure must last before it is told.
    """

    key: str
    title: str
    means: str
    interval: timedelta
    timeout: timedelta
    per_environment: bool = False
    stays: bool = False
    for_: timedelta = timedelta()

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
    stays: bool = False
    for_: timedelta = timedelta()


KINDS = (
    Kind(
        AVAILABILITY,
        "LiteRT availability",
        "a device class has reported a successful inference, or the local device makes one now",
        per_environment=True,
        # one miss stands until the next result is there: 30 s, 10 s at most to run, 5 s until the scheduler asks
        for_=timedelta(seconds=45),
    ),
    Kind("model-validation", "Model validation", "the signature of this host's model verifies", stays=True),
    Kind("fallback", "Fallback functionality", "cloud AI answers a real request"),
)


def checks(paces: Mapping[str, Pace]) -> tuple[HealthCheck, ...]:
    """Return every check at its pace."""
    return tuple(
        HealthCheck(
            key=one.key,
            title=one.title,
            means=one.means,
            interval=paces[one.key].interval,
            timeout=paces[one.key].timeout,
            per_environment=one.per_environment,
            stays=one.stays,
            for_=one.for_,
        )
        for one in KINDS
    )


@dataclass(frozen=True)
class Tick:
    """One result in the strip; `running` while it is not there yet."""

    due_at: datetime
    verdict: Verdict
    sentence: str
    seconds: float | None
    running: bool = False


def standing(
    check: HealthCheck, ticks: Sequence[Tick], now: datetime, *, watched_since: datetime | None = None
) -> tuple[Verdict, str]:
    """Return what the newest finished result says now; results that don't come are `STALE`, whatever the last one was.

    A check that never ran is late from when this installation began to watch; None when it does not watch yet.
    """
    newest = max((tick for tick in ticks if not tick.running), key=lambda tick: tick.due_at, default=None)
    if newest is None:
        if watched_since is None or now - watched_since <= check.late_after:
            return Verdict.NO_DATA, "never run yet"
        return Verdict.STALE, f"never run: the worker of health checks does not run, one is due every {_every(check)}"
    if now - newest.due_at > check.late_after:
        minutes = (now - newest.due_at).total_seconds() / 60
        return (
            Verdict.STALE,
            f"the scheduler has stopped: no result for {minutes:.0f} min, one is due every {_every(check)}",
        )
    return newest.verdict, newest.sentence


def settled(check: HealthCheck, verdict: Verdict, sentence: str, *, passed: bool) -> tuple[Verdict, str]:
    """Return a result as it counts: a subject that passed before and can't be measured now is gone, and that fails."""
    if check.stays and passed and verdict is Verdict.NO_DATA:
        return Verdict.FAIL, f"passed before, can't be measured now: {sentence}"
    return verdict, sentence


def _every(check: HealthCheck) -> str:
    seconds = check.interval.total_seconds()
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
