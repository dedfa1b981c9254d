"""The evaluation itself: one fault stops nothing else, rules that go end their alerts, and its own end is an alert."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from billiard.exceptions import SoftTimeLimitExceeded
from django.db import connection

from hawkops.celery import app
from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.watch import Watch
from monitoring.domain.alerting import Source, name_of
from monitoring.models import Alert, Evaluation, StoredCriterion
from monitoring.selectors import alerts as selectors
from monitoring.selectors.looks import looks, rules
from monitoring.services import alerts as services
from monitoring.services.criteria import criteria_seed
from monitoring.services.patterns import patterns_scan, patterns_seed
from tests import apart
from tests.monitoring.rows import stored

ME = Actor("person:1", "operator-1")
START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LATENCY = "gen_ai.client.operation.duration"


@contextmanager
def at(seconds: float) -> Iterator[datetime]:
    moment = START + timedelta(seconds=seconds)
    with time_machine.travel(moment, tick=False):
        yield moment


def look(seconds: float, latency: float | None = None, environment: str = "demo") -> int:
    with at(seconds) as moment:
        if latency is not None:
            stored(LATENCY, [latency] * 40, at=moment - timedelta(seconds=10), actual="cpu", environment=environment)
        return services.alerts_evaluate(environments=[environment])


def fired() -> Alert:
    criteria_seed(actor=ME)
    look(0, 9.0)
    look(40, 9.0)
    return Alert.objects.get(key="alert-latency", kind="breach")


# ---- one fault ----


@pytest.mark.django_db
def test_evaluate__one_environment_fails__the_others_are_looked_at_and_it_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def faulty(environment: str) -> list[Any]:
        if environment == "production":
            raise RuntimeError("out of order")
        return []

    monkeypatch.setattr("monitoring.selectors.quieting._providers", [faulty])
    with at(0):
        services.alerts_evaluate()
    with at(10) as now:
        services.alerts_evaluate()

    found = {one.environment: one for one in Evaluation.objects.all()}
    assert (found["demo"].looked_at, found["staging"].looked_at) == (now, now)
    broken = found["production"]
    assert (broken.looked_at, broken.failures, broken.error) == (None, 2, "RuntimeError: out of order")
    monkeypatch.setattr("monitoring.selectors.quieting._providers", [])
    look(20, environment="production")
    broken.refresh_from_db()
    assert (broken.failures, broken.error) == (0, "")


@pytest.mark.django_db
def test_evaluate__its_time_is_over__is_said_where_it_was_and_where_nobody_looked_and_not_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(environment: str) -> list[Any]:
        if environment == "staging":
            raise SoftTimeLimitExceeded
        return []

    monkeypatch.setattr("monitoring.selectors.quieting._providers", [slow])
    with at(0) as now, pytest.raises(SoftTimeLimitExceeded):
        services.alerts_evaluate(environments=["production", "staging", "demo"])

    found = {one.environment: (one.looked_at, one.failures, one.error) for one in Evaluation.objects.all()}
    assert found["production"] == (now, 0, "")
    assert found["staging"] == (None, 1, "its time was over")
    assert found["demo"] == (None, 1, "the time for all environments was over in staging")
    look(110, environment="production")
    with at(120):
        services.evaluation_watch()
    stopped = Alert.objects.get(environment="demo", source="watch")
    assert "the time for all environments was over in staging" in stopped.sentence


@pytest.mark.django_db
def test_evaluate__read_before_a_later_look_was_written__changes_nothing() -> None:
    criteria_seed(actor=ME)
    look(20, 0.5)
    look(10, 9.0)

    with at(20) as now:
        assert Evaluation.objects.get(pk="demo").looked_at == now
    assert not Alert.objects.exists()


@pytest.mark.fresh_database
def test_evaluate__reads_before_its_transaction_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[bool] = []

    def ask(_environment: str) -> list[Any]:
        inside.append(connection.in_atomic_block)
        return []

    monkeypatch.setattr("monitoring.selectors.quieting._providers", [ask])
    services.alerts_evaluate(environments=["demo"])

    assert inside == [False]


@pytest.mark.django_db
def test_evaluate__however_many_alerts_stand__one_query_reads_them(django_assert_max_num_queries: Any) -> None:
    with at(0) as now:
        services.alerts_evaluate(environments=["demo"])
    rows = [
        Alert(environment="demo", source="alertmanager", key=str(n), kind="breach", title="x", severity="info",
              state="firing", since_at=now, bad_at=now, fired_at=now)
        for n in range(200)
    ]  # fmt: skip
    Alert.objects.bulk_create(rows)
    with at(10), django_assert_max_num_queries(40):
        services.alerts_evaluate(environments=["demo"])


def test_schedule__what_must_not_be_late__has_a_queue_of_its_own() -> None:
    queues = {row["task"]: row["options"]["queue"] for row in app.conf.beat_schedule.values()}

    alone = {task for task, queue in queues.items() if queue == "alerts"}
    # a drill gives its group back in time
    assert alone == {"monitoring.alerts_evaluate", "history.heartbeat", "monitoring.health_due", "rollout.drills_due"}


# ---- rules that go ----


@pytest.mark.django_db
@pytest.mark.parametrize("end", ["pause", "delete"])
def test_criterion_that_judges_no_longer__ends_its_alert(end: str) -> None:
    alert = fired()
    row = StoredCriterion.objects.get(key="alert-latency")
    if end == "delete":
        row.delete()
    else:
        row.document = {**row.document, "paused": True}
        row.save()
    for seconds in range(50, 120, 10):
        look(seconds, 9.0)

    alert.refresh_from_db()
    assert (alert.state, "paused, deleted" in alert.sentence) == ("resolved", True)


@pytest.mark.django_db
def test_close__of_an_environment_that_is_used_no_longer__stays_closed_until_data_comes() -> None:
    look(0, 0.5, environment="staging")
    look(200, environment="staging")
    alert = Alert.objects.get(key="telemetry-silent")
    with at(205):
        with pytest.raises(InvalidInput, match="Say why"):
            services.alert_close(alert_id=alert.pk, actor=ME, reason=" ")
        services.alert_close(alert_id=alert.pk, actor=ME, reason="Staging is gone")
        with pytest.raises(Conflict, match="resolved"):
            services.alert_close(alert_id=alert.pk, actor=ME, reason="Again")
    look(210, environment="staging")
    assert Alert.objects.filter(key="telemetry-silent").count() == 1
    entry = HistoryEntry.objects.get(verb="alert.closed")
    assert (entry.reason, entry.before["state"], entry.after["state"]) == ("Staging is gone", "firing", "resolved")

    look(400, 0.5, environment="staging")
    look(600, environment="staging")
    assert Alert.objects.filter(key="telemetry-silent", resolved_at=None).count() == 1


@pytest.mark.django_db
def test_security_breach__carries_its_action() -> None:
    criteria_seed(actor=ME)
    for seconds in (0, 10):
        with at(seconds) as now:
            stored("litert.inferences", [1.0], now, outcome="ok")
            stored("security.encryption.failures", [1.0], now)
            services.alerts_evaluate(environments=["demo"])

    alert = Alert.objects.get(key="security-encryption")
    assert (alert.action, alert.group) == ("investigate", "security")
    assert HistoryEntry.objects.get(subject=f"alert:{alert.pk}", verb="alert.fired").after["action"] == "investigate"


@pytest.mark.django_db
def test_audit_gaps__of_the_one_history__alert_once() -> None:
    with at(0):
        criteria_seed(actor=ME)
    for seconds in (1, 300):
        for environment in ("demo", "staging", "production"):
            look(seconds, 0.5, environment=environment)

    assert list(Alert.objects.filter(key="security-audit-gaps").values_list("environment", flat=True)) == ["production"]


@pytest.mark.django_db
def test_rules__are_called_as_the_looks_at_them() -> None:
    criteria_seed(actor=ME)
    patterns_seed(actor=ME)
    patterns_scan()
    for environment in ("demo", "production"):
        now = clock.now()
        stored(LATENCY, [0.5], now, environment=environment)
        seen = {
            (name_of(one.source, one.key, one.kind), one.severity)
            for one in looks(environment, now=now)
            if one.source is not Source.LOGS
        }
        assert {(one.name, one.severity) for one in rules(environment)} == seen


# ---- who watches it ----


def standing() -> list[tuple[str, str]]:
    rows = Alert.objects.filter(source="watch", resolved_at=None).order_by("pk")
    return list(rows.values_list("environment", "state"))


@pytest.mark.django_db
def test_watch__evaluation_that_stopped__is_one_critical_alert_until_it_is_back() -> None:
    with at(0):
        services.alerts_evaluate()
    with at(60):
        assert services.evaluation_watch() == 0
    with at(61):
        assert services.evaluation_watch() == 1
    assert standing() == [("production", "firing")]
    alert = Alert.objects.get(source="watch")
    assert (alert.severity, alert.key) == ("critical", "evaluation-stopped")
    assert alert.sentence == "the last look at any environment was 61 s ago, one is due every 10 s"
    assert HistoryEntry.objects.get(verb="alert.fired").actor == "rule:evaluation-watch"
    with at(70):
        assert selectors.watched("demo").late

    for seconds in range(80, 150, 10):
        with at(seconds):
            services.alerts_evaluate()
            services.evaluation_watch()
    assert standing() == []
    with at(150):
        assert not selectors.watched("demo").late


@pytest.mark.django_db
def test_watch__never_looked_since_it_watches__is_an_alert() -> None:
    with at(0):
        assert services.evaluation_watch() == 0
    with at(61):
        services.evaluation_watch()

    assert standing() == [("production", "firing")]
    assert Alert.objects.get().sentence == "nobody has looked at any environment since 61 s"


@pytest.mark.django_db
def test_watch__one_environment_that_is_not_looked_at__alerts_there() -> None:
    with at(0):
        services.alerts_evaluate()
    with at(70):
        services.alerts_evaluate(environments=["production", "staging"])
        services.evaluation_watch()

    assert standing() == [("demo", "firing")]


@pytest.mark.fresh_database
def test_watch__in_a_process_without_celery__tries_again_after_a_fault() -> None:
    with at(0):
        services.alerts_evaluate()
    calls: list[int] = []

    def watched() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("once")
        services.evaluation_watch()

    async def run() -> None:
        watch = Watch(watched, first_seconds=0, every_seconds=0.05)
        watch.start()
        for _ in range(200):
            await asyncio.sleep(0.05)
            if len(calls) > 2:
                break
        await watch.stop()

    apart.run(run())

    assert standing() == [("production", "firing")]
