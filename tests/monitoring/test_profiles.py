"""Profiles of device classes: from the file with its lines, edited with a history, one floor for a class."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from hawkops.core.errors import Conflict, InvalidInput
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from monitoring import thresholds
from monitoring.domain import metrics, targets
from monitoring.models import StoredProfile
from monitoring.selectors.criteria import criteria, evaluate
from monitoring.selectors.profiles import profiles
from monitoring.services.criteria import criteria_seed, profile_save
from tests.monitoring.rows import stored

ME = Actor("person:1", "releaser-1")
HEAD = "version: 1\nprofiles:\n  - {key: mine, title: Mine, device_classes: [a], environments: [demo], "


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("throughput: {prefill: {cpu: -3}}}", "line 3: -3 is no floor"),
        ("throughput: {prefill: {tpu: 3}}}", "line 3: 'tpu' is no local backend"),
        ("throughput: {boil: {cpu: 3}}}", "line 3: 'boil' is no stage"),
        ("colour: red, throughput: {prefill: {cpu: 3}}}", "line 3: 'colour' is no part of a profile"),
        ("}", "line 3: throughput is missing"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(rest: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        thresholds.loads_profiles(f"{HEAD}{rest}\n".encode(), name="mine.yaml")


def test_the_file_written_is_the_file_read() -> None:
    found = thresholds.load_profiles()
    text = thresholds.dumps(thresholds.load(), found).encode()
    assert [targets.document(one) for one in thresholds.loads_profiles(text, name="x")] == [
        targets.document(one) for one in found
    ]
    assert thresholds.loads(text, name="x") == thresholds.load()


@pytest.mark.django_db
def test_an_edited_floor_judges_at_once_and_survives_the_next_seed() -> None:
    criteria_seed(actor=ME)
    now = datetime.now(tz=UTC)
    for _ in range(40):
        stored(metrics.PREFILL, [260.0], now, device_class="snapdragon-8-gen3")
    (wanted,) = criteria(keys=["alert-cpu-throughput"])
    assert evaluate("demo", [wanted])[0].judgement.verdict is Verdict.PASS
    row = StoredProfile.objects.get(key="reference")
    higher = {**row.document, "throughput": {"prefill": {"cpu": 300, "gpu": 1_876, "npu": 5_836}}}
    profile_save(document=higher, actor=ME, reason="A newer build", expected_revision=row.revision)
    assert evaluate("demo", [wanted])[0].judgement.verdict is Verdict.FAIL
    criteria_seed(actor=ME)
    found = profiles().of("snapdragon-8-gen3", "demo")
    assert found is not None and found.throughput[targets.Stage.PREFILL, "cpu"] == 300
    assert StoredProfile.objects.get(key="reference").drifted
    entry = HistoryEntry.objects.get(verb="profile.changed")
    assert (entry.before["throughput"]["prefill"]["cpu"], entry.reason) == (243, "A newer build")
    with pytest.raises(Conflict):
        profile_save(document=row.document, actor=ME, reason="x", expected_revision=row.revision)


@pytest.mark.django_db
def test_a_class_has_one_floor_in_an_environment() -> None:
    criteria_seed(actor=ME)
    other = {
        "key": "mine",
        "title": "Mine",
        "device_classes": ["snapdragon-8-gen3"],
        "environments": ["demo"],
        "throughput": {"prefill": {"cpu": 1}},
    }
    with pytest.raises(InvalidInput, match="snapdragon-8-gen3 has the profile reference there already"):
        profile_save(document=other, actor=ME, reason="mine")
    assert not StoredProfile.objects.filter(key="mine").exists()


@pytest.mark.django_db
def test_the_page_saves_and_refuses(client_as: Callable[[object], Any], releaser: object, viewer: object) -> None:
    criteria_seed(actor=ME)
    page = "/demo/criteria/profiles/reference"
    form = {
        "revision": "1",
        "title": "reference device class",
        "device_classes": "snapdragon-8-gen3, snapdragon-8-elite",
        "environments": "demo, production, staging",
        "prefill-cpu": "250",
        "prefill-gpu": "1 876",
        "prefill-npu": "5836",
        "reason": "Measured again",
    }
    assert client_as(viewer).post(page, form).status_code == 403
    browser = client_as(releaser)
    wrong = browser.post(page, {**form, "prefill-cpu": "fast"})
    assert wrong.status_code == 422
    assert "is no floor" in wrong.text and 'value="fast"' in wrong.text
    assert browser.post(page, form).status_code == 303
    assert StoredProfile.objects.get(key="reference").document["throughput"]["prefill"]["cpu"] == 250
    assert "version 2" in browser.get(page).text
    assert browser.get("/demo/criteria/profiles/nothing").status_code == 404
    assert "key: reference" in browser.get("/demo/criteria.yaml").text
