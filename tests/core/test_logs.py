"""What the logs hold, and what they must not."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import shared_task, signals
from celery.app.trace import build_tracer
from django.conf import settings
from django.test import Client

from hawkops.celery import app
from hawkops.core import logs
from hawkops.history.models import HistoryEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Everything that is logged, as JSON lines would have it."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs.Json())
    handler.addFilter(logs.Facts())
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(before)


def test_request__changes_something__its_line_and_its_entry_carry_one_id(
    lines: Any, administrator: Any, client_as: Any
) -> None:
    answer = client_as(administrator).post("/staging/keys/add", {"name": "phones", "never": "1"})
    said = next(line for line in lines() if line["event"] == "request")
    entry = HistoryEntry.objects.filter(verb="key.created").latest("seq")
    assert said["request_id"] == answer["X-Request-Id"] == entry.request_id
    assert said["method"] == "POST" and said["status"] == 302 and said["environment"] == "staging"
    assert said["route"] == "<str:environment>/keys/add" and said["person"] == f"person:{administrator.pk}"
    assert said["level"] == "INFO" and said["at"].endswith("+00:00") and said["ms"] >= 0


def test_request__address_holds_a_secret__log_does_not(lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_given: object) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setattr("hawkops.accounts.views.signing.login_link_find", fails)
    answer = Client(raise_request_exception=False).get("/enter/very-secret-token?q=looked-for")
    assert answer.status_code == 500
    said = lines()
    assert {line["event"] for line in said} >= {"request", "Internal Server Error: /enter/…"}
    assert len([line for line in said if line.get("request_id") == answer["X-Request-Id"]]) == len(said)
    assert "very-secret-token" not in json.dumps(said) and "looked-for" not in json.dumps(said)


def test_not_found__its_warning__carries_the_requests_id(lines: Any) -> None:
    answer = Client().get("/status/very-secret-token")
    (said,) = [line for line in lines() if line["logger"] == "django.request"]
    assert said["request_id"] == answer["X-Request-Id"] and said["event"] == "Not Found: /status/…"


def test_broken__page_and_api__name_the_request_that_the_log_has(
    lines: Any, administrator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_given: object, **_named: object) -> None:
        raise RuntimeError("on our side")

    monkeypatch.setattr("hawkops.views.vitals", fails)
    monkeypatch.setattr("hawkops.history.api.listing", None)
    client = Client(raise_request_exception=False)
    client.force_login(administrator)
    for path in ("/demo/platform", "/api/v1/demo/history"):
        answer = client.get(path)
        assert answer.status_code == 500
        assert answer["X-Request-Id"] in answer.content.decode()
        broken = [line for line in lines() if line.get("request_id") == answer["X-Request-Id"] and "exc_info" in line]
        assert len(broken) == 1 and broken[0]["level"] == "ERROR"


def test_task__sent_by_a_request__its_lines_carry_the_requests_id(lines: Any) -> None:
    @shared_task(name="tests.logs")
    def task() -> None:
        logging.getLogger("tests").warning("in the task", extra={"answer": 42})

    headers: dict[str, Any] = {}
    with logs.about(request_id="abc123"):
        signals.before_task_publish.send(sender="tests.logs", headers=headers, body=(), routing_key="")
    # as a worker does with what a message brings
    build_tracer("tests.logs", app.tasks["tests.logs"], app=app)("t1", [], {}, {**headers, "id": "t1"})
    said = next(line for line in lines() if line["event"] == "in the task")
    assert said["request_id"] == "abc123" and said["task"] == "tests.logs" and said["answer"] == 42
    assert said["task_id"] == "t1"
    assert logs.fact("task") is None


def test_text__line__has_its_facts_and_a_sentence_of_its_own() -> None:
    record = logging.makeLogRecord({"name": "here", "levelname": "INFO", "msg": "kept %s", "args": ("it",), "rows": 3})
    with logs.about(request_id="abc123"):
        logs.Facts().filter(record)
    assert logs.Text().format(record).endswith("INFO here kept it rows=3 request_id=abc123")


def test_settings__every_line__goes_through_one_handler() -> None:
    assert list(settings.LOGGING["handlers"]) == ["console"]
    assert settings.LOGGING["formatters"]["line"]["()"] is logs.Text
    assert logs.configured("json", "INFO")["formatters"]["line"]["()"] is logs.Json
