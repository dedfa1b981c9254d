"""The emergency's presses on a phone without JavaScript, and the clock that goes on with it."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from playwright.sync_api import Page, Request, expect

from hawkops.accounts.models import EnrolledPhone, User
from hawkops.accounts.services.phones import phone_enrol
from hawkops.core import clock
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.scripts.models import Run
from incidents.services import incidents as services
from incidents.views.phones import COOKIE
from monitoring.services.criteria import criteria_seed
from rollout.models import CensusDevice, Flag
from rollout.services.flags import flags_seed
from tests.monitoring.test_probes import fleet
from tests.scripts.test_in_browser import browse

# the browser takes longer than a transaction may stand idle
pytestmark = pytest.mark.fresh_database
SYSTEM = Actor.system("test")
HOST, ROOT = "http://console.test", "/production/emergency"


@pytest.fixture(autouse=True)
def _furnished() -> Iterator[None]:
    """Flags, rules and two devices, on a clock that stands."""
    clock.step_to(clock.now())
    flags_seed(actor=SYSTEM)
    criteria_seed(actor=SYSTEM)
    now = clock.now()
    CensusDevice.objects.bulk_create(
        CensusDevice(
            environment="production", device_id=f"device-{number}", told_revision=1, obeyed_revision=1,
            served_on=["litert_enabled", "litert_gpu_backend"], first_seen_at=now, last_seen_at=now,
        )
        for number in range(2)
    )  # fmt: skip
    yield
    clock.step_to(None)


@pytest.fixture
def console(operator: User, client_as: Callable[[User], Client]) -> Client:
    return client_as(operator)


def pressed(client: Client, address: str, button: str, fill: dict[str, str] | None = None) -> None:
    """Press a button of a page on a phone without JavaScript, and give the console what the browser sent."""
    sent: list[tuple[str, str]] = []

    def story(page: Page) -> None:
        def heard(request: Request) -> None:
            if request.method == "POST":
                sent.append((urlsplit(request.url).path, request.post_data or ""))

        page.on("request", heard)
        page.goto(f"{HOST}{address}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for label, text in (fill or {}).items():
            page.get_by_label(label, exact=True).fill(text)
        press = page.get_by_role("button", name=button)
        box = press.bounding_box()
        assert box is not None and box["height"] >= 44, box
        press.click()

    browse(story, {address: client.get(address).content.decode()}, scripts=False)
    [(path, body)] = sent
    given = {name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()}
    assert given.pop("csrfmiddlewaretoken")
    assert client.post(path, given).status_code in (200, 303)


def off(key: str) -> bool:
    return Flag.objects.get(environment="production", key=key).override_variant == "off"


def test_degradation__disable__by_a_plain_form(console: Client) -> None:
    fleet(minutes=6)
    pressed(console, f"{ROOT}/degradation", "Disable GPU on 2 devices")
    assert off("litert_gpu_backend") and not off("litert_enabled")
    assert HistoryEntry.objects.get(verb="flag.override_set").reason == "Performance degradation"


def test_degradation__the_cpus_press__kills_and_its_watch_can_be_had_again(console: Client) -> None:
    pressed(console, f"{ROOT}/degradation", "Kill LiteRT on 2 devices")
    assert off("litert_enabled")
    Run.objects.update(state="failed", finished_at=clock.now())
    pressed(console, f"{ROOT}/degradation", "Watch again")
    assert Run.objects.count() == 2


def test_phone__enrolled_by_a_plain_form(console: Client) -> None:
    pressed(console, ROOT, "Enrol this phone", {"Name": "Pixel"})
    assert EnrolledPhone.objects.get().name == "Pixel"


def test_phone__session_expired__kills_by_a_plain_form(operator: User) -> None:
    _, secret = phone_enrol(user=operator, environment="production", name="Pixel", actor=SYSTEM)
    stranger = Client()
    stranger.cookies[COOKIE] = secret
    pressed(stranger, ROOT, "Kill LiteRT, force cloud fallback")
    assert off("litert_enabled")
    assert HistoryEntry.objects.get(verb="flag.killed").actor_label == "operator, by enrolled phone Pixel"


def test_phone__revoked_under_ones_name_by_a_plain_form(operator: User, console: Client) -> None:
    phone_enrol(user=operator, environment="production", name="Pixel", actor=SYSTEM)
    given = console.get("/profile").content.decode()
    assert "Revoke" in given
    row = EnrolledPhone.objects.get()

    def story(page: Page) -> None:
        page.goto(f"{HOST}/profile")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        form = page.locator("form", has=page.get_by_role("button", name="Revoke"))
        expect(form).to_have_attribute("action", f"/profile/phones/{row.pk}/revoke")
        expect(form).to_have_attribute("method", "post")

    browse(story, {"/profile": given}, scripts=False)


def test_incident__who_was_told__fits_a_phone(console: Client) -> None:
    found = services.incident_open(environment="production", title="Wrong", severity="critical", actor=SYSTEM)
    address = f"/production/incidents/{found.pk}"

    def story(page: Page) -> None:
        page.goto(f"{HOST}{address}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        expect(page.get_by_text("Add a PagerDuty channel.")).to_be_visible()

    browse(story, {address: console.get(address).content.decode()}, scripts=False)


@pytest.mark.parametrize("scripts", [True, False])
def test_clock__goes_on_from_the_servers_time__and_stands_without_javascript(console: Client, scripts: bool) -> None:
    console.post(f"{ROOT}/kill", {})
    clock.step_to(clock.now() + timedelta(seconds=133))
    answer = console.get(ROOT).content.decode()

    def story(page: Page) -> None:
        page.add_init_script("Date.now = () => 0")  # this browser's own clock is wrong
        page.goto(f"{HOST}{ROOT}")
        shown = page.locator(".kill-clock b")
        if scripts:
            expect(shown).to_have_text("2:15", timeout=10_000)
        else:
            page.wait_for_timeout(1_500)
            expect(shown).to_have_text("2:13")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390

    browse(story, {ROOT: answer}, scripts=scripts)
