"""What every page does, in a real browser under the real content policy."""

import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.http import HttpResponse
from django.test import RequestFactory
from playwright.sync_api import Browser, Page, expect

from hawkops.core import charts
from hawkops.core.errors import Conflict
from hawkops.core.middleware import RefusalMiddleware
from tests.look.site import Stage

Tab = Callable[..., Page]


def drawn(page: Page) -> None:
    """Wait until the chart is there."""
    expect(page.locator("#gpu .main-svg").first).to_be_visible()
    page.wait_for_selector("#gpu[data-drawn-at]")


def until(page: Page, true: str, seconds: float = 5.0) -> None:
    """Wait until an expression holds (Playwright's own way needs eval, which the policy forbids)."""
    end = time.monotonic() + seconds
    while not page.evaluate(true):
        assert time.monotonic() < end, f"not in time: {true}"
        page.wait_for_timeout(50)


def test_chart__under_the_policy__draws_and_hovers_without_violation(tab: Tab) -> None:
    page = tab()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.reload()
    drawn(page)
    page.locator("#gpu .nsewdrag").first.hover()
    expect(page.locator("#gpu .hoverlayer text").first).to_be_visible()
    expect(page.locator("#gpu .modebar-btn").first).to_be_visible()
    assert page.evaluate("window.policy") == []
    assert page.locator("style").count() == 0
    assert problems == []


def test_chart__has_its_neighbours__legend_changes_numbers(tab: Tab) -> None:
    page = tab()
    drawn(page)
    expect(page.locator(".chart.missed")).to_have_count(1)
    expect(page.locator(".plot-legend span").nth(1)).to_have_text("p5, 95 % reach it")
    expect(page.locator("#marks li b")).to_have_text(["A", "B"])
    expect(page.locator("#marks li span")).to_have_text(["Change 20", "Change 5"])
    page.locator(".plot-numbers summary").click()
    expect(page.locator(".plot-numbers tbody tr").nth(50)).to_be_attached()
    assert "GPU throughput over 1 h" in (page.locator("#gpu").get_attribute("aria-label") or "")


def test_chart__new_data__is_on_screen_within_seconds(tab: Tab, stage: Stage) -> None:
    page = tab()
    drawn(page)
    stage.chart["data"][3]["y"][-1] = 4321.0
    stage.say("telemetry")
    until(page, "document.querySelector('#gpu').data[3].y.at(-1) === 4321")


def test_chart__error__keeps_the_last_good_drawing(tab: Tab, stage: Stage) -> None:
    page = tab()
    drawn(page)
    stage.refuse_charts = True
    stage.say("telemetry")
    expect(page.locator(".note.err")).to_contain_text("It shows the last good reading")
    assert page.locator("#gpu .scatterlayer .trace").count() > 0
    stage.refuse_charts = False
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".note.err")).to_be_hidden()


def test_chart__nothing_to_draw__says_what_is_missing(tab: Tab, stage: Stage) -> None:
    full = stage.chart
    stage.chart = charts.empty("No device has reported a throughput yet", brings="The first report draws the chart.")
    page = tab()
    expect(page.locator(".empty")).to_contain_text("No device has reported")
    expect(page.locator("#gpu")).to_be_hidden()
    stage.chart = full
    stage.say("telemetry")
    drawn(page)
    expect(page.locator(".empty")).to_be_hidden()


def test_theme__chosen__holds_after_reload_and_recolours_charts(tab: Tab) -> None:
    page = tab()
    drawn(page)
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    ink = "document.querySelector('#gpu').data[2].line.color"
    before, line = page.evaluate(ground), page.evaluate(ink)
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate(ground) != before
    until(page, f"{ink} !== '{line}'")
    page.reload()
    assert page.evaluate(ground) != before
    page.get_by_role("button", name="Auto").click()
    assert page.evaluate(ground) == before


def test_keys__go_where_they_say__but_not_while_typing(tab: Tab) -> None:
    page = tab()
    page.locator("#q").fill("")
    page.locator("#q").press("k")
    assert page.locator("#q").input_value() == "k"
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("f")
    page.wait_for_url("**/demo/flags")
    page.wait_for_load_state()
    page.get_by_label("Single-key shortcuts").uncheck()
    page.keyboard.press("k")
    page.wait_for_timeout(300)
    assert page.url.endswith("/demo/flags")
    page.get_by_label("Single-key shortcuts").check()
    page.keyboard.press("k")
    page.wait_for_url("**/demo/emergency")


def test_environment__switch__closes_by_escape(tab: Tab) -> None:
    page = tab()
    page.locator(".env-switch summary").click()
    expect(page.get_by_role("link", name="staging")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="staging")).to_be_hidden()


def test_phone__nothing_is_wider_than_the_screen__and_kill_is_on_it(
    browser: Browser, address: str, stage: Stage
) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    try:
        page = phone.new_page()
        page.goto(address + "/demo/")
        drawn(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        expect(page.get_by_role("link", name="Kill LiteRT")).to_be_in_viewport()
        page.get_by_role("button", name="Menu").tap()
        expect(page.get_by_role("link", name="Flags")).to_be_visible()
    finally:
        phone.close()


def test_without_scripts__everything_is_there(browser: Browser, address: str, stage: Stage) -> None:
    plain = browser.new_context(java_script_enabled=False)
    try:
        page = plain.new_page()
        page.goto(address + "/demo/")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_role("link", name="Kill LiteRT")).to_be_visible()
        expect(page.locator("#live-mark")).to_have_text("not live")
    finally:
        plain.close()


def test_refusal__that_no_view_handled__is_a_page_with_its_sentence() -> None:
    refusal = RefusalMiddleware(lambda request: HttpResponse())
    answer = refusal.process_exception(RequestFactory().post("/demo/flags/x"), Conflict("Somebody was faster."))
    assert answer is not None
    assert answer.status_code == Conflict.status
    assert "Somebody was faster. Nothing was changed." in answer.content.decode()


def test_first_load__before_charts__is_small() -> None:
    """Weighed without compression, so that it holds on any server: styles, scripts, icons."""
    static = Path(settings.ROOT) / "static"
    names = [f"css/{name}" for name in ("tokens", "base", "layout", "controls", "parts", "flow")]
    files = [static / f"{name}.css" for name in names]
    files += [static / "js" / f"{name}.js" for name in ("theme", "app", "parts", "live")]
    files += [static / "icons.svg", *static.glob("vendor/htmx-*.min.js")]
    assert sum(file.stat().st_size for file in files) < 150_000
