"""HawkOps' own signs of life: each has a verdict, what was never measured is no pass, and each is told once."""

import json
from datetime import timedelta
from typing import Any

import pytest
import time_machine

from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from hawkops.history.models import HistoryEntry
from hawkops.history.services import heartbeat_record
from hawkops.vitals import registry
from hawkops.vitals.look import look as vitals_look
from hawkops.vitals.registry import vitals
from incidents.models import VitalAlert
from incidents.services import vital_alerts
from incidents.services.vital_alerts import Sign, vitals_follow
from monitoring.services.pulses import pulse_note
from tests.incidents.sinks import http_sink

pytestmark = pytest.mark.django_db


def test_vitals__nothing_ran__nothing_passes_that_was_not_measured() -> None:
    found = {one.key: one for one in vitals()}

    for key in (
        "queue_critical",
        "console_listener",
        "gateway_listener",
        "courier",
        "second_path",
        "checkpoint",
        "backup",
    ):
        assert found[key].verdict is Verdict.NO_DATA, key
        assert found[key].advice


def test_vitals__a_part_that_fell_silent_fails_and_one_that_lives_passes() -> None:
    heartbeat_record()
    pulse_note("console listener", silent_seconds=90.0)
    pulse_note("gateway listener", silent_seconds=1.0)
    pulse_note("queue alerts", silent_seconds=0.0, lag_seconds=0.4)

    found = {one.key: one for one in vitals()}

    assert found["console_listener"].verdict is Verdict.FAIL
    assert "direct connection" in found["console_listener"].advice
    assert found["gateway_listener"].verdict is Verdict.PASS
    assert found["queue_alerts"].verdict is Verdict.PASS
    assert "0.4 s in the queue" in found["queue_alerts"].sentence
    assert found["history_heartbeat"].verdict is Verdict.PASS


def test_alert__told_once_after_a_minute_and_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    def send(message: Any, _addresses: Any) -> list[Any]:
        sent.append(message)
        return []

    monkeypatch.setattr(vital_alerts, "send", send)
    now = clock.now()

    def look(seconds: int, *, failing: bool) -> None:
        vitals_follow([Sign("queue_alerts", "Queue", "Late.", "Look.", failing)], now=now + timedelta(seconds=seconds))

    look(0, failing=True)
    look(30, failing=True)
    assert sent == []
    for seconds in (60, 75, 90):
        look(seconds, failing=True)
    look(100, failing=False)
    look(130, failing=True)  # flaps: one alert all the while
    look(150, failing=False)
    look(200, failing=False)
    assert [one.action for one in sent] == ["trigger"]
    look(271, failing=False)
    look(290, failing=False)

    assert [one.action for one in sent] == ["trigger", "resolve"]
    assert not VitalAlert.objects.exists()
    verbs = HistoryEntry.objects.filter(verb__startswith="vital.").order_by("seq").values_list("verb", flat=True)
    assert list(verbs) == ["vital.failed", "vital.recovered"]


def test_sign__fails_for_a_minute__reaches_the_second_paths_webhook_from_the_very_reading(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From what a queue's pulse says to what arrives, with nothing of ours replaced but the clock."""
    monkeypatch.setattr(registry, "_readings", {"processes": registry._readings["processes"]})
    settings.CONSOLE_URL = "https://hawkops.example.com"
    monkeypatch.setenv("OUTBOUND_PRIVATE", "1")
    began = clock.now()
    pulse_note("queue alerts", silent_seconds=400.0, lag_seconds=0.1)
    with http_sink() as sink:
        settings.SECOND_PATH_WEBHOOK = sink.url
        assert vitals_look() == []  # a short one is nobody's business
        with time_machine.travel(began + timedelta(seconds=65), tick=True):
            told = vitals_look()
    assert "queue_alerts" in told
    texts = [one.json["text"] for one in sink.got]
    (said,) = [text for text in texts if "Queue alerts" in text]
    assert "HawkOps itself: Queue alerts is not as it should be" in said
    assert "celery -A hawkops worker -Q alerts" in said
    assert "https://hawkops.example.com/production/platform" in json.dumps(sink.got[0].json)
    entry = HistoryEntry.objects.get(verb="vital.failed", subject="vital:queue_alerts")
    assert entry.after["told"] == {"webhook": "accepted"}
