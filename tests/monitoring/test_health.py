"""Health checks: each due moment once, hanging ones ended, silence of the scheduler visible."""

import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection

from hawkops.core.verdicts import Verdict
from hawkops.fleet.cloud import CloudStandIn
from monitoring.domain import health as domain
from monitoring.domain.health import HealthCheck, Tick
from monitoring.domain.thresholds import paces
from monitoring.models import Alert, HealthResult
from monitoring.selectors import health as selectors
from monitoring.services import alerts, health
from monitoring.thresholds import load_sections
from tests.fleet.standin import serving
from tests.monitoring.rows import stored

NOW = datetime(2026, 11, 20, 12, 0, 7, tzinfo=UTC)
CHECKS = domain.checks(paces(load_sections()["health"]))
BY_KEY = {check.key: check for check in CHECKS}
LITERT = BY_KEY["litert-availability"]


def tick(seconds: float, verdict: Verdict = Verdict.PASS) -> Tick:
    return Tick(NOW - timedelta(seconds=seconds), verdict, "said", 0.1)


def running() -> Tick:
    return Tick(NOW, Verdict.NO_DATA, "running", None, running=True)


def test_checks__intervals_and_timeouts__are_the_runbooks() -> None:
    said = {check.key: (check.interval.total_seconds(), check.timeout.total_seconds()) for check in CHECKS}

    assert said == {"litert-availability": (30, 10), "model-validation": (300, 30), "fallback": (600, 60)}


def test_due_at__is_the_same_moment_for_whoever_asks() -> None:
    moments = {LITERT.due_at(NOW + timedelta(seconds=second)) for second in range(22)}

    assert moments == {datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)}
    assert LITERT.due_at(NOW + timedelta(seconds=23)) == datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ticks", "verdict"),
    [
        ([], Verdict.NO_DATA),
        ([tick(30)], Verdict.PASS),
        ([tick(60, Verdict.FAIL), tick(30)], Verdict.PASS),
        ([tick(30, Verdict.FAIL), tick(60)], Verdict.FAIL),
        ([tick(70)], Verdict.PASS),
        ([tick(71)], Verdict.STALE),
        ([tick(71, Verdict.FAIL)], Verdict.STALE),
        ([tick(30, Verdict.FAIL), running()], Verdict.FAIL),
        ([running()], Verdict.NO_DATA),
    ],
)
def test_standing__results_that_stopped_coming__are_stale(ticks: list[Tick], verdict: Verdict) -> None:
    assert domain.standing(LITERT, ticks, NOW)[0] is verdict


def test_standing__never_run__is_stale_once_it_is_overdue() -> None:
    def verdict(seconds: float) -> Verdict:
        return domain.standing(LITERT, [], NOW, watched_since=NOW - timedelta(seconds=seconds))[0]

    assert [verdict(70), verdict(71)] == [Verdict.NO_DATA, Verdict.STALE]


@pytest.mark.django_db
def test_run__model_that_passed_and_vanished__fails(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([(Verdict.NO_DATA, "no key"), (Verdict.PASS, "verified"), (Verdict.NO_DATA, "the model is missing")])
    monkeypatch.setitem(health.LOOKS, "model-validation", lambda _check, _environment: next(found))
    results = []
    for minutes in (0, 5, 10):
        with time_machine.travel(NOW + timedelta(minutes=minutes), tick=False):
            row = health.health_run(key="model-validation", environment="")
            assert row is not None
            results.append(row)

    assert [row.verdict for row in results] == ["NO_DATA", "PASS", "FAIL"]
    assert results[2].sentence == "passed before, can't be measured now: the model is missing"


@pytest.mark.django_db
def test_availability__reports_or_a_real_inference_in_demo() -> None:
    with time_machine.travel(NOW, tick=False):
        assert health.LOOKS["litert-availability"](LITERT, "production")[0] is Verdict.NO_DATA
        stored("litert.inferences", [1.0], NOW - timedelta(seconds=200), outcome="ok")
        stored("litert.inferences", [1.0], NOW - timedelta(seconds=200), outcome="ok", environment="production")
        assert health.LOOKS["litert-availability"](LITERT, "production")[0] is Verdict.FAIL
        verdict, sentence = health.LOOKS["litert-availability"](LITERT, "demo")
        assert (verdict, "no device reports; Local inference" in sentence) == (Verdict.PASS, True), sentence
        stored("litert.inferences", [1.0], NOW - timedelta(seconds=20), outcome="oom", device_class="a")
        assert "no device reports" in health.LOOKS["litert-availability"](LITERT, "demo")[1]
        stored("litert.inferences", [1.0], NOW - timedelta(seconds=20), outcome="ok", device_class="b")
        assert "from b" in health.LOOKS["litert-availability"](LITERT, "demo")[1]


@pytest.mark.django_db
def test_fallback__answers_is_missing_or_hangs_and_is_ended(settings: Any) -> None:
    check = BY_KEY["fallback"]
    settings.CLOUD_AI_URL = ""
    assert health.LOOKS["fallback"](check, "")[0] is Verdict.NO_DATA
    with serving(CloudStandIn(random.Random(1))) as port:
        settings.CLOUD_AI_URL = f"http://127.0.0.1:{port}"
        assert health.LOOKS["fallback"](check, "")[0] is Verdict.PASS

    with socket.socket() as silent:  # takes the call and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings.CLOUD_AI_URL = f"http://127.0.0.1:{silent.getsockname()[1]}"
        hurried = HealthCheck("fallback", "x", "x", check.interval, timedelta(seconds=2))
        began = time.monotonic()
        verdict, sentence = health.LOOKS["fallback"](hurried, "")
    assert (verdict, sentence.startswith("hung")) == (Verdict.FAIL, True)
    assert time.monotonic() - began < 9


@pytest.mark.fresh_database
def test_run__two_workers_at_once__one_result(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Barrier(2, timeout=20)
    monkeypatch.setitem(health.LOOKS, "fallback", lambda _check, _environment: (Verdict.PASS, "looked"))

    def worker(_number: int) -> HealthResult | None:
        try:
            gate.wait()
            return health.health_run(key="fallback", environment="")
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(worker, range(2)))

    assert sorted(one is None for one in found) == [False, True]
    assert HealthResult.objects.count() == 1
    assert ("fallback", "") not in [(check.key, where) for check, where in health.due()]


@pytest.mark.django_db
def test_standing__worker_gone_in_the_middle__is_a_failure() -> None:
    HealthResult.objects.create(check_key="fallback", environment="", due_at=NOW, started_at=NOW)
    (running,) = [
        one for one in selectors.health("demo", now=NOW + timedelta(seconds=5)) if one.check.key == "fallback"
    ]
    (gone,) = [one for one in selectors.health("demo", now=NOW + timedelta(seconds=150)) if one.check.key == "fallback"]

    assert (running.verdict, gone.verdict) == (Verdict.NO_DATA, Verdict.FAIL)


def result(key: str, environment: str, verdict: Verdict, at: datetime, sentence: str = "said") -> HealthResult:
    return HealthResult.objects.create(
        check_key=key,
        environment=environment,
        due_at=at,
        started_at=at,
        finished_at=at,
        verdict=verdict.value,
        sentence=sentence,
    )


def evaluated(seconds: float, environment: str = "production") -> list[tuple[str, str, str]]:
    """Evaluate at a moment; return what stands about health."""
    with time_machine.travel(NOW + timedelta(seconds=seconds), tick=False):
        alerts.alerts_evaluate(environments=[environment])
    rows = Alert.objects.filter(environment=environment, source="health", resolved_at=None).order_by("pk")
    return list(rows.values_list("key", "kind", "state"))


@pytest.mark.django_db
@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.ERROR])
def test_failing_check__is_one_alert_of_the_installation(verdict: Verdict) -> None:
    result("fallback", "", verdict, NOW, "cloud AI gave no answer")
    for environment in ("demo", "staging"):
        stored("litert.inferences", [1.0], NOW - timedelta(seconds=5), outcome="ok", environment=environment)
        assert evaluated(0, environment) == []
    assert evaluated(0) == [("health-fallback", "breach", "firing")]

    alert = Alert.objects.get(key="health-fallback")
    assert (alert.sentence, alert.group) == ("cloud AI gave no answer", "health")


@pytest.mark.django_db
def test_availability__one_miss__tells_nobody_and_two_do() -> None:
    for second in range(0, 61, 10):
        stored("litert.inferences", [1.0], NOW + timedelta(seconds=second), outcome="ok", environment="production")
    result(LITERT.key, "production", Verdict.FAIL, NOW)
    assert evaluated(1) == [("health-litert-availability", "breach", "pending")]
    assert evaluated(38) == [("health-litert-availability", "breach", "pending")]
    result(LITERT.key, "production", Verdict.PASS, NOW + timedelta(seconds=30))
    assert evaluated(42) == []

    result(LITERT.key, "production", Verdict.FAIL, NOW + timedelta(seconds=60))
    evaluated(61)
    result(LITERT.key, "production", Verdict.FAIL, NOW + timedelta(seconds=90))
    assert evaluated(106) == [("health-litert-availability", "breach", "firing")]


@pytest.mark.django_db
def test_results_that_stop_coming__are_an_alert_of_their_own() -> None:
    for key in ("model-validation", "fallback"):
        result(key, "", Verdict.PASS, NOW)
    late = BY_KEY["model-validation"].late_after.total_seconds()
    assert evaluated(late) == []
    evaluated(late + 1)

    assert evaluated(late + 61) == [("health-model-validation", "no data", "firing")]
