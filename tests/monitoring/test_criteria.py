"""Criteria: read from a file with its lines, judged with their numbers, edited with a history."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawkops.core.errors import Conflict, InvalidInput
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from monitoring import thresholds
from monitoring.domain import criteria as domain
from monitoring.domain.criteria import Aggregate, Comparator, Criterion, Purpose, Reading
from monitoring.models import DeviceHour, StoredCriterion
from monitoring.selectors import criteria as selectors
from monitoring.services.criteria import criteria_seed, criterion_reset, criterion_save
from tests.monitoring.rows import stored

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


def test_file__every_number_of_the_runbook_is_in_it() -> None:
    found = {one.key: one for one in thresholds.load()}

    assert found["alert-latency"].threshold == 5.0
    assert found["alert-memory"].threshold == 1_800_000_000
    assert found["validation-memory-peak"].threshold == 2_000_000_000
    assert found["alert-switches"].threshold == 10
    assert found["validation-task-completion"].threshold == pytest.approx(0.95)
    assert found["validation-crash-rate"].threshold == pytest.approx(0.001)
    assert found["validation-satisfaction"].threshold == 4.5
    assert found["security-model-validations"].threshold == 5
    assert found["alert-cpu-throughput"].threshold is None
    assert {one.purpose for one in found.values()} == set(Purpose)


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
    from dataclasses import replace

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


@given(
    st.sampled_from(list(Comparator)),
    st.floats(0.1, 1e6),
    st.floats(0.1, 1e6),
    st.integers(1, 1000),
)
def test_judge__fails_exactly_when_the_threshold_is_not_met(
    comparator: Comparator, value: float, threshold: float, count: int
) -> None:
    from dataclasses import replace

    one = replace(made(), comparator=comparator, threshold=threshold, samples=1)
    found = domain.judge(one, Reading(value, count, 1, NOW), now=NOW)

    assert (found.verdict is Verdict.PASS) == comparator.holds(value, threshold)
    assert (found.missed > 0 or value == threshold) == (found.verdict is Verdict.FAIL) or found.verdict is Verdict.PASS


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
    assert found.judgement.sentence == "not in scope: 0 of 1 devices ran on npu"


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
    assert "missed by 200" in found.judgement.sentence


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

    with django_assert_max_num_queries(18):
        selectors.evaluate("demo", wanted, now=NOW)


# ---- editing ----


@pytest.mark.django_db
def test_seed__again__changes_nothing_and_leaves_edits_alone() -> None:
    assert criteria_seed(actor=ME) == len(thresholds.load()) + len(thresholds.load_profiles())
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
