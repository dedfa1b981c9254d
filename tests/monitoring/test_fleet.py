"""A simulated fleet through the real door on a stepped clock: a healthy one stays quiet, each scenario is found, alone."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

import httpx
import pytest
import time_machine

from hawkops.core.verdicts import Verdict
from hawkops.fleet.orders import Orders
from hawkops.fleet.otlp import LOGS_PATH
from hawkops.fleet.population import population
from hawkops.fleet.scenarios import HEALTHY, SCENARIOS, Injection, scenario
from hawkops.fleet.stepping import Sent, along, roll_out, stepped, ticks
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import heartbeat_record
from monitoring.domain.alerting import Kind
from monitoring.domain.criteria import Purpose
from monitoring.domain.health import AVAILABILITY
from monitoring.models import Alert, LogLine, RollupPartial, Series
from monitoring.selectors.criteria import criteria, evaluate
from monitoring.services import rollups
from monitoring.services.alerts import alerts_evaluate
from monitoring.services.criteria import criteria_seed
from monitoring.services.health import health_run
from tests.fleet.judging import mixed
from tests.monitoring.conftest import PROTOBUF, Running

pytestmark = pytest.mark.fresh_database
NOON = datetime(2026, 3, 4, 17, tzinfo=UTC).timestamp()
HEALTHY_SECONDS, AFTER_SECONDS = 300.0, 900.0
# alerts are evaluated every ten seconds, and a device in use reports as often
LOOK_SECONDS, COARSE_SECONDS = 10.0, 60.0
SENDERS = 8
BREAKING = [name for name in SCENARIOS if name != HEALTHY.name]


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
            ordered = list(sent)
            with time_machine.travel(datetime.fromtimestamp(moment, tz=UTC), tick=False):
                # a device waits for the answer to one export before it sends the next
                for logs in (False, True):
                    codes = set(self._pool.map(self._post, [one for one in ordered if (one.path == LOGS_PATH) is logs]))
                    assert codes <= {200}
                yield moment

    def _post(self, one: Sent) -> int:
        return self._client.post(one.path, content=one.payload).status_code


def look() -> None:
    """Do what an installation does at each look: check that LiteRT is there, then evaluate."""
    health_run(key=AVAILABILITY, environment="demo")
    alerts_evaluate(environments=("demo",))


def fired() -> set[tuple[str, str]]:
    """Return the alerts, with their kind, that fire or have ever fired."""
    return set(Alert.objects.exclude(fired_at=None).values_list("key", "kind"))


def detected(send: Sender, name: str, *, percentage: float = 100.0) -> float:
    """Run a scenario and fifteen minutes more; return how long after the breach its alert fired, and insist on it alone."""
    wanted = scenario(name)
    begins_at = NOON + HEALTHY_SECONDS
    devices = population(100, seed=7, injection=Injection(wanted, begins_at))
    roll_out(devices, replace(Orders(litert_enabled=True), **dict.fromkeys(wanted.flags, True)), percentage=percentage)
    found: list[float] = []
    latest = begins_at + wanted.detected_within_seconds

    def moments() -> Iterator[float]:
        yield from ticks(start=NOON, step=COARSE_SECONDS, until=begins_at)
        for moment in ticks(start=begins_at, step=LOOK_SECONDS, until=latest):
            if not found:
                yield moment
        if found:
            yield from ticks(start=found[0], step=COARSE_SECONDS, until=found[0] + AFTER_SECONDS)

    for moment in send.each_step(along(devices, start=NOON, moments=moments())):
        heartbeat_record()  # as an installation does: a silent history is an alert of its own
        look()
        if moment <= begins_at:
            assert not Alert.objects.exists()
        elif not found and fired():
            found.append(moment)
    assert found, f"{name} was not found within the promised {wanted.detected_within_seconds:.0f} s"
    assert moment >= found[0] + AFTER_SECONDS
    assert fired() == {(wanted.criterion, Kind.BREACH)}
    return found[0] - begins_at


@pytest.mark.parametrize("name", BREAKING)
def test_a_scenario_is_detected_in_the_promised_time_and_only_it(send: Sender, name: str) -> None:
    assert 0 < detected(send, name) <= scenario(name).detected_within_seconds


@pytest.mark.parametrize("name", ["gpu-regression", "switch-storm", "wrong-but-fast"])
def test_a_scenario_is_detected_when_a_quarter_of_the_fleet_has_litert(send: Sender, name: str) -> None:
    assert 0 < detected(send, name, percentage=25) <= scenario(name).detected_within_seconds


def test_a_crash_that_comes_as_count_and_as_event_counts_once(send: Sender) -> None:
    devices = population(60, seed=7, steady=True, injection=Injection(scenario("crash-wave"), NOON))
    for _ in send.each_step(stepped(devices, start=NOON, step=600, until=NOON + 3_600)):
        pass
    crashes = Series.objects.filter(metric="app.crashes").values_list("pk", flat=True)
    counted = sum(RollupPartial.objects.filter(series__in=crashes).values_list("total", flat=True))
    assert counted == LogLine.objects.filter(crash=True, event_name="device.crash").count() > 5


def test_a_healthy_fleet_on_every_backend_stays_quiet_for_seven_days(send: Sender) -> None:
    days, step = 7, 1_800.0
    until = NOON + timedelta(days=days).total_seconds()
    looks = 0
    seen: dict[str, set[Verdict]] = defaultdict(set)
    devices = mixed(20, seed=28)
    wanted = criteria(purposes=(Purpose.ALERT,))
    for _ in send.each_step(stepped(devices, start=NOON, step=step, until=until)):
        look()
        assert not Alert.objects.exists()
        looks += 1
        if looks % 16 == 0:
            for one in evaluate("demo", wanted):
                seen[one.criterion.key].add(one.judgement.verdict)
        if looks % 48 == 0:
            rollups.rollups_move_up()
            rollups.partitions_keep()
    assert looks >= days * 48 - 2
    few = {
        "alert-crash-rate",
        "alert-wrong-results",
    }  # what twenty devices do in their window can't show so small a rate
    assert {key for key, verdicts in seen.items() if Verdict.PASS in verdicts} == {one.key for one in wanted} - few
    assert all(Verdict.INSUFFICIENT in seen[key] for key in few)
    assert not {Verdict.FAIL, Verdict.ERROR} & set[Verdict]().union(*seen.values())
    assert not HistoryEntry.objects.filter(verb__startswith="alert.").exists()
    widths = set(RollupPartial.objects.values_list("width_seconds", flat=True))
    assert widths >= {600, 3_600}
