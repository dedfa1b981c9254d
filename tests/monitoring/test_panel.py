"""The panel keeps bounded devices' own hourly values; erasing a device forgets everything that names it."""

import json
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from io import StringIO
from typing import Any

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.db.models import F, Model
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from hawkops.core import clock
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from monitoring.domain import panel
from monitoring.models import (
    DeviceHour,
    DeviceNote,
    LogLine,
    PanelHour,
    PanelReport,
    PanelSlot,
    PatternSample,
    RollupPartial,
)
from monitoring.otlp.decoding import POINTS_MOST
from monitoring.otlp.quick import QuickDecoder
from monitoring.selectors.devices import own_observations
from monitoring.selectors.logs import lines_since
from monitoring.services import patterns
from monitoring.services import telemetry as services
from rollout.models import CensusDevice
from tests.monitoring.conftest import JSON, PROTOBUF, Running
from tests.monitoring.payloads import DEVICE, Payload, pairs
from tests.monitoring.rows import seen


def test_the_share_bounds_the_panel_and_shrinking_keeps_who_is_left() -> None:
    assert panel.share(0) == panel.share(100) == 1.0
    fleet = [f"device-{number}" for number in range(50_000)]
    large = {one for one in fleet if panel.member(one, panel.share(20_000))}
    small = {one for one in fleet if panel.member(one, panel.share(50_000))}
    assert small < large
    assert len(small) == pytest.approx(panel.DEVICES_MOST, rel=0.06)


@pytest.mark.fresh_database
def test_a_members_reports_of_an_hour_become_one_row_for_each_series(door: Running) -> None:
    now = time.time()
    for step, values in enumerate(([200.0, 300.0], [100.0], [400.0])):
        body = Payload(at=now - step).exponential("litert.prefill.throughput", values).sum("litert.inferences", 2).body
        assert door.post(body).status_code == 200
        assert door.post(body).status_code == 200  # sent again, counted once
    assert services.panel_merge() == 3
    assert services.panel_merge() == 0
    rows = {(row.metric, row.backend_actual): row for row in PanelHour.objects.all()}
    assert len(rows) in (2, 4)  # four when the hour turned meanwhile
    prefill = list(PanelHour.objects.filter(metric="litert.prefill.throughput"))
    assert sum(row.count for row in prefill) == 4
    assert sum(row.total for row in prefill) == pytest.approx(1_000, rel=0.011)
    assert {row.device_id for row in prefill} == {"dev-1"}
    assert min(row.low for row in prefill) == 100.0
    assert max(row.high for row in prefill) == 400.0
    assert sum(row.total for row in PanelHour.objects.filter(metric="litert.inferences")) == 6


def collected(*sent: Payload) -> bytes:
    """One payload with the resources of many, as a collector makes it."""
    request = ExportMetricsServiceRequest()
    for one in sent:
        request.resource_metrics.extend(one.message.resource_metrics)
    return request.SerializeToString()


@pytest.mark.fresh_database
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_behind_a_collector_each_device_keeps_its_own_values(door: Running, content_type: str) -> None:
    """Two devices of one class, one of them in two resources, and one without a name: a value is only its sender's."""
    sent = []
    for name, first, more in (("dev-1", 200.0, 2), ("dev-2", 400.0, 3), ("dev-1", 100.0, 5), ("", 900.0, 7)):
        one = Payload({**DEVICE, "device.id": name}).exponential("litert.prefill.throughput", [first] * more)
        one.sum("litert.inferences", more).sum("made.up", 1)
        explicit = one.metric("app.session.duration", "s").histogram
        explicit.aggregation_temporality = 1  # type: ignore[assignment]
        explicit.data_points.add(
            time_unix_nano=one.nanoseconds, count=more, sum=first * more, min=first, max=first, bucket_counts=[more]
        )
        sent.append(one)
    body = collected(*sent)
    if content_type == JSON:
        document = MessageToDict(ExportMetricsServiceRequest.FromString(body), use_integers_for_enums=True)
        body = orjson.dumps(document)
    assert door.post(body, content_type=content_type).status_code == 200
    services.panel_merge()
    found = {(row.device_id, row.metric): (row.count, row.total, row.low, row.high) for row in PanelHour.objects.all()}
    for metric in ("litert.prefill.throughput", "app.session.duration"):
        assert found.pop(("dev-1", metric)) == (7, 900.0, 100.0, 200.0)
        assert found.pop(("dev-2", metric)) == (3, 1_200.0, 400.0, 400.0)
    assert found.pop(("dev-1", "litert.inferences")) == (2, 7.0, 2.0, 5.0)
    assert found.pop(("dev-2", "litert.inferences")) == (1, 3.0, 3.0, 3.0)
    assert not found
    durations = RollupPartial.objects.filter(series__metric="app.session.duration")
    assert sum(row.count for row in durations) == 17
    notes = {note.device_id: (note.accepted, note.rejected) for note in DeviceNote.objects.all()}
    assert notes == {"dev-1": (6, 2), "dev-2": (3, 1)}


@pytest.mark.fresh_database
def test_what_cumulative_streams_grew_by_is_their_devices_value_too(door: Running) -> None:
    began = time.time() - 30
    for step, value in enumerate((4, 9)):
        sent = Payload(at=began + step).sum("litert.inferences", value, temporality=2)
        sent.scope.metrics[0].sum.data_points[0].start_time_unix_nano = int((began - 1) * 1e9)
        assert door.post(sent.body).status_code == 200
    services.panel_merge()
    assert sum(row.total for row in PanelHour.objects.filter(device_id="dev-1")) == 9


def test_the_bound_on_points_is_for_all_resources_together() -> None:
    sent = []
    for name in ("dev-1", "dev-2"):
        one = Payload({**DEVICE, "device.id": name})
        metric = one.metric("litert.inferences").sum
        metric.aggregation_temporality, metric.is_monotonic = 1, True  # type: ignore[assignment]
        for _ in range(POINTS_MOST // 2 + 5):
            metric.data_points.add(as_int=1, time_unix_nano=one.nanoseconds)
        sent.append(one)
    found = QuickDecoder().decode(collected(*sent), environment="demo", now=clock.now())
    assert (found.accepted, found.rejected) == (POINTS_MOST, 10)


@pytest.mark.fresh_database
def test_names_that_need_escaping_come_through(door: Running) -> None:
    said = 'C:\\n "x"'
    body = Payload({**DEVICE, "device.id": said}).sum("litert.inferences", 1, {"error.type": said}).body
    assert door.post(body).status_code == 200
    services.panel_merge()
    row = PanelHour.objects.get()
    assert (row.device_id, row.outcome) == (said, said)


@pytest.mark.fresh_database
def test_a_fleet_above_the_ceiling_keeps_its_chosen_share_only(door: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel, "DEVICES_MOST", 5)
    for number in range(60):
        resource = {**DEVICE, "device.id": f"dev-{number}"}
        assert door.post(Payload(resource).sum("litert.inferences", 1).body).status_code == 200
    assert DeviceHour.objects.count() >= 60
    services.panel_merge()
    assert 5 <= PanelHour.objects.count() < 30


def lines(body: str, *, device: Mapping[str, object]) -> bytes:
    found = ExportLogsServiceRequest()
    resource_logs = found.resource_logs.add()
    resource_logs.resource.attributes.extend(pairs(device))
    record = resource_logs.scope_logs.add().log_records.add(time_unix_nano=time.time_ns(), severity_number=17)
    record.body.string_value = body
    return found.SerializeToString()


def census_of(device_id: str, environment: str = "demo") -> None:
    CensusDevice.objects.create(
        environment=environment, device_id=device_id, first_seen_at=clock.now(), last_seen_at=clock.now()
    )


def said_by_erasing(device_id: str, **options: str) -> str:
    said = StringIO()
    call_command("device_erase", device_id, stdout=said, **options)
    return said.getvalue()


NAMING: tuple[type[Model], ...] = (
    DeviceHour, PanelHour, PanelReport, PanelSlot, DeviceNote, LogLine, PatternSample, CensusDevice
)  # fmt: skip


@pytest.mark.fresh_database
def test_erasing_a_device_forgets_it_in_one_command_and_says_so(door: Running) -> None:
    patterns.patterns_seed(actor=Actor.system("test"))
    for name in ("dev-1", "dev-2"):
        resource = {**DEVICE, "device.id": name}
        assert door.post(Payload(resource).sum("litert.inferences", 1).body).status_code == 200
        assert door.post(lines("BACKEND_SWITCH to cpu", device=resource), path="/v1/logs").status_code == 200
        seen(name, clock.now() - timedelta(days=3))
        seen(name, clock.now() - timedelta(days=9))  # not pruned yet
        census_of(name)
    services.panel_merge()
    for name in ("dev-1", "dev-2"):  # not merged yet
        resource = {**DEVICE, "device.id": name}
        assert door.post(Payload(resource).sum("litert.inferences", 2).body).status_code == 200
    patterns.patterns_scan()
    for table in NAMING:
        assert set(table._default_manager.values_list("device_id", flat=True)) == {"dev-1", "dev-2"}, table
    said = said_by_erasing("dev-1")
    assert "demo: " in said
    assert "vanish 48 h after" in said
    for table in NAMING:
        assert set(table._default_manager.values_list("device_id", flat=True)) == {"dev-2"}, table
    assert RollupPartial.objects.exists()
    entry = HistoryEntry.objects.get(verb="device.erased")
    assert "dev-1" not in f"{entry.subject} {entry.before_text} {entry.after_text} {entry.reason}"
    with pytest.raises(CommandError, match="Nothing is kept of 'dev-1'"):
        call_command("device_erase", "dev-1")
    with pytest.raises(CommandError, match="Say which device"):
        call_command("device_erase", " ")
    assert HistoryEntry.objects.filter(verb="device.erased").count() == 1


@pytest.mark.fresh_database
@pytest.mark.parametrize("given", ["dev\t\u200b1", " dev 1 ", "d" * 300])
def test_a_device_is_erased_by_the_id_that_it_sent_whatever_the_doors_made_of_it(door: Running, given: str) -> None:
    sent = Payload({**DEVICE, "device.id": given}).sum("litert.inferences", 1)
    assert door.post(sent.body).status_code == 200
    assert DeviceHour.objects.count() == 1
    if len(given) <= 200:
        census_of(given)
    said_by_erasing(given)
    assert not DeviceHour.objects.exists()
    assert CensusDevice.objects.exists() is ("\t" in given)  # the flags' door refuses control characters


@pytest.mark.fresh_database
def test_flags_know_a_device_by_an_id_that_telemetry_cleans() -> None:
    census_of("dev\u200b1", "staging")
    assert "staging: 1 census entries" in said_by_erasing("dev\u200b1", environment="staging")


def report(device_id: str, *, count: int = 1, total: float = 1.0) -> PanelReport:
    hour = int(clock.now().timestamp()) // 3600
    observed = [["app.sessions", "", "", "", hour, count, total, 1.0, 1.0]]
    return PanelReport.objects.create(
        environment="demo", device_id=device_id, device_class="x", simulated=False, observed=json.dumps(observed)
    )


@pytest.mark.fresh_database
def test_observations_of_ones_own__are_those_merged_and_those_that_wait_of_late() -> None:
    report("dev-1", count=3)
    services.panel_merge()
    PanelHour.objects.update(hour_at=F("hour_at") - timedelta(hours=5))
    report("dev-1", count=2)
    services.panel_merge()
    report("dev-1")
    report("dev-2")

    assert own_observations("dev-1", "app.sessions") == 3
    assert own_observations("dev-1", "app.crashes") == 0


@pytest.mark.fresh_database
def test_a_merge_under_way_leaves_nothing_of_a_device_that_is_being_erased() -> None:
    report("dev-1")
    services.panel_merge()
    report("dev-1")
    report("dev-2")
    ready, go = threading.Event(), threading.Event()

    def merge_slowly() -> None:
        try:
            with transaction.atomic():
                services.panel_merge()
                ready.set()
                go.wait(5)
        finally:
            connections.close_all()

    def erase() -> None:
        try:
            services.device_erase("demo", "dev-1")
        finally:
            connections.close_all()

    merging, erasing = threading.Thread(target=merge_slowly), threading.Thread(target=erase)
    merging.start()
    assert ready.wait(5)
    erasing.start()
    erasing.join(0.3)
    assert erasing.is_alive()
    go.set()
    merging.join()
    erasing.join()
    assert not PanelReport.objects.exists()
    assert set(PanelHour.objects.values_list("device_id", flat=True)) == {"dev-2"}


@pytest.mark.django_db
def test_a_scan_that_read_lines_before_they_were_erased_keeps_no_sample_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patterns.patterns_seed(actor=Actor.system("test"))
    now = clock.now()
    for name in ("dev-1", "dev-2"):
        LogLine.objects.create(
            environment="demo", at=now, received_at=now, severity=17, body="BACKEND_SWITCH to cpu", device_id=name
        )
    erased: list[int] = []

    def read_and_be_overtaken(*args: Any, **options: Any) -> Any:
        rows = lines_since(*args, **options)
        if rows and not erased:
            erased.append(services.device_erase("demo", "dev-1"))
        return rows

    monkeypatch.setattr(patterns, "lines_since", read_and_be_overtaken)
    patterns.patterns_scan()
    patterns.patterns_scan()
    assert erased == [1]
    assert set(PatternSample.objects.values_list("device_id", flat=True)) == {"dev-2"}


@pytest.mark.django_db
def test_a_report_that_can_not_be_true_stops_no_merge() -> None:
    for _ in range(3):
        report("dev-1", count=2**62, total=1e308)
    report("dev-2")
    services.panel_merge()
    report("dev-1", count=2**62, total=1e308)
    services.panel_merge()
    assert not PanelReport.objects.exists()
    assert dict(PanelHour.objects.values_list("device_id", "count")) == {"dev-1": 2**62, "dev-2": 1}


@pytest.mark.django_db
def test_the_panel_is_pruned_by_age() -> None:
    for days in (1, 9):
        PanelHour.objects.create(
            environment="demo", hour_at=clock.now() - timedelta(days=days), device_id=f"d{days}", device_class="x",
            simulated=False, metric="app.sessions", count=1, total=1.0, low=1.0, high=1.0,
        )  # fmt: skip
    assert services.panel_prune() == 1
    assert PanelHour.objects.get().device_id == "d1"
