"""Scenarios on a stepped clock: each breaks its own criterion of the file in time and no other, a healthy fleet none."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hawkops.fleet.orders import Orders
from hawkops.fleet.population import SimulatedDevice, population
from hawkops.fleet.scenarios import HEALTHY, SCENARIOS, Injection, scenario
from hawkops.fleet.stepping import Sent, stepped
from tests.fleet.judging import ALERTS, CRITERIA, Judge

NOON = datetime(2026, 3, 4, 17, tzinfo=UTC).timestamp()
DEVICES, STEP_SECONDS, HEALTHY_SECONDS = 140, 30.0, 420.0
BREAKING = [name for name in SCENARIOS if name != HEALTHY.name]


def ordered(devices: list[SimulatedDevice], flags: Iterable[str]) -> list[SimulatedDevice]:
    orders = replace(Orders(litert_enabled=True), **dict.fromkeys(flags, True))
    for device in devices:
        device.obey(orders)
    return devices


def exports(name: str, *, seconds: float, flags: Iterable[str] = ()) -> Iterable[Sent]:
    injection = Injection(scenario(name), NOON + HEALTHY_SECONDS)
    devices = population(DEVICES, seed=7, injection=injection)
    ordered(devices, (*scenario(name).flags, *flags))
    return stepped(devices, start=NOON, step=STEP_SECONDS, until=NOON + seconds)


def failures(sent: Iterable[Sent]) -> list[tuple[float, dict[str, str]]]:
    """Return what is broken at the end of each step, by seconds since noon."""
    judge, found, moment = Judge(), [], 0.0
    for one in sent:
        if moment and one.moment > moment:
            found.append((moment - NOON, judge.failing(ALERTS, moment)))
        moment = one.moment
        judge.take(one)
    return [*found, (moment - NOON, judge.failing(ALERTS, moment))]


@pytest.mark.parametrize("flags", [(), ("litert_gpu_backend",), ("litert_npu_backend", "litert_adaptive_switching")])
def test_healthy__each_backend__breaks_nothing(flags: tuple[str, ...]) -> None:
    found = failures(exports("healthy", seconds=600, flags=flags))
    assert len(found) == 600 / STEP_SECONDS
    assert [broken for _, broken in found if broken] == []


@pytest.mark.parametrize("name", BREAKING)
def test_scenario__stepped__breaks_its_own_criterion_in_time_and_no_other(name: str) -> None:
    wanted = scenario(name)
    seconds = HEALTHY_SECONDS + wanted.detected_within_seconds
    found = failures(exports(name, seconds=seconds))
    before = [broken for at, broken in found if at <= HEALTHY_SECONDS]
    assert before
    assert not any(before)
    assert {key for _, broken in found for key in broken} == {wanted.criterion}
    broken_at = min(at for at, broken in found if broken)
    assert all(broken for at, broken in found if at >= broken_at)
    assert broken_at + CRITERIA[wanted.criterion].for_.total_seconds() <= seconds


def test_scenarios__sentences__name_their_criterion() -> None:
    for wanted in SCENARIOS.values():
        assert wanted.sentence.endswith(".")
        assert wanted.criterion in wanted.sentence
        assert wanted.criterion in CRITERIA or wanted is HEALTHY


def test_scenario__before_it_begins__is_a_healthy_fleet() -> None:
    for name in BREAKING:
        flags = SCENARIOS[name].flags
        pairs = zip(exports(name, seconds=120), exports("healthy", seconds=120, flags=flags), strict=True)
        assert all(one.payload == other.payload for one, other in pairs)
