"""The table of decisions: each of its rows, every combination of two, and that a worse line never helps."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawkops.core.verdicts import Verdict
from monitoring.domain import intervals, metrics
from monitoring.domain import numbers as raw
from monitoring.domain.criteria import Aggregate, criterion
from monitoring.domain.grid import Distribution
from monitoring.domain.numbers import Numbers, Side
from monitoring.domain.statistics.guardrails import Miss
from monitoring.domain.statistics.per_device import PerDevice
from rollout.domain import decision as domain
from rollout.domain import lines
from rollout.domain.decision import Clause, Line, Nature, Recommendation, recommend, row_of
from rollout.domain.lines import Measured
from rollout.domain.validation import Clock, Critical

NOON = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
GOOD = Line("good", "Good", Nature.TARGET, Clause.PERFORMANCE, Verdict.PASS, "2, wanted < 3")


def line(nature: Nature = Nature.TARGET, verdict: Verdict = Verdict.FAIL, **given: Any) -> Line:
    """A line of some nature and verdict."""
    return replace(GOOD, key="other", nature=nature, verdict=verdict, **given)


# one line for each row of the table, and what follows
EXAMPLES: dict[str, tuple[Line, Recommendation]] = {
    "security": (line(Nature.SECURITY), Recommendation.ROLL_BACK),
    "crashes": (line(Nature.RISE, worse=True), Recommendation.ROLL_BACK),
    "missed-certainly": (line(miss=Miss.CERTAIN), Recommendation.ROLL_BACK),
    "incident": (line(Nature.INCIDENTS), Recommendation.HOLD),
    "rollback": (line(Nature.ROLLBACKS), Recommendation.HOLD),
    "satisfaction": (line(Nature.FALL, miss=Miss.POSSIBLE), Recommendation.HOLD),
    "missed-possibly": (line(verdict=Verdict.PASS, miss=Miss.POSSIBLE), Recommendation.HOLD),
    "missed": (line(), Recommendation.HOLD),
    "unknown": (line(verdict=Verdict.NO_DATA, miss=Miss.POSSIBLE), Recommendation.HOLD),
    "met": (line(verdict=Verdict.PASS), Recommendation.PROCEED),
}
ANY = st.builds(
    Line,
    key=st.sampled_from("abcdef"),
    title=st.just("A line"),
    nature=st.sampled_from(Nature),
    clause=st.sampled_from(Clause),
    verdict=st.sampled_from(Verdict),
    sentence=st.just("said"),
    miss=st.sampled_from(Miss),
    worse=st.booleans(),
    in_scope=st.booleans(),
)


def test_table__every_row__has_a_line_to_which_it_applies() -> None:
    assert [row.key for row in domain.TABLE] == list(EXAMPLES)
    for key, (one, follows) in EXAMPLES.items():
        assert (row_of(one).key, row_of(one).follows) == (key, follows)
        found = recommend([GOOD, one])
        assert found.recommendation is follows
        assert found.reasons[0].row.key == key


def test_table__every_two_lines__the_worse_decides_and_comes_first() -> None:
    order = [row.key for row in domain.TABLE]
    for (first, (one, _)), (second, (other, _)) in product(EXAMPLES.items(), repeat=2):
        found = recommend([GOOD, one, replace(other, key="second")])
        follows = [EXAMPLES[key][1] for key in (first, second)]
        assert found.recommendation is min(follows, key=domain.WORST_OF.index)
        assert found.reasons[0].row.key == min(first, second, key=order.index)


@pytest.mark.parametrize(
    ("one", "row"),
    [
        (line(Nature.SECURITY, Verdict.NO_DATA), "unknown"),
        (line(Nature.SECURITY, Verdict.ERROR), "unknown"),
        (line(Nature.RISE, worse=False, miss=Miss.POSSIBLE), "missed"),
        (line(Nature.RISE, Verdict.PASS, miss=Miss.POSSIBLE), "met"),
        (line(Nature.RISE, Verdict.PASS, worse=True), "met"),
        (line(Nature.CRASHES, worse=True), "missed"),
        (line(Nature.FALL, Verdict.PASS, miss=Miss.POSSIBLE), "met"),
        (line(miss=Miss.POSSIBLE), "missed-possibly"),
        (line(Nature.HOURS, Verdict.INSUFFICIENT), "unknown"),
        (line(verdict=Verdict.INSUFFICIENT, miss=Miss.CERTAIN), "missed-certainly"),
        (line(verdict=Verdict.STALE), "unknown"),
    ],
)
def test_table__what_lies_between__takes_the_row_it_should(one: Line, row: str) -> None:
    assert row_of(one).key == row


@given(st.lists(ANY), ANY)
def test_recommend__one_more_line__never_improves_what_is_recommended(some: list[Line], one: Line) -> None:
    before, after = recommend([GOOD, *some]), recommend([GOOD, *some, one])
    assert domain.WORST_OF.index(after.recommendation) <= domain.WORST_OF.index(before.recommendation)


@given(st.lists(ANY), ANY)
def test_recommend__a_line_made_worse__never_improves_what_is_recommended(some: list[Line], one: Line) -> None:
    worse = replace(one, verdict=Verdict.FAIL, worse=True, miss=Miss.CERTAIN)
    before, after = recommend([GOOD, one, *some]), recommend([GOOD, worse, *some])
    assert domain.WORST_OF.index(after.recommendation) <= domain.WORST_OF.index(before.recommendation)


@given(st.lists(ANY))
def test_recommend__always_says_why_in_the_tables_order(some: list[Line]) -> None:
    found = recommend(some)
    order = [domain.TABLE.index(one.row) for one in found.reasons if one.row in domain.TABLE]
    assert found.reasons
    assert order == sorted(order)
    assert found.recommendation is min((one.row.follows for one in found.reasons), key=domain.WORST_OF.index)
    assert (found.recommendation is Recommendation.PROCEED) is (not found.against)
    assert found.sentence


def test_recommend__nothing_in_scope__holds() -> None:
    hours = line(Nature.HOURS, Verdict.PASS)
    for some in ([], [hours], [replace(GOOD, in_scope=False), hours]):
        found = recommend(some)
        assert found.recommendation is Recommendation.HOLD
        assert "nothing speaks for it" in found.sentence


def test_need__going_on_against_it__takes_a_reason() -> None:
    hold, proceed = recommend([line()]), recommend([GOOD])
    assert domain.need(proceed, "", phase=1).met
    missing = domain.need(hold, "", phase=1)
    assert (missing.met, "say why you disagree" in missing.sentence) == (False, True)
    said = domain.need(hold, "The lab says otherwise.", phase=1)
    assert (said.met, "The lab says otherwise." in said.sentence) == (True, True)
    assert domain.need(None, "", phase=1).met


# ---- from numbers to lines ----


def rule(**given: Any) -> Any:
    """A criterion of a decision."""
    known = {
        "key": "decision-x",
        "title": "X",
        "purpose": "go/no-go",
        "metric": metrics.MEMORY,
        "aggregate": "mean",
        "window": "48h",
        "comparator": "<",
        "threshold": "1000 MB",
        "serves": "Proceed",
    }
    return criterion({**known, **given})


def spread(middle: float, count: int, width: float = 0.05) -> Distribution:
    """Observations evenly around a middle."""
    values = [middle * (1 - width + 2 * width * index / max(1, count - 1)) for index in range(count)]
    if not values:
        return Distribution()
    return Distribution((count, sum(values), sum(value * value for value in values), min(values), max(values)))


def side(middle: float, count: int, width: float = 0.05) -> Side:
    """The same, each of another device."""
    values = np.array([middle * (1 - width + 2 * width * index / max(1, count - 1)) for index in range(count)])
    return Side(spread(middle, count, width), panel=PerDevice.summed(values, np.ones(count)))


def happened(events: int, devices: int) -> PerDevice:
    """Devices with one session each, of which some crashed."""
    return PerDevice.summed(np.array([1.0] * events + [0.0] * (devices - events)), np.ones(devices))


def judged(one: Any, numbers: Numbers, **given: Any) -> lines.Shown:
    """Judge it at noon."""
    return lines.judged(Measured(one, numbers, **given), now=NOON, missed_most=0.2, live=timedelta(hours=10))


def test_miss__of_a_mean__is_told_by_the_interval_and_never_by_the_point() -> None:
    cases = {
        (900e6, 400, 0.05): (Verdict.PASS, Miss.SAFE),
        (1_100e6, 400, 0.05): (Verdict.FAIL, Miss.SAFE),
        (1_400e6, 400, 0.05): (Verdict.FAIL, Miss.CERTAIN),
        (1_400e6, 35, 0.9): (Verdict.FAIL, Miss.POSSIBLE),
        (990e6, 35, 0.95): (Verdict.PASS, Miss.POSSIBLE),
    }
    for (middle, count, width), (verdict, miss) in cases.items():
        found = judged(rule(), Numbers(side(middle, count, width), at=NOON))
        assert (found.line.verdict, found.line.miss) == (verdict, miss), found
        assert found.interval.startswith("(from ")
        assert found.formula
        assert found.turns
    possible = judged(rule(), Numbers(side(990e6, 35, 0.95), at=NOON))
    assert possible.settles is not None
    assert possible.line.soon.startswith("About ")
    few = judged(rule(), Numbers(side(900e6, 10), at=NOON))
    assert (few.line.verdict, few.line.soon) == (
        Verdict.INSUFFICIENT,
        "30 devices are needed; 10 report, and no more come unless more are served.",
    )


def test_quantile__interval_holds_the_true_value__and_is_open_where_too_few() -> None:
    columns = [(2_560 + 1 + 30 + index, 10) for index in range(40)]
    found = Distribution.of_columns((400, 1.0, 1.0, 1e-30, 1e30), columns)
    one = intervals.interval(
        rule(aggregate="p95", metric="gen_ai.client.operation.duration", threshold="3 s"),
        Numbers(Side(found, panel=happened(0, 400))),
    )
    assert one.low < one.estimate < one.high
    few = Distribution.of_columns((20, 1.0, 1.0, 1e-30, 1e30), columns[:2])
    open_ended = intervals.interval(
        rule(aggregate="p95", metric="gen_ai.client.operation.duration", threshold="3 s"),
        Numbers(Side(few, panel=happened(0, 20))),
    )
    assert open_ended.high == float("inf")
    assert Distribution.of_columns((400, 1.0, 1.0, 0.0, 9.0), columns).columns() == columns


def test_share__without_an_event__is_safe_from_the_rule_of_three_on() -> None:
    one = rule(metric="app.crashes", of="app.sessions", aggregate="ratio", threshold="0.1 %", samples=3000)
    for sessions, miss in ((2_000, Miss.POSSIBLE), (3_000, Miss.SAFE)):
        whole = Distribution((1, float(sessions), 0.0, 0.0, 0.0))
        found = judged(one, Numbers(Side(Distribution(), whole, panel=happened(0, sessions)), at=NOON))
        assert found.line.miss is miss
        assert found.line.nature is Nature.CRASHES


def test_rise__a_control_without_crashes__is_judged_all_the_same() -> None:
    one = rule(
        metric="app.crashes", of="app.sessions", aggregate="change of means", against="control", arm="treatment",
        comparator="<=", threshold="5 %", samples=3000,
    )  # fmt: skip

    def crashed(count: int, sessions: float = 20_000) -> lines.Shown:
        whole = Distribution((1, sessions, 0.0, 0.0, 0.0))
        events = Distribution((count, float(count), float(count), 1.0, 1.0)) if count else Distribution()
        own, other = (happened(number, round(sessions)) for number in (count, 0))
        both = Side(events, whole, panel=own), Side(Distribution(), whole, panel=other)
        return judged(one, Numbers(*both, at=NOON))

    assert crashed(0).line.verdict is Verdict.PASS
    assert crashed(0, 100).line.verdict is Verdict.INSUFFICIENT
    assert crashed(1).line.verdict is Verdict.INSUFFICIENT
    many = crashed(12).line
    assert (many.verdict, many.worse, row_of(many).key) == (Verdict.FAIL, True, "crashes")


def test_fall__the_interval_of_a_change__excludes_zero_or_does_not() -> None:
    one = rule(
        metric="app.user.satisfaction", aggregate="interval of change", against="control", arm="treatment",
        comparator=">=", threshold="0 %",
    )  # fmt: skip
    above = replace(one, comparator=type(one.comparator)(">"))
    for change, verdict, improved in (
        (1.0, Verdict.PASS, Verdict.INSUFFICIENT),
        (0.9, Verdict.FAIL, Verdict.FAIL),
        (1.1, Verdict.PASS, Verdict.PASS),
    ):
        numbers = Numbers(side(4 * change, 500, 0.2), side(4, 500, 0.2), at=NOON)
        assert judged(one, numbers).line.verdict is verdict
        assert judged(above, numbers).line.verdict is improved
    few = Numbers(side(3, 10), side(4, 10), at=NOON)
    assert judged(one, few).line.verdict is Verdict.INSUFFICIENT
    alone = judged(one, Numbers(side(3, 100), Side(), at=NOON)).line
    assert (alone.verdict, "nothing to compare with" in alone.sentence) == (Verdict.NO_DATA, True)


def test_range__a_mean_far_outside_what_is_normal__is_certainly_missed() -> None:
    one = rule(
        metric="process.cpu.utilization",
        aggregate="normal range",
        against="baseline",
        arm="treatment",
        comparator="<=",
        threshold="98 %",
    )
    usual = tuple(0.3 + 0.001 * index for index in range(150))
    for middle, verdict, miss in (
        (0.37, Verdict.PASS, Miss.SAFE),
        (0.46, Verdict.FAIL, Miss.SAFE),
        (0.9, Verdict.FAIL, Miss.CERTAIN),
    ):
        found = judged(one, Numbers(side(middle, 300), usual=usual, at=NOON))
        assert (found.line.verdict, found.line.miss) == (verdict, miss)
    assert judged(one, Numbers(side(0.37, 300), usual=usual[:50], at=NOON)).line.verdict is Verdict.NO_DATA


def test_scope__what_nobody_has__drops_out_and_is_listed() -> None:
    found = judged(rule(where_available=True), Numbers(), scope="not in scope: 0 of 9 devices")
    assert (found.line.in_scope, found.line.sentence) == (False, "not in scope: 0 of 9 devices")
    simulated = judged(rule(), Numbers(), allowed=False).line
    assert (simulated.in_scope, "wrong subject" in simulated.sentence) == (True, True)


def test_lines_of_hours_incidents_and_rollbacks__say_what_they_count() -> None:
    full = Clock(NOON, NOON, timedelta(hours=48), timedelta(hours=50), NOON, NOON, NOON)
    assert lines.hours_line(full, timedelta(hours=48), 1).line.verdict is Verdict.PASS
    half = replace(full, live=timedelta(hours=20), done_at=None)
    assert lines.hours_line(half, timedelta(hours=48), 1).line.soon.startswith("Full on 29 Nov")
    assert lines.hours_line(None, timedelta(hours=48), 1).line.verdict is Verdict.INSUFFICIENT
    found = lines.incidents_line([Critical("Crash loop", NOON)], NOON).line
    assert (found.verdict, "“Crash loop”" in found.sentence) == (Verdict.FAIL, True)
    assert lines.rollbacks_line([], NOON).line.verdict is Verdict.PASS


@given(st.integers(0, 300), st.integers(0, 300), st.booleans())
def test_numbers__as_plain_data__give_the_same_reading_again(own: int, other: int, buckets: bool) -> None:
    observed = (
        Distribution.of_columns((own, 3.7e21, 1e-7, 0.1, 8.0), [(2_700, own), (2_720, 1)])
        if buckets
        else spread(4.3, own)
    )
    both = Numbers(Side(observed, spread(9, other), own), Side(spread(2, other)), (0.1, 0.2), own, NOON)
    assert raw.document(raw.numbers_of(raw.document(both))) == raw.document(both)
    numbers = replace(both, own=replace(both.own, whole=None))
    for aggregate in (Aggregate.MEAN, Aggregate.P95, Aggregate.MAX, Aggregate.COUNT, Aggregate.CHANGE, Aggregate.RANGE):
        one = replace(rule(), aggregate=aggregate)
        again = raw.numbers_of(raw.document(numbers))
        assert raw.document(again) == raw.document(numbers)
        assert raw.reading(one, again) == raw.reading(one, numbers)
