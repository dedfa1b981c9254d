"""Log patterns: the runbook's expressions, linear time, files that rotate, every line counted once, alerts."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import connection

from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from monitoring import logfiles
from monitoring.domain import patterns as domain
from monitoring.domain.criteria import Severity
from monitoring.domain.patterns import EVERYWHERE, RUNBOOK, Source, Unfit
from monitoring.models import Alert, LogCursor, LogLine, PatternCount, PatternSample, StoredPattern
from monitoring.selectors import patterns as selectors
from monitoring.services import alerts
from monitoring.services import patterns as services

ME = Actor("person:1", "operator-1")
START = datetime(2026, 11, 20, 12, 0, 7, tzinfo=UTC)
OOM = "E/hawk: java.lang.OutOfMemoryError OOM in session 7"
OWN: dict[str, Any] = {
    "key": "thermal",
    "title": "Thermal throttling",
    "expression": "THERMAL_(SEVERE|CRITICAL)",
    "sources": ["app log", "device logs"],
    "severity": "warning",
    "limit": 3,
    "window": "5m",
    "action": "",
}


@pytest.fixture
def logs(tmp_path: Path, settings: Any) -> Path:
    """The folder with both files, neither there yet."""
    settings.LOG_APP_FILE = str(tmp_path / "app.log")
    settings.LOG_SECURITY_FILE = str(tmp_path / "security.log")
    return tmp_path


@pytest.fixture
def watching(logs: Path) -> Path:
    """The runbook's patterns, looked for in files that are not there yet."""
    services.patterns_seed(actor=ME)
    services.patterns_scan()
    return logs / "app.log"


def write(path: Path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def line(body: str, *, environment: str = "demo", at: datetime | None = None, **fields: Any) -> LogLine:
    moment = at or datetime.now(tz=UTC)
    return LogLine.objects.create(
        environment=environment, at=moment, received_at=moment, severity=13, body=body, **fields
    )


def counted(key: str, environment: str = EVERYWHERE) -> int:
    rows = PatternCount.objects.filter(pattern__key=key, environment=environment)
    return sum(rows.values_list("count", flat=True))


def sampled(key: str) -> list[str]:
    return list(PatternSample.objects.filter(pattern__key=key).order_by("id").values_list("line", flat=True))


# ---- expressions ----


@pytest.mark.parametrize(
    ("key", "said", "found"),
    [
        ("litert-degradation", "2026-11-20 W LITERT: PERFORMANCE_DEGRADATION on gpu, 180 tok/s", True),
        ("litert-degradation", "PERFORMANCE_DEGRADATION of LITERT", False),
        ("litert-degradation", "LITERT PERFORMANCE DEGRADATION", False),
        ("memory-warning", "MEMORY pressure WARNING 1.9 GB", True),
        ("memory-warning", OOM, True),
        ("memory-warning", "MEMORY usage 900 MB", False),
        ("memory-warning", "memory warning", False),
        ("backend-switch", "BACKEND_SWITCH gpu -> cpu after 412 ms", True),
        ("backend-switch", "BACKEND SWITCH", False),
        ("security-incident", "SECURITY: possible INCIDENT, token replayed", True),
        ("security-incident", "model signature VALIDATION_FAILED", True),
        ("security-incident", "SECURITY scan clean", False),
    ],
)
def test_expressions__of_the_runbook(key: str, said: str, found: bool) -> None:
    (one,) = [pattern for pattern in RUNBOOK if pattern.key == key]

    assert domain.matcher(one.expression).matches(said) is found
    assert domain.pattern(domain.document(one)) == one


def test_runbook__expressions_and_files__are_its_own() -> None:
    said = {one.expression: one.sources[0] for one in RUNBOOK}

    assert said == {
        "LITERT.*PERFORMANCE_DEGRADATION": Source.APP_LOG,
        "MEMORY.*WARNING|OOM": Source.APP_LOG,
        "BACKEND_SWITCH": Source.APP_LOG,
        "SECURITY.*INCIDENT|VALIDATION_FAILED": Source.SECURITY_LOG,
    }


@pytest.mark.parametrize("expression", ["(a+)+$", "(a|aa)+$", "(.*a){40}b", "([a-z]+)*!", "((a?){15}){15}b"])
def test_matching__expressions_that_explode_elsewhere__stay_fast(expression: str) -> None:
    matcher = domain.matcher(expression)
    began = time.monotonic()
    for _ in range(20):
        matcher.matches("a" * 100_000 + "?")

    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "Write an expression"),
        ("(", "missing )"),
        ("*a", "no argument for repetition"),
        ("[z-a]", "invalid character class range"),
        ("a(?=b)", "linear time"),
        (r"(a)\1", "linear time"),
        ("a*", "matches every line"),
        ("x{2000}", "invalid repetition"),
        (".{500}.{500}x", "too large"),
        ("((a?){30}){30}b", "too large"),
        ("a" * 301, "300 are the most"),
        ("a\x00b", "can't be printed"),
        ("\ud800", "can't be printed"),
    ],
)
def test_expressions__bad__are_refused_with_a_sentence(expression: str, said: str) -> None:
    with pytest.raises(Unfit, match=r".") as refusal:
        domain.matcher(expression)

    assert said in str(refusal.value)


@pytest.mark.parametrize(
    "fault",
    [
        {"key": "No Key"},
        {"title": " "},
        {"title": "two\nlines"},
        {"expression": 7},
        {"sources": []},
        {"sources": ["kernel"]},
        {"sources": "app log"},
        {"severity": "grave"},
        {"severity": []},
        {"limit": "0"},
        {"limit": "many"},
        {"limit": "²"},
        {"limit": True},
        {"window": "30s"},
        {"window": "2d"},
        {"window": "90s"},
        {"window": 5},
        {"action": "x" * 201},
    ],
)
def test_pattern__bad_part__is_unfit(fault: dict[str, Any]) -> None:
    with pytest.raises(Unfit):
        domain.pattern({**OWN, **fault})


def test_pattern__as_a_form_gives_it__is_read() -> None:
    one = domain.pattern({**OWN, "limit": " 12 ", "window": "1h"})

    assert (one.limit, one.window, one.severity) == (12, timedelta(hours=1), Severity.WARNING)
    assert one.sentence == "12 matches within 1\u202fh: warning"
    assert domain.pattern({**OWN, "limit": ""}).limit is None


# ---- files ----


def read(path: Path, place: logfiles.Place | None) -> tuple[list[str], logfiles.Place]:
    """Read until nothing is left, as scans do."""
    texts: list[str] = []
    while True:
        chunk = logfiles.read_on(path, place)
        texts += [one.text for one in chunk.lines]
        place = chunk.place
        if not chunk.more:
            return texts, place


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


def test_file__half_a_line__waits_for_its_end(path: Path) -> None:
    write(path, "first\nsec")
    assert read(path, logfiles.Place())[0] == ["first"]
    texts, place = read(path, logfiles.Place())
    write(path, "ond\r\n\nthird\n")
    assert read(path, place)[0] == ["second", "", "third"]
    assert texts == ["first"]


def test_file__first_look__begins_behind_what_stands_there(path: Path) -> None:
    write(path, "old\nhalf")
    texts, place = read(path, None)
    write(path, " and whole\nnew\n")

    assert texts == []
    assert read(path, place)[0] == ["half and whole", "new"]


def test_file__appears_after_the_first_look__is_read_whole(path: Path) -> None:
    chunk = logfiles.read_on(path, None)
    write(path, "one\ntwo\n")

    assert chunk.trouble == "not there"
    assert read(path, chunk.place)[0] == ["one", "two"]


def test_file__rotated__the_rest_of_the_old_one_comes_first(path: Path) -> None:
    write(path, "one\n")
    _, place = read(path, logfiles.Place())
    write(path, "two\nthree without its end")
    path.rename(path.with_name("app.log.1"))
    assert read(path, place)[0] == ["two"]
    write(path, "")
    texts, place = read(path, place)
    assert texts == ["two"], "the writer may still hold the old one"
    write(path, "four\n")
    texts, place = read(path, place)
    assert texts == ["three without its end", "four"]
    assert read(path, place)[0] == []


def test_file__rotated_twice_between_looks__loses_only_what_is_gone(path: Path) -> None:
    write(path, "one\n")
    _, place = read(path, logfiles.Place())
    path.unlink()
    assert logfiles.read_on(path, place).trouble == "not there"
    write(path, "two\n")

    assert read(path, place)[0] == ["two"]


def test_file__truncated__is_read_from_its_beginning(path: Path) -> None:
    write(path, "one\ntwo\n")
    _, place = read(path, logfiles.Place())
    os.truncate(path, 0)
    assert read(path, place)[0] == []
    write(path, "x\n")
    texts, place = read(path, place)
    assert texts == ["x"]
    assert read(path, place)[0] == []


def test_file__truncated_and_longer_again__is_another_file(path: Path) -> None:
    write(path, "one\n")
    _, place = read(path, logfiles.Place())
    os.truncate(path, 0)
    write(path, "other\nand longer\n")

    assert read(path, place)[0] == ["other", "and longer"]


def test_file__copied_and_truncated__the_rest_is_read_from_the_copy(path: Path) -> None:
    write(path, "a beginning long enough to tell this file from all the others there are\n")
    _, place = read(path, logfiles.Place())
    write(path, "unread\n")
    path.with_name("app.log.1").write_bytes(path.read_bytes())
    os.truncate(path, 0)
    write(path, "new\n")

    assert read(path, place)[0] == ["unread", "new"]


def test_file__rubbish__becomes_short_printable_lines(path: Path) -> None:
    write(path, b"\xff\xfe\x00OOM\x1b[31m\n" + b"\x00" * 3_000_000 + b"\n" + os.urandom(50_000) + b"\nx" * 12_000)
    texts, _ = read(path, logfiles.Place())

    assert texts[0] == "\ufffd\ufffdOOM[31m"
    assert all(text.isprintable() and len(text) <= domain.LINE_MOST for text in texts)
    assert texts[-1] == "x"
    assert sum(text == "x" for text in texts) >= 11_999


def test_file__no_ordinary_file__is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    place = logfiles.Place("7", 9, 4, "ab")
    for name in ("pipe", "folder"):
        chunk = logfiles.read_on(tmp_path / name, place)
        assert (chunk.place, chunk.trouble) == (place, "can't be read: it is no ordinary file")


def test_tail__newest_lines(path: Path) -> None:
    write(path, "".join(f"line {number}\n" for number in range(500)))

    assert logfiles.tail(path, 3) == ["line 497", "line 498", "line 499"]
    assert len(logfiles.tail(path, 9_999)) == 500


# ---- patterns ----


@pytest.mark.django_db
def test_seed__twice__adds_nothing_and_keeps_edits(logs: Path) -> None:
    assert services.patterns_seed(actor=ME) == 4
    assert services.patterns_seed(actor=ME) == 0
    row = StoredPattern.objects.get(key="backend-switch")
    services.pattern_save(document={**row.document, "limit": 50}, actor=ME, reason="Too many", expected_revision=1)
    assert services.patterns_seed(actor=ME) == 0
    assert StoredPattern.objects.get(key="backend-switch").document["limit"] == 50
    assert HistoryEntry.objects.filter(verb="patterns.seeded").count() == 1


@pytest.mark.django_db
def test_save__each_change__leaves_one_history_entry() -> None:
    row = services.pattern_save(document=OWN, actor=ME, reason="Summer")
    services.pattern_save(document={**OWN, "limit": 5}, actor=ME, reason="Noisy", expected_revision=row.revision)
    services.pattern_pause(key="thermal", paused=True, actor=ME, reason="Winter")
    services.pattern_pause(key="thermal", paused=False, actor=ME, reason="Summer again")
    services.pattern_delete(key="thermal", actor=ME, reason="Nobody reads it")

    entries = HistoryEntry.objects.filter(subject="pattern:thermal").order_by("seq")
    assert [entry.verb.partition(".")[2] for entry in entries] == ["created", "changed", "paused", "resumed", "deleted"]
    assert (entries[1].before["limit"], entries[1].after["limit"]) == (3, 5)
    assert not StoredPattern.objects.exists()


@pytest.mark.django_db
def test_save__refused__changes_nothing(watching: Path) -> None:
    stand = list(StoredPattern.objects.values_list("key", "document", "revision"))
    entries = HistoryEntry.objects.count()
    bad = {**OWN, "expression": "(OOM"}
    refusals: list[tuple[type[Exception], Any]] = [
        (InvalidInput, lambda: services.pattern_save(document=bad, actor=ME, reason="x")),
        (InvalidInput, lambda: services.pattern_save(document=OWN, actor=ME, reason=" ")),
        (Conflict, lambda: services.pattern_save(document=OWN, actor=ME, reason="x", expected_revision=3)),
        (Conflict, lambda: services.pattern_save(document={**OWN, "key": "memory-warning"}, actor=ME, reason="x")),
        (Conflict, lambda: services.pattern_pause(key="memory-warning", paused=False, actor=ME, reason="x")),
        (InvalidInput, lambda: services.pattern_delete(key="memory-warning", actor=ME, reason="x")),
        (NotFound, lambda: services.pattern_delete(key="nothing", actor=ME, reason="x")),
    ]
    for error, act in refusals:
        with pytest.raises(error):
            act()

    assert list(StoredPattern.objects.values_list("key", "document", "revision")) == stand
    assert HistoryEntry.objects.count() == entries


# ---- the scan ----


@pytest.mark.django_db
def test_scan__files_and_device_lines__are_counted_by_minute_and_sampled(watching: Path) -> None:
    with time_machine.travel(START, tick=False):
        write(watching, f"{OOM}\nfine\nLITERT PERFORMANCE_DEGRADATION\n")
        write(watching.with_name("security.log"), "VALIDATION_FAILED\nBACKEND_SWITCH\n")
        line("BACKEND_SWITCH gpu to cpu", at=START, device_id="dev-1")
        line("", at=START, environment="staging", event_name="app.crash", exception_message="OOM")
        assert services.patterns_scan() == 7
        assert services.patterns_scan() == 0

    assert [counted(one.key) for one in RUNBOOK] == [1, 1, 0, 1]
    assert (counted("backend-switch", "demo"), counted("memory-warning", "staging")) == (1, 1)
    assert {count.minute_at for count in PatternCount.objects.all()} == {START.replace(second=0)}
    sample = PatternSample.objects.get(pattern__key="backend-switch")
    assert (sample.source, sample.device_id, sample.line) == ("device logs", "dev-1", "BACKEND_SWITCH gpu to cpu")
    found = {one.row.key: one.last_hour for one in selectors.shown("demo", now=START + timedelta(minutes=5))}
    assert found == {"litert-degradation": 1, "memory-warning": 1, "backend-switch": 1, "security-incident": 1}


@pytest.mark.django_db
def test_scan__goes_on_where_the_last_one_ended(watching: Path) -> None:
    write(watching, f"{OOM}\n")
    services.patterns_scan()
    write(watching, f"{OOM}\nOO")
    services.patterns_scan()
    watching.rename(watching.with_name("app.log.1"))
    write(watching, f"{OOM}\n")
    services.patterns_scan()
    write(watching, f"{OOM}\n")
    services.patterns_scan()

    assert counted("memory-warning") == 4
    cursor = LogCursor.objects.get(source="app log")
    assert (cursor.offset, cursor.size, cursor.trouble) == (2 * len(OOM) + 2, 2 * len(OOM) + 2, "")


@pytest.mark.django_db
def test_scan__missing_files__are_said_and_harm_nothing(watching: Path) -> None:
    assert [one.trouble for one in LogCursor.objects.filter(environment=EVERYWHERE)] == ["not there", "not there"]
    write(watching, f"{OOM}\n")
    services.patterns_scan()
    watching.unlink()
    services.patterns_scan()

    assert counted("memory-warning") == 1
    assert [one.trouble for one in selectors.sources("demo")] == ["not there", "not there", ""]


@pytest.mark.django_db
def test_scan__other_path_in_the_settings__begins_at_its_end(watching: Path, settings: Any) -> None:
    other = watching.with_name("other.log")
    write(other, f"{OOM}\n")
    settings.LOG_APP_FILE = str(other)
    services.patterns_scan()
    assert counted("memory-warning") == 0
    write(other, f"{OOM}\n")
    services.patterns_scan()
    assert counted("memory-warning") == 1


@pytest.mark.django_db
def test_scan__keeps_the_newest_twenty_samples_cut(watching: Path) -> None:
    write(watching, "".join(f"OOM {number} {'x' * 900}\n" for number in range(30)))
    services.patterns_scan()
    write(watching, "OOM the last\n")
    services.patterns_scan()

    kept = sampled("memory-warning")
    assert (len(kept), kept[0][:6], kept[-1]) == (20, "OOM 11", "OOM the last")
    assert max(map(len, kept)) == 500
    assert counted("memory-warning") == 31


@pytest.mark.django_db
def test_scan__out_of_time__takes_the_rest_next_time_and_each_once(watching: Path) -> None:
    write(watching, "OOM\n" * 300)
    for number in range(200):
        line(f"OOM {number}")
    scans = 0
    while services.patterns_scan(seconds=-1):
        scans += 1

    assert scans >= 300
    assert (counted("memory-warning"), counted("memory-warning", "demo")) == (300, 200)


@pytest.mark.django_db
def test_scan__paused_pattern__counts_nothing_and_the_others_go_on(watching: Path) -> None:
    services.pattern_pause(key="memory-warning", paused=True, actor=ME, reason="Known")
    write(watching, "OOM BACKEND_SWITCH\n")
    services.patterns_scan()
    services.pattern_pause(key="memory-warning", paused=False, actor=ME, reason="Fixed")
    services.patterns_scan()

    assert (counted("memory-warning"), counted("backend-switch")) == (0, 1)


@pytest.mark.fresh_database
def test_scan__two_at_once__count_once(watching: Path) -> None:
    write(watching, "OOM\n" * 4_000)
    LogLine.objects.bulk_create(
        LogLine(environment="demo", at=START, received_at=START, severity=9, body="OOM") for _ in range(4_000)
    )
    gate = threading.Barrier(3, timeout=20)

    def worker(_number: int) -> int:
        try:
            gate.wait()
            return services.patterns_scan(seconds=20)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        taken = list(pool.map(worker, range(3)))
    services.patterns_scan()

    assert sum(taken) == 8_000
    assert (counted("memory-warning"), counted("memory-warning", "demo")) == (4_000, 4_000)
    assert PatternSample.objects.count() == 40


@pytest.mark.fresh_database
def test_scan__pattern_deleted_meanwhile__counts_the_others(watching: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = services.pattern_save(document=OWN, actor=ME, reason="Summer")
    stale = services._matchers()
    services.pattern_delete(key=row.key, actor=ME, reason="Winter")
    write(watching, "THERMAL_SEVERE OOM\n")
    monkeypatch.setattr(services, "_matchers", lambda: stale)
    assert services.patterns_scan() == 1
    assert (counted("memory-warning"), PatternCount.objects.count(), PatternSample.objects.count()) == (1, 1, 1)


@pytest.mark.fresh_database
def test_delete__while_scans_count_into_it__both_end_well(watching: Path) -> None:
    ended = threading.Event()

    def scanning(_number: int) -> None:
        try:
            while not ended.is_set():
                write(watching, "THERMAL_SEVERE\n" * 50)
                services.patterns_scan()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(scanning, number) for number in range(2)]
        try:
            for _ in range(15):
                services.pattern_save(document=OWN, actor=ME, reason="Summer")
                time.sleep(0.05)
                services.pattern_delete(key="thermal", actor=ME, reason="Winter")
        finally:
            ended.set()
        for one in running:
            one.result()
    assert not PatternCount.objects.exists()


@pytest.mark.django_db
def test_prune__old_counts_go(watching: Path) -> None:
    write(watching, "OOM\n")
    services.patterns_scan()
    assert services.counts_prune() == 0
    assert services.counts_prune(now=datetime.now(tz=UTC) + timedelta(days=31)) == 1


# ---- trying ----


@pytest.mark.django_db
def test_trial__says_how_many_of_the_newest_lines_would_match(watching: Path) -> None:
    write(watching, "THERMAL_SEVERE\nfine\n" * 3)
    line("THERMAL_CRITICAL")
    line("THERMAL_CRITICAL", environment="staging")
    found = selectors.trials("demo", OWN["expression"], list(Source))

    assert [(one.matched, one.looked, one.trouble) for one in found] == [(3, 6, ""), (0, 0, "not there"), (1, 1, "")]


# ---- alerts ----


@pytest.fixture
def stepping(watching: Path) -> Iterator[Any]:
    def step(seconds: float, *said: str) -> list[str]:
        with time_machine.travel(START + timedelta(seconds=seconds), tick=False):
            for one in said:
                write(watching, f"{one}\n")
            services.patterns_scan()
            alerts.alerts_evaluate(environments=["production"])
        return list(Alert.objects.filter(source="pattern").order_by("pk").values_list("state", flat=True))

    yield step


@pytest.mark.django_db
def test_alert__at_its_limit__fires_and_resolves_when_the_window_is_past(stepping: Any) -> None:
    assert stepping(0, *[OOM] * 9) == []
    assert stepping(10, OOM) == ["firing"]
    alert = Alert.objects.get(source="pattern")
    assert (alert.key, alert.severity, alert.inhibited_by) == ("pattern-memory-warning", "warning", "")
    assert alert.sentence == "10 lines match within 5\u202fmin, limit 10"
    assert stepping(200) == ["firing"]
    for seconds in range(370, 430, 10):
        assert stepping(seconds) == ["firing"]
    assert stepping(430) == ["resolved"]
    verbs = HistoryEntry.objects.filter(subject=f"alert:{alert.pk}").order_by("seq").values_list("verb", flat=True)
    assert list(verbs) == ["alert.fired", "alert.resolved"]


@pytest.mark.django_db
@pytest.mark.parametrize("end", ["pause", "no limit"])
def test_alert__pattern_that_alerts_no_longer__resolves(stepping: Any, end: str) -> None:
    stepping(0, *[OOM] * 10)
    row = StoredPattern.objects.get(key="memory-warning")
    if end == "pause":
        services.pattern_pause(key=row.key, paused=True, actor=ME, reason="Known")
    else:
        services.pattern_save(document={**row.document, "limit": None}, actor=ME, reason="x", expected_revision=1)
    assert stepping(10) == ["firing"]
    assert stepping(70) == ["resolved"]


@pytest.mark.django_db
def test_alert__source_that_is_not_read__resolves_nothing_and_is_an_alert(stepping: Any, watching: Path) -> None:
    stepping(0, *[OOM] * 10)
    watching.rename(watching.with_name("away"))
    for seconds in range(370, 460, 10):
        stepping(seconds)

    assert Alert.objects.get(source="pattern").state == "firing"
    missing = Alert.objects.get(source="log reading")
    assert (missing.key, missing.state, missing.sentence) == ("log-app-log", "firing", "not there")
    assert missing.title == "The app log is not read"
    assert domain.Source.DEVICE_LOGS.unread == "The device logs are not read"
    watching.with_name("away").rename(watching)
    for seconds in range(460, 540, 10):
        stepping(seconds)
    assert set(Alert.objects.values_list("state", flat=True)) == {"resolved"}


@pytest.mark.django_db
def test_alert__scan_that_stopped__resolves_nothing_and_is_one_alert(stepping: Any) -> None:
    stepping(0, *[OOM] * 10)
    for seconds in range(370, 460, 10):
        with time_machine.travel(START + timedelta(seconds=seconds), tick=False):
            alerts.alerts_evaluate()

    assert Alert.objects.get(source="pattern").state == "firing"
    found = Alert.objects.filter(source="log reading").values_list("environment", "key", "state")
    assert list(found) == [("production", "log-scan", "firing")]


@pytest.mark.django_db
def test_alert__suspicious_pattern__asks_for_a_security_review_after_one_line(watching: Path) -> None:
    services.pattern_save(document={**OWN, "limit": None, "suspicious": True}, actor=ME, reason="Odd prompts")
    line("THERMAL_SEVERE")
    services.patterns_scan()
    alerts.alerts_evaluate(environments=["demo"])

    alert = Alert.objects.get(source="pattern")
    assert (alert.state, alert.group, alert.action) == ("firing", "security", "security_review")
    assert HistoryEntry.objects.get(subject=f"alert:{alert.pk}").after["action"] == "security_review"
    assert [one.key for one in selectors.suspicious()] == ["thermal"]


@pytest.mark.django_db
def test_alert__backend_switches_every_three_seconds__alert_by_the_runbook(stepping: Any) -> None:
    assert stepping(0, *["BACKEND_SWITCH gpu -> cpu"] * 99) == []
    assert stepping(10, "BACKEND_SWITCH cpu -> gpu") == ["firing"]


@pytest.mark.django_db
def test_breaches__however_many_patterns__take_the_same_queries(watching: Path, django_assert_num_queries: Any) -> None:
    now = datetime.now(tz=UTC)
    with django_assert_num_queries(4):
        few = len(selectors.breaches("demo", now=now))
    for number in range(10):
        services.pattern_save(document={**OWN, "key": f"own-{number}"}, actor=ME, reason="x")
    with django_assert_num_queries(4):
        assert len(selectors.breaches("demo", now=now)) == few + 10


@pytest.mark.django_db
def test_alert__simulated_lines__count_in_demo_only(watching: Path) -> None:
    for environment in ("demo", "staging"):
        line("VALIDATION_FAILED", environment=environment, simulated=True)
    services.patterns_scan()
    alerts.alerts_evaluate()

    (alert,) = Alert.objects.filter(source="pattern")
    assert (alert.environment, alert.simulated, alert.severity) == ("demo", True, "critical")


@pytest.mark.django_db
def test_alert__line_of_a_file__alerts_once_even_without_telemetry(watching: Path) -> None:
    write(watching.with_name("security.log"), "SECURITY: INCIDENT\n")
    services.patterns_scan()
    alerts.alerts_evaluate()

    found = Alert.objects.filter(source="pattern", state="firing", inhibited_by="")
    assert list(found.values_list("environment", "group")) == [("production", "log patterns")]


@pytest.mark.django_db
def test_scan__source_that_can_not_be_read__does_not_stop_the_others(watching: Path) -> None:
    watching.mkdir()
    write(watching.with_name("security.log"), "VALIDATION_FAILED\n")
    line("OOM")
    services.patterns_scan()

    assert (counted("security-incident"), counted("memory-warning", "demo")) == (1, 1)
    assert LogCursor.objects.get(source="app log").trouble == "can't be read: it is no ordinary file"


def test_text_of__a_crash__says_each_word_once() -> None:
    crash = selectors.text_of("app.crash", "java.lang.OutOfMemoryError: OOM", "java.lang.OutOfMemoryError", "OOM")

    assert crash == "app.crash java.lang.OutOfMemoryError: OOM"
    assert selectors.text_of("", "", "T", "m") == "T m"
