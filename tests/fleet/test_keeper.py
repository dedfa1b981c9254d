"""The keeper against a gateway over real HTTP: told, obeyed, confirmed; leases; streams and polling."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from hawkops.fleet.http import Client
from hawkops.fleet.keeper import FlagKeeper
from hawkops.fleet.ofrep import FlagClient, stream_addresses
from hawkops.fleet.orders import SAFE, Orders
from tests import apart
from tests.fleet.standin import KEY, StandIn, gateway

ON = {"litert_enabled": True, "ai_fallback_to_cloud": True}


@asynccontextmanager
async def kept(
    standin: StandIn, key: str = KEY, **options: Any
) -> AsyncIterator[tuple[FlagKeeper, list[Orders], list[str]]]:
    obeyed: list[Orders] = []
    said: list[str] = []

    async def obey(orders: Orders) -> str:
        obeyed.append(orders)
        return "obeyed"

    http = Client()
    client = FlagClient(standin.url, key, {"targetingKey": "dev-1"}, http=http)
    keeper = FlagKeeper(client, obey, say=said.append, **options)
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper, obeyed, said
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        http.close()


async def until(condition: Callable[[], Any], seconds: float = 8.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def test_keeper__changed_answer__is_obeyed_then_confirmed_by_304() -> None:
    async def story() -> None:
        with gateway(flags=dict(ON)) as standin:
            async with kept(standin) as (keeper, obeyed, said):
                await until(lambda: len(standin.evaluations) == 3 and standin.streams)  # the third: on connecting
                assert standin.statuses() == [200, 304, 304]
                assert obeyed == [Orders(litert_enabled=True)]
                before = len(standin.evaluations)
                changed_at = standin.change(litert_enabled=False)
                await until(lambda: [status for *_, status in standin.evaluations[before:]] == [200, 304])
                assert time.monotonic() - changed_at < 1.0
                assert keeper.orders == SAFE
                assert keeper.revision == 2
                assert said[-1].startswith("revision 2: litert_enabled off, obeyed after ")

    apart.run(story())


def test_keeper__change_that_touches_nothing_here__is_confirmed_by_one_304() -> None:
    async def story() -> None:
        with gateway(flags=dict(ON)) as standin:
            async with kept(standin) as (keeper, obeyed, said):
                await until(lambda: len(standin.evaluations) == 3 and standin.streams)  # the third: on connecting
                standin.change()
                await until(lambda: keeper.revision == 2)
                assert standin.statuses()[3:] == [304]
                assert len(obeyed) == 1
                assert "nothing changes here" in said[-1]

    apart.run(story())


def test_keeper__lease_not_renewed__falls_to_safe_values_and_comes_back() -> None:
    async def story() -> None:
        with gateway(flags={**ON, "ai_fallback_to_cloud": False}, lease_seconds=2) as standin:
            async with kept(standin) as (keeper, obeyed, said):
                await until(lambda: keeper.orders.litert_enabled)
                standin.answers = False
                began = time.monotonic()
                await until(lambda: keeper.orders == SAFE)
                assert time.monotonic() - began < 2.5
                assert keeper.revision is None
                assert obeyed[-1] == SAFE
                assert "the lease ended: safe values (litert_enabled off, ai_fallback_to_cloud on)" in said[-1]
                standin.answers = True
                await until(lambda: keeper.orders.litert_enabled)
                assert keeper.revision == 1

    apart.run(story())


def test_keeper__short_lease__is_renewed_before_it_ends() -> None:
    async def story() -> None:
        with gateway(flags=dict(ON), lease_seconds=3) as standin:
            async with kept(standin) as (keeper, obeyed, _):
                await until(lambda: keeper.orders.litert_enabled)
                await asyncio.sleep(4.0)
                assert obeyed == [Orders(litert_enabled=True)]
                assert standin.statuses().count(304) >= 3

    apart.run(story())


def test_keeper__gateway_grants_no_lease__stays_safe() -> None:
    async def story() -> None:
        with gateway(flags=dict(ON), lease_seconds=0) as standin:
            async with kept(standin) as (keeper, obeyed, _):
                await until(lambda: len(standin.evaluations) >= 2)
                assert keeper.orders == SAFE
                assert obeyed == []

    apart.run(story())


def test_keeper__no_stream_offered__polls() -> None:
    async def story() -> None:
        with gateway(flags=dict(ON), offers_stream=False) as standin:
            async with kept(standin, poll_seconds=0.3) as (keeper, _, _said):
                await until(lambda: keeper.orders.litert_enabled)
                standin.change(litert_enabled=False)
                await until(lambda: not keeper.orders.litert_enabled, 2.0)
                assert not standin.streams

    apart.run(story())


def test_keeper__stream_lost__asks_again_and_reconnects() -> None:
    async def story() -> None:
        with gateway(flags=dict(ON)) as standin:
            async with kept(standin) as (keeper, _, _said):
                await until(lambda: standin.streams)
                standin.cut_streams()
                await until(lambda: not standin.streams)
                standin.flags["litert_enabled"] = False
                standin.revision += 1  # nobody is told
                await until(lambda: not keeper.orders.litert_enabled, 3.0)
                await until(lambda: standin.streams, 3.0)

    apart.run(story())


def test_keeper__many_events_at_once__make_few_requests() -> None:
    async def story() -> None:
        with gateway(flags=dict(ON)) as standin:
            async with kept(standin) as (keeper, _, _said):
                await until(lambda: len(standin.evaluations) == 3 and standin.streams)
                for number in range(50):
                    standin.change(litert_enabled=bool(number % 2))
                await until(lambda: keeper.revision == 51)
                assert len(standin.evaluations) < 30

    apart.run(story())


def test_keeper__refused_key__is_said_once_and_changes_nothing() -> None:
    async def story() -> None:
        with gateway(flags=dict(ON)) as standin:
            async with kept(standin, key="hk_wrong") as (keeper, obeyed, said):
                await until(lambda: said)
                assert "refuses the device key" in said[0]
                assert obeyed == []
                assert keeper.orders == SAFE

    apart.run(story())


def test_stream_addresses__all_forms__are_completed() -> None:
    entries = [
        {"type": "sse", "url": "https://a.example/s?token=1"},
        {"type": "sse", "endpoint": {"requestUri": "/s?token=2"}},
        {"type": "sse", "endpoint": {"origin": "https://b.example:9", "requestUri": "/s"}},
        {"type": "websocket", "url": "wss://c.example"},
        {"type": "sse"},
        "nonsense",
    ]
    assert stream_addresses("http://gw:4318/prefix", entries) == (
        "https://a.example/s?token=1",
        "http://gw:4318/s?token=2",
        "https://b.example:9/s",
    )
    assert stream_addresses("http://gw:4318", None) == ()
