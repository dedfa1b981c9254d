"""Criteria: read from a file with its lines, judged with their numbers, edited with a history."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from monitoring import thresholds
from monitoring.domain import criteria as domain
from monitoring.domain.arms import Arm
from monitoring.domain.criteria import Aggregate, Comparator, Criterion, Reading
from monitoring.models import Alert, DeviceHour, PanelHour, StoredCriterion
from monitoring.selectors import criteria as selectors
from monitoring.selectors.telemetry import Population
from monitoring.services.alerts import alerts_evaluate
from monitoring.services.criteria import criteria_seed, criterion_reset, criterion_save
from tests.monitoring.conftest import Running
from tests.monitoring.payloads import DEVICE, Payload
from tests.monitoring.rows import in_panel, seen, stored

ME = Actor("person:1", "approver-1")
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PLAIN = {
    "key": "alert-latency",
    "title": "Latency",
    "purpose": "alert",
    "metric": "gen_ai.client.operation.duration",
    "aggregate": "p95",
    "window": "5m",
    "comparator": "<",
    "threshold": "5000 ms",
    "serves": "the runbook",
}


def made(**changes: Any) -> Criterion:
    return domain.criterion({**PLAIN, **changes})


# ---- from data ----


def test_file__written_and_read_again__is_the_same() -> None:
    found = thresholds.load()

    assert thresholds.loads(thresholds.dumps(found).encode(), name="again.yaml") == found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metric": "litert.speed"}, "not in the catalogue"),
        ({"aggregate": "p42"}, "is no aggregate"),
        ({"window": "5 minutes"}, "is no span"),
        ({"window": "30d"}, "outside"),
        ({"threshold": "5000 MB"}, "does not fit"),
        ({"threshold": "fast"}, "is no threshold"),
        ({"threshold": "profile"}, "only throughput has profiles"),
        ({"comparator": ">="}, "would demand the opposite"),
        ({"comparator": "=="}, "is no comparator"),
        ({"aggregate": "ratio"}, "needs `of`"),
        ({"aggregate": "count"}, "is no counter"),
        ({"metric": "litert.inferences"}, "has no percentile"),
        ({"backends": ["tpu"]}, "not one of cpu"),
        ({"samples": 0}, "whole number from 1"),
        ({"samples": True}, "whole number from 1"),
        ({"where_available": "yes"}, "true or false"),
        ({"key": "Alert Latency"}, "is no key"),
        ({"colour": "red"}, "no part of a criterion"),
        ({"serves": ""}, "serves is missing"),
        ({"phases": 1}, "no list of phases"),
        ({"phases": [1, 7]}, "no phase"),
        ({"title": "La\x00tency"}, "can't be stored"),
        ({"action": "wake\x00up"}, "can't be stored"),
        ({"threshold": "1.2.3 s"}, "is no number"),
        ({"threshold": f"{'9' * 400} s"}, "is beyond"),
        ({"arm": "everybody"}, "is no arm"),
        ({"against": "control"}, "has no `against`"),
        ({"aggregate": "change of means", "comparator": "<=", "threshold": "5 %"}, "needs `against`"),
        (
            {"aggregate": "change of means", "comparator": "<=", "threshold": "5 %", "against": "control"},
            "write arm: treatment",
        ),
        ({"comparator": ">"}, "only an interval|would demand the opposite"),
    ],
)
def test_criterion__unfit__says_what_and_where(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(domain.Unfit, match=words):
        made(**changes)


def test_criterion__floor_written_as_p95__is_told_to_be_p5() -> None:
    with pytest.raises(domain.Unfit, match="write p5"):
        made(metric="litert.prefill.throughput", comparator=">=", threshold="243 tok/s")


def test_file__error__names_its_line(tmp_path: Path) -> None:
    text = thresholds.dumps([made()]).replace("5000 ms", "5000 parsecs")

    with pytest.raises(InvalidInput, match=r"mine\.yaml, line 4: .*parsecs"):
        thresholds.loads(text.encode(), name="mine.yaml")
    with pytest.raises(InvalidInput, match=r"line 2: .*stands here twice"):
        thresholds.loads(b"version: 1\nversion: 1\n", name="x")
    with pytest.raises(InvalidInput, match="begins with"):
        thresholds.loads(b"criteria: []", name="x")


@given(st.floats(0.001, 1e9, allow_nan=False), st.sampled_from(["s", "By"]))
def test_threshold__written_and_read_again__keeps_six_digits(value: float, unit: str) -> None:
    metric = {"s": "gen_ai.client.operation.duration", "By": "litert.memory.peak"}[unit]
    one = made(metric=metric, threshold="1 s" if unit == "s" else "1 MB")
    again = domain.criterion(domain.document(replace(one, threshold=value)))

    assert again.threshold == pytest.approx(value, rel=1e-5)


def test_sentence__says_the_rule_in_words() -> None:
    assert made().sentence() == "p95 of inference latency stays below 5\u202fs over 5\u202fmin"


# ---- judging ----


@pytest.mark.parametrize(
    ("value", "count", "verdict"),
    [
        (4.999, 30, Verdict.PASS),
        (5.0, 30, Verdict.FAIL),
        (6.0, 30, Verdict.FAIL),
        (4.0, 29, Verdict.INSUFFICIENT),
        (9.0, 29, Verdict.INSUFFICIENT),
    ],
)
def test_judge__at_its_edge_and_with_few_samples(value: float, count: int, verdict: Verdict) -> None:
    found = domain.judge(made(), Reading(value, count, 3, NOW), now=NOW)

    assert found.verdict is verdict
    assert "5\u202fs" in found.sentence


def test_judge__nothing_or_nothing_any_more__never_passes() -> None:
    never = domain.judge(made(), Reading(None), now=NOW)
    gone = domain.judge(made(), Reading(None, at=NOW - timedelta(minutes=20)), now=NOW)
    wrong = domain.judge(made(), Reading(1.0, 99, 1, NOW), now=NOW, allowed=False)

    assert (never.verdict, gone.verdict, wrong.verdict) == (Verdict.NO_DATA, Verdict.STALE, Verdict.NO_DATA)
    assert "20\u202fmin" in gone.sentence


@pytest.mark.parametrize(
    ("value", "comparator", "threshold", "words"),
    [
        (6.0, "<", 5.0, "missed by 20.0\u202f%"),
        (5.0, "<", 5.0, "exactly at the limit"),
        (19.92, "<", 5.0, "4.0 times the limit"),
        (6_172.5, "<", 5.0, "1\u202f234 times the limit"),
        (3.0, "≤", 0.0, "missed"),
        (-0.3, "≥", -0.05, "6.0 times the limit"),
        (-0.3, "≥", 0.05, "missed"),
        (0.0, "≥", 5.0, "missed by 100.0\u202f%"),
    ],
)
def test_judge__a_miss__is_said_in_percent_and_from_double_on_in_times(
    value: float, comparator: str, threshold: float, words: str
) -> None:
    one = replace(made(), comparator=Comparator(comparator), threshold=threshold)

    assert domain.judge(one, Reading(value, 30, 3, NOW), now=NOW).sentence.endswith(f"devices, {words}")


@given(
    st.sampled_from(list(Comparator)),
    st.floats(0.1, 1e6),
    st.floats(0.1, 1e6),
    st.integers(1, 1000),
)
def test_judge__fails_exactly_when_the_threshold_is_not_met(
    comparator: Comparator, value: float, threshold: float, count: int
) -> None:
    one = replace(made(), comparator=comparator, threshold=threshold, samples=1)
    found = domain.judge(one, Reading(value, count, 1, NOW), now=NOW)

    assert (found.verdict is Verdict.PASS) == comparator.holds(value, threshold)
    assert (found.missed > 0 or value == threshold) == (found.verdict is Verdict.FAIL) or found.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("events", "count", "verdict"),
    [
        # five crashes in a hundred sessions are no chance where one in a thousand is allowed; one is
        (5, 100, Verdict.FAIL),
        (1, 100, Verdict.INSUFFICIENT),
        (0, 2_999, Verdict.INSUFFICIENT),
        (3, 2_999, Verdict.INSUFFICIENT),
        (0, 3_000, Verdict.PASS),
        (4, 3_000, Verdict.FAIL),
    ],
)
def test_judge__share_of_rare_events__neither_cries_wolf_nor_sleeps(events: int, count: int, verdict: Verdict) -> None:
    one = made(
        metric="app.crashes", of="app.sessions", aggregate="ratio", threshold="0.1 %", comparator="<", samples=3_000
    )

    assert domain.judge(one, Reading(events / count, count, 9, NOW), now=NOW).verdict is verdict


def test_judge__one_observation_above_a_maximum__is_enough() -> None:
    one = made(metric="litert.memory.usage", aggregate="max", threshold="1800 MB")

    assert domain.judge(one, Reading(2e9, 1, 1, NOW), now=NOW).verdict is Verdict.FAIL
    assert domain.judge(one, Reading(1e9, 1, 1, NOW), now=NOW).verdict is Verdict.INSUFFICIENT


# ---- over stored telemetry ----


@pytest.mark.django_db
def test_evaluate__percentile_of_local_inferences__without_the_cloud() -> None:
    stored("gen_ai.client.operation.duration", [0.5] * 96 + [8.0] * 4, at=NOW - timedelta(minutes=1), actual="cpu")
    stored("gen_ai.client.operation.duration", [60.0] * 50, at=NOW - timedelta(minutes=1), actual="cloud")
    one = made(backends=["cpu", "gpu", "npu"])

    (found,) = selectors.evaluate("demo", [one], now=NOW)

    assert found.judgement.verdict is Verdict.PASS, found.judgement.sentence
    assert found.reading.count == 100


@pytest.mark.django_db
def test_evaluate__profile__judges_each_class_by_its_own_floor() -> None:
    for device_class, speed in (("snapdragon-8-gen3", 200.0), ("snapdragon-8-elite", 300.0), ("exynos-1480", 30.0)):
        stored(
            "litert.prefill.throughput",
            [speed] * 40,
            at=NOW - timedelta(minutes=1),
            actual="cpu",
            device_class=device_class,
        )
    one = made(
        metric="litert.prefill.throughput", backends=["cpu"], aggregate="p5", comparator=">=", threshold="profile"
    )

    (found,) = selectors.evaluate("demo", [one], now=NOW)

    assert found.judgement.verdict is Verdict.FAIL
    assert found.judgement.sentence.startswith("snapdragon-8-gen3 cpu: ")
    assert "1 of 2 judged classes pass" in found.judgement.sentence
    assert "1 without absolute target" in found.judgement.sentence


@pytest.mark.django_db
def test_evaluate__backend_that_nobody_has__is_not_in_scope() -> None:
    stored("litert.inferences", [1.0] * 5, at=NOW - timedelta(minutes=1), actual="cpu")
    DeviceHour.objects.create(environment="demo", hour_at=NOW, device_id="d", device_class="x", simulated=False)
    one = made(
        metric="litert.prefill.throughput",
        backends=["npu"],
        aggregate="p5",
        comparator=">=",
        threshold="profile",
        where_available=True,
    )

    (found,) = selectors.evaluate("demo", [one], now=NOW)

    assert (found.judgement.verdict, found.judgement.in_scope) == (Verdict.NO_DATA, False)
    assert found.judgement.sentence == "not in scope: 0 of 1 devices asked for or ran on npu in 24\u202fh"


@pytest.mark.django_db
def test_evaluate__ratio__is_of_the_whole() -> None:
    stored("litert.inferences", [1.0] * 97, at=NOW - timedelta(minutes=1), outcome="ok")
    stored("litert.inferences", [1.0] * 3, at=NOW - timedelta(minutes=1), outcome="oom")
    one = made(
        metric="litert.inferences",
        aggregate="ratio",
        of="litert.inferences",
        not_outcomes=["", "ok"],
        threshold="1 %",
    )

    (found,) = selectors.evaluate("demo", [one], now=NOW)

    assert found.reading.value == pytest.approx(0.03)
    assert found.judgement.verdict is Verdict.FAIL
    assert found.judgement.sentence.endswith("3.0 times the limit")


@pytest.mark.django_db
def test_evaluate__more_tasks_ended_in_the_window_than_began__is_all_of_them_and_says_why() -> None:
    at = NOW - timedelta(minutes=5)
    stored("app.tasks.started", [1.0] * 1_100, at, variant="on")
    stored("app.tasks.completed", [1.0] * 1_101, at, variant="on")

    (found,) = selectors.evaluate("demo", [of_file("validation-task-completion")], now=NOW)

    assert found.reading.value == 1.0
    assert found.judgement.verdict is Verdict.PASS
    assert "1\u202f101 tasks completed on 1\u202f100 tasks started: some began before" in found.judgement.sentence


def test_share__of_what_it_is_no_part_of__may_be_more_than_all() -> None:
    one = made(metric="app.support_tickets", of="app.sessions", aggregate="ratio", threshold="300 %")

    assert domain.share(one, 5.0, 2.0) == 2.5
    assert domain.share(one, 5.0, 0.0) is None
    assert not domain.more_than_all(one, 5.0, 2.0)


@pytest.mark.django_db
def test_evaluate__counter_that_never_moved__is_zero_once_anything_reports() -> None:
    one = made(metric="app.crashes", aggregate="count", window="1h", comparator="<=", threshold=0, samples=1)
    (before,) = selectors.evaluate("demo", [one], now=NOW)
    stored("litert.inferences", [1.0], at=NOW - timedelta(minutes=1))
    (after,) = selectors.evaluate("demo", [one], now=NOW)

    assert (before.judgement.verdict, after.judgement.verdict) == (Verdict.NO_DATA, Verdict.PASS)


@pytest.mark.django_db
def test_evaluate__simulated_devices__count_in_demo_only() -> None:
    for environment in ("demo", "production"):
        stored(
            "gen_ai.client.operation.duration",
            [1.0] * 50,
            at=NOW - timedelta(minutes=1),
            simulated=True,
            environment=environment,
        )

    (demo,) = selectors.evaluate("demo", [made()], now=NOW)
    (production,) = selectors.evaluate("production", [made()], now=NOW)

    assert (demo.judgement.verdict, demo.simulated) == (Verdict.PASS, True)
    assert production.judgement.sentence == "wrong subject: simulated devices, not judged here"


@pytest.mark.django_db
def test_evaluate__all_criteria__in_a_handful_of_queries(django_assert_max_num_queries: Any) -> None:
    stored("litert.inferences", [1.0], at=NOW)
    wanted = thresholds.load()

    # those that judge an interval ask the panel, one query each
    with django_assert_max_num_queries(20):
        selectors.evaluate("demo", wanted, now=NOW)


# ---- arms ----


@pytest.mark.django_db
def test_rollout_at_one_percent__every_treated_device_switches_each_five_seconds__fails() -> None:
    """A hundred devices, one of them treated: spread over all it would be 7.2 switches per device and hour."""
    for number in range(100):
        seen(f"d{number}", NOW - timedelta(minutes=30), variant="off" if number else "on")
    stored("litert.inferences", [1.0] * 50, NOW - timedelta(minutes=5), variant="off")
    for minute in range(60):
        stored("litert.backend.switches", [1.0] * 12, NOW - timedelta(minutes=minute), variant="on")
    (one,) = [one for one in thresholds.load() if one.key == "alert-switches"]

    (found,) = selectors.evaluate("demo", [one], now=NOW)

    assert found.judgement.verdict is Verdict.FAIL, found.judgement.sentence
    assert found.reading.devices == 1
    assert found.reading.value == pytest.approx(720)


@pytest.mark.django_db
def test_one_look__judged_part_by_part__is_what_a_look_at_each_part_says() -> None:
    at = NOW - timedelta(minutes=1)
    for number in range(30):
        seen(f"d{number}", at, variant="off" if number else "on")
    stored("litert.backend.switches", [1.0] * 720, at, variant="on")
    stored("litert.backend.switches", [1.0] * 29, at, variant="off")
    wanted = [of_file("alert-switches")]
    everybody = selectors.Evaluation("demo", wanted, population=None, now=NOW)

    for side, value in ((Arm.TREATMENT, 720), (Arm.CONTROL, 1)):
        one_side = Population("", "", arm=side)
        (part,) = everybody.of_population(one_side)
        apart = selectors.Evaluation("demo", wanted, population=one_side, now=NOW)
        (of_class,) = apart.of_class("synthetic-host", simulated=False)
        (alone,) = apart.all()

        assert alone.reading.value == pytest.approx(value)
        assert part.reading == of_class.reading == alone.reading, side


@pytest.mark.fresh_database
def test_rollout_at_one_percent__through_the_door__the_switches_are_those_of_the_treated(door: Running) -> None:
    for number in range(100):
        served = {"litert.backend.actual": "cpu", "feature_flag.result.variant": "off" if number else "on"}
        body = Payload({**DEVICE, "device.id": f"d{number}"}).sum("litert.inferences", 3, served)
        if number == 0:
            body.sum("litert.backend.switches", 720, served)
        assert door.post(body.body).status_code == 200

    (found,) = selectors.evaluate("demo", [of_file("alert-switches")])

    assert found.judgement.verdict is Verdict.FAIL, found.judgement.sentence
    assert found.reading.devices == 1


@pytest.mark.django_db
def test_rollout_at_one_percent__a_third_of_its_inferences_fails__is_not_diluted_by_the_control() -> None:
    at = NOW - timedelta(minutes=1)
    stored("litert.inferences", [1.0] * 200, at, variant="on", outcome="ok")
    stored("litert.inferences", [1.0] * 100, at, variant="on", outcome="oom")
    stored("litert.inferences", [1.0] * 29_700, at, variant="off", outcome="ok")
    (one,) = [one for one in thresholds.load() if one.key == "alert-error-rate"]

    (found,) = selectors.evaluate("demo", [one], now=NOW)
    (control,) = selectors.evaluate("demo", [one], population=Population("", "", arm=Arm.CONTROL), now=NOW)

    assert found.judgement.verdict is Verdict.FAIL
    assert found.reading.value == pytest.approx(1 / 3)
    assert (control.judgement.verdict, control.reading.count) == (Verdict.PASS, 29_700)


@pytest.mark.django_db
def test_device_that_did_not_say__counts_as_treatment_and_the_sentence_says_so() -> None:
    at = NOW - timedelta(minutes=1)
    stored("litert.inferences", [1.0] * 400, at, outcome="oom")
    (one,) = [one for one in thresholds.load() if one.key == "alert-error-rate"]

    (found,) = selectors.evaluate("demo", [one], now=NOW)

    assert found.judgement.verdict is Verdict.FAIL
    assert "in treatment (or that did not say)" in one.sentence()


@pytest.mark.django_db
def test_crash_of_the_control__is_no_crash_of_litert() -> None:
    at = NOW - timedelta(minutes=1)
    (one,) = [one for one in thresholds.load() if one.key == "phase-no-crashes"]
    stored("litert.inferences", [1.0] * 400, at, variant="on", outcome="ok")
    stored("app.crashes", [1.0], at, variant="off")
    (before,) = selectors.evaluate("demo", [one], now=NOW)
    stored("app.crashes", [1.0], at, variant="on")
    (after,) = selectors.evaluate("demo", [one], now=NOW)

    assert (before.judgement.verdict, after.judgement.verdict) == (Verdict.PASS, Verdict.FAIL)


# ---- comparisons ----


def of_file(key: str) -> Criterion:
    return next(one for one in thresholds.load() if one.key == key)


@pytest.mark.django_db
@pytest.mark.parametrize(("cloud", "verdict"), [(3.5, Verdict.PASS), (2.5, Verdict.FAIL)])
def test_three_times_as_fast__is_the_median_of_control_over_that_of_treatment(cloud: float, verdict: Verdict) -> None:
    at = NOW - timedelta(hours=3)
    stored("gen_ai.client.operation.duration", [1.0] * 80, at, actual="gpu", variant="on")
    stored("gen_ai.client.operation.duration", [cloud] * 80, at, actual="cloud", variant="off")
    stored("gen_ai.client.operation.duration", [0.01] * 900, at, actual="gpu")  # who did not say blurs nothing

    (found,) = selectors.evaluate("demo", [of_file("phase-3x")], now=NOW)

    assert found.judgement.verdict is verdict, found.judgement.sentence
    assert found.reading.value == pytest.approx(cloud, rel=0.03)
    assert "in control" in found.judgement.sentence


@pytest.mark.django_db
@pytest.mark.parametrize(("mean", "verdict"), [(4.4, Verdict.PASS), (4.18, Verdict.FAIL)])
def test_stable__is_not_worse_than_the_control_by_more_than_five_percent(mean: float, verdict: Verdict) -> None:
    at = NOW - timedelta(hours=3)
    stored("app.user.satisfaction", [mean] * 800, at, variant="on")
    stored("app.user.satisfaction", [4.5] * 799, at, variant="off")
    (few,) = selectors.evaluate("demo", [of_file("phase-satisfaction")], now=NOW)
    stored("app.user.satisfaction", [4.5], at, variant="off")
    (found,) = selectors.evaluate("demo", [of_file("phase-satisfaction")], now=NOW)

    assert few.judgement.verdict is Verdict.INSUFFICIENT, "the smaller side decides"
    assert found.judgement.verdict is verdict, found.judgement.sentence


@pytest.mark.django_db
def test_tickets__are_compared_per_device_of_each_side() -> None:
    at = NOW - timedelta(hours=3)
    for number in range(30):
        seen(f"d{number}", at, variant="on" if number < 10 else "off")
    stored("app.support_tickets", [1.0] * 1_000, at, variant="on")
    stored("app.support_tickets", [1.0] * 1_000, at, variant="off")

    (found,) = selectors.evaluate("demo", [of_file("validation-tickets")], now=NOW)

    assert found.reading.value == pytest.approx(1.0), "twice as many per device"
    assert found.judgement.verdict is Verdict.FAIL


@pytest.mark.django_db
def test_normal_range__is_told_by_the_hours_before_the_release() -> None:
    one, released = of_file("validation-processor"), NOW - timedelta(hours=48)
    metric = "process.cpu.utilization"
    stored(metric, [0.33] * 40, NOW - timedelta(hours=3), variant="on")
    (unknown,) = selectors.evaluate("demo", [one], now=NOW, released_at=released)
    for hour in range(1, 200):
        stored(metric, [0.30 + 0.001 * (hour % 50)], released - timedelta(hours=hour), width=3_600)
    (normal,) = selectors.evaluate("demo", [one], now=NOW, released_at=released)
    stored(metric, [0.9] * 40, NOW - timedelta(hours=2), variant="on")
    (odd,) = selectors.evaluate("demo", [one], now=NOW, released_at=released)

    assert unknown.judgement.verdict is Verdict.NO_DATA
    assert "what is normal is not known" in unknown.judgement.sentence
    assert normal.judgement.verdict is Verdict.PASS, normal.judgement.sentence
    assert odd.judgement.verdict is Verdict.FAIL, odd.judgement.sentence
    assert "normal 30\u202f% to 34.9\u202f%" in odd.judgement.sentence


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("key", "metric", "on", "off", "verdict"),
    [
        ("phase-engagement", "app.engagement.events", 12.0, 10.0, Verdict.PASS),
        ("phase-engagement", "app.engagement.events", 10.1, 10.0, Verdict.INSUFFICIENT),
        ("phase-engagement", "app.engagement.events", 8.0, 10.0, Verdict.FAIL),
        ("phase-business", "business.value", 12.0, 10.0, Verdict.PASS),
        # less is better
        ("phase-improvement", "gen_ai.client.operation.duration", 0.5, 0.9, Verdict.PASS),
        ("phase-improvement", "gen_ai.client.operation.duration", 0.9, 0.5, Verdict.FAIL),
        # only a fall beyond chance
        ("decision-satisfaction-fall", "app.user.satisfaction", 4.4, 4.5, Verdict.PASS),
        ("decision-satisfaction-fall", "app.user.satisfaction", 3.0, 4.5, Verdict.FAIL),
    ],
)
def test_interval__of_the_change__is_judged_at_the_end_that_matters(
    key: str, metric: str, on: float, off: float, verdict: Verdict
) -> None:
    (none,) = selectors.evaluate("demo", [of_file(key)], now=NOW)
    stored(metric, [on], NOW - timedelta(hours=3), variant="on")
    panel_of(metric, on, "on")
    (alone,) = selectors.evaluate("demo", [of_file(key)], now=NOW)
    panel_of(metric, off, "off")
    (found,) = selectors.evaluate("demo", [of_file(key)], now=NOW)

    assert none.judgement.verdict is Verdict.NO_DATA
    assert alone.judgement.verdict is Verdict.NO_DATA
    assert found.judgement.verdict is verdict, found.judgement.sentence
    assert found.reading.count == 60


@pytest.mark.django_db
def test_interval__few_devices__is_insufficient() -> None:
    panel_of("app.engagement.events", 20.0, "on", devices=8)
    panel_of("app.engagement.events", 10.0, "off", devices=8)

    (found,) = selectors.evaluate("demo", [of_file("phase-engagement")], now=NOW)

    assert found.judgement.verdict is Verdict.INSUFFICIENT


def panel_of(metric: str, mean: float, variant: str, *, devices: int = 60) -> None:
    """Keep a value of each device of one arm, spread a tenth around a mean."""
    for number in range(devices):
        row = in_panel(f"{variant}-{number}", metric, NOW - timedelta(hours=3), variant=variant, actual="gpu")
        PanelHour.objects.filter(pk=row.pk).update(total=mean * (0.9 + 0.2 * number / (devices - 1)))


@pytest.mark.django_db
def test_silent_fallback__is_a_share_of_the_classes_that_have_the_backend() -> None:
    at, elite = NOW - timedelta(minutes=20), "snapdragon-8-elite"
    # a class without an NPU asks for it as well: it lacks it, nothing fell back
    stored("litert.inferences", [1.0] * 9_000, at, requested="npu", actual="cpu", device_class="dimensity-7050")
    stored("litert.inferences", [1.0] * 400, at, requested="npu", actual="npu", device_class=elite)
    stored("litert.inferences", [1.0] * 100, at, requested="npu", actual="cpu", device_class=elite)
    (well,) = selectors.evaluate("demo", [of_file("alert-silent-fallback")], now=NOW)
    stored("litert.inferences", [1.0] * 500, at, requested="npu", actual="cpu", device_class=elite)
    (bad,) = selectors.evaluate("demo", [of_file("alert-silent-fallback")], now=NOW)

    assert (well.judgement.verdict, well.reading.count) == (Verdict.PASS, 500)
    assert well.reading.value == pytest.approx(0.2)
    assert bad.judgement.verdict is Verdict.FAIL
    assert bad.reading.value == pytest.approx(0.6)


# ---- scope ----


@pytest.mark.django_db
@pytest.mark.parametrize(("requested", "actual"), [("gpu", "gpu"), ("gpu", "cpu")])
def test_backend_that_hangs_or_runs_elsewhere__stays_in_scope_and_blocks(requested: str, actual: str) -> None:
    """Nothing was read on the GPU in the last minutes, but it was asked for an hour ago."""
    device_class = "snapdragon-8-gen3"
    seen("d", NOW, device_class=device_class)
    hours = NOW - timedelta(hours=1)
    stored("litert.inferences", [1.0], hours, requested=requested, actual=actual, device_class=device_class)
    stored(
        "litert.prefill.throughput",
        [2_000.0] * 90,
        hours,
        requested=requested,
        actual=actual,
        device_class=device_class,
    )
    now = [of_file("alert-gpu-throughput"), replace(of_file("gate-gpu"), window=timedelta(minutes=30))]

    for found in selectors.evaluate("demo", now, now=NOW):
        assert found.judgement.in_scope, found.judgement.sentence
        assert found.judgement.verdict in (Verdict.STALE, Verdict.NO_DATA)
        assert [label for label, _, _ in found.parts] == [f"{device_class} gpu"]


@pytest.mark.django_db
def test_class_whose_gpu_hangs__beside_one_that_works__blocks_a_gate_and_is_named_by_an_alert() -> None:
    for device_class, at in (("snapdragon-8-gen3", NOW), ("snapdragon-8-elite", NOW - timedelta(hours=20))):
        stored(
            "litert.prefill.throughput", [2_000.0] * 90, at, requested="gpu", actual="gpu", device_class=device_class
        )
    gate = replace(of_file("gate-gpu"), window=timedelta(hours=1))

    alert, blocked = selectors.evaluate("demo", [of_file("alert-gpu-throughput"), gate], now=NOW)

    assert (alert.judgement.verdict, blocked.judgement.verdict) == (Verdict.PASS, Verdict.STALE)
    assert "silent: snapdragon-8-elite gpu" in alert.judgement.sentence
    assert blocked.judgement.sentence.startswith("snapdragon-8-elite gpu")


@pytest.mark.django_db
def test_satisfaction_without_a_source__is_out_of_scope_and_in_it_once_there_was_one() -> None:
    seen("d", NOW)
    (before,) = selectors.evaluate("demo", [of_file("validation-satisfaction")], now=NOW)
    stored("app.user.satisfaction", [5.0] * 40, NOW - timedelta(days=4), width=600)
    (after,) = selectors.evaluate("demo", [of_file("validation-satisfaction")], now=NOW)

    assert (before.judgement.in_scope, after.judgement.in_scope) == (False, True)
    assert before.judgement.sentence == "not in scope: 0 of 1 devices reported app.user.satisfaction in 14\u202fd"
    assert after.judgement.verdict is Verdict.STALE


@pytest.mark.django_db
def test_stored_row_that_cannot_be_read__is_an_error_of_its_own_and_stops_no_alert() -> None:
    criteria_seed(actor=ME)
    StoredCriterion.objects.filter(key="alert-latency").update(document={"title": "Latency", "window": 5})
    stored("litert.memory.usage", [2e9] * 3, clock.now())

    alerts_evaluate(environments=("demo",))
    found = {one.criterion.key: one for one in selectors.evaluate("demo", selectors.criteria())}

    assert Alert.objects.filter(key="alert-memory").exists()
    assert found["alert-latency"].judgement.verdict is Verdict.ERROR
    assert "key is missing" in found["alert-latency"].judgement.sentence
    assert not Alert.objects.filter(key="alert-latency").exists()


# ---- editing ----


@pytest.mark.django_db
def test_seed__again__changes_nothing_and_leaves_edits_alone() -> None:
    rows = len(thresholds.load()) + len(thresholds.load_profiles()) + len(thresholds.load_sections())
    assert criteria_seed(actor=ME) == rows
    row = StoredCriterion.objects.get(key="alert-latency")
    criterion_save(
        document={**row.document, "threshold": "4 s"}, actor=ME, reason="Users notice", expected_revision=row.revision
    )

    assert criteria_seed(actor=ME) == 0
    row.refresh_from_db()
    assert (row.document["threshold"], row.drifted) == ("4000 ms", True)
    assert HistoryEntry.objects.filter(verb="criteria.seeded").count() == 1


@pytest.mark.django_db
def test_save__records_before_and_after__and_reset_goes_back() -> None:
    criteria_seed(actor=ME)
    row = StoredCriterion.objects.get(key="alert-latency")

    criterion_save(
        document={**row.document, "threshold": "4 s"}, actor=ME, reason="Users notice", expected_revision=row.revision
    )
    entry = HistoryEntry.objects.get(verb="criterion.changed")
    assert (entry.before["threshold"], entry.after["threshold"]) == ("5000 ms", "4000 ms")
    assert not criterion_reset(key="alert-latency", actor=ME, reason="The file was right").drifted


@pytest.mark.django_db
def test_save__somebody_was_faster_or_input_is_unfit__changes_nothing() -> None:
    criteria_seed(actor=ME)
    row = StoredCriterion.objects.get(key="alert-latency")
    entries = HistoryEntry.objects.count()

    with pytest.raises(Conflict):
        criterion_save(document={**row.document, "threshold": "4 s"}, actor=ME, reason="x", expected_revision=7)
    with pytest.raises(InvalidInput, match="threshold"):
        criterion_save(document={**row.document, "threshold": "4 kg"}, actor=ME, reason="x", expected_revision=1)
    with pytest.raises(InvalidInput, match="Say why"):
        criterion_save(document={**row.document, "threshold": "4 s"}, actor=ME, reason=" ", expected_revision=1)
    assert HistoryEntry.objects.count() == entries
    assert Aggregate.P95.quantile == 0.95
