"""The emergency page as a plain form: what it says before, what it does, what it says after."""

from collections.abc import Callable

import pytest
from django.test import Client

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from rollout.models import CensusDevice, Flag
from rollout.services.flags import flags_seed

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
