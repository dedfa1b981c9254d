"""The drills' page as a plain form, on a phone without JavaScript: what it says before, while one runs, and after."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from playwright.sync_api import Page

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.history.models import HistoryEntry
from rollout.models import CensusDevice, Drill, EnvironmentFlags, Flag, GroupMember, TargetGroup
from rollout.services.drills import drills_due
from rollout.services.flags import SWITCHES
from tests.rollout import walking
from tests.scripts.test_in_browser import browse

pytestmark = pytest.mark.django_db
PAGE = "/demo/emergency/drills"


@pytest.fixture
def console(operator: User, client_as: Callable[[User], Client]) -> Client:
    """The operator's browser, with flags and two active testers, one of them simulated."""
    walking.furnish()
    group = TargetGroup.objects.get(environment="demo", key="internal_testers")
    now = clock.now()
    for number in range(2):
        GroupMember.objects.create(group=group, targeting_key=f"tester-{number}")
        CensusDevice.objects.create(
            environment="demo",
            device_id=f"tester-{number}",
            simulated=bool(number),
            told_revision=1,
            obeyed_revision=1,
            first_seen_at=now,
            last_seen_at=now,
        )
    return client_as(operator)


def obey() -> None:
    """Let both devices confirm what is newest."""
    CensusDevice.objects.update(
        obeyed_revision=EnvironmentFlags.objects.get(pk="demo").revision,
        obeyed_at=clock.now(),
        last_seen_at=clock.now(),
    )


def test_page__before__has_a_row_for_each_switch(console: Client) -> None:
    text = console.get(PAGE).content.decode()
    assert "0 of 5 kill switches drilled in demo" in text
    assert "2 active devices in the group" in text
    assert all(f'value="{key}" aria-label="Drill {key}"' in text for key in SWITCHES)
    assert text.count("Never drilled") == 5
    assert "safe value on" in text
    assert "<script>" not in text
    assert " style=" not in text
    assert PAGE in console.get("/demo/emergency").content.decode()


def test_start__one__runs_is_counted_and_becomes_evidence(console: Client) -> None:
    with time_machine.travel(clock.now(), tick=False) as moving:
        answer = console.post(f"{PAGE}/start", {"flags": "litert_gpu_backend", "minutes": "2", "words": "quarterly"})
        assert (answer.status_code, answer["Location"]) == (303, PAGE)
        text = console.get(PAGE).content.decode()
        assert "litert_gpu_backend is off on 2 devices of internal_testers: entry " in text
        assert "2\u202fmin left" in text
        assert "0 of 2 devices obey, 2 pending, 0 unreachable" in text
        assert "1 simulated" in text
        entry = HistoryEntry.objects.get(verb="flag.drilled")
        assert (entry.reason, entry.actor_label) == ("Pre-deployment test: quarterly", "operator")
        assert "In force on some devices" in console.get("/demo/emergency").content.decode()
        flag = console.get("/demo/flags/litert_gpu_backend").content.decode()
        assert "<b>Drill</b>: devices where <mark>in internal_testers</mark> get <b>off</b>" in flag
        assert "Lift the override" not in flag
        obey()
        assert "2 of 2 devices obey" in console.get(PAGE, {"part": "running"}).content.decode()
        moving.shift(timedelta(seconds=11))
        drills_due()
        assert "Coming back" in console.get(PAGE).content.decode()
        obey()
        drills_due()
        text = console.get(PAGE).content.decode()
    assert "1 of 5 kill switches drilled in demo" in text
    assert "2 of 2 active devices of internal_testers (1 simulated) obeyed, the last one after 0.0 s." in text
    assert text.count("2 of 2 back after") == 2, "in its row, and among the drills before"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"flags": "nope"}, "&#x27;nope&#x27; is no kill switch"),
        ({"minutes": "16"}, "A drill takes 1 to 15 minutes at most, not 16."),
        ({"minutes": "-1"}, "&#x27;-1&#x27; is no number of minutes."),
        ({"minutes": "9999"}, "is no number of minutes."),
    ],
)
def test_start__unfit__says_why_and_presses_nothing(console: Client, form: dict[str, str], said: str) -> None:
    assert said in console.post(f"{PAGE}/start", form, follow=True).content.decode()
    assert not Drill.objects.exists()


def test_start__nobody_is_active__offers_no_press_and_refuses_one(console: Client) -> None:
    CensusDevice.objects.update(last_seen_at=clock.now() - timedelta(hours=2))
    text = console.get(PAGE).content.decode()
    assert "No device of internal_testers is active. A drill would prove nothing" in text
    assert text.count(" disabled>Drill") == 6
    said = console.post(f"{PAGE}/start", {}, follow=True).content.decode()
    assert "No device of internal_testers is active, so a press would prove nothing." in said
    assert not Drill.objects.exists()


def test_stop__all_five__gives_back_and_presses_no_more(console: Client) -> None:
    console.post(f"{PAGE}/start", {})
    text = console.get(PAGE).content.decode()
    assert "Next, each when the one before it is over" in text
    first = Drill.objects.order_by("pk")[0]
    said = console.post(f"{PAGE}/{first.pk}/stop", {}, follow=True).content.decode()
    assert "The drill of litert_enabled is stopped." in said
    assert not Flag.objects.exclude(scoped_overrides=[]).exists()
    said = console.post(f"{PAGE}/{first.pk}/stop", {}, follow=True).content.decode()
    assert f"Drill {first.pk} ended already: stopped." in said
    assert "There is no drill 999" in console.post(f"{PAGE}/999/stop", {}, follow=True).content.decode()


def test_page__viewer__sees_it_and_cannot_press(
    console: Client, viewer: User, client_as: Callable[[User], Client]
) -> None:
    text = client_as(viewer).get(PAGE).content.decode()
    assert "Drilling needs the role operator" in text
    assert text.count(" disabled>Drill") == 6


def test_page__on_a_phone_without_scripts__every_press_is_a_form_within_the_screen(console: Client) -> None:
    before = console.get(PAGE).content.decode()
    console.post(f"{PAGE}/start", {})
    running = console.get(PAGE).content.decode()
    pressed = Drill.objects.order_by("pk")[0].pk
    sent: list[tuple[str, str]] = []

    def story(page: Page) -> None:
        page.on("request", lambda one: sent.append((one.url, one.post_data or "")) if one.method == "POST" else None)
        for name in ("Drill litert_enabled", "Drill all five"):
            page.goto(f"http://console.test{PAGE}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            button = page.get_by_role("button", name=name)
            box = button.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= 390
            button.click()
            page.wait_for_url("**/start")
        page.goto(f"http://console.test{PAGE}?running")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("button", name="Stop the drill of litert_enabled").click()
        page.wait_for_url("**/stop")

    pages = {PAGE: before, f"{PAGE}/start": before, f"{PAGE}?running": running, f"{PAGE}/{pressed}/stop": before}
    browse(story, pages, scripts=False)
    (one, said), (five, all_said), (stop, _) = sent
    assert one == five == f"http://console.test{PAGE}/start"
    assert stop == f"http://console.test{PAGE}/{pressed}/stop"
    assert "flags=litert_enabled" in said
    assert "minutes=5" in said
    assert "flags=" not in all_said


def test_checklist__the_box_leads_to_the_drills(console: Client) -> None:
    release = walking.begin("demo")
    text = console.get(f"/demo/releases/{release.pk}/checklist").content.decode()
    assert f'href="{PAGE}" aria-label="Drill: Emergency kill switches tested"' in text
    assert f'href="/demo/releases/{release.pk}/checklist#kill_switches"' in console.get(PAGE).content.decode()
