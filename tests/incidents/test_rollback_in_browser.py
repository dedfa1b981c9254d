"""Every press of the rollback page on a phone without JavaScript, on the console's own pages."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from hawkops.core.access import Role
from rollout.models import Flag, Rollback
from rollout.services.flags import BACKENDS, LITERT
from tests import apart
from tests.rollout.walking import devices, furnish, somebody

pytestmark = pytest.mark.fresh_database
PAGE = "/demo/emergency/rollback"


def _furnished() -> str:
    """LiteRT on devices of demo; return the operator's session."""
    furnish()
    Flag.objects.filter(environment="demo", key__in=[LITERT, *BACKENDS.values()]).update(thousandths=100_000)
    devices("demo", 40)
    user = somebody("oncall", Role.OPERATOR)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)


@pytest.fixture
def phone(browser: Browser, _fresh_database: None) -> Iterator[Page]:
    """The operator's phone, without JavaScript."""
    server = LiveServer("127.0.0.1:0")
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, java_script_enabled=False, base_url=server.url
    )
    context.set_default_timeout(15_000)
    session = apart.call(_furnished)
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": server.url}])
    yield context.new_page()
    context.close()
    server.stop()


def _fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("form", "button", "said"),
    [
        ("halve", "Halve", "Rolled back by level 1"),
        ("disable", "Disable", "Rolled back by level 2"),
        ("kill", "Kill LiteRT on 40 devices", "Rolled back by level 3"),
        ("app", "Rehearse halting the Play track", "Level 4 is asked for, rehearsal first"),
    ],
)
def test_phone__one_press_with_its_reason_chosen__is_done(phone: Page, form: str, button: str, said: str) -> None:
    phone.goto("/demo/emergency")
    phone.get_by_role("link", name="Rollback levels").click()
    _fits(phone)
    press = phone.locator(f"#{form}").get_by_role("button", name=button)
    box = press.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    press.click()
    expect(phone.get_by_text(said)).to_be_visible()
    _fits(phone)
    assert apart.call(lambda: Rollback.objects.get().by) == "oncall"


def test_phone__undo__is_deliberate_and_restores(phone: Page) -> None:
    phone.goto(PAGE)
    phone.locator("#kill").get_by_role("button").click()
    phone.locator("summary", has_text="Undo").click()
    form = phone.locator("form[id^=undo]")
    form.get_by_label("Reason").fill("A false alarm")
    form.get_by_label("Type demo to confirm").fill("demo")
    form.get_by_role("button", name="Undo rollback").click()
    expect(phone.get_by_text("is undone: entry")).to_be_visible()
    _fits(phone)
    assert apart.call(lambda: Flag.objects.get(environment="demo", key=LITERT).override_variant) == ""
