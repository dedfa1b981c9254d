"""The second path: a process of its own that pages when a step is late, with the broker, workers and console absent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import OperationalError, connections

from hawkops.core import clock
from hawkops.history.models import HistoryEntry
from hawkops.second_path import Loop
from incidents.models import Escalation, EscalationStep, SecondPage, SecondPath
from incidents.selectors import escalations as selectors
from incidents.services import escalations, oncall, second_path
from incidents.services.auditing import audit
from incidents.services.escalations import escalate
from incidents.services.sending import send_due
from tests.incidents.conftest import SYSTEM, MakeChannel
from tests.incidents.sinks import Mail, Sink
from tests.incidents.test_escalation import ana, at, pages  # noqa: F401 - fixtures
from tests.incidents.test_sending import fire

ROOT = Path(__file__).resolve().parents[2]
At = Callable[[float], None]


@pytest.fixture
def ways(settings: Any, sink: Sink, mail: Mail) -> None:
    """Both ways are set."""
    settings.SECOND_PATH_EMAIL = ["chief@example.com"]
    settings.SECOND_PATH_WEBHOOK = f"{sink.url}/second"


@pytest.mark.django_db
@pytest.mark.usefixtures("ana", "ways")
def test_late_step__is_paged_once_by_both_ways(mail: Mail, sink: Sink, at: At) -> None:  # noqa: F811
    fire("slow")
    escalate()
    at(1.9)
    assert second_path.look() == 0, "within its grace"
    at(2.1)
    assert second_path.look() == 1
    assert second_path.look() == 0
    (got,) = sink.got
    assert got.path == "/second"
    assert "Page not delivered, step 1 to on-call engineer: slow" in got.json["text"]
    assert "On-call engineer: +1-555-0101, +1-555-0102, Slack: #incidents" in got.json["text"]
    assert got.json["data"]["links"][0]["url"].endswith(f"/staging/escalations/{Escalation.objects.get().pk}")
    assert "chief@example.com" in mail.took[0]
    step = EscalationStep.objects.get(number=1)
    assert step.late_at is not None
    assert step.second_at is not None
    assert {one.way: one.outcome for one in SecondPage.objects.all()} == {"mail": "accepted", "webhook": "accepted"}
    paged = HistoryEntry.objects.get(verb="escalation.second_path_paged")
    assert paged.after["answers"] == {"mail": "accepted", "webhook": "accepted"}
    assert SecondPath.objects.get().ways == "mail to chief@example.com; a webhook"


@pytest.mark.django_db
@pytest.mark.usefixtures("ana", "ways")
def test_first_path__dead__is_read_in_its_place_and_paged_for(mail: Mail, at: At) -> None:  # noqa: F811
    fire("slow")
    at(1)
    second_path.look()
    assert not Escalation.objects.exists(), "the first path has its time"
    at(3)
    assert second_path.look() == 1
    assert pages() == ["ana"], "the message waits in the outbox for whoever comes back"
    assert len(mail.took) == 1
    send_due()
    assert selectors.late_steps() == []


@pytest.mark.django_db
@pytest.mark.usefixtures("ana", "ways")
def test_nobody_answers__is_tried_again_each_minute__and_said_once(mail: Mail, sink: Sink, at: At) -> None:  # noqa: F811
    mail.answer = "550 no"
    sink.answer((500, "down"))
    fire("slow")
    escalate()
    for minute, tries in ((3, 1), (3.5, 1), (4.1, 2), (5.2, 3)):
        at(minute)
        assert second_path.look() == 0
        assert SecondPage.objects.filter(way="webhook").count() == tries
    assert HistoryEntry.objects.filter(verb="escalation.second_path_failed").count() == 1
    sink.answer((200, "ok"))
    at(6.5)
    assert second_path.look() == 1


@pytest.mark.django_db
@pytest.mark.usefixtures("ana")
def test_no_way_set__says_so(settings: Any, at: At) -> None:  # noqa: F811
    settings.SECOND_PATH_EMAIL, settings.SECOND_PATH_WEBHOOK = [], ""
    fire("slow")
    escalate()
    at(3)
    second_path.look()
    at(5)
    second_path.look()
    assert SecondPage.objects.count() == 1, "once is enough"
    assert selectors.second().is_mute
    assert HistoryEntry.objects.get(verb="escalation.second_path_failed").reason.startswith("Neither SECOND_PATH_EMAIL")


@pytest.mark.django_db
@pytest.mark.usefixtures("ways")
def test_acknowledged_or_arrived__is_not_paged(ana: Any, mail: Mail, at: At) -> None:  # noqa: F811
    fire("slow")
    escalate()
    send_due()
    at(5)
    audit()
    assert second_path.look() == 0
    fire("other")
    assert second_path.look() == 0


def test_database__gone_for_long__is_told_once(monkeypatch: pytest.MonkeyPatch, ways: None, sink: Sink) -> None:
    def gone() -> int:
        raise OperationalError("could not connect")

    monkeypatch.setattr(second_path, "look", gone)
    loop = Loop(blind_seconds=0.05)
    loop.once()
    assert sink.got == []
    time.sleep(0.06)
    loop.once()
    loop.once()
    assert len(sink.got) == 1
    assert "HawkOps can't read its database" in sink.got[0].json["text"]
    monkeypatch.setattr(second_path, "look", lambda: 0)
    loop.once()
    monkeypatch.setattr(second_path, "look", gone)
    loop.once()
    assert len(sink.got) == 1, "another outage begins to count anew"


def test_heartbeat__once_a_minute__while_the_database_answers(
    settings: Any, monkeypatch: pytest.MonkeyPatch, sink: Sink
) -> None:
    settings.HEARTBEAT_URL = f"{sink.url}/alive"
    monkeypatch.setattr(second_path, "look", lambda: 0)
    loop = Loop()
    loop.once()
    loop.once()
    assert [got.path for got in sink.got] == ["/alive"]
    assert sink.got[0].json == {"from": settings.CONSOLE_URL}

    def gone() -> int:
        raise OperationalError("could not connect")

    monkeypatch.setattr(second_path, "look", gone)
    loop._beat_at = None
    loop.once()
    assert len(sink.got) == 1, "without its database it is not well"


@contextmanager
def process(**env: str) -> Iterator["subprocess.Popen[str]"]:
    """The real process, with a broker that is not there."""
    running = subprocess.Popen(
        [sys.executable, "-m", "hawkops.second_path", "--every", "0.3"],
        cwd=ROOT,
        env={**os.environ, "REDIS_URL": "redis://127.0.0.1:1/0", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@pytest.mark.fresh_database
def test_process__celery_absent__pages_and_ends_when_told(
    person: Callable[..., Any], make: MakeChannel, mail: Mail, sink: Sink
) -> None:
    """Everything else is dead: nobody reads the history, runs steps or sends; the alert fired three minutes ago."""
    oncall.oncall_seed(actor=SYSTEM)
    escalations.policies_seed(actor=SYSTEM)
    make("email", name="team")
    escalations.read_on()
    clock.step_to(clock.now() - timedelta(minutes=3))
    try:
        fire("slow")
    finally:
        clock.step_to(None)
    database = django_settings.DATABASES["default"]["NAME"]
    with process(
        DATABASE_URL=os.environ["DATABASE_URL"].replace("hawkops_template", str(database)),
        SMTP_URL=f"smtp://127.0.0.1:{mail.port}",
        SECOND_PATH_EMAIL="chief@example.com",
        SECOND_PATH_WEBHOOK=f"{sink.url}/second",
        OUTBOUND_PRIVATE="1",
    ) as running:
        end = time.monotonic() + 60
        while time.monotonic() < end and not (sink.got and mail.took) and running.poll() is None:
            time.sleep(0.1)
        assert running.poll() is None, running.stdout.read() if running.stdout else ""
        time.sleep(1.0)
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
    assert len(sink.got) == 1
    assert "Page not delivered" in sink.got[0].json["text"]
    assert "chief@example.com" in mail.took[0]
    step = EscalationStep.objects.get(number=1)
    assert step.second_at is not None
    assert selectors.second().seen_at is not None


@pytest.mark.fresh_database
@pytest.mark.usefixtures("ana")
def test_several__read_run_and_audit_at_once__each_step_is_told_once(at: At) -> None:  # noqa: F811
    """The console's courier, a worker and the second path do the same work at the same time."""
    fire("slow")

    def work() -> None:
        try:
            for _ in range(5):
                escalate()
                audit()
        finally:
            connections.close_all()

    for minute in (0, 15, 30):
        at(minute)
        with ThreadPoolExecutor(4) as pool:
            for one in [pool.submit(work) for _ in range(4)]:
                one.result(60)
        send_due()
    assert pages() == ["ana", "ben", "cleo"]
    assert HistoryEntry.objects.filter(verb="escalation.step_told").count() == 3
    assert not HistoryEntry.objects.filter(verb="escalation.step_late").exists()
