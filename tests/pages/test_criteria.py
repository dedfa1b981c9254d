"""The pages of criteria by plain forms: read, replayed, added, changed, deleted; and only by who may everywhere."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from hawkops.accounts.models import RoleGrant
from hawkops.core.access import Role
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from monitoring import thresholds
from monitoring.models import Alert, StoredCriterion, StoredProfile, StoredSection
from monitoring.selectors import health, sections
from monitoring.services.alertmanager import alertmanager_take
from monitoring.services.alerts import alert_acknowledge
from monitoring.services.criteria import criteria_seed, criterion_save
from monitoring.services.patterns import patterns_seed

pytestmark = pytest.mark.django_db
ME = Actor("person:1", "releaser-1")
PAGE = "/demo/criteria"
OWN = {
    "boxes": "1",
    "key": "own-battery",
    "title": "Battery of treated phones",
    "purpose": "alert",
    "metric": "device.battery.drain",
    "aggregate": "mean",
    "against": "",
    "arm": "treatment",
    "window": "1h",
    "comparator": "<",
    "threshold": "0.2",
    "severity": "info",
    "samples": "40",
    "for": "5m",
    "no_data": "on",
    "action": "ask the battery team",
    "serves": "the battery team",
    "reason": "Summer",
}
Make = Callable[..., object]
As = Callable[[object], Client]


@pytest.fixture(autouse=True)
def seeded() -> None:
    criteria_seed(actor=ME)
    patterns_seed(actor=ME)


@pytest.fixture
def console(releaser: object, client_as: As) -> Client:
    return client_as(releaser)


def read(answer: Any) -> str:
    return str(answer.content.decode()).replace("\u202f", " ")


# ---- rights ----

PRESSES = {
    f"{PAGE}/alert-latency": {"threshold": "9 s", "revision": "1", "reason": "weaker"},
    f"{PAGE}/alert-latency/reset": {},
    f"{PAGE}/own/delete": {"reason": "x"},
    f"{PAGE}/new": OWN,
    f"{PAGE}/profiles/reference": {"reason": "x"},
    f"{PAGE}/sections/matrix": {"reason": "x"},
    "/demo/monitoring/patterns": {"title": "T", "expression": "X", "sources": ["app log"], "reason": "x"},
    "/demo/monitoring/patterns/memory-warning": {"reason": "x"},
    "/demo/monitoring/patterns/memory-warning/pause": {"reason": "x"},
    "/demo/monitoring/patterns/memory-warning/delete": {"reason": "x"},
}


@pytest.mark.parametrize("path", PRESSES)
def test_releaser_of_one_environment__weakens_nothing_that_counts_in_all(
    person: Make, client_as: As, path: str
) -> None:
    client = client_as(person("demo-only", Role.RELEASER, environment="demo"))
    seq = Head.objects.get().seq

    answer = client.post(path, PRESSES[path])

    assert answer.status_code == 403, read(answer)
    assert Head.objects.get().seq == seq


def test_list__says_once_whose_devices_are_read_and_names_others(console: Client) -> None:
    page = console.get("/demo/criteria").content.decode()

    assert "(or that did not say)" not in page
    assert page.count("those that did not say their side") == 1
    assert "encryption failures of all devices" in page
    assert "of devices in treatment against control" in page
    assert "silence of the history of all devices" not in page
    assert "(or that did not say)" in console.get("/demo/criteria/alert-latency").content.decode()


def test_page__says_who_may_and_a_reader_sees_no_button_to_press(person: Make, client_as: As) -> None:
    client = client_as(person("demo-only", Role.RELEASER, environment="demo"))
    page = read(client.get(f"{PAGE}/alert-latency"))

    assert "A criterion counts in every environment" in page
    assert "which you don&#x27;t hold" in page or "which you don't hold" in page
    assert "Reset" not in page
    assert "in each of them" in read(client.get("/demo/monitoring/patterns"))


def test_roles_in_each_environment__are_as_good_as_one_for_all(client_as: As, person: Make) -> None:
    somebody = person("somebody", Role.RELEASER, environment="demo")
    for environment in ("staging", "production"):
        RoleGrant.objects.create(user=somebody, role=Role.APPROVER.value, environment=environment)  # type: ignore[misc]
    answer = client_as(somebody).post(f"{PAGE}/new", OWN)

    assert answer.status_code == 303, read(answer)


def test_profile_of_demo__is_changed_in_demo_and_never_reaches_out_of_it(person: Make, client_as: As) -> None:
    client = client_as(person("demo-only", Role.RELEASER, environment="demo"))
    form = {
        "revision": "1",
        "title": "this host",
        "device_classes": "synthetic-host",
        "environments": "demo",
        "prefill-cpu": "900",
        "reason": "Measured",
    }

    assert (
        client.post(f"{PAGE}/profiles/synthetic-host", {**form, "environments": "demo, production"}).status_code == 403
    )
    assert client.post(f"{PAGE}/profiles/synthetic-host", form).status_code == 303
    assert StoredProfile.objects.get(key="synthetic-host").document["throughput"] == {"prefill": {"cpu": 900}}


# ---- editing ----


def test_new__is_replayed_saved_paused_and_only_then_deleted(console: Client) -> None:
    page = read(console.post(f"{PAGE}/new", {**OWN, "replay": "1"}))
    assert "Nothing is stored to replay it over" in page
    assert 'value="ask the battery team"' in page
    assert not StoredCriterion.objects.filter(key="own-battery").exists()

    assert console.post(f"{PAGE}/new", OWN).status_code == 303
    row = StoredCriterion.objects.get(key="own-battery")
    assert row.document["arm"] == "treatment"
    assert (row.document["no_data"], row.document["action"], row.purpose) == (True, "ask the battery team", "alert")
    taken = console.post(f"{PAGE}/new", OWN)
    assert taken.status_code == 422
    assert "There is one named own-battery already" in read(taken)

    gone = console.post(f"{PAGE}/own-battery/delete", {"reason": "Autumn"}, follow=True)
    assert "Pause it first" in read(gone)
    console.post(f"{PAGE}/own-battery", {**OWN, "paused": "on", "revision": "1"})
    assert console.post(f"{PAGE}/own-battery/delete", {"reason": "Autumn"}).status_code == 303
    assert not StoredCriterion.objects.filter(key="own-battery").exists()
    verbs = HistoryEntry.objects.filter(subject="criterion:own-battery").order_by("seq")
    assert [entry.verb for entry in verbs] == ["criterion.created", "criterion.changed", "criterion.deleted"]


def test_one_of_the_runbook__is_never_deleted(console: Client) -> None:
    answer = console.post(f"{PAGE}/alert-latency/delete", {"reason": "x"}, follow=True)

    assert "is the runbook's: pause it instead" in read(answer).replace("&#x27;", "'")
    assert StoredCriterion.objects.filter(key="alert-latency").exists()


def test_edit__every_field_of_the_form__is_kept_and_an_unticked_box_is_off(console: Client) -> None:
    before = StoredCriterion.objects.get(key="alert-latency").document
    assert before["no_data"] is True
    form: dict[str, Any] = {
        **OWN,
        "revision": "1",
        "metric": before["metric"],
        "aggregate": "p99",
        "threshold": "6 s",
        "backends": ["gpu", "npu"],
        "phases": ["2", "3"],
        "arm": "",
        "for": "",
        "not_outcomes": "unsaid, oom",
        "where_available": "on",
        "action": "look at the driver",
    }
    del form["no_data"]
    answer = console.post(f"{PAGE}/alert-latency", form)

    assert answer.status_code == 303, read(answer)
    after = StoredCriterion.objects.get(key="alert-latency").document
    assert after["backends"] == ["gpu", "npu"]
    assert after["not_outcomes"] == ["", "oom"]
    assert (after["phases"], after["aggregate"], after["action"]) == ([2, 3], "p99", "look at the driver")
    assert {"no_data", "arm", "for"}.isdisjoint(after)
    page = read(console.get(f"{PAGE}/alert-latency"))
    assert 'value="unsaid, oom"' in page
    assert (
        '<th scope="row" class="f-a mono">threshold</th><td class="f-e">6000 ms</td><td class="f-b">5000 ms</td>'
        in page
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"samples": "²"}, "samples is a whole number from 1"),
        ({"revision": "²", "threshold": "6 s"}, "already"),
        ({"title": "La\x00tency"}, "holds a NUL"),
        ({"reason": "be\x00cause"}, "holds a NUL"),
        ({"metric": "business.\x00"}, "holds a NUL"),
        ({"phases": ["9"]}, "is no phase"),
        ({"threshold": "fast"}, "is no threshold"),
        ({"threshold": ""}, "threshold is missing"),
    ],
)
def test_edit__what_cannot_be_used__is_refused_with_a_sentence(
    console: Client, changes: dict[str, Any], said: str
) -> None:
    row = StoredCriterion.objects.get(key="alert-latency")
    form = {**OWN, "metric": row.document["metric"], "aggregate": "p95", "threshold": "6 s", "revision": "1", **changes}
    seq = Head.objects.get().seq

    answer = console.post(f"{PAGE}/alert-latency", form)

    # what PostgreSQL can't hold is refused at the door
    status = 400 if said == "holds a NUL" else 422
    assert (answer.status_code, said in answer.content.decode()) == (status, True), read(answer)
    assert Head.objects.get().seq == seq
    assert console.post(f"{PAGE}/alert-latency", {**form, "replay": "1"}).status_code in (200, 400, 422)
    assert Head.objects.get().seq == seq


def test_patterns_and_profiles__with_a_control_character__are_refused(client_as: As, administrator: object) -> None:
    client = client_as(administrator)
    pattern: dict[str, Any] = {
        "title": "T",
        "expression": "X",
        "sources": ["app log"],
        "severity": "info",
        "window": "5m",
    }
    profile = {"revision": "1", "title": "T", "device_classes": "a", "environments": "demo", "prefill-cpu": "9"}

    for form in ({**pattern, "reason": "b\x00"}, {**pattern, "title": "\x00", "reason": "b"}):
        assert client.post("/demo/monitoring/patterns", form).status_code == 400
    for form in ({**profile, "reason": "b\x00"}, {**profile, "title": "a\x00", "reason": "b"}):
        assert client.post(f"{PAGE}/profiles/reference", form).status_code == 400
    wrong = client.post(f"{PAGE}/profiles/reference", {**profile, "environments": "demo, moon", "reason": "b"})
    assert wrong.status_code == 422
    assert "is no environment; there are production, staging, demo" in read(wrong)


def test_versions__are_those_of_the_criterion_and_of_no_other_that_begins_alike(console: Client) -> None:
    document = StoredCriterion.objects.get(key="alert-latency").document
    criterion_save(document={**document, "key": "alert-latency-2"}, actor=ME, reason="A second one")

    assert "A second one" not in read(console.get(f"{PAGE}/alert-latency"))
    assert "A second one" in read(console.get(f"{PAGE}/alert-latency-2"))


def test_stored_row_that_cannot_be_read__shows_as_error_and_is_repaired_on_its_page(console: Client) -> None:
    StoredCriterion.objects.filter(key="alert-latency").update(document={"title": "Latency", "threshold": 7})

    assert "key is missing" in read(console.get(PAGE))
    assert console.get(f"{PAGE}/alert-latency").status_code == 200
    assert "alert-latency," not in read(console.get("/demo/criteria.yaml"))
    assert console.post(f"{PAGE}/alert-latency/reset").status_code == 303
    assert StoredCriterion.objects.get(key="alert-latency").document["threshold"] == "5000 ms"


# ---- drift ----


def test_drift__is_field_by_field_against_the_file_on_disk(
    console: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    assert "What rules is what the file says" in read(console.get(PAGE))
    console.post(f"{PAGE}/new", OWN)
    text = thresholds.FILE.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "key: gate-fallback" not in line]
    changed = "\n".join(lines).replace("threshold: 1800 MB", "threshold: 1700 MB").replace("cpu: 243", "cpu: 250")
    changed = changed.replace("interval: 10m", "interval: 9m") + "\n"
    added = next(line for line in lines if "key: gate-cpu" in line).replace("gate-cpu", "gate-cpu-two")
    (tmp_path / "other.yaml").write_text(changed + added + "\n", encoding="utf-8")
    for loading in (thresholds.load, thresholds.load_profiles, thresholds.load_sections):
        monkeypatch.setattr(loading, "__defaults__", (tmp_path / "other.yaml",))

    page = read(console.get(PAGE))

    for said in (
        "threshold: 1800 MB, file 1700 MB",
        "throughput.prefill.cpu: 243, file 250",
        "fallback.interval: 10m, file 9m",
        "no longer in the file",
        "only in the file",
        "only here",
    ):
        assert said in page, said


# ---- sections ----


def test_section__edited__changes_the_pace_of_a_check_and_the_time_of_an_acknowledgement(console: Client) -> None:
    form = {
        "revision": "1",
        "litert-availability.interval": "1m",
        "litert-availability.timeout": "10s",
        "model-validation.interval": "5m",
        "model-validation.timeout": "30s",
        "fallback.interval": "10m",
        "fallback.timeout": "60s",
        "reason": "Fewer",
    }
    assert console.post(f"{PAGE}/sections/health", form).status_code == 303
    pace = health.check("litert-availability")
    assert pace is not None
    assert pace.interval.total_seconds() == 60
    matrix = {
        "critical.respond": "5m",
        "warning.respond": "1h",
        "warning.investigate": "4h",
        "info.respond": "24h",
        "revision": "1",
        "reason": "Faster",
    }
    assert console.post(f"{PAGE}/sections/matrix", matrix).status_code == 303
    row = {"status": "firing", "labels": {"alertname": "x", "severity": "critical"}, "fingerprint": "f"}
    alertmanager_take(environment="demo", payload={"version": "4", "alerts": [row]}, actor=ME)
    alert = alert_acknowledge(alert_id=Alert.objects.get().pk, actor=ME)

    assert alert.acknowledged_until is not None
    assert alert.acknowledged_at is not None
    assert (alert.acknowledged_until - alert.acknowledged_at).total_seconds() == 300
    entry = HistoryEntry.objects.get(verb="section.changed", subject="section:matrix")
    assert (entry.before["critical"], entry.after["critical"]) == ({"respond": "15m"}, {"respond": "5m"})
    assert "critical.respond" in read(console.get(f"{PAGE}/sections/matrix"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"critical.respond": "soon"}, "is no span"),
        ({"critical.respond": ""}, "is no span"),
        ({"warning.investigate": "1m"}, "nobody investigates before"),
        ({"revision": "7"}, "was changed meanwhile"),
    ],
)
def test_section__unfit__changes_nothing(console: Client, changes: dict[str, str], said: str) -> None:
    form = {
        "critical.respond": "5m",
        "warning.respond": "1h",
        "warning.investigate": "4h",
        "info.respond": "24h",
        "revision": "1",
        "reason": "x",
        **changes,
    }
    answer = console.post(f"{PAGE}/sections/matrix", form)

    assert (answer.status_code, said in answer.content.decode()) == (422, True), read(answer)
    assert not StoredSection.objects.exclude(revision=1).exists()


def test_section__that_cannot_be_read__leaves_the_files_numbers_in_force() -> None:
    StoredSection.objects.filter(key="matrix").update(document={"critical": "at once"})

    assert sections.matrix()
    assert sections.ruling()["matrix"]["critical"] == {"respond": "15m"}
