"""Every press of the emergency and the rollback page on a phone without JavaScript, on the console's own pages."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from hawkops.core import clock
from hawkops.core.access import Role
from rollout.domain import phases
from rollout.models import Flag, PhaseRun, Rollback
from rollout.selectors.phases import phase_of
from rollout.services.flags import BACKENDS, LITERT
from tests import apart
from tests.rollout.walking import begin, devices, furnish, somebody

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


def _under_way() -> None:
    """Let phase 1 be under way, which serves all of its audience."""
    release = begin("demo", backends=["cpu"])
    phase = phase_of(release, 1)
    assert phase is not None
    flag = Flag.objects.get(environment="demo", key=LITERT)
    flag.thousandths, flag.rules = 0, [rule.document() for rule in phases.rules(phase, 100_000)]
    flag.save()
    now = clock.now()
    PhaseRun.objects.create(
        release=release,
        number=1,
        percents=[100.0],
        step=1,
        started_at=now,
        reached_at=now,
        started_by="test",
        served=[{"at": now.isoformat(), "thousandths": 100_000}],
        flag_revision=flag.revision,
    )


@pytest.mark.parametrize(
    ("button", "said", "flag"),
    [
        ("Kill LiteRT on", "LiteRT is off and cloud fallback is on", LITERT),
        ("#off-gpu", "GPU is off", BACKENDS["gpu"]),
        ("#off-npu", "NPU is off", BACKENDS["npu"]),
        ("#off-adaptive", "Adaptive switching is off", BACKENDS["adaptive"]),
        ("#halve", "Rolled back by level 1", ""),
    ],
)
def test_phone__emergency_page__one_press_is_done_and_lifted_deliberately(
    phone: Page, button: str, said: str, flag: str
) -> None:
    apart.call(_under_way)
    phone.goto("/demo/emergency")
    _fits(phone)
    # a row's press stands beside its form, and names it
    found = (
        phone.locator(f"button[form={button.removeprefix('#')}]")
        if button.startswith("#")
        else phone.locator("#kill").filter(has_text=button)
    )
    box = found.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    found.click()
    expect(phone.get_by_text(said).first).to_be_visible()
    _fits(phone)
    if not flag:
        assert apart.call(lambda: PhaseRun.objects.get().state) == "paused"
        return
    assert apart.call(lambda: Flag.objects.get(environment="demo", key=flag).override_variant) == "off"
    form = phone.locator("#reenable")
    form.get_by_label("Reason").fill("A false alarm")
    form.get_by_label("Type demo to confirm").fill("demo")
    form.get_by_role("button", name="Re-enable").click()
    expect(phone.get_by_text("The overrides are lifted")).to_be_visible()
    assert apart.call(lambda: Flag.objects.get(environment="demo", key=flag).override_variant) == ""
