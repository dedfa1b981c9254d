"""The devices without a network: the same seed gives the same fleet, and each reports the whole table of metrics."""

import gzip
import statistics
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from hawkops.fleet.classes import CLASSES
from hawkops.fleet.orders import Orders
from hawkops.fleet.population import KEPT_SECONDS, Export, Outbox, SimulatedDevice, population
from hawkops.fleet.scenarios import Injection, scenario
from hawkops.fleet.stepping import roll_out
from hawkops.fleet.usage import HOUR, Usage
from monitoring.domain.metrics import CATALOGUE, MEASURED
from monitoring.otlp.logs import decode_logs
from tests.fleet.judging import parsed

NOON = datetime(2026, 3, 4, 17, tzinfo=UTC).timestamp()
ON = Orders(litert_enabled=True, litert_gpu_backend=True, litert_adaptive_switching=True)
SECURITY = {"security.encryption.failures", "security.suspicious_events"}


def fleet(devices: int = 60, *, seed: int = 3, orders: Orders = ON) -> list[SimulatedDevice]:
    made = population(devices, seed=seed, steady=True)
    for device in made:
        device.obey(orders)
        device.revision = 4
    return made


def test_population__same_seed__is_the_same_fleet_with_the_same_exports() -> None:
    one, same, other = (fleet(seed=seed) for seed in (3, 3, 4))
    assert [device.identity for device in one] == [device.identity for device in same]
    assert [device.identity for device in one] != [device.identity for device in other]
    for number in range(3):
        begins_at = NOON + 10 * number
        span = {"begins_at": begins_at, "ends_at": begins_at + 10}
        assert [device.report(**span) for device in one] == [device.report(**span) for device in same]


def test_population__drivers__have_their_shares_and_are_told() -> None:
    devices = population(2000, seed=1)
    for device_class in CLASSES:
        own = [device.identity.gpu_driver for device in devices if device.body.device_class is device_class]
        for version, share in device_class.gpu_drivers:
            assert own.count(version) / len(own) == pytest.approx(share, abs=0.08)
    identity = devices[0].identity
    assert identity.resource()["device.gpu.driver"] == identity.context()["device.gpu.driver"] == identity.gpu_driver


def test_report__many__hold_the_whole_table_in_its_proportions() -> None:
    totals: dict[str, float] = defaultdict(float)
    outcomes: Counter[tuple[str, str]] = Counter()
    kinds: dict[str, str] = {}
    ratings: list[tuple[int, float]] = []
    for device in fleet():
        for number in range(40):
            begins_at = NOON + 600 * number
            (resource,) = parsed(
                device.report(begins_at=begins_at, ends_at=begins_at + 600)[0].payload
            ).resource_metrics
            assert {"device.gpu.driver", "hawkops.simulated"} <= {pair.key for pair in resource.resource.attributes}
            for metric in resource.scope_metrics[0].metrics:
                kinds[metric.name] = metric.unit
                for point in metric.sum.data_points:
                    totals[metric.name] += point.as_int
                    for pair in point.attributes:
                        outcomes[metric.name, f"{pair.key}={pair.value.string_value}"] += point.as_int
                if metric.name == "app.user.satisfaction":
                    ratings.extend((p.count, p.sum) for p in metric.exponential_histogram.data_points)
    # nobody orders maintenance of simulated phones
    rare = SECURITY | {"app.crashes", "litert.device.commands"}
    assert set(CATALOGUE) - set(kinds) - MEASURED <= rare
    assert {name: unit for name, unit in kinds.items() if unit} == {
        name: CATALOGUE[name].wire_unit for name, unit in kinds.items() if unit
    }
    assert totals["app.tasks.completed"] / totals["app.tasks.started"] == pytest.approx(0.98, abs=0.005)
    assert sum(total for _, total in ratings) / sum(count for count, _ in ratings) == pytest.approx(4.6, abs=0.1)
    assert totals["app.crashes"] == 0
    assert 0 < totals["app.support_tickets"] < totals["app.sessions"] / 500
    assert outcomes["litert.parity.checks", "outcome=match"] == totals["litert.parity.checks"]
    assert outcomes["litert.model.validations", "outcome=ok"] == totals["litert.model.validations"] > 0


def test_report__gauges__are_plausible() -> None:
    (resource,) = parsed(fleet(1)[0].report(begins_at=NOON, ends_at=NOON + 600)[0].payload).resource_metrics
    found = {
        metric.name: metric.gauge.data_points[0]
        for metric in resource.scope_metrics[0].metrics
        if metric.gauge.data_points
    }
    assert 0 < found["process.cpu.utilization"].as_double <= 1
    assert 0 < found["device.battery.drain"].as_double < 0.2
    assert found["device.storage.free"].as_int > 1e9
    assert found["device.thermal.status"].as_int in (0, 1, 2)
    assert found["hawkops.flags.revision"].as_int == 4


def test_report__litert_off_without_cloud__tells_of_the_app_only() -> None:
    device = fleet(1, orders=Orders(ai_fallback_to_cloud=False))[0]
    activity = device.live(begins_at=NOON, ends_at=NOON + HOUR)
    assert activity.samples == ()
    assert activity.sessions > 0


def test_report__every_metric__says_which_arm_it_is_of() -> None:
    devices = population(60, seed=3, steady=True)
    roll_out(devices, ON, percentage=50)
    seen: dict[str, set[str]] = defaultdict(set)
    variants: Counter[str] = Counter()
    for device in devices:
        device.revision = 4
        for moment in range(5):
            span = {"begins_at": NOON + 600 * moment, "ends_at": NOON + 600 * (moment + 1)}
            (resource,) = parsed(device.report(**span)[0].payload).resource_metrics
            for metric in resource.scope_metrics[0].metrics:
                for point in getattr(metric, metric.WhichOneof("data") or "gauge").data_points:
                    said = {pair.key: pair.value.string_value for pair in point.attributes}
                    seen[metric.name].add(said.get("feature_flag.result.variant", ""))
        variants[device.variants["litert_enabled"]] += 1
    assert variants["on"] == pytest.approx(30, abs=12)
    both = {name for name in seen if name.startswith(("app.", "process.", "device.", "http.", "gen_ai.client."))}
    assert {"app.sessions", "app.tasks.completed", "process.cpu.utilization", "device.battery.drain"} < both
    assert {name: seen[name] for name in both - {"app.support_tickets"}} == {
        name: {"on", "off"} for name in both - {"app.support_tickets"}
    }
    assert seen.pop("hawkops.flags.revision") == {""}
    assert not any("" in found for found in seen.values())


@pytest.mark.parametrize("flags", [{}, {"litert_gpu_backend": True}, {"litert_npu_backend": True}])
def test_report__partly_rolled_out__control_asks_the_cloud_and_waits_three_times_as_long(
    flags: dict[str, bool],
) -> None:
    devices = population(200, seed=3)
    roll_out(devices, replace(Orders(litert_enabled=True), **flags), percentage=50)
    seconds: dict[str, list[float]] = defaultdict(list)
    actual: dict[str, set[str]] = defaultdict(set)
    for device in devices:
        for sample in device.live(begins_at=NOON, ends_at=NOON + 100).samples:
            if not sample.error:
                seconds[device.variants["litert_enabled"]].append(sample.seconds)
                actual[device.variants["litert_enabled"]].add(sample.actual)
    assert actual["off"] == {"cloud"}
    assert actual["on"] - {"cloud"} == {"cpu", *(name[7:10] for name in flags)}
    treatment, control = statistics.median(seconds["on"]), statistics.median(seconds["off"])
    assert control / treatment >= 3
    assert statistics.quantiles(seconds["off"], n=20)[-1] < 2


def test_report__warm_device__marks_sustained_work_and_does_it_slower() -> None:
    """Each of the classes slows down by its own share once it has worked for a minute without a rest."""
    thermal: dict[int, list[int]] = defaultdict(list)
    for device_class in CLASSES:
        found: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for device in fleet(120):
            if device.body.device_class is not device_class:
                continue
            for minute in range(4):
                begins_at = NOON + 60 * minute
                report = parsed(device.report(begins_at=begins_at, ends_at=begins_at + 60)[0].payload)
                for metric in report.resource_metrics[0].scope_metrics[0].metrics:
                    if metric.name == "litert.prefill.throughput":
                        for point in metric.exponential_histogram.data_points:
                            said = {pair.key: pair.value.string_value for pair in point.attributes}
                            if said["litert.backend.actual"] == device.body.actual("gpu"):
                                speed = device_class.speeds[said["litert.backend.actual"]].prefill * device.body.pace
                                found[said["litert.load"]].append((point.count, point.sum / speed))
                    if metric.name == "device.thermal.status":
                        thermal[minute].append(metric.gauge.data_points[0].as_int)
        shares = {load: sum(total for _, total in f) / sum(count for count, _ in f) for load, f in found.items()}
        assert shares["sustained"] / shares["burst"] == pytest.approx(device_class.sustained, rel=0.03)
    # the camera warms a phone too, work a bit more
    assert statistics.mean(thermal[3]) > statistics.mean(thermal[0])


def test_report__crashes__are_counted_first_and_told_as_events_of_the_span() -> None:
    device = population(1, seed=3, steady=True, injection=Injection(scenario("crash-wave"), NOON))[0]
    device.variants = {"litert_enabled": "off"}
    counted = told = 0
    for hour in range(40):
        begins_at = NOON + HOUR * hour
        metrics, *logs = device.report(begins_at=begins_at, ends_at=begins_at + HOUR)
        assert metrics.path == "/v1/metrics"
        for metric in parsed(metrics.payload).resource_metrics[0].scope_metrics[0].metrics:
            if metric.name == "app.crashes":
                counted += metric.sum.data_points[0].as_int
        for path, payload in ((one.path, one.payload) for one in logs):
            assert path == "/v1/logs"
            sent = ExportLogsServiceRequest.FromString(gzip.decompress(payload))
            now = datetime.fromtimestamp(begins_at + HOUR, UTC)
            decoded = decode_logs(sent, environment="demo", now=now)
            assert not decoded.reasons
            assert not decoded.moved_to_arrival
            assert all(line.crash and line.device_id == device.identity.device_id for line in decoded.lines)
            assert all(begins_at <= line.at.timestamp() <= begins_at + HOUR for line in decoded.lines)
            assert {line.exception_type for line in decoded.lines} == {"java.lang.IllegalStateException"}
            told += len(decoded.crashes)
    assert counted == told > 3


def test_obey__other_backend_while_running__is_one_switch() -> None:
    device = fleet(1, orders=Orders(litert_enabled=True))[0]
    device.obey(Orders(litert_enabled=True, litert_gpu_backend=True))
    device.obey(Orders(litert_enabled=True, litert_gpu_backend=True))
    assert device.live(begins_at=NOON, ends_at=NOON + 10).switches == 1
    assert device.live(begins_at=NOON + 10, ends_at=NOON + 20).switches == 0


def test_outbox__older_than_an_hour__is_given_up() -> None:
    outbox = Outbox()
    for at in (0.0, 10.0, 20.0):
        outbox.put(Export(f"{at}".encode()), at=at)
    assert list(outbox.taken(10.0 + KEPT_SECONDS)) == [Export(b"10.0"), Export(b"20.0")]
    assert outbox.waiting(0.0) is None


def test_usage__night__is_quiet_by_the_devices_own_clock() -> None:
    midnight = datetime(2026, 3, 4, tzinfo=UTC).timestamp()
    west = Usage("x", zone_hours=-8)
    hours = [west.load(midnight + hour * HOUR) for hour in range(24)]
    assert max(hours) == hours[(9 + 8) % 24] == 1.0
    assert min(hours) == hours[(2 + 8) % 24] == 0.1
    assert Usage("x", zone_hours=1).load(midnight + 8 * HOUR) == west.load(midnight + 17 * HOUR)
    assert Usage("x", zone_hours=-8, background=True).load(midnight + 17 * HOUR) == 0.25


def test_usage__drawn__has_zones_and_background_devices_that_report_less_often() -> None:
    drawn = [Usage.drawn(f"1 {number}") for number in range(1000)]
    assert drawn == [Usage.drawn(f"1 {number}") for number in range(1000)]
    assert len({usage.zone_hours for usage in drawn}) == 6
    assert 100 < sum(usage.background for usage in drawn) < 200
    background = next(usage for usage in drawn if usage.background)
    assert [background.report_seconds(seconds) for seconds in (10, 900, 7200)] == [60, HOUR, 7200]
    assert Usage("x").report_seconds(10) == 10


def test_usage__outages__last_minutes_to_hours_and_end() -> None:
    lengths = []
    offline = moments = 0
    for number in range(100):
        usage = Usage.drawn(f"1 {number}")
        length = 0
        for minute in range(7 * 24 * 60 // 2):
            online = usage.online(NOON + 120 * minute)
            moments += 1
            offline += not online
            if online and length:
                lengths.append(length * 120)
            length = 0 if online else length + 1
    assert 0.005 < offline / moments < 0.03
    assert min(lengths) <= 300
    assert max(lengths) > HOUR
    assert max(lengths) <= 4 * HOUR + 120
    assert statistics.median(lengths) == pytest.approx(25 * 60, rel=0.3)
