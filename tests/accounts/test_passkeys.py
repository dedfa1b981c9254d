"""Passkeys in a real browser with a virtual authenticator: added, used as second step, for confirming, and alone."""

from collections.abc import Iterator

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from hawkops.accounts.models import User
from hawkops.accounts.services.people import person_create
from hawkops.core.access import Role
from hawkops.core.recent import SESSION_KEY
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from tests import apart

PASSWORD = "correct horse battery"
pytestmark = pytest.mark.fresh_database


def _ana() -> None:
    made = person_create(username="ana", actor=Actor.system("test"), roles=[Role.VIEWER])
    made.set_password(PASSWORD)
    made.save()


@pytest.fixture
def page(browser: Browser, _fresh_database: None) -> Iterator[Page]:
    """A browser whose device keeps passkeys and knows its owner. Passkeys belong to names, never to numbers."""
    server = LiveServer("localhost:0")
    apart.call(_ana)
    context = browser.new_context(base_url=server.url)
    context.set_default_timeout(15_000)
    found = context.new_page()
    device = context.new_cdp_session(found)
    device.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
    device.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    yield found
    context.close()
    server.stop()


def _sign_in(page: Page) -> None:
    page.goto("/login?next=/profile")
    page.get_by_label("Name").fill("ana")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def _age_sessions() -> None:
    for row in Session.objects.all():
        held = row.get_decoded()
        if SESSION_KEY in held:
            store = SessionStore(row.session_key)
            store[SESSION_KEY] = 0
            store.save()


def _verbs() -> list[str]:
    subject = f"person:{User.objects.get(username='ana').pk}"
    return [
        f"{one.verb} {(one.after or {}).get('by', '')} {(one.after or {}).get('second_factor', '')}".strip()
        for one in HistoryEntry.objects.filter(subject=subject).order_by("seq")
    ]


def test_passkey__its_whole_life(page: Page) -> None:
    _sign_in(page)
    page.get_by_label("Name of a new passkey").fill("Work laptop")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_text("The passkey is added")).to_be_visible()
    expect(page.get_by_role("heading", name="Your recovery codes")).to_be_visible()

    # the second step after a password
    page.get_by_role("button", name="Sign out").click()
    _sign_in(page)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_text("Work laptop").first).to_be_visible()

    # a recent login, and back to the page
    apart.call(_age_sessions)
    page.get_by_role("button", name="Add a passkey").click()
    page.get_by_role("button", name="Confirm by passkey").click()
    expect(page.get_by_text("Work laptop").first).to_be_visible()
    page.get_by_text("Rename", exact=True).first.click()
    page.get_by_label("Name of Work laptop").fill("Old laptop")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_text("Old laptop").first).to_be_visible()

    # alone: its device has asked its owner
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/demo/")
    page.goto("/profile")
    page.get_by_role("button", name="Remove Old laptop").click()
    expect(page.get_by_text("The passkey is removed")).to_be_visible()

    # the device still holds it: it opens nothing
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("The passkey was not accepted")).to_be_visible()
    assert apart.call(_verbs) == [
        "person.created",
        "person.signed_in password",
        "person.factor_added",
        "person.recovery_codes_made",
        "person.signed_out",
        "person.signed_in password passkey",
        "person.confirmed passkey",
        "person.factor_renamed",
        "person.signed_out",
        "person.signed_in passkey",
        "person.factor_removed",
        "person.signed_out",
    ]
