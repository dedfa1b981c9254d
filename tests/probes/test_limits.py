"""The runbook's limits: rounding never makes a reading pass, and a lack is told from a failure."""

import argparse

import pytest

from hawkops.scripts.probes import limits
from hawkops.scripts.probes.benchmark import line, minutes_and_seconds, together
from hawkops.scripts.probes.limits import Limit, judged
from hawkops.scripts.probes.measuring import Exit, Reading


def reading(value: float | None, *, broken: bool = False, name: str = "x") -> Reading:
    return Reading(name, "u", "cpu", value, "because", broken)


@pytest.mark.parametrize(
    ("limit", "value", "shown", "outcome"),
    [
        (limits.CPU, 243.0, 243, Exit.PASSED),
        (limits.CPU, 242.99, 242, Exit.FAILED),
        (limits.GPU, 1876.4, 1876, Exit.PASSED),
        (limits.NPU, 5835.9, 5835, Exit.FAILED),
        (limits.MEMORY, 2_000_000_000.0, 2000, Exit.PASSED),
        (limits.MEMORY, 2_000_000_001.0, 2001, Exit.FAILED),
        (limits.SWITCHING, 0.5, 500, Exit.PASSED),
        (limits.SWITCHING, 0.5001, 501, Exit.FAILED),
        (limits.FALLBACK, 1.999, 1999, Exit.PASSED),
        (limits.FALLBACK, 2.0, 2000, Exit.FAILED),
    ],
)
def test_limit__at_its_edge__rounds_against_passing(limit: Limit, value: float, shown: int, outcome: Exit) -> None:
    assert limit.shown(value) == shown
    assert judged(reading(value), limit) is outcome


def test_judged__nothing_measured__is_a_lack_unless_broken() -> None:
    assert judged(reading(None), limits.CPU) is Exit.UNMEASURED
    assert judged(reading(None, broken=True), limits.CPU) is Exit.FAILED


def test_together__rounds__are_judged_by_what_95_percent_reach() -> None:
    rounds = [reading(float(value)) for value in range(100, 200)]
    assert together(rounds, limits.CPU).value == 105.0
    assert together(rounds, limits.MEMORY).value == 199.0
    assert together(rounds, limits.SWITCHING).value == 149.5


def test_together__one_round_failed__speaks_for_all() -> None:
    found = together([reading(1.0), reading(None), reading(None, broken=True)], limits.CPU)
    assert found.value is None
    assert found.broken


def test_line__measured_or_not__keeps_the_words_of_the_runbook() -> None:
    assert line(limits.CPU, Reading("x", "u", "cpu", 300.7), Exit.PASSED) == (
        "✅ CPU Backend: 243+ tokens/sec · measured 300 tokens/sec"
    )
    assert line(limits.SWITCHING, reading(0.7), Exit.FAILED).startswith(
        "❌ Backend Switching: <500ms · measured 700 ms"
    )
    assert "could not measure: because" in line(limits.FALLBACK, reading(None), Exit.UNMEASURED)


@pytest.mark.parametrize(("text", "seconds"), [("60m", 3600), ("90s", 90), ("1h30m", 5400), ("0.5s", 0.5)])
def test_duration__as_the_runbook_writes_it__is_read(text: str, seconds: float) -> None:
    assert minutes_and_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "60", "m", "-5m", "5 m", "1d"])
def test_duration__nonsense__is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        minutes_and_seconds(text)
