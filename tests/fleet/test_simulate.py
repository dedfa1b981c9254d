"""The simulated fleet: every class, everything marked, bounded streams, and a kill that reaches all of it."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hawkops.fleet import simulate
from hawkops.fleet.classes import CLASSES, PUBLISHED, WARM_SECONDS, Body
from hawkops.fleet.http import Client
from hawkops.fleet.otlp import wall_clock
from hawkops.fleet.population import population
from hawkops.fleet.usage import Usage
from tests import apart
from tests.fleet.standin import KEY, StandIn, gateway, wait_for

ROOT = Path(__file__).resolve().parents[2]


def test_class__reference__keeps_the_runbooks_floors_though_warm() -> None:
    """A healthy fleet raises no alert: 95 % of its inferences reach 243, 1 876 and 5 836 tokens a second."""
    bodies = [Body(CLASSES[0], random.Random(seed), memory_bytes=1e9) for seed in range(40)]
    for body in bodies:
        body.infer("cpu", now=0.0)
    for backend, floor in (("cpu", 243), ("gpu", 1876), ("npu", 5836)):
        speeds = sorted(body.infer(backend, now=WARM_SECONDS + 1).prefill for body in bodies for _ in range(50))
        assert speeds[len(speeds) // 20] >= floor


def test_class__published_phones__are_in_no_fleet_because_they_miss_the_floors_they_gave() -> None:
    published = {(one.soc, backend): speed.prefill for one in PUBLISHED for backend, speed in one.speeds.items()}
    assert published["snapdragon-8-gen3", "cpu"] == 243.24
    assert published["snapdragon-8-gen3", "gpu"] == 1876.5
    assert published["snapdragon-8-elite", "npu"] == 5836
    for one in PUBLISHED:
        for backend, floor in (("cpu", 243), ("gpu", 1876), ("npu", 5836)):
            if backend in one.speeds:
                bodies = [Body(one, random.Random(seed), memory_bytes=1e9) for seed in range(40)]
                speeds = sorted(body.infer(backend, now=0.0).prefill for body in bodies for _ in range(50))
                assert speeds[len(speeds) // 20] < floor
    drawn = {device.identity.soc for device in population(500, seed=1)}
    assert drawn == {one.soc for one in CLASSES}
    assert not drawn & {one.soc for one in PUBLISHED}


def test_class__reference__has_the_stated_ratio_to_the_published_speeds() -> None:
    for backend, published in {**PUBLISHED[0].speeds, "npu": PUBLISHED[1].speeds["npu"]}.items():
        assumed = CLASSES[0].speeds[backend]
        assert assumed.prefill / published.prefill == pytest.approx(1.6, rel=0.01)
        assert assumed.decode / published.decode == pytest.approx(1.4, rel=0.01)
        assert assumed.source.startswith("assumed: 1.6 × prefill and 1.4 × decode of the Galaxy ")


def test_class__slowest__answers_within_the_tightest_limit_though_warm() -> None:
    bodies = [Body(CLASSES[-1], random.Random(seed), memory_bytes=1e9) for seed in range(40)]
    for body in bodies:
        body.infer("cpu", now=0.0)
    seconds = sorted(body.infer("cpu", now=WARM_SECONDS + 1).seconds for body in bodies for _ in range(50))
    assert seconds[len(seconds) * 19 // 20] < 3


def test_class__warm__is_slower() -> None:
    body = Body(CLASSES[0], random.Random(1), memory_bytes=1e9)
    cold = sum(body.infer("cpu", now=0.0).prefill for _ in range(200))
    warm = sum(body.infer("cpu", now=WARM_SECONDS + 1).prefill for _ in range(200))
    assert warm < cold * 0.9


def test_class__silent_fallback_or_missing_backend__is_told_apart() -> None:
    body = Body(CLASSES[0], random.Random(1), memory_bytes=1e9, falls_back_silently=True)
    sample = body.infer("gpu", now=0.0)
    assert (sample.requested, sample.actual) == ("gpu", "cpu")
    assert Body(CLASSES[-1], random.Random(1)).actual("npu") == "cpu"
    assert Body(CLASSES[0], random.Random(1)).actual("npu") == "npu"


def test_fleet__kill__reaches_streaming_and_polling_devices() -> None:
    with gateway(flags={"litert_enabled": True, "ai_fallback_to_cloud": True}) as standin:
        environment = {**os.environ, "HAWKOPS_GATEWAY": standin.url, "HAWKOPS_DEVICE_KEY": KEY}
        options = {"--devices": "40", "--streams": "10", "--poll": "1", "--report": "1"}
        command = ["-m", "hawkops.fleet.simulate", "--steady", *(word for pair in options.items() for word in pair)]
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: len({who for _, who, status in standin.evaluations if status == 304}) == 40, 20)
            wait_for(lambda: len(standin.streams) == 10)
            seen = len(standin.evaluations)
            standin.change(litert_enabled=False)
            wait_for(lambda: len({who for _, who, status in standin.evaluations[seen:] if status == 304}) == 40)
            actual = "litert.backend.actual"
            wait_for(lambda: any(found[actual] == "cloud" for found, _ in standin.points("litert.inferences")))
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
    assert all(context["hawkops.simulated"] is True for context in standin.contexts)
    assert {context["device.soc"] for context in standin.contexts} == {device.soc for device in CLASSES}
    for payload in standin.payloads:
        (resource,) = payload.resource_metrics
        marks = {pair.key: pair.value.bool_value for pair in resource.resource.attributes}
        assert marks["hawkops.simulated"] is True


@asynccontextmanager
async def living(standin: StandIn) -> AsyncIterator[simulate.ConnectedDevice]:
    """Run one device that reports twice a second, in this process."""
    settings = simulate.Settings.given(
        gateway=standin.url, key=KEY, devices=1, report_seconds=0.5, poll_seconds=1, streams=1
    )
    with contextlib.closing(Client()) as http:
        (device,) = simulate.fleet(settings, simulate.Tally(), http=http, now=wall_clock())
        task = asyncio.create_task(device.run())
        try:
            yield device
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def ends(standin: StandIn) -> list[int]:
    """Return when the exports that arrived end, in the order of arrival."""
    found: list[int] = []
    for payload in standin.payloads:
        metrics = payload.resource_metrics[0].scope_metrics[0].metrics
        found.extend({point.time_unix_nano for metric in metrics for point in metric.gauge.data_points})
    return found


def test_device__offline__reaches_nothing_and_sends_with_the_original_times_when_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    online = True
    monkeypatch.setattr(Usage, "online", lambda self, at: online)
    monkeypatch.setattr(Usage, "report_seconds", lambda self, usual: usual)
    monkeypatch.setattr(simulate, "KEPT_REPORT_SECONDS", 0.5)

    async def story(standin: StandIn) -> None:
        nonlocal online
        async with living(standin) as device:
            await arrives(lambda: standin.streams and len(standin.payloads) > 1)
            online = False
            await asyncio.sleep(0.3)
            seen, looked = len(standin.payloads), len(standin.evaluations)
            standin.change(litert_enabled=True)
            left_at = wall_clock()
            await asyncio.sleep(2)
            assert (len(standin.payloads), len(standin.evaluations)) == (seen, looked)
            assert not device.device.orders.litert_enabled
            online = True
            returned_at = wall_clock()
            await arrives(lambda: len(standin.payloads) > seen + 3)
            ended = [time / 1e9 for time in ends(standin)]
            assert ended == sorted(ended)
            assert sum(left_at < time < returned_at for time in ended) >= 3
            await arrives(lambda: device.device.orders.litert_enabled, seconds=25)

    with gateway(flags={"litert_enabled": False}) as standin:
        apart.run(story(standin))


def test_device__refused_for_now__sends_the_same_export_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Usage, "online", lambda self, at: True)
    monkeypatch.setattr(Usage, "report_seconds", lambda self, usual: usual)

    async def story(standin: StandIn) -> None:
        async with living(standin):
            await arrives(lambda: standin.payloads)
            standin.answers = False
            closed_at = wall_clock()
            await asyncio.sleep(1.5)
            opened_at, standin.answers = wall_clock(), True
            await arrives(lambda: any(closed_at < time / 1e9 < opened_at for time in ends(standin)))

    with gateway(flags={"litert_enabled": False}) as standin:
        apart.run(story(standin))


async def arrives(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait in the loop until something holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)
