"""Pages of scripts in a real browser: the console's answers are taken beforehand, the browser gets them as it asks."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from playwright.sync_api import Page, Route, expect, sync_playwright

from hawkops.core.access import Role
from tests.apart import call
from tests.conftest import chromium_path
from tests.scripts.running import say, started

pytestmark = pytest.mark.django_db


def browse(story: Callable[[Page], None], answers: Mapping[str, str], *, scripts: bool = True) -> None:
    """Tell a story on a phone, away from the thread that holds the test's transaction."""

    def answer(route: Route) -> None:
        address = urlsplit(route.request.url)
        asked = address.path + (f"?{address.query}" if address.query else "")
        file = finders.find(address.path.removeprefix("/static/")) if address.path.startswith("/static/") else None
        if file:
            route.fulfill(path=Path(str(file)))
        elif asked == "/live" and asked in answers:
            route.fulfill(body=answers[asked], content_type="text/event-stream")
        elif asked in answers:
            route.fulfill(body=answers[asked], content_type="text/html; charset=utf-8")
        else:
            route.fulfill(status=404)

    def told() -> None:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
            page = chromium.new_page(viewport={"width": 390, "height": 844}, java_script_enabled=scripts)
            page.route("**/*", answer)
            story(page)
            chromium.close()

    call(told)


@pytest.fixture
def client(person: Callable[..., object], client_as: Callable[..., Client]) -> Client:
    return client_as(person("viewer", Role.VIEWER))


def test_writing__on_a_phone__nothing_is_wider_than_the_screen(client: Client) -> None:
    address = "/demo/scripts/writing"

    def story(page: Page) -> None:
        page.goto(f"http://console.test{address}")
        assert page.locator("pre.snippet").bounding_box()["width"] <= 390  # type: ignore[index]
        assert page.evaluate("document.documentElement.scrollWidth") <= 390

    browse(story, {address: client.get(address).content.decode()}, scripts=False)


def test_output__grows_without_a_reload__and_the_line_linked_to_stays_in_sight(client: Client) -> None:
    run = started()
    address = f"/demo/runs/{run.pk}"
    say(run, *(f"line {number}" for number in range(1, 201)))
    answers = {
        asked: client.get(asked).content.decode() for asked in (address, f"{address}?line=50", f"{address}?q=line+77")
    }
    say(run, "line 201", "line 202", "line 203")
    more = f"{address}?part=more&after=200"
    answers[more] = client.get(more).content.decode()

    def story(page: Page) -> None:
        page.goto(f"http://console.test{address}?line=50#L50")
        expect(page.locator("#L50")).to_be_in_viewport()
        page.evaluate("window.untouched = true")
        expect(page.locator("#L203")).to_be_attached(timeout=15_000)
        assert page.evaluate("window.untouched"), "it was not loaded again"
        expect(page.locator("#L50")).to_be_in_viewport()
        assert page.evaluate("document.querySelector('#L50:target') !== null")

        page.goto(f"http://console.test{address}")
        expect(page.locator("#L203")).to_be_attached(timeout=15_000)
        page.locator("#output").scroll_into_view_if_needed()
        page.wait_for_function("(o => o.scrollHeight - o.scrollTop - o.clientHeight < 32)(window.output)")
        page.get_by_label("Search the output").fill("line 77")
        page.locator("form.filters button").click()
        expect(page.locator("#output li")).to_have_count(1)

    browse(story, answers)


@pytest.mark.parametrize("scripts", [True, False])
def test_search__marks_the_words_in_the_lines__and_filters_without_javascript_too(
    client: Client, scripts: bool
) -> None:
    run = started()
    address = f"/demo/runs/{run.pk}"
    say(run, "a.b (x) <b>A.B (X)</b>", "a-b (x)", "\x1b[31mred a.b (x)\x1b[0m here")
    asked = f"{address}?q=a.b+%28x%29"
    answers = {address: client.get(address).content.decode(), asked: client.get(asked).content.decode()}

    def story(page: Page) -> None:
        page.goto(f"http://console.test{address}")
        page.get_by_label("Search the output").fill("a.b (x)")
        page.locator("form.filters button").click()
        lines = page.locator("#output li > span")
        expect(lines).to_have_count(2)
        expect(lines.first).to_have_text("a.b (x) <b>A.B (X)</b>")
        assert page.locator("#output b").count() == 0, "a line is text"
        if scripts:
            assert page.locator("#output mark").all_text_contents() == ["a.b (x)", "A.B (X)", "a.b (x)"]
            expect(page.get_by_role("status").filter(has_text="lines with")).to_contain_text("3 places marked")
        else:
            assert page.locator("#output mark").count() == 0

    browse(story, answers, scripts=scripts)


def test_output__grows_when_the_live_stream_says_so__without_the_fallback(client: Client) -> None:
    run = started()
    address = f"/demo/runs/{run.pk}"
    say(run, "line 1")
    page_html = client.get(address).content.decode()
    say(run, "line 2")
    more = f"{address}?part=more&after=1"
    # neither the clock nor a reconnect may fetch the lines, so that the event must have
    fallback = ", live:resync from:body, every 5s"
    assert page_html.count(fallback) == 2
    event = json.dumps({"topic": "run", "environment": "demo", "run": run.pk})
    answers = {
        address: page_html.replace(fallback, ""),
        more: client.get(more).content.decode().replace(fallback, ""),
    }

    def told(page: Page) -> None:
        page.goto(f"http://console.test{address}")
        expect(page.locator("#L2")).to_be_attached()

    assert answers[address].count('hx-trigger="live:run from:body throttle:500ms"') == 2
    browse(told, {**answers, "/live": f"data: {event}\n\n"})
