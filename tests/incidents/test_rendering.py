"""Messages in each kind's own form: within its limits whatever the text, and never a command to it."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incidents.domain import pagerduty, retrying, routing, signing, slack
from incidents.domain.message import Action, Link, Message
from incidents.domain.news import Entry, News, news_of, together
from incidents.domain.retrying import Outcome, State
from incidents.domain.routing import Route, Topic
from monitoring.domain.criteria import Severity

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ENTITY = re.compile(r"&(?:amp|lt|gt);")


def message(**given: Any) -> Message:
    """A message that a test changes in one point."""
    known: dict[str, Any] = {
        "title": "Latency too high",
        "severity": Severity.CRITICAL,
        "environment": "production",
        "action": Action.TRIGGER,
        "thread": "hawkops:production:alerts:litert",
        "verb": "alert.fired",
        "at": NOW,
        "sentences": ("p95 is 6.2 s.",),
        "links": (Link("Alert", "https://hawk.example/production/alerts/1"),),
    }
    return Message(**{**known, **given})


texts = st.text(max_size=8_000)
messages = st.builds(
    message,
    title=texts,
    sentences=st.lists(texts, max_size=5).map(tuple),
    links=st.lists(st.builds(Link, texts, texts), max_size=5).map(tuple),
    severity=st.sampled_from(Severity),
    action=st.sampled_from(Action),
    thread=st.text(max_size=600),
)


@settings(deadline=None)
@given(messages)
def test_slack__any_text__stays_within_limits_and_commands_nothing(said: Message) -> None:
    made = slack.payload(said)
    assert made["text"]
    assert len(made["text"]) <= slack.TEXT_MOST
    assert len(made["blocks"]) <= slack.BLOCKS_MOST
    header, *rest = made["blocks"]
    assert 0 < len(header["text"]["text"]) <= slack.HEADER_MOST
    shown = [made["text"], header["text"]["text"]]
    for block in rest:
        text = block["text"]["text"] if block["type"] == "section" else block["elements"][0]["text"]
        assert 0 < len(text) <= slack.SECTION_MOST
        shown.append(text)
    assert sum(map(len, shown[1:])) <= slack.TOTAL_MOST
    for text in shown:
        # the only angle brackets are those of our own links, whose inside holds none
        without = re.sub(r"<[^<>|!@#][^<>|]*\|[^<>]*>", "", text)
        assert not set("<>") & set(without), without
        assert "&" not in ENTITY.sub("", text), "a cut entity shows its bones"


@pytest.mark.parametrize(
    "bad", ["<!channel>", "<!here|now>", "<@U1>", "<#C1>", "<https://evil.example|Reset>", "& < >"]
)
def test_slack__what_slack_takes_for_its_own__is_escaped(bad: str) -> None:
    said = json.dumps(slack.payload(message(title=bad, sentences=(bad,), environment="staging")))
    assert bad not in said
    assert "&lt;" in said


def test_slack__links__end_neither_early_nor_in_a_command() -> None:
    evil = Link("x|y><!channel>", "https://hawk.example/a>b|c<!channel>?d=1&e=2")
    text = slack.payload(message(links=(evil,)))["blocks"][2]["text"]["text"]
    assert text == "<https://hawk.example/a%3Eb%7Cc%3C!channel%3E?d=1&amp;e=2|x/y&gt;&lt;!channel&gt;>"


@settings(deadline=None)
@given(messages)
def test_pagerduty__any_text__stays_within_limits(said: Message) -> None:
    event = pagerduty.event(said, routing_key="k" * 32, client_url="https://hawk.example")
    assert len(json.dumps(event).encode()) < 512 * 1024
    if said.action is Action.TELL:
        assert "event_action" not in event
        assert pagerduty.path(said) == "/v2/change/enqueue"
    else:
        assert pagerduty.path(said) == "/v2/enqueue"
        assert len(event["dedup_key"]) <= 255
    if "payload" in event:
        assert 0 < len(event["payload"]["summary"]) <= 1_024
        assert "\n" not in event["payload"]["summary"]


def test_pagerduty__trigger_acknowledge_resolve__share_their_key() -> None:
    events = [
        pagerduty.event(message(action=action), routing_key="k", client_url="")
        for action in (Action.TRIGGER, Action.ACKNOWLEDGE, Action.RESOLVE)
    ]
    assert [event["event_action"] for event in events] == ["trigger", "acknowledge", "resolve"]
    assert {event["dedup_key"] for event in events} == {"hawkops:production:alerts:litert"}
    assert events[0]["payload"]["severity"] == "critical"
    long = ["t" * 300 + end for end in "ab"]
    assert len({pagerduty.dedup_key(one) for one in long}) == 2, "what is cut stays apart"


# HMAC-SHA256 as openssl computes it: printf '{"event":{}}' | openssl dgst -sha256 -hmac secret
KNOWN = "v1=" + "0" * 64


def test_pagerduty__signatures__of_the_whole_body_and_any_of_several() -> None:
    import hashlib
    import hmac

    body = b'{"event":{}}'
    good = "v1=" + hmac.new(b"secret", body, hashlib.sha256).hexdigest()
    assert pagerduty.signed(body, good, "secret")
    assert pagerduty.signed(body, f"{KNOWN}, {good}", "secret")
    for header, secret in ((KNOWN, "secret"), ("", "secret"), (good, "other"), (good, ""), (good[3:], "secret")):
        assert not pagerduty.signed(body, header, secret)
    assert not pagerduty.signed(body + b" ", good, "secret")


def event(**given: Any) -> dict[str, Any]:
    """A webhook of PagerDuty."""
    known: dict[str, Any] = {
        "id": "01E",
        "event_type": "incident.acknowledged",
        "occurred_at": NOW.isoformat(),
        "agent": {"id": "PU1", "summary": "Ann"},
        "data": {"incident_key": "hawkops:production:alerts:litert", "status": "acknowledged"},
    }
    return {"event": {**known, **given}}


def test_pagerduty__webhook__names_who_took_what() -> None:
    heard = pagerduty.heard(event(), now=NOW)
    assert (heard.thread, heard.by, heard.acknowledges) == ("hawkops:production:alerts:litert", "Ann", True)
    assert not pagerduty.heard(event(event_type="incident.resolved"), now=NOW).acknowledges
    assert pagerduty.heard(event(data=None, agent=None), now=NOW).thread == ""


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        {},
        {"event": 1},
        event(id=""),
        event(id=7),
        event(occurred_at="yesterday"),
        event(occurred_at="2026-11-30T12:00:00"),
        event(occurred_at=(NOW - timedelta(hours=49)).isoformat()),
        event(occurred_at=(NOW + timedelta(hours=1)).isoformat()),
    ],
)
def test_pagerduty__webhook_that_is_none_or_old__is_refused(bad: object) -> None:
    with pytest.raises(ValueError):
        pagerduty.heard(bad, now=NOW)


# The example that every library of Standard Webhooks is tested with.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def test_signing__published_vector__gives_its_signature() -> None:
    body = b'{"test": 2432232314}'
    made = signing.headers(secret=SECRET, webhook_id=VECTOR["webhook-id"], timestamp=1614265330, body=body)
    assert made == VECTOR
    assert signing.verified(secret=SECRET, given=VECTOR, body=body, now=1614265330 + 299)
    assert not signing.verified(secret=SECRET, given=VECTOR, body=body, now=1614265330 + 301)
    assert not signing.verified(secret=SECRET, given=VECTOR, body=body + b" ", now=1614265330)
    assert not signing.verified(secret=SECRET, given={}, body=body, now=1614265330)


@pytest.mark.parametrize("bad", ["", "secret", "whsec_", "whsec_!!!", "whsec_YWJj"])
def test_signing__unfit_secret__is_refused(bad: str) -> None:
    with pytest.raises(ValueError):
        signing.key_of(bad)


# ---- retries ----


@pytest.mark.parametrize(
    "outcome,statuses",
    [
        ("accepted", (200, 202, 204)),
        ("refused", (301, 400, 403, 404, 410)),
        ("again", (408, 425, 429, 500, 502, 503)),
    ],
)
def test_outcome__by_status(outcome: str, statuses: tuple[int, ...]) -> None:
    assert {retrying.outcome_of(status) for status in statuses} == {outcome}


@settings(deadline=None)
@given(st.integers(1, 10_000), st.text(max_size=40))
def test_wait__grows_and_stays_within_its_spread(attempts: int, key: str) -> None:
    found = retrying.wait(attempts, key=key)
    base = min(retrying.MOST, retrying.FIRST * 2 ** min(attempts - 1, 20))
    assert 0.8 * base <= found <= 1.2 * base


def test_wait__a_day_of_tries__are_some_hundred() -> None:
    total, attempts = timedelta(), 0
    while total < retrying.GIVE_UP_AFTER:
        attempts += 1
        total += retrying.wait(attempts, key="k")
    assert 90 <= attempts <= 120


@pytest.mark.parametrize(
    "header,seconds",
    [
        ("30", 30),
        (" 0 ", 0),
        ("99999999999", 3_600),
        ("Mon, 30 Nov 2026 12:01:00 GMT", 60),
        ("Mon, 30 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("²", None),
    ],
)
def test_asked_wait__seconds_or_date(header: str, seconds: int | None) -> None:
    found = retrying.asked_wait(header, now=NOW)
    assert found == (None if seconds is None else timedelta(seconds=seconds))


def test_after__each_outcome__moves_as_the_table_says() -> None:
    def after(outcome: Outcome, **given: Any) -> tuple[State, timedelta | None]:
        known: dict[str, Any] = {"attempts": 1, "key": "k", "age": timedelta()}
        return retrying.after(outcome, **{**known, **given})

    assert after(Outcome.ACCEPTED) == (State.SENT, None)
    assert after(Outcome.REFUSED) == (State.FAILED, None)
    assert after(Outcome.AGAIN)[0] is State.PENDING
    assert after(Outcome.AGAIN, asked=timedelta(minutes=5))[1] == timedelta(minutes=5)
    assert after(Outcome.AGAIN, attempts=10, asked=timedelta(seconds=1))[1] == retrying.wait(10, key="k")
    assert after(Outcome.AGAIN, age=timedelta(hours=24)) == (State.GIVEN_UP, None)


# ---- what is told where ----


def entry(verb: str, subject: str = "x:1", **given: Any) -> Entry:
    """An entry of the history."""
    known: dict[str, Any] = {
        "seq": 7,
        "at": NOW,
        "environment": "production",
        "by": "ann",
        "before": None,
        "after": None,
        "reason": "",
    }
    return Entry(verb=verb, subject=subject, **{**known, **given})


def alert(verb: str = "alert.fired", *, reason: str = "", **state: Any) -> Entry:
    """An alert's move."""
    known = {"state": "firing", "group": "litert", "severity": "warning", "title": "Latency", "silence": None}
    return entry(verb, "alert:3", after={**known, "inhibited_by": "", **state}, reason=reason or "p95 is 6 s")


def told(this: Entry) -> tuple[str, str, str] | None:
    """Topic, severity and title by the seeded table."""
    news = news_of(this)
    if news is None:
        return None
    found = routing.route_of(routing.DEFAULT, verb=this.verb, about=news.about, severity=news.severity)
    return (found[0].value, found[1].value, news.title) if found else None


def test_routes__as_the_runbook_says() -> None:
    flag = {"override": {"variant": "off", "reason": "x"}}
    both = {"litert_enabled": flag, "ai_fallback_to_cloud": {"override": {"variant": "on", "reason": "x"}}}
    failed = entry("guardrail.failed", "guardrail:1:2:crashes", after={"role": "guardrail", "sentence": "up"})
    known: list[tuple[Entry, tuple[str, str, str] | None]] = [
        (alert(), ("engineering", "warning", "Latency")),
        (alert(severity="critical"), ("incidents", "critical", "Latency")),
        (alert(group="security", severity="critical"), ("security", "critical", "Latency")),
        (alert("alert.pending", state="pending"), None),
        (alert(inhibited_by="LiteRT is killed"), None),
        (alert(silence=4), None),
        (alert("alert.silenced", silence=4), None),
        (alert("alert.uncovered"), ("engineering", "warning", "Latency")),
        (
            entry("rollback.made", "rollback:1", after={"level": 1}),
            ("incidents", "warning", "Rolled back by level 1: half of the percentage"),
        ),
        (entry("rollback.made", "rollback:2", after={"level": 3}), None),  # the kill says it
        (
            entry("rollback.undone", "rollback:2", after={"level": 3}),
            ("incidents", "warning", "Rollback of level 3 undone"),
        ),
        (alert("alert.uncovered", state="acknowledged"), None),
        (
            entry("flag.killed", "flag:litert_enabled", after=both, reason="Production incident"),
            ("incidents", "critical", "🚨 LiteRT Emergency Rollback Initiated"),
        ),
        (
            entry("flag.killed", "flag:litert_enabled", after=both, reason="Pre-deployment test"),
            ("deployments", "info", "Kill switch drill: LiteRT off"),
        ),
        (
            entry("flag.override_set", "flag:litert_gpu_backend", after=flag, reason="Stability issues"),
            ("incidents", "warning", "Override set: litert_gpu_backend forced off"),
        ),
        (
            entry("flag.drilled", "flag:litert_enabled", after={"devices": 12}, reason="Pre-deployment test"),
            ("deployments", "info", "Drill of litert_enabled on 12 devices"),
        ),
        (
            entry("flag.drill_ended", "flag:litert_enabled", after={"outcome": "time over", "sentence": "2 of 3"}),
            ("deployments", "info", "Drill of litert_enabled: time over"),
        ),
        (entry("flag.percentage_set", "flag:litert_enabled"), None),
        (failed, ("incidents", "critical", "Guardrail fails: crashes")),
        (
            entry("phase.started", "phase:1:2", after={"title": "Limited beta"}),
            ("deployments", "info", "Phase 2 started: Limited beta"),
        ),
        (entry("phase.held", "phase:1:2", after={"why": "no data"}), ("deployments", "warning", "Phase 2 held")),
        (
            entry("proposal.made", "proposal:4", after={"title": "Raise to 5 %"}),
            ("engineering", "warning", "Waits for somebody's yes: Raise to 5 %"),
        ),
        (
            entry("lockdown.started", "lockdown:1", after={"reason": "Forged model", "severity": "high"}),
            ("security", "critical", "🔒 Security lockdown of production: Forged model"),
        ),
        (entry("lockdown.lifted", "lockdown:1"), ("security", "critical", "The lockdown of production is lifted")),
        (entry("lockdown.pondered", "lockdown:1"), ("security", "critical", "Lockdown pondered in production")),
        (
            entry("run.finished", "run:9", after={"script": "scripts/deploy-to-play-store.sh", "verdict": "PASS"}),
            ("deployments", "info", "Run finished: scripts/deploy-to-play-store.sh (PASS)"),
        ),
        (entry("run.finished", "run:9", after={"script": "scripts/test-cpu-performance.sh"}), None),
        (entry("history.heartbeat", hidden=True), None),
    ]
    for this, wanted in known:
        assert told(this) == wanted, this.verb


def test_routes__first_match_counts() -> None:
    rows = (
        Route("alert.*", "gpu*", topic=None),
        Route("alert.*", topic=Topic.ENGINEERING, severity=Severity.INFO),
    )
    assert routing.route_of(rows, verb="alert.fired", about="gpu", severity=Severity.CRITICAL) is None
    found = routing.route_of(rows, verb="alert.fired", about="cpu", severity=Severity.CRITICAL)
    assert found == (Topic.ENGINEERING, Severity.INFO)
    assert routing.route_of(rows, verb="flag.killed", about="cpu", severity=Severity.CRITICAL) is None


def test_news__kill_and_reenable__share_a_thread() -> None:
    killed = news_of(entry("flag.killed", "flag:litert_enabled", after={"litert_enabled": {"override": None}}))
    lifted = news_of(
        entry("flag.reenabled", "flag:litert_enabled", after={"litert_enabled": {"override": None}}, reason="fixed")
    )
    other = news_of(entry("flag.override_cleared", "flag:litert_gpu_backend", after={"override": None}))
    assert killed and lifted and other
    assert (killed.thread, killed.action) == (lifted.thread, Action.TRIGGER)
    assert (lifted.action, other.action) == (Action.RESOLVE, Action.TELL)


def test_together__several_of_a_group__are_one_message() -> None:
    news = [one for one in (news_of(alert(title=f"Alert {n}")) for n in range(25)) if one]
    title, sentences = together(news)
    assert title == "LiteRT: 25 alerts fire"
    assert (len(sentences), sentences[-1]) == (21, "and 5 more")


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.sampled_from(["alert.fired", "flag.killed", "flag.override_set", "guardrail.failed", "phase.stepped", "x.y"]),
    st.text(max_size=60),
    json_values,
    st.text(max_size=400),
)
def test_news__any_entry__has_a_title_of_one_line(verb: str, subject: str, after: Any, reason: str) -> None:
    news: News | None = news_of(entry(verb, subject, after=after, reason=reason))
    if news is not None:
        assert "\n" not in news.title
        assert len(news.title) <= 200
        assert Message.of(message(title=news.title, sentences=news.sentences).document()).title == news.title
