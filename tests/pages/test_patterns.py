"""The pages of log patterns by plain forms: tried, added, changed, paused, deleted; nothing to press for readers."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.history.actors import Actor
from hawkops.history.models import Head
from monitoring.models import Alert, LogCursor, LogLine, StoredPattern
from monitoring.services import alerts
from monitoring.services import patterns as services

pytestmark = pytest.mark.django_db
PAGE = "/demo/monitoring/patterns"
FORM = {
    "title": "Thermal throttling",
    "expression": "THERMAL_(SEVERE|CRITICAL)",
    "sources": ["device logs", "app log"],
    "severity": "warning",
    "limit": "2",
    "window": "5m",
    "reason": "Summer",
}


@pytest.fixture
def app_log(tmp_path: Path, settings: Any) -> Path:
    settings.LOG_APP_FILE = str(tmp_path / "app.log")
    settings.LOG_SECURITY_FILE = str(tmp_path / "security.log")
    services.patterns_seed(actor=Actor.system("test"))
    services.patterns_scan()
    return tmp_path / "app.log"


@pytest.fixture
def console(person: Any, client_as: Any, app_log: Path) -> Client:
    return client_as(person("operator", Role.OPERATOR))  # type: ignore[no-any-return]


def line(body: str, **fields: Any) -> None:
    now = clock.now()
    LogLine.objects.create(environment="demo", at=now, received_at=now, severity=13, body=body, **fields)


def read(answer: Any) -> str:
    return str(answer.content.decode()).replace("\u202f", " ")


def test_list__before_anything__says_what_is_not_there(console: Client) -> None:
    page = read(console.get(PAGE))

    assert "0 of 4 log patterns matched in demo within the hour" in page
    assert page.count("not there, looked") == 2
    assert "MEMORY.*WARNING|OOM" in page
    assert "style=" not in page
    figure = console.get(f"{PAGE}/memory-warning/chart.json").json()
    assert figure["empty"] == "No line matched in the last 24\u202fh."


def test_matches__are_counted_sampled_charted_and_alert(console: Client, app_log: Path) -> None:
    app_log.write_text("OOM <b>here</b>\n" * 12)
    line("BACKEND_SWITCH gpu to cpu", simulated=True)
    services.patterns_scan()
    alerts.alerts_evaluate(environments=["production"])

    page = read(console.get(f"{PAGE}?part=list"))
    assert "1 log pattern is over the limit in demo" in page
    assert "read to byte 192" in read(console.get(f"{PAGE}?part=lines"))
    whole = read(console.get(f"{PAGE}/memory-warning?window=1h"))
    assert "Memory warning or out of memory: 12 within the hour" in whole
    assert "OOM &lt;b&gt;here&lt;/b&gt;" in whole
    figure = console.get(f"{PAGE}/memory-warning/chart.json?window=6h").json()
    assert sum(figure["data"][0]["y"]) == 12
    assert (figure["missed"], figure["data_at"] is not None) == (True, True)
    assert (figure["foot"]["sample"], figure["foot"]["due"]) == ("12 lines matched", 60)
    assert 0 <= figure["foot"]["age"] < 30
    simulated = console.get(f"{PAGE}/backend-switch/chart.json").json()["data"][1]
    assert (sum(simulated["y"]), simulated["name"]) == (1, "matches, simulated")
    alert = read(console.get("/production/alerts"))
    assert "12 lines match within 5 min, limit 10" in alert


def test_alert__leads_to_its_pattern(console: Client, app_log: Path) -> None:
    app_log.with_name("security.log").write_text("VALIDATION_FAILED\n")
    services.patterns_scan()
    alerts.alerts_evaluate(environments=["production"])
    pk = Alert.objects.get().pk

    assert f'href="/production/alerts/{pk}"' in read(console.get("/production/alerts"))
    there = PAGE.replace("demo", "production")
    assert f'href="{there}/security-incident"' in read(console.get(f"/production/alerts/{pk}"))


def test_pattern__ticked_as_suspicious__is_said_on_the_page_and_unticked_again(console: Client) -> None:
    assert "no pattern is ticked" in read(console.get(PAGE))
    console.post(PAGE, {**FORM, "limit": "", "suspicious": "1"})
    row = StoredPattern.objects.get(key="thermal-throttling")
    assert (row.document["suspicious"], row.document["limit"]) == (True, 1)
    assert "lines that match Thermal throttling" in read(console.get(PAGE))
    assert "no pattern is ticked" not in read(console.get(PAGE))
    console.post(f"{PAGE}/{row.key}", {**FORM, "revision": "1"})
    row.refresh_from_db()
    assert row.document["suspicious"] is False


def test_form__tried__says_how_many_lines_would_have_matched(console: Client, app_log: Path) -> None:
    app_log.write_text("THERMAL_SEVERE\nfine\n" * 4)
    line("THERMAL_CRITICAL")
    seq = Head.objects.get().seq
    page = read(console.post(PAGE, {**FORM, "try": "1"}))
    assert "Device logs: would have matched <b>1</b> of the last 1 line." in page
    assert "App log: would have matched <b>4</b> of the last 8 lines." in page
    assert 'value="Thermal throttling"' in page
    part = read(console.get(PAGE, {"part": "trial", "expression": "(", "sources": ["app log"]}))
    assert "missing )" in part
    assert "<html" not in part
    assert "App log: would have matched" in read(
        console.get(f"{PAGE}/memory-warning", {"part": "trial", "expression": "fine", "sources": ["app log"]})
    )
    assert "THERMAL" in read(console.post(f"{PAGE}/memory-warning", {**FORM, "try": "1", "revision": "1"}))
    assert Head.objects.get().seq == seq


def test_form__added_changed_paused_deleted(console: Client) -> None:
    answer = console.post(PAGE, FORM)
    assert (answer.status_code, answer["Location"]) == (303, f"{PAGE}/thermal-throttling")
    url = answer["Location"]
    row = StoredPattern.objects.get(key="thermal-throttling")
    assert (row.document["limit"], row.document["sources"]) == (2, ["app log", "device logs"])

    assert console.post(url, {**FORM, "limit": "", "revision": "1"}).status_code == 303
    stale = console.post(url, {**FORM, "limit": "9", "revision": "1"})
    assert (stale.status_code, "changed meanwhile" in read(stale)) == (422, True)
    console.post(f"{url}/pause", {"paused": "1", "reason": "Known"})
    assert "paused" in read(console.get(url))
    console.post(f"{url}/pause", {"paused": "0", "reason": "Fixed"})
    row.refresh_from_db()
    assert (row.revision, row.document["paused"], row.document["limit"]) == (4, False, None)
    assert "Say why" in read(console.post(f"{url}/delete", follow=True))
    assert "is deleted" in read(console.post(f"{url}/delete", {"reason": "Nobody reads it"}, follow=True))
    assert console.get(url).status_code == 404


def test_form__a_window_of_hours_is_said_in_hours_however_it_was_stored(console: Client) -> None:
    document = {**FORM, "key": "thermal", "window": "360m"}
    StoredPattern.objects.create(key="thermal", document=document, revision=1, changed_at=clock.now())

    page = read(console.get(f"{PAGE}/thermal"))

    assert '<option value="6h" selected>6 h</option>' in page
    assert '<option value="24h">24 h</option>' in page
    assert "360" not in page
    assert "2 matches within 6 h: warning" in page.lower()
    console.post(f"{PAGE}/thermal", {**FORM, "window": "24h", "revision": "1"})
    assert StoredPattern.objects.get(key="thermal").document["window"] == "24h"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"expression": "(a"}, "The expression can&#x27;t be read: missing )"),
        ({"expression": "a*"}, "matches every line"),
        ({"sources": []}, "Say where to look"),
        ({"limit": "x"}, "whole number of matches"),
        ({"window": "1s"}, "whole minutes"),
        ({"severity": "odd"}, "critical, warning or info"),
        ({"reason": ""}, "Say why"),
        ({"title": "", "key": ""}, "A key has"),
        ({"key": "memory-warning"}, "There is a pattern memory-warning already"),
    ],
)
def test_form__bad__is_refused_with_a_sentence_and_changes_nothing(
    console: Client, fault: dict[str, Any], said: str
) -> None:
    seq = Head.objects.get().seq
    answer = console.post(PAGE, {**FORM, **fault})

    assert (answer.status_code, said in read(answer)) == (422, True)
    assert (StoredPattern.objects.count(), Head.objects.get().seq) == (4, seq)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.APPROVER, Role.AUDITOR])
def test_reader__sees_no_form_and_can_not_post(app_log: Path, person: Any, client_as: Any, role: Role) -> None:
    reader = client_as(person("reader", role))
    seq = Head.objects.get().seq
    for url in (PAGE, f"{PAGE}/memory-warning"):
        page = read(reader.get(url, {"try": "1", "expression": "OOM", "sources": ["app log"]}))
        main = page.split("<main", 1)[1].split("</main", 1)[0]
        assert "<form" not in main
        assert "would have matched" not in page
        assert reader.post(url, FORM).status_code == 403
    assert Head.objects.get().seq == seq


def test_sources__when_the_scan_has_stopped__say_so(console: Client) -> None:
    LogCursor.objects.update(read_at="2026-01-01T00:00:00Z")

    assert read(console.get(PAGE)).count("scan stopped") == 3


def test_unknown__is_not_found(console: Client) -> None:
    for url in (f"{PAGE}/nothing", f"{PAGE}/nothing/chart.json"):
        assert console.get(url).status_code == 404
