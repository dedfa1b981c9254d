"""What scripts ask of criteria: over a time of their own, without devices that are none, since the last change."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hawkops.core.environments import Environment
from hawkops.history import selectors as history
from hawkops.scripts.models import Run, State
from monitoring.domain.criteria import WINDOW_LEAST, Aggregate, Criterion
from monitoring.domain.metrics import INFERENCES
from monitoring.domain.targets import Profiles
from monitoring.models import Series
from monitoring.selectors import rollups
from monitoring.selectors.criteria import Evaluated, evaluate
from monitoring.selectors.profiles import profiles
from monitoring.selectors.telemetry import Population, may_judge

ROLLBACK = "scripts/rollback-app-version.sh"
CREATED = "flag.created"
COUNTED = (Aggregate.COUNT, Aggregate.PER_DEVICE)


@dataclass(frozen=True)
class _Real(Population):
    """Everybody but the device classes that run the generated model."""

    without: frozenset[str] = frozenset()

    def holds(self, series: Series) -> bool:
        """Whether a series belongs to it."""
        return series.device_class not in self.without and super().holds(series)

    def counts(self, device_class: str, *, simulated: bool) -> bool:
        """Whether a device of that class belongs to it."""
        return device_class not in self.without and super().counts(device_class, simulated=simulated)


@dataclass(frozen=True)
class Judged:
    """Criteria as they stand, and the device classes that ran a generated model: left out, or what was read."""

    lines: list[Evaluated]
    left_out: tuple[str, ...] = ()
    synthetic: bool = False


def judged(
    environment: str, wanted: Sequence[Criterion], *, now: datetime, floors: Profiles | None = None,
    released_at: datetime | None = None,
) -> Judged:  # fmt: skip
    """Judge criteria as pages do. Outside demo what ran the generated model is no subject, and is left out.

    Of what lets a release advance each device counts once, where the panel keeps it.

    `floors` stand in for the stored profiles of device classes; `released_at` ends the time that tells what is normal.
    """
    unreal = profiles().synthetic_classes
    series = Series.objects.filter(environment=environment, device_class__in=unreal)
    seen = tuple(sorted(series.values_list("device_class", flat=True).distinct()))
    if environment == Environment.DEMO:
        real = Series.objects.filter(environment=environment, simulated=False).exclude(device_class__in=unreal)
        return Judged(_look(environment, wanted, now, floors, released_at), synthetic=not real.exists())
    return Judged(_look(environment, wanted, now, floors, released_at), left_out=seen)


def counting(environment: str) -> Population | None:
    """Return whose telemetry counts: outside demo everybody but what ran the generated model; None for everybody."""
    if environment == Environment.DEMO:
        return None
    return _Real("real", "Real devices", without=frozenset(profiles().synthetic_classes))


def _look(
    environment: str, wanted: Sequence[Criterion], now: datetime, floors: Profiles | None, released_at: datetime | None
) -> list[Evaluated]:
    population = counting(environment)
    return evaluate(
        environment, wanted, population=population, now=now, floors=floors, released_at=released_at, by_device=True
    )


def over(one: Criterion, window: timedelta) -> Criterion:
    """Return a criterion over another time; a number of events is allowed in proportion."""
    window = max(window, WINDOW_LEAST)
    if one.aggregate in COUNTED and one.threshold is not None:
        one = replace(one, threshold=one.threshold * (window / one.window))
    return replace(one, window=window)


def of_everybody(one: Criterion) -> Criterion:
    """Return a criterion read on every device, whatever answered: after a rollback nobody may be left in treatment."""
    of = replace(one.of, arm=None, backends=()) if one.of is not None else None
    return replace(one, over=replace(one.over, arm=None, backends=()), of=of)


def on_backend(one: Criterion, backend: str) -> Criterion:
    """Return a criterion read on one backend, and only where somebody uses it."""
    of = replace(one.of, backends=(backend,)) if one.of is not None else None
    over = replace(one.over, backends=(backend,))
    return replace(one, over=over, of=of, title=f"{one.title}, {backend.upper()}", where_available=True)


def backends_in_use(environment: str, *, since: datetime) -> dict[str, datetime]:
    """Return the backends that inferences asked for since then, each with the newest. Two queries."""
    rows = Series.objects.filter(environment=environment, metric=INFERENCES)
    asked = {
        one.pk: one.backend_requested or one.backend_actual
        for one in rows
        if may_judge(environment, simulated=one.simulated)
    }
    found: dict[str, datetime] = {}
    for pk, at in rollups.newest(asked).items():
        if at >= since:
            found[asked[pk]] = max(at, found.get(asked[pk], at))
    return found


@dataclass(frozen=True)
class Change:
    """The last time devices were told something else."""

    at: datetime
    words: str


def last_change(environment: str, *, until: datetime) -> Change | None:
    """Return the last change of an environment's flags, or the last rollback of its app; None without any. Two queries."""
    entries = history.entries(environment=environment, verb_prefixes=("flag.",), until=until).exclude(verb=CREATED)
    entry = entries.filter(environment=environment).first()
    found = [Change(entry.at, f"{entry.verb} of {entry.subject.removeprefix('flag:')}")] if entry is not None else []
    run = (
        Run.objects.filter(
            environment=environment,
            script=ROLLBACK,
            dry_run=False,
            state=State.PASSED.value,
            finished_at__lt=until,
        )
        .order_by("-finished_at")
        .first()
    )
    if run is not None and run.finished_at is not None:
        found.append(Change(run.finished_at, "rollback of the app"))
    return max(found, key=lambda one: one.at, default=None)
