"""The emergency page as a plain form: what it says before, what it does, what it says after."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from rollout.domain import phases as domain
from rollout.models import CensusDevice, Flag, PhaseRun
from rollout.selectors.phases import phase_of
from rollout.services.flags import flags_seed
from tests.monitoring import rows
from tests.rollout import walking

pytestmark = pytest.mark.django_db
PAGE = "/demo/emergency"


@pytest.fixture
def console(operator: User, client_as: Callable[[User], Client]) -> Client:
    """The operator's browser, with flags and three devices of which two run LiteRT."""
    flags_seed(actor=Actor.system("test"))
    now = clock.now()
    CensusDevice.objects.bulk_create(
        CensusDevice(
            environment="demo",
            device_id=f"device-{number}",
            told_revision=1,
            obeyed_revision=1,
            served_on=["litert_enabled"] if number else [],
            first_seen_at=now,
            last_seen_at=now,
        )
        for number in range(3)
    )
    return client_as(operator)


def test_page__before__says_how_many_devices_a_press_reaches(console: Client) -> None:
    text = console.get(PAGE).content.decode()
    assert "Kill LiteRT on 2 devices" in text
    assert "of 3 active" in text
    assert "<script>" not in text and " style=" not in text


def test_kill__plain_form__redirects_to_the_census(console: Client) -> None:
    answer = console.post(f"{PAGE}/kill", {"reason": "Stability issues", "words": "frames drop"}, follow=True)
    text = answer.content.decode()
    assert answer.redirect_chain[0][1] == 303
    assert "LiteRT is off in demo" in text
    assert "0 of 3 devices obey, 3 pending, 0 unreachable" in text
    entry = HistoryEntry.objects.get(verb="flag.killed")
    assert entry.reason == "Stability issues: frames drop"
    assert entry.actor_label == "operator"


def test_kill__second_press__says_that_it_was_done(console: Client) -> None:
    console.post(f"{PAGE}/kill", {})
    answer = console.post(f"{PAGE}/kill", {}, follow=True)
    assert "already off" in answer.content.decode()
    assert HistoryEntry.objects.filter(verb="flag.killed").count() == 1


def test_disable__one_backend__leaves_litert_on(console: Client) -> None:
    console.post(f"{PAGE}/disable", {"backend": "gpu", "reason": "Incompatible GPU driver"})
    assert Flag.objects.get(environment="demo", key="litert_gpu_backend").override_variant == "off"
    assert Flag.objects.get(environment="demo", key="litert_enabled").override_variant == ""
    answer = console.post(f"{PAGE}/disable", {"backend": "tpu"}, follow=True)
    assert "There is no backend" in answer.content.decode()


@pytest.mark.parametrize("confirm,reason,lifted", [("demo", "Fixed", True), ("", "Fixed", False), ("demo", "", False)])
def test_enable__only_with_name_and_reason(console: Client, confirm: str, reason: str, lifted: bool) -> None:
    console.post(f"{PAGE}/kill", {})
    console.post(f"{PAGE}/enable", {"flags": ["litert_enabled"], "confirm": confirm, "reason": reason})
    override = Flag.objects.get(environment="demo", key="litert_enabled").override_variant
    assert override == ("" if lifted else "off")


def test_page__viewer__sees_it_and_cannot_press(
    console: Client, viewer: User, client_as: Callable[[User], Client]
) -> None:
    text = client_as(viewer).get(PAGE).content.decode()
    assert "needs the role operator" in text
    assert 'id="kill" disabled' in text


def test_halve__without_a_phase__is_no_press_and_changes_nothing(console: Client) -> None:
    assert "Halve the rollout" not in console.get(PAGE).content.decode()
    said = console.post(f"{PAGE}/halve", {}, follow=True).content.decode()
    assert "No phase is under way in demo, so there is no percentage to halve." in said


def test_halve__a_phase_under_way__serves_half_and_pauses_with_who_and_why(console: Client) -> None:
    walking.furnish()
    release = walking.begin("demo")
    phase = phase_of(release, 3)
    assert phase is not None
    flag = Flag.objects.get(environment="demo", key="litert_enabled")
    flag.rules, flag.thousandths = [rule.document() for rule in domain.rules(phase, 20_000)], 0
    flag.save()
    at = clock.now()
    PhaseRun.objects.create(
        release=release, number=3, percents=[20.0], step=1, started_at=at, started_by="rel",
        served=[{"at": at.isoformat(), "thousandths": 20_000}], flag_revision=flag.revision,
    )  # fmt: skip
    text = console.get(PAGE).content.decode()
    assert "Phase 3: 20\u202f% to 10\u202f% of its audience" in text
    assert "about 1 of 2 devices" in text
    said = console.post(f"{PAGE}/halve", {"reason": "Stability issues"}, follow=True).content.decode()
    assert "Rolled back by level 1, and the phase is paused: entry " in said
    run = PhaseRun.objects.get()
    assert (run.state, run.served[-1]["thousandths"]) == ("paused", 10_000)
    assert [rule["thousandths"] for rule in Flag.objects.get(pk=flag.pk).rules] == [10_000]
    entry = HistoryEntry.objects.get(verb="flag.rules_changed")
    assert (entry.reason, entry.actor_label) == ("Stability issues", "operator")
    assert "is paused already" in console.get(PAGE).content.decode()


def test_page__before__says_what_a_kill_sends_to_the_cloud(console: Client) -> None:
    assert "how many requests that brings is not known" in console.get(PAGE).content.decode()
    for minutes, backend in ((3, "gpu"), (7, "cpu"), (3, "cloud"), (30, "gpu")):
        rows.stored("litert.inferences", [900.0], clock.now() - timedelta(minutes=minutes), actual=backend)
    assert "about <b>3 requests a second more</b>" in console.get(PAGE).content.decode()
