"""The release's page, the rule editor and the checklist in a real browser, on a desk and at phone width."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from hawkops.accounts.models import User
from hawkops.core import clock, recent
from hawkops.core.access import Role
from rollout.models import Flag, PhaseRun, Proposal
from tests import apart
from tests.rollout.walking import begin, devices, furnish, gates_pass, members, signers, somebody

pytestmark = pytest.mark.fresh_database
Open = Callable[..., Page]
WIDTHS = {"desk": 1280, "phone": 390}


@pytest.fixture
def site(_fresh_database: None) -> Iterator[str]:
    """The console's pages behind a port of their own, on the test's own database."""
    server = LiveServer("127.0.0.1:0")
    yield server.url
    server.stop()


@pytest.fixture
def signed_in(browser: Browser, site: str) -> Iterator[Open]:
    """Open a page as somebody, at a width; what the console complains of fails the test."""
    contexts = []

    def opened(user: User, path: str, *, width: str = "desk") -> Page:
        session = apart.call(lambda: _session(user))
        context = browser.new_context(
            viewport={"width": WIDTHS[width], "height": 844}, color_scheme="dark" if width == "phone" else "light"
        )
        context.set_default_timeout(15_000)
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": site}])
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: pytest.fail(str(error)))
        page.goto(site + path)
        return page

    yield opened
    for context in contexts:
        context.close()


def _session(user: User) -> str:
    """Sign somebody in, and return the cookie."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session[recent.SESSION_KEY] = clock.now().timestamp()
    session.save()
    return str(session.session_key)


def _walk() -> tuple[int, User, list[User]]:
    """A release in production whose gates pass but one, with internal testers; a releaser, and one signer of each team."""
    furnish()
    release = begin()
    gates_pass(release, but=("security_scan",))
    members("production", "internal_testers", devices("production", 4))
    return release.pk, somebody("rel", Role.RELEASER), signers()


@pytest.mark.parametrize("width", WIDTHS)
def test_walk__waive_a_gate_then_start_phase_1_with_three_signatures(site: str, signed_in: Open, width: str) -> None:
    release, maker, teams = apart.call(_walk)
    page = signed_in(maker, f"/production/releases/{release}", width=width)
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "HazardHawk 2.4.0 cannot start phase 1 yet: 1 gate is open"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]

    # the checklist: ask for a waiver
    page.get_by_role("link", name="Checklist").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("21 of 22")
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]
    page.get_by_role("button", name="Waive: Security scanning completed").click()
    page.locator("#wr-security_scan").fill("The report is due on Monday")
    page.locator("#wo-security_scan").fill("M. Klein")
    ends = clock.now() + timedelta(days=3)
    page.locator("#we-security_scan").fill(f"{ends:%Y-%m-%dT%H:%M}")
    page.get_by_role("button", name="Ask for it").click()
    waiver = urlsplit(page.url).path
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]
    second = signed_in(teams[0], waiver, width=width)
    second.get_by_role("button", name="Approve").click()
    expect(second.locator("body")).to_contain_text("Approved, and done.")

    # the walk: propose, then one yes of each team
    page.goto(f"{site}/production/releases/{release}")
    page.get_by_role("button", name="Propose phase 1").click()
    proposed = urlsplit(page.url).path
    for user in teams:
        signer = signed_in(user, proposed, width=width)
        signer.get_by_role("button", name="Approve").click()
        expect(signer.locator("body")).to_contain_text("Approved")
    page.goto(f"{site}/production/releases/{release}")
    expect(page.get_by_role("heading", level=1)).to_have_text("HazardHawk 2.4.0 is in phase 1, internal testing")
    expect(page.locator(".lede")).to_contain_text("4 devices")
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]
    assert apart.call(lambda: PhaseRun.objects.get().step) == 1

    # another model: its form stands on the page, and what was measured is stale
    page.get_by_role("heading", name="Another model").click()
    page.get_by_label("Model", exact=True).fill("gemma3-1b")
    page.get_by_label("SHA-256").fill("cd" * 32)
    page.locator("#mr").fill("Trained anew")
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]
    page.get_by_role("button", name="Change the model").click()
    expect(page.locator("body")).to_contain_text("Evidence of the model before is stale.")
    expect(page.locator("#state")).to_contain_text("STALE")


@pytest.mark.parametrize("width", WIDTHS)
def test_rules__typed__says_who_would_change_before_anything_is_saved(signed_in: Open, width: str) -> None:
    def arranged() -> User:
        furnish()
        keys = devices("staging", 10, said={"device.gpu.driver": "508.1"})
        members("staging", "internal_testers", keys[:3])
        return somebody("rel", Role.RELEASER)

    page = signed_in(apart.call(arranged), "/staging/flags/litert_enabled", width=width)
    page.get_by_text("No rules").click()
    page.locator("#r1g").select_option("internal_testers")
    expect(page.locator("#preview")).to_contain_text("+3 devices, −0")
    page.locator("#r1s").fill("0")
    expect(page.locator("#preview")).to_contain_text("+0 devices, −0")
    page.locator("#r1s").fill("many")
    expect(page.locator("#preview")).to_contain_text("is no percentage")
    page.locator("#r1s").fill("100")
    expect(page.locator("#preview")).to_contain_text("+3 devices, −0")
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]
    assert apart.call(lambda: Flag.objects.get(environment="staging", key="litert_enabled").rules) == []
    page.locator("#rules-reason").fill("Our own phones")
    page.locator("#rules").get_by_role("button", name="Save").click()
    expect(page.locator(".sentences").first).to_contain_text("internal_testers")
    assert apart.call(Proposal.objects.count) == 0
