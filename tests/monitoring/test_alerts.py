"""Alerts: the table of moves, their life over stored telemetry, and what people do with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from hawkops.core.errors import Conflict, InvalidInput
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from monitoring.domain import alerting
from monitoring.domain.alerting import Episode, Kind, Move, Sign, State
from monitoring.models import Alert
from monitoring.selectors import alerts as selectors
from monitoring.services import alerts as services
from monitoring.services.criteria import criteria_seed
from monitoring.services.silences import silence_create, silence_end
from rollout.services import flags, overrides
from tests.monitoring.rows import stored

ME = Actor("person:1", "operator-1")
START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LATENCY = "gen_ai.client.operation.duration"


# ---- the table of moves ----


@pytest.mark.parametrize(
    ("state", "seen", "seconds", "move"),
    [
        (None, Sign.BAD, 0, Move.BEGIN),
        (None, Sign.WELL, 0, Move.NONE),
        (None, Sign.UNKNOWN, 0, Move.NONE),
        (State.PENDING, Sign.BAD, 29, Move.STILL_BAD),
        (State.PENDING, Sign.BAD, 30, Move.FIRE),
        (State.PENDING, Sign.WELL, 10, Move.DROP),
        (State.PENDING, Sign.UNKNOWN, 10, Move.DROP),
        (State.FIRING, Sign.WELL, 59, Move.NONE),
        (State.FIRING, Sign.WELL, 60, Move.RESOLVE),
        (State.FIRING, Sign.UNKNOWN, 9999, Move.LOSE_SIGHT),
        (State.ACKNOWLEDGED, Sign.WELL, 60, Move.RESOLVE),
        (State.RESOLVED, Sign.BAD, 0, Move.BEGIN),
    ],
)
def test_step__each_state_and_sign(state: State | None, seen: Sign, seconds: int, move: Move) -> None:
    episode = Episode(state, START, START) if state else None

    assert alerting.step(episode, seen, for_=timedelta(seconds=30), now=START + timedelta(seconds=seconds)) is move


def test_step__well__resolves_after_a_minute_of_good_looks_and_not_of_silence() -> None:
    bad_long_ago = Episode(State.FIRING, START)

    assert alerting.step(bad_long_ago, Sign.WELL, for_=timedelta(), now=START + timedelta(hours=1)) is Move.RECOVER
    assert alerting.step(bad_long_ago, Sign.UNKNOWN, for_=timedelta(), now=START + timedelta(hours=1)) is Move.NONE


def test_step__no_waiting_time__fires_at_once() -> None:
    assert alerting.step(None, Sign.BAD, for_=timedelta(), now=START) is Move.FIRE_AT_ONCE


def test_step__acknowledged_too_long__pages_again() -> None:
    episode = Episode(State.ACKNOWLEDGED, START, None, START + timedelta(minutes=15))

    assert alerting.step(episode, Sign.BAD, for_=timedelta(), now=START + timedelta(minutes=14)) is Move.STILL_BAD
    assert alerting.step(episode, Sign.BAD, for_=timedelta(), now=START + timedelta(minutes=15)) is Move.PAGE_AGAIN


@given(st.lists(st.sampled_from(list(Sign)), max_size=80))
def test_step__whatever_comes__silence_never_resolves_and_time_without_data_counts_for_nothing(
    signs: list[Sign],
) -> None:
    episode: Episode | None = None
    now = START
    for position, seen in enumerate(signs):
        now += timedelta(seconds=10)
        move = alerting.step(episode, seen, for_=timedelta(seconds=30), now=now)
        if move is Move.BEGIN:
            episode = Episode(State.PENDING, now)
        elif episode is not None and move is Move.FIRE:
            assert signs[position - 3 : position + 1] == [Sign.BAD] * 4
            episode = Episode(State.FIRING, episode.since)
        elif episode is not None and move in (Move.STILL_BAD, Move.LOSE_SIGHT):
            episode = Episode(episode.state, episode.since)
        elif episode is not None and move is Move.RECOVER:
            episode = Episode(episode.state, episode.since, now)
        elif move is Move.DROP:
            assert seen is not Sign.BAD
            episode = None
        elif move is Move.RESOLVE:
            assert signs[position - 6 : position + 1] == [Sign.WELL] * 7
            episode = None


@pytest.mark.parametrize("kind", list(Kind))
def test_sign__out_of_scope__is_well(kind: Kind) -> None:
    old = timedelta(hours=1)

    assert alerting.sign(kind, Verdict.NO_DATA, silent_for=old, in_scope=False) is Sign.WELL


@pytest.mark.parametrize(
    ("kind", "verdict", "age", "seen"),
    [
        (Kind.BREACH, Verdict.FAIL, 0, Sign.BAD),
        (Kind.BREACH, Verdict.PASS, 0, Sign.WELL),
        (Kind.BREACH, Verdict.INSUFFICIENT, 0, Sign.UNKNOWN),
        (Kind.BREACH, Verdict.STALE, 999, Sign.UNKNOWN),
        (Kind.NO_DATA, Verdict.STALE, 300, Sign.BAD),
        (Kind.NO_DATA, Verdict.FAIL, 10, Sign.WELL),
        (Kind.NO_DATA, Verdict.NO_DATA, None, Sign.UNKNOWN),
    ],
)
def test_sign__what_a_verdict_means(kind: Kind, verdict: Verdict, age: int | None, seen: Sign) -> None:
    silent = None if age is None else timedelta(seconds=age)

    assert alerting.sign(kind, verdict, silent_for=silent) is seen


# ---- life over stored telemetry ----


@pytest.fixture
def seeded() -> None:
    criteria_seed(actor=ME)


@contextmanager
def at(seconds: float) -> Iterator[datetime]:
    """Step to a moment."""
    moment = START + timedelta(seconds=seconds)
    with time_machine.travel(moment, tick=False):
        yield moment


def look(seconds: float, latency: float | None = None) -> int:
    """Let telemetry of one latency arrive at a moment, and evaluate."""
    with at(seconds) as moment:
        if latency is not None:
            stored(LATENCY, [latency] * 40, at=moment - timedelta(seconds=10), actual="cpu")
        return services.alerts_evaluate(environments=["demo"])


def states(key: str = "alert-latency", kind: Kind = Kind.BREACH) -> list[str]:
    return list(Alert.objects.filter(key=key, kind=kind.value).order_by("pk").values_list("state", flat=True))


@pytest.mark.django_db
def test_life__breach_fires_after_its_time_and_resolves_when_well(seeded: None) -> None:
    look(0, 0.5)
    assert states() == []
    look(10, 9.0)
    assert states() == ["pending"]
    look(30, 9.0)
    assert states() == ["pending"]
    look(40, 9.0)
    assert states() == ["firing"]
    # the five-minute window holds the bad data for a while, then it must be well for a minute
    for seconds in range(345, 420, 10):
        look(seconds, 0.5)
    assert states() == ["resolved"]

    alert = Alert.objects.get(key="alert-latency", kind="breach")
    assert alert.detection_seconds == 40  # measured at 12:00:00, told at 12:00:40
    verbs = HistoryEntry.objects.filter(subject=f"alert:{alert.pk}").order_by("seq").values_list("verb", flat=True)
    assert list(verbs) == ["alert.pending", "alert.fired", "alert.resolved"]


@pytest.mark.django_db
def test_life__short_breach__is_dropped_and_told_to_nobody(seeded: None) -> None:
    look(0, 9.0)
    for seconds in (5, 6, 7, 8):
        with at(seconds) as moment:
            stored(LATENCY, [0.1] * 4000, at=moment, actual="cpu")
    look(10)

    assert states() == []
    assert not HistoryEntry.objects.filter(verb="alert.fired", subject__startswith="alert:").exists()


@pytest.mark.django_db
def test_life__few_samples__never_fire(seeded: None) -> None:
    with at(0) as moment:
        stored(LATENCY, [60.0] * 29, at=moment, actual="cpu")
    for seconds in range(0, 120, 10):
        look(seconds)

    assert states() == []


@pytest.mark.django_db
def test_silence__of_all_telemetry__is_one_alert_that_explains_the_others(seeded: None) -> None:
    look(0, 0.5)
    look(100)
    assert states("telemetry-silent", Kind.NO_DATA) == []
    look(130)
    assert states("telemetry-silent", Kind.NO_DATA) == ["firing"]
    look(320)
    assert states("alert-latency", Kind.NO_DATA) == ["firing"]
    assert Alert.objects.get(key="alert-latency").inhibited_by == "no telemetry arrives"
    with at(320):
        loud = [one.alert.key for one in selectors.open_alerts("demo") if one.loud]
    assert "telemetry-silent" in loud
    assert "alert-latency" not in loud


@pytest.mark.django_db
def test_switched_off__quiets_performance_alerts(seeded: None) -> None:
    flags.flags_seed(actor=ME)
    look(0, 9.0)
    look(40, 9.0)
    with at(40):
        assert selectors.firing_count("demo") == 1
        overrides.kill(environment="demo", actor=ME, reason="Production incident")
    look(50, 9.0)

    with at(50):
        assert selectors.firing_count("demo") == 0
    assert Alert.objects.get(key="alert-latency").inhibited_by == "litert_enabled is killed"


@pytest.mark.django_db
def test_flapping__three_times_in_an_hour__is_shown(seeded: None) -> None:
    for begin in (0, 900, 1800):
        for seconds in (0, 40):
            look(begin + seconds, 9.0)
        for seconds in range(345, 430, 10):
            look(begin + seconds, 0.5)
    look(2700, 9.0)

    with at(2700):
        (shown,) = [one for one in selectors.open_alerts("demo") if one.alert.key == "alert-latency"]
        assert shown.flapping


# ---- people ----


@pytest.mark.django_db
def test_acknowledge__quiets_until_its_time_is_over(seeded: None) -> None:
    look(0, 9.0)
    look(40, 9.0)
    alert = Alert.objects.get(key="alert-latency")
    with at(50):
        services.alert_acknowledge(alert_id=alert.pk, actor=ME)
        with pytest.raises(Conflict, match="acknowledged"):
            services.alert_acknowledge(alert_id=alert.pk, actor=ME)
    for seconds in range(60, 3640, 240):
        look(seconds, 9.0)
    assert states() == ["acknowledged"]
    look(3660, 9.0)

    assert states() == ["firing"]
    assert HistoryEntry.objects.filter(verb="alert.paged_again").count() == 1


@pytest.mark.django_db
def test_silence__hides_what_it_names_until_its_end(seeded: None) -> None:
    look(0, 9.0)
    look(40, 9.0)
    with at(50):
        made = silence_create(
            environment="demo", pattern="alert-lat*", span=timedelta(minutes=5), actor=ME, reason="Known"
        )
        shown = selectors.open_alerts("demo")
        assert [one.key for one in selectors.hidden_by(made, shown)] == ["alert-latency"]
        assert selectors.firing_count("demo") == 0
    with at(50 + 301):
        assert selectors.firing_count("demo") == 1
    with at(60):
        silence_end(silence=made, actor=ME)
        assert selectors.firing_count("demo") == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pattern": "*"}, "hide an outage"),
        ({"pattern": "*-*"}, "hide an outage"),
        ({"pattern": "a*"}, "hide an outage"),
        ({"pattern": "", "alertname": "*"}, "hide an outage"),
        ({"pattern": "[!x]*"}, "brackets"),
        ({"pattern": "alert-\x00"}, "NUL"),
        ({"alertname": "\x00"}, "NUL"),
        ({"reason": "\x00"}, "NUL"),
        ({"pattern": "", "severity": "critical"}, "which alerts"),
        ({"severity": "odd"}, "A severity is"),
        ({"pattern": "a" * 121}, "121 characters"),
        ({"pattern": " "}, "which alerts"),
        ({"reason": ""}, "Say why"),
        ({"span": timedelta(days=15)}, "14 days"),
        ({"span": timedelta()}, "14 days"),
    ],
)
@pytest.mark.django_db
def test_silence__unfit__is_refused(changes: dict[str, Any], words: str) -> None:
    wish = {"pattern": "alert-*", "reason": "Known", "span": timedelta(hours=1), **changes}

    with pytest.raises(InvalidInput, match=words):
        silence_create(environment="demo", actor=ME, **wish)
