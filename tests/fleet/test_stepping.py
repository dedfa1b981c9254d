"""A clock that jumps: a week in seconds, the same each time, and exports of offline devices with their own times."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from hawkops.fleet.orders import Orders
from hawkops.fleet.population import KEPT_SECONDS, SimulatedDevice, population
from hawkops.fleet.stepping import stepped
from hawkops.fleet.usage import HOUR
from tests.fleet.judging import CRITERIA, Judge, parsed

START = datetime(2026, 3, 2, 17, tzinfo=UTC).timestamp()
DAY = 24 * HOUR
VALIDATION = [key for key in CRITERIA if key.startswith(("validation-", "decision-", "gate-", "security-"))]


def running(devices: int, seed: int = 1) -> list[SimulatedDevice]:
    made = population(devices, seed=seed)
    for device in made:
        device.obey(Orders(litert_enabled=True, litert_gpu_backend=True, litert_adaptive_switching=True))
    return made


def times(payload: bytes) -> tuple[float, float]:
    """Return the only span that the points of an export are about."""
    spans = {
        (point.start_time_unix_nano, point.time_unix_nano)
        for metric in parsed(payload).resource_metrics[0].scope_metrics[0].metrics
        for points in (metric.sum.data_points, metric.exponential_histogram.data_points)
        for point in points
    }
    ends = {
        point.time_unix_nano
        for metric in parsed(payload).resource_metrics[0].scope_metrics[0].metrics
        for point in metric.gauge.data_points
    }
    ((begins_at, ends_at),) = spans or {(0, min(ends))}
    assert ends == {ends_at}
    return begins_at / 1e9, ends_at / 1e9


def test_stepped__same_seed__sends_the_same() -> None:
    one, same = (
        [
            (sent.moment, sent.device.identity.device_id, sent.payload)
            for sent in stepped(running(8), start=START, step=600, until=START + 8 * HOUR)
        ]
        for _ in range(2)
    )
    assert one == same
    assert [moment for moment, *_ in one] == sorted(moment for moment, *_ in one)


def test_stepped__seven_days__hold_nights_outages_and_every_criterion() -> None:
    judge, by_hour, late = Judge(), [0] * 24, []
    devices = running(6)
    reported: dict[str, list[tuple[float, float]]] = {device.identity.device_id: [] for device in devices}
    for sent in stepped(devices, start=START, step=900, until=START + 7 * DAY):
        begins_at, ends_at = times(sent.payload)
        assert sent.device.usage.online(sent.moment)
        assert ends_at <= sent.moment <= ends_at + KEPT_SECONDS
        if ends_at < sent.moment:
            late.append(sent)
            assert not sent.device.usage.online(ends_at)
        if begins_at:
            reported[sent.device.identity.device_id].append((begins_at, ends_at))
        if sent.moment > START + 5 * DAY:
            judge.take(sent)
        local_hour = int(ends_at / HOUR + sent.device.usage.zone_hours) % 24
        by_hour[local_hour] += len(sent.payload)
    assert late
    assert all(one[1] <= other[0] for spans in reported.values() for one, other in pairwise(spans))
    assert by_hour[2] < 0.9 * by_hour[9]
    assert judge.failing(VALIDATION, START + 7 * DAY) == {}


def test_stepped__background_device__reports_less_often() -> None:
    devices = running(20)
    sent = [one.device for one in stepped(devices, start=START, step=60, until=START + HOUR)]
    often, seldom = (
        [sent.count(device) for device in devices if device.usage.background is background]
        for background in (False, True)
    )
    assert max(often) == 60
    assert seldom
    assert max(seldom) == 10


def test_stepped__orders_changed_between_steps__take_effect() -> None:
    devices = population(4, seed=2, steady=True)
    kinds: dict[float, set[str]] = {}
    for sent in stepped(devices, start=START, step=60, until=START + 120):
        names = {metric.name for metric in parsed(sent.payload).resource_metrics[0].scope_metrics[0].metrics}
        kinds.setdefault(sent.moment, set()).update(names)
        sent.device.obey(Orders(litert_enabled=True))
    assert "litert.fallback.duration" in kinds[START + 60]
    assert "litert.prefill.throughput" not in kinds[START + 60]
    assert "litert.prefill.throughput" in kinds[START + 120]


@pytest.mark.parametrize(("step", "until"), [(0.0, START), (-1.0, START), (float("nan"), START), (1.0, START - 1)])
def test_stepped__senseless_clock__is_refused(step: float, until: float) -> None:
    with pytest.raises(ValueError, match="A step takes more than 0 seconds"):
        list(stepped([], start=START, step=step, until=until))
