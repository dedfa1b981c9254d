"""More than 10 % of users affected: who counts, what is said, and that it alerts and opens a critical incident."""

import json
from datetime import timedelta

import pytest

from hawkops.core import clock
from hawkops.history.actors import Actor
from incidents.models import Incident
from incidents.services.following import incidents_follow
from monitoring.domain.affected import Affected, Session
from monitoring.domain.alerting import Sign
from monitoring.models import Alert, PanelReport, PanelSlot
from monitoring.selectors.affected import affected
from monitoring.services import telemetry as services
from monitoring.services.alerts import alerts_evaluate
from monitoring.services.criteria import criteria_seed

WITHIN = timedelta(minutes=15)


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        (Session(100, 0, 0), False),
        (Session(100, 19, 0), False),
        (Session(100, 20, 0), True),
        (Session(0, 1, 0), True),
        (Session(100, 0, 1), True),
        (Session(0, 0, 0), False),
    ],
)
def test_session__failed_or_degraded(session: Session, expected: bool) -> None:
    assert session.is_affected is expected


@pytest.mark.parametrize(
    ("devices", "bad", "sign"),
    [(9, 9, Sign.UNKNOWN), (10, 1, Sign.WELL), (10, 2, Sign.BAD), (100, 10, Sign.WELL), (100, 11, Sign.BAD)],
)
def test_sign__above_ten_percent_and_not_at_it(devices: int, bad: int, sign: Sign) -> None:
    assert Affected(devices, bad, WITHIN).sign(0.1) is sign


def test_sentence__has_its_numbers_and_its_interval() -> None:
    said = Affected(100, 30, WITHIN).sentence(0.1)
    assert said.startswith("30 of 100 active devices had a failed or degraded session within 15 min: 30.0 %, between ")
    assert said.endswith("the limit is 10 %")
    low, high = (float(part) for part in said.split("between ")[1].split(" %")[0].split(" and "))
    assert 0 < low < 30 < high < 100


def report(device: str, *, failed: float = 0, simulated: bool = False, hours_ago: int = 0) -> None:
    """What a device said: ten inferences, and so many that failed."""
    hours = int(clock.now().timestamp()) // 3_600 - hours_ago
    rows = [["litert.inferences", "gpu", "on", "", hours, 1, 10.0 - failed, 10.0 - failed, 10.0 - failed]]
    if failed:
        rows.append(["litert.inferences", "gpu", "on", "timeout", hours, 1, failed, failed, failed])
    PanelReport.objects.create(
        environment="staging", device_id=device, device_class="x", simulated=simulated, observed=json.dumps(rows)
    )


@pytest.mark.django_db
def test_merge__counts_each_device_once__simulated_and_old_ones_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in range(20):
        report(f"d{place}", failed=5 if place < 3 else 0)
    report("d0", failed=5)
    report("robot", failed=9, simulated=True)
    report("late", failed=9, hours_ago=5)
    services.panel_merge()
    report("d0", failed=1)
    services.panel_merge()
    found = affected("staging", now=clock.now())
    assert (found.devices, found.affected) == (20, 3)
    assert PanelSlot.objects.get(device_id="d0").failed == 11
    monkeypatch.setattr(clock, "_stepped_to", clock.now() + timedelta(minutes=21))
    assert affected("staging", now=clock.now()).devices == 0
    assert services.slots_prune(now=clock.now() + timedelta(hours=2)) == 21


@pytest.mark.django_db
def test_rule__alerts_critically_and_opens_one_incident() -> None:
    criteria_seed(actor=Actor.system("test"))
    for place in range(20):
        report(f"d{place}", failed=5 if place < 3 else 0)
    services.panel_merge()
    alerts_evaluate(environments=["staging"])
    alert = Alert.objects.get(key="users-affected")
    assert (alert.severity, alert.state) == ("critical", "firing")
    assert "3 of 20 active devices" in alert.sentence
    incidents_follow()
    found = Incident.objects.get()
    assert (found.severity, found.title) == ("critical", "More than 10 % of users are affected")
