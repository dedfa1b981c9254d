"""Why a criterion says what it says: its numbers, its formula, and what would change it, all of it in words."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawkops.core.errors import InvalidInput
from hawkops.core.moments import past
from hawkops.core.templatetags.look import band
from hawkops.core.verdicts import Verdict
from hawkops.core.why import Band, Why, document, why_of
from monitoring import thresholds
from monitoring.domain import criteria as domain
from monitoring.domain import numbers as raw
from monitoring.domain.alerting import Episode, Sign, State
from monitoring.domain.criteria import Criterion, Reading
from monitoring.domain.grid import Distribution
from monitoring.domain.numbers import Numbers, Side
from monitoring.domain.statistics.per_device import PerDevice
from monitoring.domain.why import formula, life, why

NOW = datetime(2026, 11, 30, 14, 0, tzinfo=UTC)
PLAIN = {
    "key": "alert-latency",
    "title": "Latency",
    "purpose": "alert",
    "metric": "gen_ai.client.operation.duration",
    "aggregate": "mean",
    "arm": "treatment",
    "window": "5m",
    "comparator": "<",
    "threshold": "500 ms",
    "serves": "the runbook",
}


def made(**changes: Any) -> Criterion:
    return domain.criterion({**PLAIN, **changes})


def observed(count: int, mean: float, spread: float = 0.1) -> Distribution:
    """Observations of a mean with a spread."""
    squares = count * mean**2 + max(0, count - 1) * (mean * spread) ** 2
    return Distribution.of_columns((count, count * mean, squares, mean * 0.5, mean * 1.5), [])


def explained(one: Criterion, numbers: Numbers, *, since: datetime | None = None, scope: str = "") -> Why:
    reading = replace(raw.reading(one, numbers), scope=scope)
    return why(one, reading, domain.judge(one, reading, now=NOW), now=NOW, since=since)


def of(count: int, mean: float, **changes: Any) -> Why:
    """Explain a reading of as many devices as observations, whose own values spread as these do."""
    values = mean * (1 + 0.1 * np.resize([-1.0, 1.0], count))
    panel = PerDevice.summed(values, np.ones(count))
    side = Side(observed(count, mean), devices=12, panel=panel)
    return explained(made(**changes), Numbers(side, at=NOW - timedelta(seconds=9)))


def said(found: Why) -> str:
    return " ".join(found.turns).replace("\u202f", " ")


# ---- numbers and formula ----


def test_why__a_pass__has_every_number_and_says_how_far_the_limit_is() -> None:
    found = of(1_000, 0.4)
    numbers = {name: value.replace("\u202f", " ") for name, value in found.numbers}
    assert numbers["Value"] == "400 ms"
    assert numbers["Limit"] == "< 500 ms"
    assert numbers["Interval"].startswith("from 39")
    assert numbers["Observations"] == "1 000 of 30 needed"
    assert numbers["Devices"] == "1 000"
    assert numbers["Window"] == "5 min, 13:55:00 to 14:00:00 UTC"
    assert numbers["Read on"] == "devices in treatment, or that did not say their side"
    assert numbers["Newest"] == "13:59:51 UTC, 9 s old"
    assert said(found) == (
        "It fails at 500 ms or more: 100 ms (20 % of the limit) away. "
        "It is sure: the whole interval lies within the limit."
    )
    assert found.formula.replace("\u202f", " ").replace("\u00a0", " ") == (
        "mean of gen_ai.client.operation.duration over 5 min, on devices that LiteRT is served to < 500 ms"
    )
    (drawn,) = found.bands
    assert (drawn.bad, drawn.floor, drawn.limits, drawn.short) == (False, False, (0.5,), "400\u202fms")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"metric": "litert.prefill.throughput", "aggregate": "p5", "backends": ["gpu"], "comparator": ">=",
             "threshold": "1876 tok/s", "for": "2m"},
            "p5 of litert.prefill.throughput on gpu over 5 min, on devices that LiteRT is served to ≥ 1 876 tok/s, "
            "missed for 2 min before it alerts",
        ),
        (
            {"metric": "litert.inferences", "not_outcomes": ["ok", ""], "of": "litert.inferences", "aggregate": "ratio",
             "threshold": "1 %"},
            "litert.inferences without outcome ok or unsaid ÷ litert.inferences over 5 min, on devices that LiteRT is "
            "served to < 1 %",
        ),
        (
            {"aggregate": "change of means", "against": "control", "comparator": "<=", "threshold": "5 %"},
            "mean of gen_ai.client.operation.duration, treatment ÷ control − 1 over 5 min ≤ 5 %",
        ),
        (
            {"aggregate": "ratio of medians", "against": "control", "comparator": ">=", "threshold": "3x"},
            "median of gen_ai.client.operation.duration, control ÷ treatment over 5 min ≥ 3×",
        ),
        (
            {"metric": "app.crashes", "aggregate": "per device", "threshold": 0.1, "arm": ""},
            "app.crashes ÷ devices over 5 min < 0.1",
        ),
    ],
)  # fmt: skip
def test_formula__any_aggregate__is_what_is_computed_and_how_it_must_stand(changes: dict[str, Any], words: str) -> None:
    one = made(**changes)
    assert formula(one, one.threshold).replace("\u202f", " ").replace("\u00a0", " ") == words


def test_why__every_criterion_of_the_file__has_a_formula_with_its_limit_and_survives_json() -> None:
    for one in thresholds.load():
        found = explained(
            one, Numbers(Side(observed(400, 1.0), observed(400, 1.0), 30), Side(observed(400, 1.0)), at=NOW)
        )
        assert one.over.metric in found.formula
        assert one.comparator.value in found.formula
        assert found.turns, one.key
        assert why_of(json.loads(json.dumps(document(found), allow_nan=False))) == found


# ---- what would change it ----


def test_why__a_fail__says_the_distance_and_that_chance_does_not_explain_it() -> None:
    found = of(1_000, 0.6)
    assert said(found) == (
        "It passes at < 500 ms: 100 ms (20 % of the limit) away. "
        "Chance does not explain it: the whole interval lies beyond the limit."
    )
    assert [one.bad for one in found.bands] == [True]


def test_why__close_to_the_limit__says_how_many_observations_tell() -> None:
    found = of(40, 0.49)
    assert re.search(r"Chance may be behind it: .* About [\d ]+ observations tell; 40 are there\.", said(found))
    assert "too close to the limit" in said(of(40, 0.5 - 1e-9))


def test_why__too_little_in_a_window_that_slides__says_that_waiting_does_not_help() -> None:
    assert said(of(12, 0.4)) == (
        "18 more observations are missing within 5 min: 12 of 30 are there. "
        "At this pace they never are: it takes 2.5 times as many devices, or a longer window."
    )


def test_why__too_little_since_a_phase_began__says_when_there_is_enough() -> None:
    one = made(window="24h")
    found = explained(one, Numbers(Side(observed(10, 0.4)), at=NOW), since=NOW - timedelta(hours=2))
    assert said(found) == (
        "20 more observations are missing within 24 h: 10 of 30 are there. "
        "At this pace they are there in 4 h, about 18:00:00 UTC."
    )


def test_why__nothing_ever__says_what_is_missing_and_that_nobody_knows_when() -> None:
    found = explained(made(backends=["npu"]), Numbers())
    assert said(found) == (
        "It comes with the first gen_ai.client.operation.duration on npu, from a device that LiteRT is served to. "
        "Nobody can say when: none has come yet."
    )
    assert found.bands == ()


def test_why__old_data__says_when_the_last_came() -> None:
    found = explained(made(), Numbers(at=NOW - timedelta(minutes=20)))
    assert said(found) == (
        "It is known again with the next gen_ai.client.operation.duration; the last came at 13:40:00 UTC."
    )


def test_why__without_control__says_who_must_report() -> None:
    one = made(aggregate="change of means", against="control", comparator="<=", threshold="5 %")
    found = explained(one, Numbers(Side(observed(100, 1.0)), Side(), at=NOW))
    assert said(found) == "It comes when devices in control report gen_ai.client.operation.duration."


def test_why__out_of_scope_simulated_or_broken__say_what_makes_it_count() -> None:
    one = made(where_available=True)
    assert said(explained(one, Numbers(), scope="not in scope: 0 of 9 devices")) == (
        "It counts as soon as one device reports it."
    )
    simulated = domain.judge(one, Reading(1.0, 40), now=NOW, allowed=False)
    assert "when real devices report" in why(one, Reading(1.0, 40), simulated, now=NOW).turns[0]
    broken = domain.unusable(key="x", purpose="alert", title="X", message="window: no span")
    judged = domain.judge(broken, Reading(None), now=NOW)
    assert why(broken, Reading(None), judged, now=NOW).turns == (
        "It changes when the criterion is mended: window: no span.",
    )


@given(st.integers(0, 5_000), st.floats(0.01, 3.0), st.floats(0.0, 0.9))
def test_why__any_reading__agrees_with_its_verdict(count: int, mean: float, spread: float) -> None:
    one = made()
    reading = raw.reading(one, Numbers(Side(observed(count, mean, spread)), at=NOW))
    judged = domain.judge(one, reading, now=NOW)
    found = why(one, reading, judged, now=NOW)
    words = {Verdict.PASS: "It fails", Verdict.FAIL: "It passes", Verdict.INSUFFICIENT: "missing"}
    if judged.verdict in words:
        assert words[judged.verdict] in said(found)
        assert all(one.bad is (judged.verdict is Verdict.FAIL) for one in found.bands)
    lies = "beyond" if judged.verdict is Verdict.PASS else "within"
    assert f"interval lies {lies}" not in said(found), "a pass whose whole interval is beyond its limit there is not"


# ---- alerts ----


def test_life__each_state__says_until_when_it_must_hold() -> None:
    since, span = NOW - timedelta(seconds=90), timedelta(minutes=2)
    assert life(None, Sign.WELL, for_=span, now=NOW) == (
        "It is looked at every 10\u202fs, and fires once it was missed for 2\u202fmin without a break.",
    )
    assert life(Episode(State.PENDING, since), Sign.BAD, for_=span, now=NOW) == (
        "It fires at 14:00:30 UTC if every look until then misses; one that does not ends it.",
    )
    firing = Episode(State.FIRING, since)
    assert "well for 1\u202fmin" in life(firing, Sign.BAD, for_=span, now=NOW)[0]
    assert life(firing, Sign.UNKNOWN, for_=span, now=NOW)[0].startswith("It stays while nothing is known")
    recovering = Episode(State.FIRING, since, well_at=NOW - timedelta(seconds=20))
    assert life(recovering, Sign.WELL, for_=span, now=NOW) == (
        "It resolves at 14:00:40 UTC if it stays well until then.",
    )
    taken = Episode(State.ACKNOWLEDGED, since, acknowledged_until=NOW + timedelta(minutes=15))
    assert life(taken, Sign.BAD, for_=span, now=NOW)[1] == "It pages again at 14:15:00 UTC."


# ---- the band ----


def test_band__an_interval__is_drawn_with_its_boundary_and_without_a_style() -> None:
    drawn = str(band(Band(0.01, 0.04, 0.07, (0.05,), "change +4 %, borne +5 %", zero=0.0, bad=True)))
    assert 'class="gap bad"' in drawn
    assert 'aria-label="change +4 %, borne +5 %"' in drawn
    assert "style" not in drawn
    places = {name: float(value) for name, value in re.findall(r'class="(\w+)" d="M([\d.]+)', drawn)}
    assert places["zero"] < places["lim"] < 138
    assert str(band(None)) == ""


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.booleans())
def test_band__any_numbers__stay_within_the_drawing(a: float, b: float, c: float, limit: float, open_: bool) -> None:
    low, middle, high = sorted((a, b, c))
    drawn = str(band(Band(None if open_ else low, middle, high, (limit,), "x")))
    x, width = (float(value) for value in re.findall(r'x="([-\d.]+)" y="6" width="([-\d.]+)"', drawn)[0])
    middle_at = float(re.findall(r'cx="([-\d.]+)"', drawn)[0])
    assert 0 <= x <= middle_at + 0.1
    assert middle_at <= x + width + 0.1
    assert x + width <= 144.1


# ---- a past minute ----


def test_past__what_is_none__is_refused_with_a_sentence() -> None:
    assert past("", now=NOW) is None
    assert past("2026-11-30T13:00", now=NOW) == NOW - timedelta(hours=1)
    assert past("2026-11-30T14:30+01:00", now=NOW) == NOW - timedelta(minutes=30)
    for text, words in (
        ("soon", "is not a time"),
        ("2026-12-01T00:00", "still to come"),
        ("0001-01-01T00:00+14:00", "is not a time"),
        ("1999-12-31T00:00", "before anything"),
    ):
        with pytest.raises(InvalidInput, match=words):
            past(text, now=NOW)
