"""A simulated fleet on a story's clock, through the gateway of the product in the story's own process.

Its devices ask for their flags, obey them, and report their last hour, a sixth of those whose turn it is every ten minutes.
What beat does with telemetry, guardrails and the clock of a validation is done at the end of each hour.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import orjson

from hawkops.accounts.services.credentials import device_key_create
from hawkops.core import clock
from hawkops.fleet.orders import Orders, orders_from, variants_from
from hawkops.fleet.population import SimulatedDevice, population
from hawkops.fleet.scenarios import Injection, scenario
from hawkops.gateway import Gateway
from hawkops.history.tasks import heartbeat
from monitoring import tasks as monitoring
from monitoring.services import rollups
from rollout import tasks
from rollout.domain import phases as domain
from rollout.models import Flag, PhaseRun, Release
from rollout.selectors.phases import phase_of
from tests import apart
from tests.rollout.walking import SYSTEM, begin, furnish
from tests.stories.fleet import ENVIRONMENT, FLAG, FLAGS_PATH, HOUR, call, gateway

SHARE = 50_000  # thousandths of a percent: as many devices on either side
MINUTE = timedelta(minutes=1)
PARTS, MINUTES = 6, 10


@dataclass
class Stage:
    """A third phase at half of a simulated fleet, which begins when the story says."""

    devices: list[SimulatedDevice]
    key: str
    release: Release
    # orders that a device's own app makes of what it was told
    heeds: Callable[[Orders], Orders] = lambda told: told
    run: PhaseRun = field(init=False)

    def begin(self) -> None:
        """Let the phase begin, as data that is there, and every device be told."""
        phase = phase_of(self.release, 3)
        assert phase is not None
        at = clock.now()
        flag = Flag.objects.get(environment=ENVIRONMENT, key=FLAG)
        flag.thousandths, flag.salt = 0, "stage"
        flag.rules, flag.revision = [rule.document() for rule in domain.rules(phase, SHARE)], flag.revision + 1
        flag.save()
        self.run = PhaseRun.objects.create(
            release=self.release,
            number=3,
            percents=[SHARE / 1_000],
            step=1,
            started_at=at,
            reached_at=at,
            started_by="story",
            served=[{"at": at.isoformat(), "thousandths": SHARE}],
            flag_revision=flag.revision,
        )
        tasks.validation_due()
        apart.run(self._everybody_asks())

    def before(self, hours: int, *, every: int) -> None:
        """Live through what was before the release; each device reports every so many hours."""
        for number in range(hours):
            apart.run(self._hour(self.devices[number % every :: every], beats=False))
        rollups.rollups_move_up()
        rollups.partitions_keep()

    def hours(self, count: int, *, every: int = 1, beats: bool = True) -> None:
        """Live through hours of the phase, of which each device reports every so many; without `beats` nobody looks."""
        for number in range(count):
            apart.run(self._hour(self.devices[number % every :: every], beats=beats))
            monitoring.panel_merge()
            if beats:
                tasks.guardrails_look()
                tasks.validation_due()

    @property
    def served(self) -> int:
        """How many devices were told to run LiteRT when they asked last."""
        return sum(device.variants.get(FLAG) == "on" for device in self.devices)

    async def _everybody_asks(self) -> None:
        async with gateway() as door:
            await self._ask(door, self.devices)

    async def _hour(self, devices: Sequence[SimulatedDevice], *, beats: bool = True) -> None:
        async with gateway() as door:
            snapshot = door.store.snapshot(ENVIRONMENT)
            assert snapshot is not None
            for part in range(PARTS):
                for _ in range(MINUTES):
                    clock.step_to(clock.now() + MINUTE)
                    if beats:
                        await asyncio.to_thread(heartbeat)
                chosen = devices[part::PARTS]
                await self._ask(door, chosen)
                at = clock.now().timestamp()
                sent = []
                for device in chosen:
                    device.revision = snapshot.revision
                    sent += device.report(begins_at=at - HOUR.total_seconds(), ends_at=at)
                # crashes are counted before they are told
                for path in sorted({one.path for one in sent}, reverse=True):
                    told = (one.payload for one in sent if one.path == path)
                    await asyncio.gather(*(call(door, path, self.key, payload) for payload in told))

    async def _ask(self, door: Gateway, devices: Iterable[SimulatedDevice]) -> None:
        for device in devices:
            body = orjson.dumps({"context": device.identity.context()})
            flags = orjson.loads((await call(door, FLAGS_PATH, self.key, body))[1])["flags"]
            device.variants = variants_from(flags)
            device.obey(self.heeds(orders_from(flags)))


def staged(
    name: str = "healthy", *, devices: int, seed: int = 7, heeds: Callable[[Orders], Orders] | None = None,
    begins: datetime | None = None
) -> Stage:  # fmt: skip
    """Furnish an installation, and make a fleet in which a scenario begins."""
    furnish()
    wanted = scenario(name)
    backends = [key for key in wanted.flags if key != FLAG]
    Flag.objects.filter(environment=ENVIRONMENT).update(thousandths=0)
    on = [*backends, "ai_fallback_to_cloud", "litert_adaptive_switching"]
    Flag.objects.filter(environment=ENVIRONMENT, key__in=on).update(thousandths=100_000)
    release = begin(ENVIRONMENT, app_version="1.0.0", backends=["cpu", *(key.split("_")[1] for key in backends)])
    _, key = device_key_create(environment=ENVIRONMENT, name="fleet", actor=SYSTEM)
    injection = Injection(wanted, (begins or clock.now()).timestamp())
    made = population(devices, seed=seed, injection=injection)
    stage = Stage(made, key, release)
    if heeds is not None:
        stage.heeds = heeds
    return stage
