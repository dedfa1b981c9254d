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
    ],
)
def test_standing__results_that_stopped_coming__are_stale(ticks: list[Tick], verdict: Verdict) -> None:
    assert domain.standing(LITERT, ticks, NOW)[0] is verdict


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


@pytest.mark.django_db
def test_failing_check__is_an_alert() -> None:
    stored("litert.inferences", [1.0], NOW - timedelta(seconds=5), outcome="ok")
    HealthResult.objects.create(
        check_key="fallback",
        environment="",
        due_at=NOW,
        started_at=NOW,
        finished_at=NOW,
        verdict=Verdict.FAIL.value,
        sentence="cloud AI gave no answer",
    )
    with time_machine.travel(NOW, tick=False):
        alerts.alerts_evaluate(environments=["demo"])

    alert = Alert.objects.get(key="health-fallback")
    assert (alert.state, alert.sentence) == ("firing", "cloud AI gave no answer")
