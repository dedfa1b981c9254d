"""Guardrails: every verdict with its reason, misses judged on the interval, and silence that is never a pass."""

import math
from itertools import combinations

import numpy as np
import pytest

from hawkops.core.verdicts import Verdict
from monitoring.domain.criteria import Comparator
from monitoring.domain.statistics.guardrails import Miss, Rule, Side, control_percent, judge, progress
from monitoring.domain.statistics.means import Sample
from monitoring.domain.statistics.proportions import Events
from monitoring.domain.statistics.ratio import sample_ratio
from monitoring.domain.statistics.reporting import Reports, judge_ratio, judge_reports, silence

ALPHA = 1e-3
FASTER = Rule(Comparator.AT_LEAST)
FLOOR = Rule(Comparator.AT_LEAST, 243.0)
SOONER = Rule(Comparator.BELOW)
CRASHES = Rule(Comparator.BELOW, 0.001)


def devices(number: int, mean: float) -> Sample:
    return Sample(number, mean, (0.4 * mean) ** 2)


@pytest.mark.parametrize(
    ("rule", "treatment", "verdict", "miss"),
    [
        (FASTER, 100.0, Verdict.PASS, Miss.SAFE),
        (FASTER, 130.0, Verdict.PASS, Miss.SAFE),
        (FASTER, 95.0, Verdict.INSUFFICIENT, Miss.SAFE),
        (FASTER, 90.0, Verdict.FAIL, Miss.SAFE),
        (FASTER, 80.0, Verdict.FAIL, Miss.POSSIBLE),
        (FASTER, 60.0, Verdict.FAIL, Miss.CERTAIN),
        (SOONER, 100.0, Verdict.PASS, Miss.SAFE),
        (SOONER, 70.0, Verdict.PASS, Miss.SAFE),
        (SOONER, 110.0, Verdict.FAIL, Miss.SAFE),
        (SOONER, 120.0, Verdict.FAIL, Miss.POSSIBLE),
        (SOONER, 140.0, Verdict.FAIL, Miss.CERTAIN),
    ],
)
def test_against_control__many_devices(rule: Rule, treatment: float, verdict: Verdict, miss: Miss) -> None:
    found = judge(rule, devices(2_000, treatment), devices(2_000, 100.0), alpha=ALPHA)
    assert (found.verdict, found.miss) == (verdict, miss), found.sentence


def test_against_control__few_devices__neither_pass_nor_fail() -> None:
    found = judge(FASTER, devices(60, 85.0), devices(60, 100.0), alpha=ALPHA)
    assert (found.verdict, found.miss) == (Verdict.INSUFFICIENT, Miss.POSSIBLE)
    assert "−15.0\u202f%" in found.sentence
    assert "60 devices against 60 devices of the control" in found.sentence
    # however bad: a variance known from so few is not to be trusted
    assert judge(FASTER, devices(29, 10.0), devices(500, 100.0), alpha=ALPHA).verdict is Verdict.INSUFFICIENT


def test_against_control__a_difference_that_is_sure_and_small__is_no_failure() -> None:
    found = judge(FASTER, devices(40_000, 97.0), devices(40_000, 100.0), alpha=ALPHA)
    assert found.verdict is Verdict.PASS
    interval = found.lines[0].interval
    assert interval is not None
    assert interval.high < 0


def test_limit__the_floor_is_judged_beside_the_control() -> None:
    # as good as the control and both below the floor
    found = judge(FLOOR, devices(3_000, 200.0), devices(3_000, 200.0), alpha=ALPHA)
    assert [line.verdict for line in found.lines] == [Verdict.PASS, Verdict.FAIL]
    assert found.verdict is Verdict.FAIL
    # above the floor and much worse than the control
    found = judge(FLOOR, devices(3_000, 300.0), devices(3_000, 400.0), alpha=ALPHA)
    assert [line.verdict for line in found.lines] == [Verdict.FAIL, Verdict.PASS]
    near = judge(FLOOR, devices(200, 245.0), None, alpha=ALPHA)
    assert (near.verdict, near.miss, len(near.lines)) == (Verdict.INSUFFICIENT, Miss.SAFE, 1)
    assert judge(FLOOR, devices(2_000, 150.0), None, alpha=ALPHA).miss is Miss.CERTAIN


def test_crashes__none_in_two_hundred__is_insufficient_and_says_what_it_takes() -> None:
    found = judge(CRASHES, Events(0, 200), None, alpha=ALPHA)
    assert (found.verdict, found.miss) == (Verdict.INSUFFICIENT, Miss.POSSIBLE)
    need = progress(CRASHES, Events(0, 200), None, alpha=ALPHA, per_hour=100.0)
    assert need is not None
    assert (need.have, need.need) == (200, 3_121)
    assert need.hours == pytest.approx(29.21)
    assert judge(CRASHES, Events(0, 3_121), None, alpha=ALPHA).verdict is Verdict.PASS
    assert judge(CRASHES, Events(8, 200), None, alpha=ALPHA).verdict is Verdict.FAIL


def test_crashes__against_the_control__counted_exactly() -> None:
    more = judge(SOONER, Events(30, 600), Events(2, 600), alpha=ALPHA)
    assert (more.verdict, more.miss) == (Verdict.FAIL, Miss.CERTAIN)
    assert "30 of 600 devices against 2 of 600 devices of the control" in more.sentence
    none = judge(SOONER, Events(0, 600), Events(0, 600), alpha=ALPHA)
    assert none.verdict is Verdict.INSUFFICIENT
    # twice as many devices in the treatment: twice as many events are alike
    alike = judge(SOONER, Events(240, 2_400), Events(120, 1_200), alpha=ALPHA, weight=2.0)
    assert alike.verdict is Verdict.INSUFFICIENT
    assert judge(SOONER, Events(240, 2_400), Events(120, 1_200), alpha=ALPHA).verdict is Verdict.FAIL


@pytest.mark.parametrize(("treatment", "control"), [(0, 50), (50, 0), (0, 0)])
def test_nothing_reported__is_no_data(treatment: int, control: int) -> None:
    nothing = Sample.of([])
    sides: list[Side] = [devices(some, 100.0) if some else nothing for some in (treatment, control)]
    assert judge(FASTER, sides[0], sides[1], alpha=ALPHA).verdict is Verdict.NO_DATA
    assert judge(FASTER, sides[0], None, alpha=ALPHA).verdict is Verdict.NO_DATA
    assert progress(FASTER, sides[0], sides[1], alpha=ALPHA) is None


def test_arms_not_as_shared_out__take_a_pass_away_and_leave_a_failure() -> None:
    odd = sample_ratio((2_000, 1_500), (1, 1))
    good, bad, control = devices(2_000, 100.0), devices(2_000, 70.0), devices(1_500, 100.0)
    found = judge(FASTER, good, control, alpha=ALPHA, ratio=odd)
    assert found.verdict is Verdict.ERROR
    assert "2000 and 1500 devices report where 1750 and 1750 should" in found.sentence
    assert judge(FASTER, good, control, alpha=ALPHA, ratio=sample_ratio((2_000, 1_990), (1, 1))).verdict is Verdict.PASS
    assert judge(FASTER, bad, control, alpha=ALPHA, ratio=odd).verdict is Verdict.FAIL


def test_progress__what_it_names_settles_it() -> None:
    few, control = devices(150, 98.0), devices(150, 100.0)
    need = progress(FASTER, few, control, alpha=ALPHA, per_hour=10.0)
    assert need is not None
    assert need.have == 150
    for number, verdict in ((need.need, Verdict.PASS), (need.need - 2, Verdict.INSUFFICIENT)):
        assert judge(FASTER, devices(number, 98.0), devices(number, 100.0), alpha=ALPHA).verdict is verdict
    settled = progress(FASTER, devices(900, 60.0), devices(900, 100.0), alpha=ALPHA)
    assert settled is not None
    assert settled.missing == 0


def test_sides_of_two_kinds__refused() -> None:
    with pytest.raises(TypeError):
        judge(FASTER, devices(50, 1.0), Events(1, 50), alpha=ALPHA)


def test_control__is_as_large_as_the_treatment_up_to_a_half() -> None:
    assert [control_percent(part) for part in (1, 25, 50, 75, 100)] == [1, 25, 50, 25, 0]


def test_silence__is_the_exact_test_by_enumeration() -> None:
    # ten devices, five to an arm, three silent: every way to share them out
    for of_treatment in range(4):
        ways = [sum(one < 5 for one in silent) >= of_treatment for silent in combinations(range(10), 3)]
        found = silence(Reports(5, 5 - of_treatment), Reports(5, 5 - (3 - of_treatment)))
        assert found == pytest.approx(sum(ways) / math.comb(10, 3))


def test_silence__a_dying_app_is_a_finding() -> None:
    dying = judge_reports(Reports(100, 40), Reports(100, 95), look=12)
    assert dying.verdict is Verdict.FAIL
    assert "40 of 100 of the treatment reported in the last hour, 95 of 100 of the control" in dying.sentence
    assert judge_reports(Reports(100, 0), Reports(100, 95), look=400).verdict is Verdict.FAIL
    # the other way round it is not the treatment that dies
    assert judge_reports(Reports(100, 95), Reports(100, 40), look=12).verdict is Verdict.PASS
    assert judge_reports(Reports(100, 86), Reports(100, 95), look=12).verdict is Verdict.INSUFFICIENT
    assert judge_reports(Reports(20, 20), Reports(20, 20), look=1).verdict is Verdict.INSUFFICIENT
    assert judge_reports(Reports(100, 0), Reports(100, 0), look=1).verdict is Verdict.STALE
    assert judge_reports(Reports(0, 0), Reports(100, 90), look=1).verdict is Verdict.NO_DATA


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ((400, 500), Verdict.PASS),
        ((300, 500), Verdict.FAIL),
        ((0, 60), Verdict.FAIL),
        ((500, 300), Verdict.ERROR),
        ((20, 25), Verdict.INSUFFICIENT),
        ((0, 0), Verdict.NO_DATA),
    ],
)
def test_ratio__devices_that_never_report_are_a_finding(counts: tuple[int, int], verdict: Verdict) -> None:
    assert judge_ratio(sample_ratio(counts, (1, 1))).verdict is verdict


def test_silence__same_devices_hour_after_hour__rarely_alarms() -> None:
    # devices that are slow to report stay so, which makes hours alike: 48 of them, a hundred devices in each arm
    chance, alarms, runs = np.random.default_rng(5), 0, 400
    for _ in range(runs):
        habits = chance.beta(4, 1, 200)
        for look in range(1, 49):
            heard = chance.random(200) < habits
            arms = Reports(100, int(heard[:100].sum())), Reports(100, int(heard[100:].sum()))
            alarms += silence(*arms) <= 0.05 / (look * (look + 1))
    assert alarms / runs <= 0.05
