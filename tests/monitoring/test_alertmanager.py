"""Alertmanager's webhooks: fired once however often told, updated, paged again, closed, and nothing that breaks them."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection

from hawkops.core.errors import InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import history_verify
from monitoring.models import Alert, Evaluation
from monitoring.selectors import alerts as selectors
from monitoring.services import alerts as services
from monitoring.services.alertmanager import alertmanager_take
from monitoring.services.silences import silence_create

ME = Actor("person:1", "operator-1")
START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def webhook(status: str = "firing", **changes: Any) -> dict[str, Any]:
    row = {
        "status": status,
        "labels": {"alertname": "HighCPU", "severity": "critical"},
        "annotations": {"summary": "CPU above 90 %"},
        "startsAt": "2026-11-20T12:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": "c1",
        **changes,
    }
    return {"version": "4", "groupKey": "g", "status": status, "receiver": "hawkops", "alerts": [row], "new": 1}


@pytest.mark.django_db
def test_alertmanager__fires_once_however_often_told_and_resolves() -> None:
    assert alertmanager_take(environment="demo", payload=webhook(), actor=ME) == 1
    assert alertmanager_take(environment="demo", payload=webhook(), actor=ME) == 0
    alert = Alert.objects.get()
    assert (alert.title, alert.severity, alert.sentence) == ("HighCPU", "critical", "CPU above 90 %")
    assert alertmanager_take(environment="demo", payload=webhook("resolved"), actor=ME) == 1
    assert alertmanager_take(environment="demo", payload=webhook("resolved"), actor=ME) == 0
    assert Alert.objects.get().state == "resolved"


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        {"version": "3", "alerts": []},
        {"version": "4", "alerts": {}},
        {"version": "4", "alerts": ["x"]},
        webhook(labels={"a": 1}),
        webhook(fingerprint=""),
        webhook("maybe"),
    ],
)
@pytest.mark.django_db
def test_alertmanager__malformed__is_refused_and_changes_nothing(payload: Any) -> None:
    with pytest.raises(InvalidInput):
        alertmanager_take(environment="demo", payload=payload, actor=ME)
    assert not Alert.objects.exists()


@pytest.mark.django_db
def test_alertmanager__what_it_says__is_kept_and_linked() -> None:
    told = webhook(
        generatorURL="https://prom/graph",
        annotations={"summary": "Hot\x00", "runbook_url": "javascript:alert(1)"},
        labels={"alertname": "High\x00CPU", "severity": "critical", "bad\x00": "x"},
    )
    with time_machine.travel(START + timedelta(seconds=30), tick=False):
        alertmanager_take(environment="demo", payload=told, actor=ME)

    alert = Alert.objects.get()
    assert (alert.title, alert.sentence, alert.links) == ("HighCPU", "Hot", {"graph": "https://prom/graph"})
    assert (alert.group, alert.labels["bad"], alert.detection_seconds) == ("am:g", "x", 30)


@pytest.mark.parametrize(
    "began", ["0001-01-01T00:00:00Z", "yesterday", "2026-11-20T12:00:00", None, 7, "9999-12-31T23:59:59-12:00"]
)
@pytest.mark.django_db
def test_alertmanager__no_moment__is_none(began: Any) -> None:
    alertmanager_take(environment="demo", payload=webhook(startsAt=began), actor=ME)

    assert Alert.objects.get().data_at is None


@pytest.mark.django_db
def test_alertmanager__repeat_that_differs__updates_with_one_entry() -> None:
    alertmanager_take(environment="demo", payload=webhook(), actor=ME)
    worse = webhook(labels={"alertname": "HighCPU", "severity": "warning", "host": "b"})
    alertmanager_take(environment="demo", payload=worse, actor=ME)
    alertmanager_take(environment="demo", payload=worse, actor=ME)

    alert = Alert.objects.get()
    assert (alert.severity, alert.labels["host"]) == ("warning", "b")
    fired, updated = HistoryEntry.objects.filter(subject=f"alert:{alert.pk}").order_by("seq")
    assert (updated.verb, updated.before["severity"], updated.after["severity"]) == (
        "alert.updated",
        "critical",
        "warning",
    )
    assert (updated.cause_id, alert.entry) == (fired.seq, updated.seq)


@pytest.mark.django_db
def test_alertmanager__acknowledged_too_long__pages_again_and_forgets_who_had_it() -> None:
    with time_machine.travel(START, tick=False):
        alertmanager_take(environment="demo", payload=webhook(), actor=ME)
        alert = services.alert_acknowledge(alert_id=Alert.objects.get().pk, actor=ME, reason="Looking")
    with time_machine.travel(START + timedelta(minutes=14), tick=False):
        services.alerts_evaluate(environments=["demo"])
        alert.refresh_from_db()
        assert alert.state == "acknowledged"
    with time_machine.travel(START + timedelta(minutes=15), tick=False):
        services.alerts_evaluate(environments=["demo"])

    alert.refresh_from_db()
    assert (alert.state, alert.acknowledged_by, alert.acknowledged_at) == ("firing", "", None)
    assert HistoryEntry.objects.get(verb="alert.acknowledged").reason == "Looking"


@pytest.mark.fresh_database
def test_alertmanager__two_instances_at_once__one_alert_each() -> None:
    rows = [{**webhook()["alerts"][0], "fingerprint": f"f{number}"} for number in range(20)]
    gate = threading.Barrier(2, timeout=20)

    def instance(order: int) -> int:
        try:
            gate.wait()
            payload = {"version": "4", "groupKey": "g", "alerts": rows[::order]}
            return alertmanager_take(environment="demo", payload=payload, actor=ME)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        moved = list(pool.map(instance, (1, -1)))

    assert sorted(moved) == [0, 20]
    assert Alert.objects.count() == 20


@pytest.mark.fresh_database
def test_alertmanager__while_everything_is_evaluated_and_acknowledged__nobody_waits_for_ever() -> None:
    rows = [{**webhook()["alerts"][0], "fingerprint": f"f{number}"} for number in reversed(range(30))]
    alertmanager_take(environment="demo", payload={"version": "4", "alerts": rows}, actor=ME)
    ids = list(Alert.objects.order_by("-pk").values_list("pk", flat=True))

    def told() -> None:
        for number in range(8):
            labels = {"alertname": "HighCPU", "round": str(number)}
            alertmanager_take(
                environment="demo",
                payload={"version": "4", "alerts": [{**row, "labels": labels} for row in rows]},
                actor=ME,
            )

    def evaluated() -> None:
        for number in range(8):
            silence_create(
                environment="demo", pattern=f"f{number}", span=timedelta(hours=1), actor=ME, reason="Known"
            )  # fmt: skip
            services.alerts_evaluate(environments=["demo"])

    def acknowledged() -> None:
        for pk in ids[:20]:
            services.alert_acknowledge(alert_id=pk, actor=ME)

    def alone(work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(alone, (told, evaluated, acknowledged)))

    assert Evaluation.objects.get().failures == 0
    assert Alert.objects.filter(state="acknowledged").count() == 20
    assert history_verify(requested_by="test").good


@pytest.mark.django_db
def test_alertmanager__silenced_by_name_and_severity__fires_unheard() -> None:
    silence_create(
        environment="demo",
        pattern="",
        alertname="High*",
        severity="critical",
        span=timedelta(hours=1),
        actor=ME,
        reason="Known",
    )
    alertmanager_take(environment="demo", payload=webhook(), actor=ME)
    warning = webhook(fingerprint="c2", labels={"alertname": "HighCPU", "severity": "warning"})
    alertmanager_take(environment="demo", payload=warning, actor=ME)

    assert [one.loud for one in Alert.objects.order_by("key")] == [False, True]
    assert selectors.firing_count("demo") == 1


@pytest.mark.django_db
def test_alertmanager__closed_by_a_person__the_same_episode_stays_closed() -> None:
    with time_machine.travel(START + timedelta(minutes=1), tick=False):
        alertmanager_take(environment="demo", payload=webhook(), actor=ME)
        services.alert_close(alert_id=Alert.objects.get().pk, actor=ME, reason="The host is gone")
        assert alertmanager_take(environment="demo", payload=webhook(), actor=ME) == 0
        later = webhook(startsAt="2026-11-20T12:05:00Z")
        assert alertmanager_take(environment="demo", payload=later, actor=ME) == 1

    assert list(Alert.objects.order_by("pk").values_list("state", flat=True)) == ["resolved", "firing"]
