"""The panel keeps bounded devices' own hourly values; erasing a device forgets everything that names it."""

import time
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from hawkops.core import clock
from hawkops.history.models import HistoryEntry
from monitoring.domain import panel
from monitoring.models import DeviceHour, PanelHour, PanelReport, RollupPartial
from monitoring.services import telemetry as services
from rollout.models import CensusDevice
from tests.monitoring.conftest import Running
from tests.monitoring.payloads import DEVICE, Payload


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


@pytest.mark.fresh_database
def test_erasing_a_device_forgets_it_in_one_command_and_says_so(door: Running) -> None:
    for name in ("dev-1", "dev-2"):
        resource = {**DEVICE, "device.id": name}
        assert door.post(Payload(resource).sum("litert.inferences", 1).body).status_code == 200
        CensusDevice.objects.create(
            environment="demo", device_id=name, first_seen_at=clock.now(), last_seen_at=clock.now()
        )
        services.panel_merge()
    assert door.post(Payload(DEVICE).sum("litert.inferences", 2).body).status_code == 200  # not merged yet
    said = StringIO()
    call_command("device_erase", "dev-1", stdout=said)
    assert "demo: " in said.getvalue()
    assert set(DeviceHour.objects.values_list("device_id", flat=True)) == {"dev-2"}
    assert set(PanelHour.objects.values_list("device_id", flat=True)) == {"dev-2"}
    assert set(CensusDevice.objects.values_list("device_id", flat=True)) == {"dev-2"}
    assert not PanelReport.objects.filter(device_id="dev-1").exists()
    assert RollupPartial.objects.exists()
    entry = HistoryEntry.objects.get(verb="device.erased")
    assert "dev-1" not in f"{entry.subject} {entry.after_text}"
    with pytest.raises(CommandError, match="Nothing is kept of 'dev-1'"):
        call_command("device_erase", "dev-1")
    with pytest.raises(CommandError, match="Say which device"):
        call_command("device_erase", " ")


@pytest.mark.django_db
def test_the_panel_is_pruned_by_age() -> None:
    for days in (1, 9):
        PanelHour.objects.create(
            environment="demo", hour_at=clock.now() - timedelta(days=days), device_id=f"d{days}", device_class="x",
            simulated=False, metric="app.sessions", count=1, total=1.0, low=1.0, high=1.0,
        )  # fmt: skip
    assert services.panel_prune() == 1
    assert PanelHour.objects.get().device_id == "d1"
