"""The arithmetic of the matrix: when steps are due, what resumes them, what proves them, and what entries mean."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidents.domain.calendar import Calendar
from incidents.domain.contacts import href
from incidents.domain.escalation import (
    DEFAULT,
    GRACE,
    MOVES,
    Policy,
    Proof,
    Sign,
    State,
    Step,
    Target,
    Unfit,
    plan,
    policy_of,
    proof,
    resumed,
    signal_of,
    span_of,
    worse,
)
from monitoring.domain.criteria import Severity

START = datetime(2026, 11, 27, 16, 30, tzinfo=UTC)  # a Friday
MINUTE = timedelta(minutes=1)
HOURS = Calendar()


def minutes(severity: Severity) -> list[tuple[float, str]]:
    """The matrix's row as minutes and targets."""
    return [
        ((one.at - START) / MINUTE, one.step.target.value)
        for one in plan(DEFAULT[severity], start=START, calendar=HOURS)
    ]


def test_matrix__critical__at_0_15_and_30_minutes_then_again() -> None:
    found = minutes(Severity.CRITICAL)
    assert found[:3] == [(0, "on_call"), (15, "team_lead"), (30, "engineering_manager")]
    assert found[3:6] == [(45, "on_call"), (60, "team_lead"), (75, "engineering_manager")]
    assert len(found) == 9


def test_matrix__warning__team_after_an_hour_and_investigation_within_four() -> None:
    assert minutes(Severity.WARNING) == [(60, "team"), (240, "on_call")]


def test_matrix__info__a_day_later_in_business_hours() -> None:
    (one,) = plan(DEFAULT[Severity.INFO], start=START, calendar=HOURS)
    assert one.at == datetime(2026, 11, 30, 9, tzinfo=UTC), "a day after Friday afternoon is Monday morning"
    assert one.step.target == Target.TEAM
    (one,) = plan(DEFAULT[Severity.INFO], start=START - timedelta(days=3), calendar=HOURS)
    assert one.at == START - timedelta(days=2)


STEPS = st.lists(
    st.builds(
        Step, st.integers(0, 20_160).map(lambda n: n * MINUTE), st.sampled_from(Target), st.just(""), st.booleans()
    ),
    min_size=1,
    max_size=5,
).map(lambda steps: tuple(sorted(steps, key=lambda one: one.after)))
POLICIES = st.builds(
    Policy,
    STEPS,
    rounds=st.integers(1, 3),
    rest=st.integers(1, 1440).map(lambda n: n * MINUTE),
    acknowledged_for=st.none(),
)
STARTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - naive ones are asked for
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]).map(Calendar)


@given(POLICIES, STARTS, ZONES)
def test_plan__never_before_the_start__in_order__business_steps_in_business_hours(
    policy: Policy, start: datetime, calendar: Calendar
) -> None:
    found = plan(policy, start=start, calendar=calendar)
    assert [one.number for one in found] == list(range(1, len(policy.steps) * policy.rounds + 1))
    assert all(one.at >= start for one in found)
    assert [one.at for one in found] == sorted(one.at for one in found)
    assert all(calendar.is_open(one.at) for one in found if one.step.business)
    first = found[: len(policy.steps)]
    assert all(one.at >= start + one.step.after for one in first), "never sooner than the matrix says"


@given(POLICIES, STARTS, ZONES, st.integers(0, 15), st.timedeltas(timedelta(), timedelta(days=3)))
def test_resumed__the_next_at_once__never_in_the_past__the_others_as_far_apart(
    policy: Policy, start: datetime, calendar: Calendar, done: int, pause: timedelta
) -> None:
    whole = plan(policy, start=start, calendar=calendar)
    left, now = whole[done:], start + pause
    again = resumed(left, policy, now=now, calendar=calendar, first=len(whole) + 1)
    assert all(one.at >= now for one in again)
    assert [one.at for one in again] == sorted(one.at for one in again)
    assert all(calendar.is_open(one.at) for one in again if one.step.business)
    if left:
        assert [one.number for one in again] == [one.number for one in left]
        assert again[0].step.business or again[0].at == now
        if not any(one.step.business for one in left):
            assert [b.at - a.at for a, b in itertools.pairwise(again)] == [
                b.at - a.at for a, b in itertools.pairwise(left)
            ]
    else:
        assert again[0].number == len(whole) + 1
        assert len(again) == len(whole)


@given(POLICIES)
def test_policy__document__is_read_back(policy: Policy) -> None:
    whole = Policy(
        tuple(Step(span_of(one.document()["after"]), one.target, one.says, one.business) for one in policy.steps),
        policy.acknowledged_for,
        policy.rounds,
        span_of(policy.document()["rest"]),
    )
    assert policy_of(policy.document()) == whole


@pytest.mark.parametrize("severity", list(Severity))
def test_default__is_read_back(severity: Severity) -> None:
    assert policy_of(DEFAULT[severity].document()) == DEFAULT[severity]


@pytest.mark.parametrize(
    "document,words",
    [
        ({}, "lacks"),
        ({"steps": []}, "1 to 10 steps"),
        ({"steps": [{"after": "soon", "target": "team"}]}, "no time"),
        ({"steps": [{"after": "15d", "target": "team"}]}, "up to 14d"),
        ({"steps": [{"after": "5m", "target": "the dog"}]}, "the dog"),
        ({"steps": [{"after": "5m", "target": "team"}, {"after": "0", "target": "team"}]}, "order"),
        ({"steps": [{"after": "0", "target": "team"}], "rounds": 2}, "at least a minute"),
        ({"steps": [{"after": "0", "target": "team"}], "rounds": 99}, "1 to 10 times"),
        ({"steps": [{"after": "0", "target": "team"}], "acknowledged_for": "5s"}, "at least a minute"),
    ],
)
def test_policy__unfit__says_why(document: dict[str, Any], words: str) -> None:
    with pytest.raises(Unfit, match=words):
        policy_of(document)


@pytest.mark.parametrize(
    "accepted,now,expected",
    [
        (None, -MINUTE, Proof.AHEAD),
        (None, timedelta(), Proof.UNDER_WAY),
        (None, GRACE, Proof.LATE),
        (MINUTE, 10 * MINUTE, Proof.PROVEN),
        (GRACE, 10 * MINUTE, Proof.PROVEN),
        (GRACE + MINUTE, 10 * MINUTE, Proof.LATE_PROVEN),
    ],
)
def test_proof(accepted: timedelta | None, now: timedelta, expected: Proof) -> None:
    assert proof(START, None if accepted is None else START + accepted, now=START + now) == expected


ALERT = {"state": "firing", "group": "litert:gpu", "severity": "critical", "title": "GPU is slow"}


@pytest.mark.parametrize(
    "verb,after,sign,key",
    [
        ("alert.fired", ALERT, Sign.BEGINS, "alerts:litert:gpu"),
        ("alert.fired", {**ALERT, "group": ""}, Sign.BEGINS, "alerts:other"),
        ("alert.fired", {**ALERT, "inhibited_by": "kill"}, None, ""),
        ("alert.fired", {**ALERT, "silence": 3}, None, ""),
        ("alert.uncovered", {**ALERT, "state": "acknowledged"}, None, ""),
        ("alert.paged_again", ALERT, Sign.GOES_ON, "alerts:litert:gpu"),
        ("alert.acknowledged", {**ALERT, "state": "acknowledged"}, Sign.ACKNOWLEDGED, "alerts:litert:gpu"),
        ("alert.silenced", {**ALERT, "silence": 3}, Sign.OVER, "alerts:litert:gpu"),
        ("alert.pending", ALERT, None, ""),
        ("incident.opened", {"title": "x", "severity": "critical"}, Sign.BEGINS, "incident:5"),
        ("incident.acknowledged", {"title": "x", "severity": "critical"}, Sign.ACKNOWLEDGED, "incident:5"),
        ("incident.severity_changed", {"title": "x", "severity": "critical"}, Sign.CHANGED, "incident:5"),
        ("incident.resolved", {"title": "x", "severity": "critical"}, Sign.OVER, "incident:5"),
        ("incident.noted", {"title": "x"}, None, ""),
        ("flag.killed", None, None, ""),
        ("page_check.started", {"title": "Daily check"}, Sign.BEGINS, "page_check"),
    ],
)
def test_entry__as_a_signal(verb: str, after: Any, sign: Sign | None, key: str) -> None:
    found = signal_of(seq=1, verb=verb, subject="incident:5", after=after, by="ana")
    assert (found.sign if found else None, found.subject.key if found else "") == (sign, key)


def test_incident__covers_the_alerts_that_joined_it() -> None:
    after = {"title": "GPU", "severity": "critical", "kind": "alerts:litert:gpu"}
    found = signal_of(seq=1, verb="incident.opened", subject="incident:5", after=after, by="rule")
    assert found is not None
    assert found.subject.covers == ("alerts:litert:gpu",)


def test_moves__an_end_is_final() -> None:
    assert MOVES[State.ENDED] == ()
    assert worse(Severity.CRITICAL, Severity.WARNING)
    assert not worse(Severity.INFO, Severity.INFO)


@pytest.mark.parametrize(
    "text,expected",
    [
        ("+1-555-0101", "tel:+1-555-0101".replace("-", "")),
        ("+1 (555) 0102", "tel:+15550102"),
        ("security@hazardhawk.com", "mailto:security@hazardhawk.com"),
        ("Slack: #incidents", ""),
        ("javascript:alert(1)", ""),
        ("", ""),
    ],
)
def test_contact__what_a_phone_opens(text: str, expected: str) -> None:
    assert href(text) == expected
