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
from monitoring.models import Alert
from monitoring.selectors.criteria import criteria, evaluate
from monitoring.services.alerts import alerts_evaluate
from monitoring.services.criteria import criteria_seed
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
    for accept, parse in (("", plain), ("application/openmetrics-text; version=1.0.0", openmetrics)):
        answer = client.get("/demo/metrics", headers={"Authorization": f"Bearer {TOKEN}", "Accept": accept})
        assert answer.status_code == 200
        found = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in parse(answer.text)
            for sample in family.samples
        }
        latency = (("criterion", "alert-latency"), ("environment", "demo"))
        assert found["hawkops_criterion_value", *latency, ("severity", "warning")] == pytest.approx(7.0, rel=0.011)
        assert found["hawkops_criterion_verdict", *latency, ("verdict", "FAIL")] == 1
        assert found["hawkops_criterion_verdict", *latency, ("verdict", "PASS")] == 0
        assert found["hawkops_alerts_firing", ("environment", "demo"), ("severity", "warning")] >= 1
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
