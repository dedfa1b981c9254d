"""Scenarios on a stepped clock: each breaks its own criterion of the file in time and no other, a healthy fleet none."""

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hawkops.fleet.classes import OLD_APP, Sample
from hawkops.fleet.orders import Orders
from hawkops.fleet.population import SimulatedDevice, population
from hawkops.fleet.scenarios import (
    HEALTHY,
    REFERENCE,
    REGRESSED_DRIVER,
    SCENARIOS,
    Injection,
    UnknownScenario,
    scenario,
)
from hawkops.fleet.stepping import Sent, stepped
from tests.fleet.judging import ALERTS, CRITERIA, Judge

NOON = datetime(2026, 3, 4, 17, tzinfo=UTC).timestamp()
DEVICES, STEP_SECONDS, HEALTHY_SECONDS = 140, 60.0, 420.0
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
        pairs = zip(exports(name, seconds=60), exports("healthy", seconds=60, flags=flags), strict=True)
        assert all(one.payload == other.payload for one, other in pairs)


def samples(name: str, *, minute: int) -> list[tuple[SimulatedDevice, Sample]]:
    """Return what a fleet infers in one minute of a scenario."""
    devices = population(200, seed=5, steady=True, injection=Injection(scenario(name), NOON))
    begins_at = NOON + 60 * minute
    return [
        (device, sample)
        for device in ordered(devices, scenario(name).flags)
        for sample in device.live(begins_at=begins_at, ends_at=begins_at + 60).local
    ]


def mean_prefill(found: Iterable[tuple[SimulatedDevice, Sample]]) -> float:
    return statistics.mean(sample.prefill for _, sample in found)


def test_gpu_regression__samples__are_slow_on_one_driver_of_one_class() -> None:
    found = samples("gpu-regression", minute=1)
    own = [pair for pair in found if pair[0].body.device_class is REFERENCE and pair[1].actual == "gpu"]
    struck = [pair for pair in own if pair[0].identity.gpu_driver == REGRESSED_DRIVER]
    spared = [pair for pair in own if pair[0].identity.gpu_driver != REGRESSED_DRIVER]
    assert mean_prefill(struck) / mean_prefill(spared) == pytest.approx(0.6, abs=0.05)
    assert statistics.mean(s.decode for _, s in struck) == pytest.approx(62, rel=0.1)


def test_npu_on_cpu__samples__have_the_cpus_speed_whatever_they_are_called() -> None:
    own = [pair for pair in samples("npu-on-cpu", minute=1) if pair[0].body.device_class is REFERENCE]
    assert {sample.requested for _, sample in own} == {"npu"}
    assert all(sample.prefill < 700 for _, sample in own)
    named = Counter(sample.actual for device, sample in own if device.identity.app_version != OLD_APP)
    assert set(named) == {"cpu"}
    old = {
        sample.actual
        for device, sample in own
        if device.identity.app_version == OLD_APP and not device.body.falls_back_silently
    }
    assert old == {"npu"}


def test_memory_leak__samples__pass_both_limits() -> None:
    highest = [max(sample.memory_bytes for _, sample in samples("memory-leak", minute=minute)) for minute in (0, 8, 16)]
    assert highest[0] < 1.8e9 <= highest[1] < highest[2]
    assert min(sample.memory_bytes for _, sample in samples("memory-leak", minute=16)) > 2e9


def test_switch_storm__device__switches_more_in_a_minute_than_allowed_in_an_hour() -> None:
    devices = population(50, seed=5, steady=True, injection=Injection(scenario("switch-storm"), NOON))
    switches = [one.live(begins_at=NOON, ends_at=NOON + 90).switches for one in ordered(devices, ("litert_enabled",))]
    assert statistics.mean(switches) == pytest.approx(18, rel=0.1)
    assert min(switches) > 0
    off = population(50, seed=5, steady=True, injection=Injection(scenario("switch-storm"), NOON))
    assert not any(one.live(begins_at=NOON, ends_at=NOON + 90).switches for one in off)


def test_crash_wave__sessions__crash_far_above_the_limit() -> None:
    devices = population(200, seed=5, steady=True, injection=Injection(scenario("crash-wave"), NOON))
    lived = [device.live(begins_at=NOON, ends_at=NOON + 3600) for device in devices]
    sessions, crashes = sum(one.sessions for one in lived), sum(one.crashes for one in lived)
    assert crashes / sessions == pytest.approx(0.05, abs=0.015)


def test_wrong_but_fast__samples__are_faster_and_do_not_match() -> None:
    own, well = (
        [pair for pair in samples(name, minute=1) if pair[0].body.device_class is REFERENCE]
        for name in ("wrong-but-fast", "healthy")
    )
    assert mean_prefill(own) / mean_prefill(well) == pytest.approx(1.4, abs=0.05)
    devices = population(200, seed=5, steady=True, injection=Injection(scenario("wrong-but-fast"), NOON))
    lived = [one.live(begins_at=NOON, ends_at=NOON + 60) for one in ordered(devices, ("litert_enabled",))]
    checks, wrong = sum(one.parity_checks for one in lived), sum(one.parity_mismatches for one in lived)
    assert wrong / checks == pytest.approx(0.3, abs=0.06)


def test_scenario__unknown__is_refused_with_the_names() -> None:
    with pytest.raises(UnknownScenario, match=r"There is no scenario 'flood'; there are healthy, gpu-regression, "):
        scenario("flood")
