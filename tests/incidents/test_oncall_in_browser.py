"""On-call and escalations on a phone without JavaScript: nothing is wider than the screen, and what matters is in reach."""

from collections.abc import Callable

import pytest
from django.test import Client
from playwright.sync_api import Page, expect

from hawkops.accounts.models import User
from incidents.models import Escalation
from incidents.services.escalations import escalate
from tests.incidents.test_escalation import at  # noqa: F401 - a fixture
from tests.incidents.test_oncall_pages import crew, rotation  # noqa: F401 - fixtures
from tests.incidents.test_sending import fire
from tests.scripts.test_in_browser import browse

pytestmark = pytest.mark.django_db
HERE = "/staging"


def test_phone__without_javascript__fits_and_its_presses_are_in_reach(
    rotation: Client,  # noqa: F811
    crew: tuple[User, User],  # noqa: F811
    at: Callable[[float], None],  # noqa: F811
) -> None:
    fire("A group of alerts whose title is long enough to need a second line on every phone there is")
    escalate()
    at(3)
    one = f"{HERE}/escalations/{Escalation.objects.get().pk}"
    pages = [f"{HERE}/oncall", f"{HERE}/oncall/rotation", f"{HERE}/oncall/contacts/team_lead", one]
    pages += [f"{HERE}/escalations", f"{HERE}/escalations/policy"]
    answers = {page: rotation.get(page).content.decode() for page in pages}

    def story(page: Page) -> None:
        for address in pages:
            page.goto(f"http://console.test{address}")
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 390, (address, width)
        page.goto(f"http://console.test{HERE}/escalations")
        press = page.get_by_role("button", name="Acknowledge")
        expect(press).to_be_in_viewport()
        box = press.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        page.goto(f"http://console.test{HERE}/oncall")
        expect(page.get_by_role("link", name="+1-555-0101")).to_have_attribute("href", "tel:+15550101")
        expect(page.get_by_role("button", name="Set the override")).to_be_enabled()

    browse(story, answers, scripts=False)
