"""`/metrics` for Prometheus: with its token only, in both forms, read back by the parsers of the stock client."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from hawkops.core import clock
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.selectors import longest_silence
from hawkops.history.services import change
from monitoring.domain import metrics
from monitoring.domain.health import KINDS
from monitoring.models import Alert
from monitoring.selectors.criteria import criteria, evaluate
from monitoring.services.alerts import alerts_evaluate
from monitoring.services.criteria import criteria_seed
from monitoring.services.patterns import patterns_seed
from monitoring.services.silences import silence_create
from tests.monitoring.rows import seen, steps, stored

pytestmark = pytest.mark.django_db
TOKEN = "m" * 30


def test_metrics__without_a_token__are_not_served(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = ""
    assert client.get("/demo/metrics").status_code == 404
    settings.METRICS_TOKEN = TOKEN
    assert client.get("/demo/metrics").status_code == 401
    assert client.get("/nowhere/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 404


def test_metrics__a_scrape__says_what_the_pages_say(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    criteria_seed(actor=Actor.system("test"))
    now = clock.now()
    seen("dev-1", now)
    for moment in steps(now, 20):
        stored(metrics.OPERATION, [6.0, 7.0], moment)
    alerts_evaluate(environments=("demo",))
    Alert.objects.filter(key="alert-latency").update(state="firing")
    alert = Alert.objects.get(key="alert-latency")
    for key, severity, inhibited_by in (("quiet-one", "warning", ""), ("explained", "critical", "a kill is in force")):
        alert.pk, alert.key, alert.severity, alert.inhibited_by = None, key, severity, inhibited_by
        alert.save(force_insert=True)
    silence_create(
        environment="demo", pattern="quiet-*", span=timedelta(hours=1), actor=Actor.system("test"), reason="Known"
    )
    patterns_seed(actor=Actor.system("test"))
    for accept, parse in (("", plain), ("application/openmetrics-text; version=1.0.0", openmetrics)):
        answer = client.get("/demo/metrics", headers={"Authorization": f"Bearer {TOKEN}", "Accept": accept})
        assert answer.status_code == 200
        found = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in parse(answer.text)
            for sample in family.samples
        }
        latency = (("criterion", "alert-latency"), ("environment", "demo"))
        assert found["hawkops_criterion_value", *latency] == pytest.approx(7.0, rel=0.011)
        assert found["hawkops_criterion_threshold", *latency] == 5
        assert found["hawkops_criterion_observations", *latency] == 40
        about = [key for key in found if key[0] == "hawkops_criterion_info" and ("criterion", "alert-latency") in key]
        assert len(about) == 1
        assert ("severity", "warning") in about[0]
        assert found["hawkops_criterion_verdict", *latency, ("verdict", "FAIL")] == 1
        assert found["hawkops_criterion_verdict", *latency, ("verdict", "PASS")] == 0
        here = ("environment", "demo")
        assert found["hawkops_alerts", here, ("severity", "warning"), ("state", "firing")] == 1
        assert found["hawkops_alerts", here, ("severity", "warning"), ("state", "silenced")] == 1
        assert found["hawkops_alerts", here, ("severity", "critical"), ("state", "inhibited")] == 1
        assert found["hawkops_health_verdict", ("check", KINDS[0].key), here, ("verdict", "NO_DATA")] in (0, 1)
        assert found["hawkops_pattern_matches", here, ("pattern", "backend-switch")] == 0
        assert found["hawkops_age_seconds", ("environment", "demo"), ("of", "telemetry")] < 30
        assert ("hawkops_age_seconds", ("environment", "demo"), ("of", "evaluation")) in found


def test_audit_log_gaps__a_silence_of_the_history__breaks_their_criterion(client: Client) -> None:
    criteria_seed(actor=Actor.system("test"))
    last = HistoryEntry.objects.order_by("-seq")[0].at
    (gaps,) = criteria(keys=["security-audit-gaps"])
    (found,) = evaluate("demo", [gaps], now=last + timedelta(seconds=30))
    assert found.judgement.verdict == "PASS"
    (found,) = evaluate("demo", [gaps], now=last + timedelta(seconds=90))
    assert found.judgement.verdict == "FAIL"
    assert found.reading.value == pytest.approx(90, abs=1)
    assert gaps.action == "critical alert"


def test_longest_silence__counts_the_one_that_lasts_and_what_began_before() -> None:
    with change(actor=Actor.system("test"), environment="demo") as this:
        this.record("test.happened", subject="test:1")
    at = HistoryEntry.objects.order_by("-seq")[0].at
    assert longest_silence(since=at - timedelta(seconds=1), now=at + timedelta(seconds=5)) == timedelta(seconds=5)
    assert longest_silence(since=at + timedelta(seconds=10), now=at + timedelta(seconds=70)) == timedelta(seconds=60)
