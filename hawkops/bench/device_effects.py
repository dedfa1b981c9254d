"""How often the interval of a go/no-go line misses the truth where devices are what varies: simulated from fixed seeds.

Each run draws devices with a level of their own, of which some report much more than others, judges them as a decision
does, and again as if each observation were one of its own, which is how it was done before.
"""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import cache

import numpy as np
from numpy.typing import NDArray

from monitoring.domain import by_observation, intervals, metrics
from monitoring.domain.arms import Arm
from monitoring.domain.criteria import Against, Aggregate, Comparator, Criterion, Purpose, Selection
from monitoring.domain.grid import Distribution, Grid, Rows
from monitoring.domain.numbers import Numbers, Side
from monitoring.domain.sketch import SCALE, Sketch
from monitoring.domain.statistics.means import Interval
from monitoring.domain.statistics.per_device import PerDevice

DEVICES, REPORTS = 150, 40
# how much devices differ from each other, and the observations of one, as a share of the mean
BETWEEN, WITHIN = 0.3, 0.1
FAILING, QUANTILE = 0.005, 0.95

Values = NDArray[np.float64]
# numbers of a run, and the truth that its interval should hold
Drawn = tuple[Criterion, Numbers, float]


def device_effects_measure(say: Callable[[str], None], runs: int) -> None:
    """Say how often intervals miss the truth: by device, and by observation as before."""
    lines: dict[str, Callable[[np.random.Generator], Drawn]] = {
        "a mean": _mean,
        "a change of means": _change,
        "an error rate of 0.5 %": _errors,
        "a 95th percentile": _percentile,
    }
    missed, before = Counter[str](), Counter[str]()
    for number, (name, draw) in enumerate(lines.items()):
        chance = np.random.default_rng([8, number])
        for _ in range(runs):
            one, numbers, truth = draw(chance)
            missed[name] += not _holds(intervals.interval(one, numbers), truth)
            before[name] += not _holds(by_observation.interval(one, numbers), truth)
    told = ", ".join(f"{name} {missed[name] / runs:.1%} (before {before[name] / runs:.0%})" for name in lines)
    say(
        f"95 % intervals of a decision, {DEVICES} devices that vary by {BETWEEN} and report {REPORTS} times each, some much "
        f"more: miss {told}; promised 5 %"
    )


def _holds(found: Interval, truth: float) -> bool:
    return found.low <= truth <= found.high


def _criterion(aggregate: Aggregate, metric: str, of: str = "") -> Criterion:
    against = Against.CONTROL if aggregate.compares else None
    return Criterion(
        key="decision-simulated",
        title="Simulated",
        purpose=Purpose.DECISION,
        over=Selection(metric, arm=Arm.TREATMENT),
        aggregate=aggregate,
        window=timedelta(hours=48),
        comparator=Comparator.BELOW,
        threshold=1.0,
        serves="",
        of=Selection(of, arm=Arm.TREATMENT) if of else None,
        against=against,
    )


def _reports(chance: np.random.Generator) -> NDArray[np.int64]:
    """Draw how often each device reports: at least five times, few ten times as often as most."""
    return 5 + chance.geometric(1 / (REPORTS - 5), DEVICES)


def _levels(chance: np.random.Generator) -> Values:
    spread = np.sqrt(np.log1p(BETWEEN**2))
    return chance.lognormal(-(spread**2) / 2, spread, DEVICES)


def _side(chance: np.random.Generator) -> Side:
    many = _reports(chance)
    owner = np.repeat(np.arange(DEVICES), many)
    values = _levels(chance)[owner] * (1 + WITHIN * chance.standard_normal(owner.size))
    panel = PerDevice.summed(np.bincount(owner, weights=values).astype(float), many.astype(float))
    return Side(_observed(values), panel=panel)


def _observed(values: Values) -> Distribution:
    return Distribution((values.size, values.sum(), (values * values).sum(), values.min(), values.max()))


def _mean(chance: np.random.Generator) -> Drawn:
    return _criterion(Aggregate.MEAN, metrics.MEMORY), Numbers(_side(chance)), 1.0


def _change(chance: np.random.Generator) -> Drawn:
    return _criterion(Aggregate.CHANGE, metrics.MEMORY), Numbers(_side(chance), _side(chance)), 0.0


def _errors(chance: np.random.Generator) -> Drawn:
    """Draw failures of which some devices have many: their own rates follow a beta distribution."""
    many = 10 * _reports(chance)
    rates = chance.beta(0.5, 0.5 / FAILING - 0.5, DEVICES)
    failed = chance.binomial(many, rates).astype(float)
    total, of = failed.sum(), float(many.sum())
    observed = Distribution((int(total), total, total, 1.0, 1.0))
    side = Side(observed, Distribution((int(of), of, of, 1.0, 1.0)), panel=PerDevice.summed(failed, many.astype(float)))
    return _criterion(Aggregate.RATIO, metrics.INFERENCES, metrics.INFERENCES), Numbers(side), FAILING


def _percentile(chance: np.random.Generator) -> Drawn:
    many = _reports(chance)
    owner = np.repeat(np.arange(DEVICES), many)
    values = _levels(chance)[owner] * (1 + WITHIN * chance.standard_normal(owner.size))
    panel = PerDevice.summed(np.bincount(owner, weights=values).astype(float), many.astype(float))
    return _criterion(Aggregate.P95, metrics.OPERATION), Numbers(Side(_placed(values), panel=panel)), _true_percentile()


@cache
def _true_percentile() -> float:
    chance = np.random.default_rng([8, 99])
    levels = np.concatenate([_levels(chance) for _ in range(20_000)])
    return float(np.quantile(levels * (1 + WITHIN * chance.standard_normal(levels.size)), QUANTILE))


def _placed(values: Values) -> Distribution:
    """Return values as they are stored: in the buckets of a sketch."""
    buckets, counts = np.unique(np.floor(2**SCALE * np.log2(np.maximum(values, 1e-3))), return_counts=True)
    sketch = Sketch()
    for bucket, count in zip(buckets.tolist(), counts.tolist(), strict=True):
        sketch.add(2 ** ((bucket + 0.5) / 2**SCALE), count)
    grid = Grid(1)
    grid.add(np.zeros(1, np.int64), Rows.of([(0, sketch)]))
    return grid.merged()
