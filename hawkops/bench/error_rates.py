"""How often guardrails are wrong, and how soon they are right: simulated from fixed seeds, with the code that judges.

Nothing running is needed. Arms are looked at after every single device, which is at least as often as every minute.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hawkops.bench.device_effects import device_effects_measure
from monitoring.domain.cohorts import ATTRIBUTES, Device, Exclusion, culprits
from monitoring.domain.criteria import SAMPLES, Comparator
from monitoring.domain.statistics.guardrails import TOLERATED, Rule, judge, progress
from monitoring.domain.statistics.means import Columns, changes
from monitoring.domain.statistics.proportions import Events, log_above, log_below, needed_once
from monitoring.domain.statistics.ratio import sample_ratio
from monitoring.domain.statistics.spending import ALPHA, OF_CONTROL, spend
from monitoring.domain.statistics.values import BAND_ENDS

RUNS, SEARCHES = 2_000, 200
CHUNK = 250
SPAN_MINUTES = 48 * 60
DEVICES = 800
# device classes have a fifth of the devices each
CLASSES = tuple(f"class {number}" for number in range(1, 6))
# of amounts, and of devices something happened to
GUARDRAILS = ("prefill", "decode", "latency", "memory", "crashes", "errors")
HAPPEN = {"crashes": 0.02, "errors": 0.2}
BUDGET = spend(dict.fromkeys(GUARDRAILS, 1.0), CLASSES)
VARIATION = 0.4
PROMISED_DEVICES = 150
NAIVE = 1.96

Say = Callable[[str], None]
Many = NDArray[np.float64]
Yes = NDArray[np.bool_]
Runs = list[Yes]


def error_rates_measure(say: Say) -> None:
    """Say all figures. Some two minutes."""
    alike_measure(say)
    drop_measure(say)
    crashes_measure(say)
    coverage_measure(say)
    device_effects_measure(say, RUNS)
    cohorts_measure(say)


# ---- arms that are alike ----


def alike_measure(say: Say) -> None:
    """Count the phases of 48 h with arms alike in which any guardrail fails, in any band, in all devices or a class."""
    alarms, ratios, naive_one, naive_all = Runs(), Runs(), Runs(), Runs()
    for runs in _chunks():
        chance = np.random.default_rng([1, len(alarms)])
        began = np.sort(SPAN_MINUTES * chance.random((runs, DEVICES)) ** 1.5, axis=1)
        treated = chance.random((runs, DEVICES)) < 0.5
        alarm, every = np.zeros(runs, bool), np.zeros(runs, bool)
        for guardrail in GUARDRAILS:
            own = _values(chance, VARIATION, (runs, DEVICES)) * (1 + 0.3 * (np.arange(DEVICES) % len(CLASSES)))
            for band, hours in enumerate(BAND_ENDS):
                closed = began + hours * 60
                counts = closed <= SPAN_MINUTES
                if not counts.any():
                    break
                # a day's course that both arms share, and what differs from hour to hour in a device
                course = 1 + 0.2 * np.sin(closed * (2 * math.pi / 1_440))
                values = own * course * _values(chance, 0.3 / math.sqrt(hours), own.shape)
                look = _looked_at
                if guardrail in HAPPEN:
                    values = (chance.random(own.shape) < HAPPEN[guardrail] * course).astype(float)
                    look = _counted_at
                alpha = BUDGET.alpha(guardrail, band=band)
                found, naive = look(values, treated, counts, alpha)
                alarm |= _ever(found)
                every |= _ever(naive)
                if guardrail == GUARDRAILS[0] and not band:
                    naive_one.append(_ever(naive))
                for number, name in enumerate(CLASSES):
                    part = np.s_[:, number :: len(CLASSES)]
                    alpha = BUDGET.alpha(guardrail, band=band, device_class=name)
                    found, naive = look(values[part], treated[part], counts[part], alpha)
                    alarm |= _ever(found)
                    every |= _ever(naive)
        alarms.append(alarm)
        naive_all.append(every)
        ratios.append(_mismatched(treated))
    alarm, ratio = np.concatenate(alarms), np.concatenate(ratios)
    say(
        f"arms alike over 48 h, {len(GUARDRAILS)} guardrails on all devices and {len(CLASSES)} classes, a look after each "
        f"of {DEVICES} devices: a false alarm in {_share(alarm | ratio)}, promised {ALPHA:.0%} "
        f"(sample ratio alone {_share(ratio)})"
    )
    say(
        f"  naive 95 % interval looked at as often: {_share(np.concatenate(naive_one))} for one guardrail on all devices, "
        f"{_share(np.concatenate(naive_all))} for all of them"
    )


def _looked_at(values: Many, treated: Yes, counts: Yes, alpha: float) -> tuple[Yes, Yes]:
    """Say after which device a guardrail fails for which more is better, and when a naive interval leaves zero out."""
    sides = [_running(values, counts & side) for side in (treated, ~treated)]
    estimate, _, high = changes(*sides, alpha=2 * alpha)
    enough = np.minimum(sides[0].devices, sides[1].devices) >= SAMPLES
    with np.errstate(all="ignore"):
        error = np.sqrt(sum(side.variance / side.devices / side.means**2 for side in sides))
        naive = np.abs(np.log1p(estimate)) > NAIVE * error
    return enough & (high < 0) & (estimate < -TOLERATED), enough & naive


def _counted_at(values: Many, treated: Yes, counts: Yes, alpha: float) -> tuple[Yes, Yes]:
    """Say the same of devices something happened to, for which fewer is better."""
    events, others = (np.cumsum(np.where(counts & side, values, 0.0), axis=1) for side in (treated, ~treated))
    devices, of = (np.cumsum(counts & side, axis=1) for side in (treated, ~treated))
    found = (log_above(events, events + others, np.array(1.0)) >= -math.log(alpha)) & (
        events > (1 + TOLERATED) * others
    )
    with np.errstate(all="ignore"):
        whole = (events + others) / (devices + of)
        error = np.sqrt(whole * (1 - whole) * (1 / devices + 1 / of))
        naive = np.abs(events / devices - others / of) > NAIVE * error
    return found, (np.minimum(devices, of) >= SAMPLES) & naive


def _running(values: Many, counted: Yes) -> Columns:
    """Return an arm as it stands after each device."""
    devices = np.cumsum(counted, axis=1)
    total = np.cumsum(np.where(counted, values, 0.0), axis=1)
    squares = np.cumsum(np.where(counted, values * values, 0.0), axis=1)
    with np.errstate(all="ignore"):
        means = total / devices
        return Columns(devices, means, np.maximum(squares - devices * means**2, 0.0) / (devices - 1))


def _mismatched(treated: Yes) -> Yes:
    """Say in which runs the sample ratio is ever found odd: every tenth device."""
    found = np.zeros(len(treated), bool)
    came = np.cumsum(treated, axis=1)
    for look in range(10, treated.shape[1] + 1, 10):
        for number in np.unique(came[:, look - 1]):
            if sample_ratio((int(number), look - int(number)), (1, 1)).mismatch:
                found |= came[:, look - 1] == number
    return found


def _values(chance: np.random.Generator, variation: float, size: tuple[int, ...]) -> Many:
    """Draw lognormal values of mean 1 whose standard deviation is `variation`."""
    spread = math.sqrt(math.log1p(variation**2))
    return chance.lognormal(-(spread**2) / 2, spread, size)


# ---- a drop, and crashes ----


def drop_measure(say: Say) -> None:
    """Say after how many devices per arm a fifth less is flagged in one class of a phase."""
    first: list[Many] = []
    for runs in _chunks():
        chance = np.random.default_rng([2, len(first)])
        treated = chance.random((runs, 2_000)) < 0.5
        values = _values(chance, VARIATION, treated.shape) * np.where(treated, 0.8, 1.0)
        # a guardrail that has a limit too
        alpha = OF_CONTROL * BUDGET.alpha(GUARDRAILS[0], band=0, device_class=CLASSES[0])
        found, _ = _looked_at(values, treated, np.ones_like(treated), alpha)
        first.append(np.where(found.any(axis=1), (found.argmax(axis=1) + 1) / 2, np.inf))
    tenth, median, most = np.quantile(np.concatenate(first), (0.1, 0.5, 0.9), method="nearest")
    say(
        f"a drop of 20 % in one class, values of devices vary by {VARIATION}: flagged after {median:.0f} devices per arm in "
        f"the median ({tenth:.0f} to {most:.0f} in four of five), promised {PROMISED_DEVICES}"
    )


def crashes_measure(say: Say) -> None:
    """Say what no crash in 200 devices proves, and what it takes."""
    rule, alpha = Rule(Comparator.BELOW, 0.001), BUDGET.alpha(GUARDRAILS[0], band=0)
    verdict = judge(rule, Events(0, 200), None, alpha=alpha).verdict
    need = progress(rule, Events(0, 200), None, alpha=alpha, per_hour=100.0)
    assert need is not None
    assert need.hours is not None
    say(
        f"0 crashes in 200 devices for < 0.1 %: {verdict}, {need.need:,} needed at every look ({needed_once(0, 0.001):,} at "
        f"a single one, the rule of three), at 100 devices an hour in {need.hours:.0f} h"
    )
    for share in (0.001, 0.003):
        odds = np.array(0.001 / 0.999)
        passed, failed = Runs(), Runs()
        for runs in _chunks():
            chance = np.random.default_rng([3, len(passed)])
            crashed = np.cumsum(chance.random((runs, 6_000)) < share, axis=1)
            devices = np.arange(1, crashed.shape[1] + 1)
            passed.append(_ever(log_below(crashed, devices, odds) >= math.log(20)))
            failed.append(_ever(log_above(crashed, devices, odds) >= -math.log(alpha)))
        wrong = "at most 5 % may pass" if share <= 0.001 else f"{_share(np.concatenate(failed))} fail"
        say(f"  {share:.1%} crash, 6,000 devices, a look after each: {_share(np.concatenate(passed))} pass; {wrong}")


# ---- coverage ----


def coverage_measure(say: Say) -> None:
    """Say how often a 95 % interval that is looked at after each device ever misses the truth."""
    shapes: dict[str, Callable[[np.random.Generator, tuple[int, int]], Many]] = {
        "varying by 0.4": lambda chance, size: _values(chance, 0.4, size),
        "varying by 1.3": lambda chance, size: _values(chance, 1.3, size),
        "exponential": lambda chance, size: chance.exponential(size=size),
    }
    missed = {}
    for name, shape in shapes.items():
        runs_missed = Runs()
        for runs in _chunks():
            chance = np.random.default_rng([4, len(runs_missed)])
            treated = chance.random((runs, 1_000)) < 0.5
            sides = [_running(shape(chance, treated.shape), side) for side in (treated, ~treated)]
            _, low, high = changes(*sides, alpha=0.05)
            enough = np.minimum(sides[0].devices, sides[1].devices) >= SAMPLES
            runs_missed.append(_ever(enough & ((low > 0) | (high < 0))))
        missed[name] = np.concatenate(runs_missed)
    told = ", ".join(f"{name} {_share(found)}" for name, found in missed.items())
    say(f"95 % intervals of the change of means, 1,000 devices, a look after each, ever miss it: {told}; promised 5 %")
    parts = []
    for share in (0.002, 0.05, 0.5):
        wrong = Runs()
        for runs in _chunks():
            chance = np.random.default_rng([5, len(wrong)])
            events = np.cumsum(chance.random((runs, 1_000)) < share, axis=1)
            devices, odds = np.arange(1, 1_001), np.array(share / (1 - share))
            least = np.maximum(log_above(events, devices, odds), log_below(events, devices, odds))
            wrong.append(_ever(least >= math.log(2 / 0.05)))
        parts.append(f"{share:.1%} {_share(np.concatenate(wrong))}")
    say(f"  of a share, from the first device on: {', '.join(parts)}")


# ---- cohorts ----

SOCS = ("Tensor G2", "Tensor G3", "SM8550", "SM8650", "Exynos 2400", "Dimensity 9200")


class Planted(NamedTuple):
    """A fleet of which some cohorts are harmed, who they are, and which devices are theirs."""

    devices: list[Device]
    cohorts: list[tuple[tuple[str, str], ...]]
    harmed: Yes

    def found_by(self, exclusion: Exclusion) -> bool:
        """Whether an exclusion holds nearly all of them and few others, with at most two cohorts more than there are."""
        out = ~exclusion.rest
        held, innocent = out[self.harmed].mean(), out[~self.harmed].mean()
        return bool(held >= 0.95 and innocent <= 0.05) and len(exclusion.cohorts) <= len(self.cohorts) + 2


def planted(seed: int, *, devices: int = 4_000, crashes: bool = True) -> Planted:
    """Make a fleet with one or two culprits: a value of an attribute or of two, each a twentieth to a third of devices.

    A culprit crashes at 30 % in the treatment where others do at 1 %, or takes half as long again.
    """
    chance = np.random.default_rng([6, seed])
    soc = chance.choice(len(SOCS), devices, p=(0.2, 0.2, 0.2, 0.15, 0.15, 0.1))
    columns = (
        chance.choice(("cpu", "gpu", "npu"), devices, p=(0.2, 0.5, 0.3)),
        np.array(SOCS)[soc],
        np.char.add((soc // 2).astype(str), chance.choice((".0", ".1", ".2", ".3"), devices, p=(0.4, 0.3, 0.2, 0.1))),
        chance.choice(("33", "34", "35", "36"), devices, p=(0.2, 0.4, 0.3, 0.1)),
        np.char.add(np.array(SOCS)[soc], chance.choice((" A", " B", " C"), devices)),
    )
    attributes = [tuple(map(str, one)) for one in zip(*columns, strict=True)]
    cohorts: list[tuple[tuple[str, str], ...]] = []
    harmed = np.zeros(devices, bool)
    wanted = int(chance.integers(1, 3))
    while len(cohorts) < wanted:
        example = attributes[chance.integers(devices)]
        chosen = sorted(chance.choice(len(ATTRIBUTES), chance.integers(1, 3), replace=False))
        inside = np.array([all(one[at] == example[at] for at in chosen) for one in attributes])
        if 0.05 <= inside.mean() <= 0.33 and (inside & harmed).mean() <= inside.mean() / 2:
            cohorts.append(tuple((ATTRIBUTES[at], example[at]) for at in chosen))
            harmed |= inside
    treated = chance.random(devices) < 0.5
    if crashes:
        values = (chance.random(devices) < np.where(harmed & treated, 0.3, 0.01)).astype(float)
    else:
        values = _values(chance, VARIATION, (devices,)) * (1 + 0.3 * soc) * np.where(harmed & treated, 1.5, 1.0)
    rows = zip(attributes, treated.tolist(), values.tolist(), strict=True)
    return Planted([Device(*row) for row in rows], cohorts, harmed)


def cohorts_measure(say: Say) -> None:
    """Say how often planted culprits are found, and how often some are where nothing is wrong."""
    found = more = exact = wrong = 0
    for seed in range(SEARCHES):
        fleet = planted(seed, crashes=seed % 2 == 0)
        exclusion = culprits(fleet.devices)
        found += fleet.found_by(exclusion)
        exact += bool((~exclusion.rest == fleet.harmed).all())
        more = max(more, len(exclusion.cohorts) - len(fleet.cohorts))
        chance = np.random.default_rng([7, seed])
        shuffled = [one._replace(treatment=bool(chance.random() < 0.5)) for one in fleet.devices]
        wrong += bool(culprits(shuffled).cohorts)
    say(
        f"one or two planted cohorts among 4,000 devices: found in {found} of {SEARCHES} runs ({exact} to the device) with "
        f"at most {max(more, 0)} cohorts more, promised 95 % and 2; with arms shuffled some are found in {wrong}"
    )


def _chunks() -> Iterator[int]:
    """Yield how many runs to hold at once."""
    for begin in range(0, RUNS, CHUNK):
        yield min(CHUNK, RUNS - begin)


def _ever(found: Yes) -> Yes:
    """Say of each run whether any of its looks finds it."""
    return np.asarray(found.any(axis=1))


def _share(found: Yes) -> str:
    """Write a share with its standard error."""
    share = float(found.mean())
    return f"{share:.2%} ± {math.sqrt(share * (1 - share) / found.size):.2%}"
