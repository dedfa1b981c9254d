"""How many devices reported: exact for a usual fleet, bounded and about right for a huge one, and by variant."""

from datetime import UTC, datetime, timedelta

import pytest

from hawkops.core import clock
from monitoring.domain import panel
from monitoring.models import DeviceHour, DeviceHourCount
from monitoring.otlp.decoding import DeviceReport, decode
from monitoring.otlp.hours import VARIANTS_MOST, Hour
from monitoring.otlp.quick import QuickDecoder
from monitoring.selectors import devices, telemetry
from monitoring.selectors.devices import DeviceCount, hourly_counts, shown_counts
from monitoring.services import telemetry as services
from tests.monitoring.conftest import Running
from tests.monitoring.payloads import DEVICE, ON_CPU, Payload
from tests.monitoring.rows import seen

NOW = datetime(2026, 5, 4, 12, 40, tzinfo=UTC)
HOUR = timedelta(hours=1)
ON, OFF = {"feature_flag.result.variant": "on"}, {"feature_flag.result.variant": "off"}


def report(number: int, *variants: str) -> DeviceReport:
    return DeviceReport("demo", f"device-{number}", "tensor-g4", False, None, variants or ("",))


def test_an_hours_rows_and_memory_are_bounded_and_their_weights_add_up() -> None:
    hour, fleet = Hour(), 400_000
    rows = []
    for first in range(0, fleet, 1_000):
        found = hour.unseen([report(number, "on") for number in range(first, first + 1_000)])
        hour.committed(found, [(row.environment, row.device_id) for row in found])
        rows += found
    assert [row.weight for row in rows[: panel.HOUR_EXACT_MOST]] == [1] * panel.HOUR_EXACT_MOST
    # the logarithm of eight times as many: the next four steps, and a part of one
    assert len(rows) < panel.HOUR_EXACT_MOST + 5 * panel.HOUR_STEP
    assert sum(row.weight for row in rows) == pytest.approx(fleet, rel=0.02)
    assert hour.active()["demo"] == sum(row.weight for row in rows)
    assert hour.unseen([report(number, "on") for number in range(fleet)]) == []


def test_one_device_cannot_fill_an_hour_with_variants() -> None:
    hour = Hour()
    for number in range(50):
        rows = hour.unseen([report(1, f"made-up-{number}")])
        hour.committed(rows, [(row.environment, row.device_id) for row in rows])
    assert hour.unseen([report(1, "on")]) == []
    assert len(hour.unseen([report(2, *map(str, range(50)))])) == VARIANTS_MOST


def test_a_payload_says_the_variants_of_its_points_however_it_is_read() -> None:
    sent = Payload().sum("app.sessions", 1, {}).sum("litert.inferences", 1, {**ON_CPU, **ON})
    sent.exponential("litert.prefill.throughput", [200.0], {**ON_CPU, **ON})
    quick = QuickDecoder()
    for found in (
        decode(sent.message, environment="demo", now=clock.now()),
        quick.decode(sent.body, environment="demo", now=clock.now()),
        quick.decode(sent.body, environment="demo", now=clock.now()),
    ):
        assert [one.variants for one in found.reports] == [("on",)]
    other = Payload({**DEVICE, "device.id": "dev-2"}).sum("litert.inferences", 1, {**ON_CPU, **OFF})
    sent.message.resource_metrics.extend(other.message.resource_metrics)
    for body in (sent.body, sent.body):
        found = quick.decode(body, environment="demo", now=clock.now())
        assert [one.variants for one in found.reports] == [("on",), ("off",)]
    silent = quick.decode(Payload().sum("app.sessions", 1, {}).body, environment="demo", now=clock.now())
    assert silent.reports[0].variants == ("",)


@pytest.mark.fresh_database
def test_devices_are_counted_on_each_side_they_said_and_once_as_devices(door: Running) -> None:
    for name, variants in (("a", (ON,)), ("b", (ON, OFF)), ("c", ({},)), ("d", ({}, OFF))):
        for step, said in enumerate(variants):
            body = Payload({**DEVICE, "device.id": name}).sum("litert.inferences", 1 + step, {**ON_CPU, **said}).body
            assert door.post(body).status_code == 200
    since = clock.now() - HOUR
    assert shown_counts("demo", since=since) == [DeviceCount("synthetic-host", False, "", 4, True)]
    assert shown_counts("demo", since=since, by_variant=True) == [
        DeviceCount("synthetic-host", False, "", 1, True),
        DeviceCount("synthetic-host", False, "off", 2, True),
        DeviceCount("synthetic-host", False, "on", 2, True),
    ]
    assert shown_counts("production", since=since) == []


@pytest.mark.fresh_database
def test_a_fleet_above_the_limit_keeps_few_rows_and_is_counted_about_right(
    door: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "HOUR_EXACT_MOST", 100)
    monkeypatch.setattr(panel, "HOUR_STEP", 40)
    fleet = 1_500
    for first in range(0, fleet, 25):
        sent = Payload({**DEVICE, "device.id": f"dev-{first}"}).sum("litert.inferences", 1)
        for number in range(first + 1, first + 25):
            more = Payload({**DEVICE, "device.id": f"dev-{number}"}).sum("litert.inferences", 1).message
            sent.message.resource_metrics.extend(more.resource_metrics)
        assert door.post(sent.body).status_code == 200
    # the hour may have turned in between
    assert DeviceHour.objects.count() < 2 * (100 + 5 * 40)
    found = shown_counts("demo", since=clock.now() - HOUR)
    assert [one.exact for one in found] == [False]
    assert found[0].devices == pytest.approx(fleet, rel=0.35)
    assert telemetry.device_classes("demo")[0].devices == found[0].devices


@pytest.mark.fresh_database
def test_a_gateway_that_starts_within_the_hour_goes_on_from_what_is_stored(
    door: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "HOUR_EXACT_MOST", 100)
    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    for at in (hour, hour + HOUR):  # the hour may turn
        for number in range(100):
            seen(f"before-{number}", at)
    for number in range(100):
        resource = {**DEVICE, "device.id": f"before-{number}"}
        assert door.post(Payload(resource).sum("litert.inferences", 1).body).status_code == 200
    for number in range(60):
        resource = {**DEVICE, "device.id": f"after-{number}"}
        assert door.post(Payload(resource).sum("litert.inferences", 1).body).status_code == 200
    kept = DeviceHour.objects.filter(device_id__startswith="after-")
    assert set(kept.values_list("weight", flat=True)) == {2}
    assert 10 < kept.count() < 50
    assert set(kept.values_list("device_id", flat=True)) == {
        f"after-{number}" for number in range(60) if panel.kept(f"after-{number}", 2)
    }


@pytest.mark.django_db
def test_the_table_places_devices_as_the_gateway_does() -> None:
    for name in ("dev-1", "ünïcode", "x" * 200):
        assert DeviceHour.objects.get(pk=seen(name, NOW).pk).place == panel.place(name)


def kept_of(fleet: range, at: datetime, weight: int, variant: str = "") -> None:
    DeviceHour.objects.bulk_create(
        DeviceHour(
            environment="demo", hour_at=at, device_id=f"device-{number}", device_class="tensor-g4", simulated=False,
            variant=variant, weight=weight,
        )
        for number in fleet if panel.kept(f"device-{number}", weight)
    )  # fmt: skip


@pytest.mark.django_db
def test_hours_of_different_shares_make_one_count_of_different_devices() -> None:
    hour = NOW.replace(minute=0)
    kept_of(range(2_000), hour - 2 * HOUR, 1, "on")
    kept_of(range(4_000), hour - HOUR, 2, "on")
    kept_of(range(8_000), hour, 4, "on")
    exact = shown_counts("demo", since=NOW - 2 * HOUR, until=hour - HOUR)
    assert exact == [DeviceCount("tensor-g4", False, "", 2_000, True)]
    for since, many in ((NOW - 2 * HOUR, 8_000), (NOW - HOUR, 8_000), (NOW, 8_000)):
        (found,) = shown_counts("demo", since=since, until=hour + HOUR)
        assert found.devices == pytest.approx(many, rel=0.06)
        assert not found.exact
        assert shown_counts("demo", since=since, by_variant=True)[0].devices == found.devices
    hours = hourly_counts("demo", since=NOW - 2 * HOUR)
    assert [one[0].exact for one in hours.values()] == [True, False, False]
    assert [one[0].devices for one in hours.values()] == pytest.approx([2_000, 4_000, 8_000], rel=0.06)


@pytest.mark.django_db
def test_hours_that_are_over_are_summed_once_and_say_the_same() -> None:
    hour = NOW.replace(minute=0)
    for step in range(4):
        kept_of(range(30), hour - step * HOUR, 1, "on")
        kept_of(range(20, 40), hour - step * HOUR, 1, "off")
        kept_of(range(35, 50), hour - step * HOUR, 1)
    before = [hourly_counts("demo", since=NOW - 5 * HOUR, by_variant=one) for one in (False, True)]
    assert {one.variant: one.devices for one in before[1][hour]} == {"on": 30, "off": 20, "": 10}
    assert before[0][hour] == [DeviceCount("tensor-g4", False, "", 50, True)]
    assert services.device_hours_sum(now=hour + timedelta(seconds=30)) == 2
    assert services.device_hours_sum(now=NOW) == 1
    assert services.device_hours_sum(now=NOW) == 0
    assert DeviceHourCount.objects.filter(by_variant=False).count() == 3
    after = [hourly_counts("demo", since=NOW - 5 * HOUR, by_variant=one) for one in (False, True)]
    assert after == before
    DeviceHour.objects.filter(hour_at__lt=hour).delete()
    assert [hourly_counts("demo", since=NOW - 5 * HOUR, by_variant=one) for one in (False, True)] == before
    services.device_hours_prune(now=NOW + timedelta(days=41))
    assert not DeviceHourCount.objects.exists()


@pytest.mark.django_db
def test_many_hours_are_read_in_part_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    hour = NOW.replace(minute=0)
    for step in range(6):
        kept_of(range(3_000), hour - step * HOUR, 1)
    services.device_hours_sum(now=NOW)
    assert shown_counts("demo", since=NOW - 6 * HOUR) == [DeviceCount("tensor-g4", False, "", 3_000, True)]
    monkeypatch.setattr(devices, "READ_MOST", 5_000)
    (found,) = shown_counts("demo", since=NOW - 6 * HOUR)
    assert not found.exact
    assert found.devices % 4 == 0
    assert found.devices == pytest.approx(3_000, rel=0.1)
