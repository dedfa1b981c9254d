"""Keeps a device's flags current: fetches, obeys, confirms, renews the lease, and falls to safe values when it ends.

A device brings `obey`, which makes the orders true and says so in a word. Confirmed means: the gateway answered 304 to a
request sent after obeying, so its census may count this device.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping

from hawkops.fleet.http import HttpError
from hawkops.fleet.lease import NO_LEASE, Lease
from hawkops.fleet.ofrep import FlagClient, FlagsUnavailable, Told, clock
from hawkops.fleet.orders import SAFE, Orders, changes, orders_from, variants_from

Obey = Callable[[Orders], Awaitable[str]]
Say = Callable[[str], None]
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.5, 15.0
CONFIRMATIONS = 4  # changes that arrive while confirming are taken at once, then at the next wake


class FlagKeeper:
    """One device's flags. `orders` are in force now; `revision` is None while none is obeyed."""

    def __init__(
        self,
        client: FlagClient,
        obey: Obey,
        *,
        say: Say,
        streaming: bool = True,
        poll_seconds: float = 30.0,
        chance: random.Random | None = None,
    ) -> None:
        self.orders: Orders = SAFE
        self.variants: dict[str, str] = {}
        self.revision: int | None = None
        self._client, self._obey, self._say = client, obey, say
        self._streaming, self._poll_seconds = streaming, poll_seconds
        self._chance = chance or random.Random()
        self._lease: Lease = NO_LEASE
        self._lease_renewed = asyncio.Event()
        self._told: Orders | None = None
        self._told_revision: int | None = None
        self._obeying = asyncio.Lock()
        self._wake = asyncio.Event()
        self._hints: Mapping[str, str] = {}
        self._noticed_at: float | None = None
        self._failures = 0
        self._listeners: dict[str, asyncio.Task[None]] = {}
        self._connected: set[str] = set()

    async def run(self) -> None:
        """Keep the flags until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._fetching())
                tasks.create_task(self._watching_lease())
        finally:
            for task in self._listeners.values():
                task.cancel()

    def wake(self, hints: Mapping[str, str] | None = None) -> None:
        """Fetch now. Wakes that come together make one request."""
        if not self._wake.is_set():
            self._noticed_at = clock()
        self._hints = hints or {}
        self._wake.set()

    async def _fetching(self) -> None:
        while True:
            hints, self._hints = self._hints, {}
            noticed_at, self._noticed_at = self._noticed_at or clock(), None
            self._wake.clear()
            hold_seconds = None
            try:
                await self._renew(hints, noticed_at)
                if self._failures:
                    self._say("the gateway answers again")
                self._failures = 0
            except FlagsUnavailable as unavailable:
                if not self._failures:
                    self._say(f"{unavailable}; trying again, the lease holds {self._lease.remaining(clock()):.0f} s")
                self._failures += 1
                hold_seconds = unavailable.retry_after_seconds
            if hold_seconds is not None:
                await asyncio.sleep(hold_seconds)  # asked for: not even an event shortens it
            else:
                await self._sleep(self._pause())

    def _pause(self) -> float:
        """Return the seconds until the next fetch when nothing happens before."""
        spread = self._chance.uniform(0.85, 1.0)
        if self._failures:
            return min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(self._failures - 1, 8)) * spread
        renewal = self._lease.renewal_in(clock())
        return (renewal if self._connected else min(renewal, self._poll_seconds)) * spread

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _renew(self, hints: Mapping[str, str], noticed_at: float) -> None:
        """Fetch; obey what changed; confirm with conditional requests until nothing more changed."""
        told = await self._client.fetch(hints)
        for _ in range(CONFIRMATIONS):
            await self._take(told, noticed_at)
            if told.flags is None:
                return
            noticed_at = clock()
            told = await self._client.fetch()
        await self._take(told, noticed_at)

    async def _take(self, told: Told, noticed_at: float) -> None:
        self._lease = self._lease.renewed(sent_at=told.sent_at, seconds=told.lease_seconds)
        self._lease_renewed.set()
        if told.flags is not None:
            self._told = orders_from(told.flags)
            self.variants = variants_from(told.flags)
            self._follow(told.streams or ())
        if self._told is None:
            self._client.forget()  # a 304 to somebody who holds nothing
            return
        new_revision = told.revision is not None and told.revision != self._told_revision
        if told.revision is not None:
            self._told_revision = told.revision
        async with self._obeying:
            if not self._lease.holds(clock()):
                return  # the gateway itself has lost its source: safe values stand
            changed = changes(self.orders, self._told)
            first = self.revision is None
            outcome = await self._make_true(self._told)
            self.revision = self._told_revision
        took = f"{(clock() - noticed_at) * 1000:.0f} ms"
        number = "flags" if self.revision is None else f"revision {self.revision}"
        if changed:
            self._say(f"{number}: {', '.join(changed)}, {outcome} after {took}")
        elif new_revision and not first:
            self._say(f"{number}: nothing changes here, confirmed after {took}")
        elif first:
            self._say(f"{number}: safe values, confirmed after {took}")

    async def _make_true(self, orders: Orders) -> str:
        if orders == self.orders and self.revision is not None:
            return "obeyed"
        self.orders = orders
        return await self._obey(orders)

    async def _watching_lease(self) -> None:
        while True:
            self._lease_renewed.clear()
            left = self._lease.remaining(clock())
            if left > 0:
                try:
                    async with asyncio.timeout(left):
                        await self._lease_renewed.wait()
                except TimeoutError:
                    continue
            else:
                await self._fall_safe()
                await self._lease_renewed.wait()

    async def _fall_safe(self) -> None:
        async with self._obeying:
            if self.revision is None or self._lease.holds(clock()):
                return
            changed = changes(self.orders, SAFE)
            self.revision = None
            began = clock()
            self.orders = SAFE
            outcome = await self._obey(SAFE)
        words = f"safe values ({', '.join(changed) or 'in force already'})"
        self._say(f"the lease ended: {words}, {outcome} after {(clock() - began) * 1000:.0f} ms")

    def _follow(self, addresses: tuple[str, ...]) -> None:
        """Listen to exactly these streams."""
        wanted = set(addresses) if self._streaming else set()
        for address in set(self._listeners) - wanted:
            self._listeners.pop(address).cancel()
            self._connected.discard(address)
        for address in wanted - set(self._listeners):
            self._listeners[address] = asyncio.create_task(self._listening(address))

    async def _listening(self, address: str) -> None:
        last_id, failures = "", 0
        while True:
            try:
                async for event_id, event in self._client.listen(address, last_id):
                    last_id = event_id or last_id
                    if event.kind == "opened":
                        self._connected.add(address)
                        failures = 0
                        self.wake()  # whatever was missed while not connected
                    elif event.kind == "refetch":
                        self.wake(event.hints)
            except HttpError:
                pass  # the pause below; meanwhile this device polls
            finally:
                self._connected.discard(address)
            failures += 1
            longest = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(failures, 8))
            await asyncio.sleep(longest * self._chance.uniform(0.5, 1.0))
            self.wake()  # without a stream nobody says what changes; spread, as all devices lose it together
