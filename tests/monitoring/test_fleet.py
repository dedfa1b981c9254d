"""A simulated fleet through the real door on a stepped clock: a healthy one stays quiet, each scenario is found, alone."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

import httpx
import pytest
import time_machine

from hawkops.fleet.orders import Orders
from hawkops.fleet.population import SimulatedDevice, population
from hawkops.fleet.scenarios import HEALTHY, SCENARIOS, Injection, scenario
from hawkops.fleet.stepping import Sent, stepped
from hawkops.history.actors import Actor
from monitoring.domain.alerting import State
from monitoring.models import Alert, RollupPartial
from monitoring.services import rollups
from monitoring.services.alerts import alerts_evaluate
from monitoring.services.criteria import criteria_seed
from tests.monitoring.conftest import PROTOBUF, Running

pytestmark = pytest.mark.fresh_database
NOON = datetime(2026, 3, 4, 17, tzinfo=UTC).timestamp()
HEALTHY_SECONDS, STEP_SECONDS = 300.0, 60.0
SENDERS = 8


@pytest.fixture
def send(door: Running) -> Iterator["Sender"]:
    """Posts what a fleet sends, at the moments it sends it."""
    criteria_seed(actor=Actor.system("test"))
    headers = {"content-type": PROTOBUF, "content-encoding": "gzip", "authorization": "Bearer hk_demo_good"}
    with ThreadPoolExecutor(SENDERS) as pool, httpx.Client(base_url=door.url, headers=headers, timeout=30) as client:
        yield Sender(client, pool)


class Sender:
    """A fleet's way to the door, and a clock that jumps with it."""

    def __init__(self, client: httpx.Client, pool: ThreadPoolExecutor) -> None:
        self._client, self._pool = client, pool

    def each_step(self, exports: Iterable[Sent]) -> Iterator[float]:
        """Send what belongs to one moment, then yield the moment, with every clock of the process at it."""
        for moment, sent in groupby(exports, key=lambda one: one.moment):
            with time_machine.travel(datetime.fromtimestamp(moment, tz=UTC), tick=False):
                codes = set(self._pool.map(self._post, [one.payload for one in sent]))
                assert codes == {200}
                yield moment

    def _post(self, payload: bytes) -> int:
        return self._client.post("/v1/metrics", content=payload).status_code


def ordered(devices: list[SimulatedDevice], flags: Iterable[str]) -> list[SimulatedDevice]:
    orders = replace(Orders(litert_enabled=True), **dict.fromkeys(flags, True))
    for device in devices:
        device.obey(orders)
        # what the flag served them, which tells the treatment from the control
        device.variants = {"litert_enabled": "on"}
    return devices


def fired() -> set[str]:
    """Return the criteria whose alert fires or has fired."""
    return set(Alert.objects.exclude(state=State.PENDING).values_list("key", flat=True))


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != HEALTHY.name])
def test_a_scenario_is_detected_in_the_promised_time_and_only_it(send: Sender, name: str) -> None:
    wanted = scenario(name)
    begins_at = NOON + HEALTHY_SECONDS
    # in a smaller fleet ten minutes bring too few sessions to tell a wave of crashes from chance
    devices = population(300 if name == "crash-wave" else 100, seed=7, injection=Injection(wanted, begins_at))
    # the promise is about the breach; the criterion's own waiting time and one look come on top
    until = begins_at + wanted.detected_within_seconds + 90
    found_at = None
    for moment in send.each_step(stepped(ordered(devices, wanted.flags), start=NOON, step=STEP_SECONDS, until=until)):
        alerts_evaluate(environments=("demo",))
        if moment <= begins_at:
            assert not fired()
        elif wanted.criterion in fired():
            found_at = moment
            break
    assert found_at is not None, f"{name} was not found within {until - begins_at:.0f} s"
    assert fired() == {wanted.criterion}


def test_a_healthy_fleet_of_every_class_stays_quiet_for_seven_days(send: Sender) -> None:
    days, step = 7, 1_800.0
    until = NOON + timedelta(days=days).total_seconds()
    looks = 0
    devices = ordered(population(24, seed=11), ("litert_gpu_backend",))
    for _ in send.each_step(stepped(devices, start=NOON, step=step, until=until)):
        alerts_evaluate(environments=("demo",))
        looks += 1
        if looks % 48 == 0:
            rollups.rollups_move_up()
            rollups.partitions_keep()
    assert looks >= days * 48 - 2
    assert fired() == set()
    widths = set(RollupPartial.objects.values_list("width_seconds", flat=True))
    assert widths >= {600, 3_600}
