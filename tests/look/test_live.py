"""One live stream for each browser, whatever its tabs do; and no change is lost on the way to the page."""

import re
import time
from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.look.conftest import hide, show
from tests.look.site import Stage

Tab = Callable[..., Page]


def wait_until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something that the server sees."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def change(stage: Stage, count: int, topic: str = "census") -> None:
    """Change what the page shows, and say so."""
    stage.count = count
    stage.say(topic)


def test_stream__ten_tabs__one_connection_and_all_hear(tab: Tab, stage: Stage) -> None:
    tabs = [tab() for _ in range(10)]
    wait_until(lambda: len(stage.listeners) == 1)
    change(stage, 41)
    for page in tabs:
        expect(page.locator("#count")).to_have_text("41")
    assert len(stage.listeners) == 1
    # and an eleventh request finds a free connection at once
    started = time.monotonic()
    tabs[-1].locator(".kill-slot a").click()
    tabs[-1].wait_for_url("**/emergency")
    assert time.monotonic() - started < 3


def test_change__while_a_page_of_a_second_tab_is_under_way__is_not_missed(
    tab: Tab, stage: Stage, context: BrowserContext, address: str
) -> None:
    first = tab()
    second = context.new_page()

    def late(route: Route) -> None:
        change(stage, 5)  # the page is drawn, its scripts do not listen yet
        expect(first.locator("#count")).to_have_text("5")
        route.continue_()

    second.route("**/live.js", late)
    second.goto(address + "/demo/")
    expect(second.locator("#count")).to_have_text("5")


def test_stream__owner_closes__another_tab_takes_over(tab: Tab, stage: Stage) -> None:
    owner, other = tab(), tab()
    owner.close()
    wait_until(lambda: stage.streams_opened >= 2 and len(stage.listeners) == 1)
    change(stage, 7)
    expect(other.locator("#count")).to_have_text("7")


def test_stream__owner_hidden__another_takes_over_and_the_hidden_tab_asks_nothing(tab: Tab, stage: Stage) -> None:
    owner, other = tab(), tab()
    hide(owner)
    wait_until(lambda: stage.streams_opened >= 2 and len(stage.listeners) == 1)
    other.wait_for_timeout(1200)
    stage.asked.clear()
    change(stage, 8)
    expect(other.locator("#count")).to_have_text("8")
    other.wait_for_timeout(800)
    assert stage.asked.count("part:census") == 1
    assert owner.locator("#count").inner_text() == "0"
    show(owner)
    expect(owner.locator("#count")).to_have_text("8")


def test_stream__all_hidden__nothing_is_held_and_the_first_to_return_catches_up(tab: Tab, stage: Stage) -> None:
    tabs = [tab(), tab()]
    for page in tabs:
        hide(page)
    wait_until(lambda: not stage.listeners)
    stage.count = 5
    show(tabs[1])
    expect(tabs[1].locator("#count")).to_have_text("5")
    wait_until(lambda: len(stage.listeners) == 1)


def test_stream__server_hangs_up__the_page_says_so_then_catches_up(tab: Tab, stage: Stage) -> None:
    page = tab()
    page.wait_for_timeout(300)
    page.evaluate("""new MutationObserver(() => {
        if (document.getElementById("live-mark").textContent === "reconnecting") window.saidSo = true;
    }).observe(document.getElementById("strip").parentElement, { subtree: true, childList: true, characterData: true })""")
    opened = stage.streams_opened
    stage.hang_up()
    stage.count = 13  # changed while nobody listens
    expect(page.locator("#count")).to_have_text("13")
    assert stage.streams_opened > opened
    assert page.evaluate("window.saidSo")
    expect(page.locator("#live-mark")).to_have_text("live")


def test_event__of_another_environment__is_not_heard(tab: Tab, stage: Stage) -> None:
    demo, staging = tab("/demo/"), tab("/staging/")
    demo.wait_for_timeout(900)
    stage.count = 3
    stage.say("census", environment="staging")
    expect(staging.locator("#count")).to_have_text("3")
    demo.wait_for_timeout(500)
    assert demo.locator("#count").inner_text() == "0"


def test_burst__of_events__the_last_one_arrives_and_few_are_asked(tab: Tab, stage: Stage) -> None:
    page = tab()
    page.wait_for_timeout(900)
    stage.asked.clear()
    for count in range(1, 41):
        change(stage, count)
        time.sleep(0.01)
    expect(page.locator("#count")).to_have_text("40")
    assert stage.asked.count("part:census") <= 3


def test_change__while_the_answer_is_under_way__is_asked_for_again(tab: Tab, stage: Stage) -> None:
    page = tab()
    page.wait_for_timeout(900)
    stage.slow_seconds = 1.5
    change(stage, 1)
    page.wait_for_timeout(800)  # the answer with 1 is under way
    change(stage, 2)
    expect(page.locator("#count")).to_have_text("2")


def test_patterns__counted_while_the_answer_is_under_way__are_asked_for_again(tab: Tab, stage: Stage) -> None:
    page = tab()
    page.wait_for_timeout(900)
    page.evaluate("""() => {
      const part = document.getElementById("census");
      part.setAttribute("hx-trigger", "live:patterns from:body");
      window.htmx.process(part);
    }""")
    stage.slow_seconds = 1.5
    stage.count = 1
    stage.say("patterns")
    page.wait_for_timeout(800)  # the answer with 1 is under way
    stage.count = 2
    stage.say("patterns")
    expect(page.locator("#count")).to_have_text("2")


def test_part__what_it_says__is_told_to_screen_readers_once(tab: Tab, stage: Stage) -> None:
    page = tab()
    change(stage, 21)
    expect(page.locator("#said")).to_have_text("21 devices obey")


def test_part__signed_out_meanwhile__the_whole_page_goes(tab: Tab, stage: Stage) -> None:
    page = tab()
    stage.signed_out = True
    change(stage, 1)
    expect(page).to_have_url(re.compile("/plain$"))


def test_quiet_stream__reads_its_age__and_a_dead_one_is_replaced(tab: Tab, stage: Stage) -> None:
    page = tab()
    page.clock.install()
    page.reload()
    page.wait_for_selector('#live-mark[data-state="on"]')
    opened = stage.streams_opened
    page.clock.run_for(26_000)
    assert "old" in page.locator("#live-mark").inner_text()
    page.clock.run_for(20_000)
    wait_until(lambda: stage.streams_opened > opened)
    assert len(stage.listeners) <= 2
