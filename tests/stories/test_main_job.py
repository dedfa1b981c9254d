"""The main job with real processes and a real browser: see a device, stop it, read who did it, let it go on."""

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.installation import processes_with, up

pytestmark = [pytest.mark.story, pytest.mark.xdist_group("story")]


def test_main_job__from_up_to_ctrl_c(browser: Browser, data_folder: Path) -> None:
    with up(data_folder) as installation:
        installation.wait_for("Sign in", 150)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))

        # sign in by the link; the first page is demo's overview
        page.goto(installation.login)
        page.get_by_role("button", name="Sign in").click()
        expect(page).to_have_url(re.compile(r"/demo/$"))

        # the device appears, and its points arrive on the live chart by themselves
        page.goto(f"{installation.console}/demo/monitoring/litert")
        chart = page.locator(".plot[data-figure='prefill-cpu']").first
        expect(chart).to_have_attribute("data-points", re.compile(r"[1-9]"), timeout=60_000)
        drawn = int(chart.get_attribute("data-drawn-at") or 0)
        page.wait_for_function(
            "([element, before]) => Number(element.dataset.drawnAt) > before",
            arg=[chart.element_handle(), drawn],
            timeout=8_000,
        )

        # one press, with the runbook's reason already chosen, and nine more tabs open
        tabs = [context.new_page() for _ in range(9)]
        for tab in tabs:
            tab.goto(f"{installation.console}/demo/emergency")
        page.bring_to_front()
        page.keyboard.press("k")
        expect(page.get_by_role("button", name=re.compile("Kill LiteRT on 1 device"))).to_be_enabled(timeout=30_000)
        pressed = time.monotonic()
        page.get_by_role("button", name=re.compile("Kill LiteRT on 1 device")).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("LiteRT is off in demo", timeout=10_000)
        expect(page.locator(".census dd").first).to_have_text("1", timeout=10_000)
        expect(page.locator(".census .p dd")).to_have_text("0")
        assert time.monotonic() - pressed < 10
        assert "litert_enabled off" in installation.log("device")
        for tab in tabs:
            expect(tab.locator("#census")).to_contain_text("litert_enabled forced off", timeout=10_000)
            tab.close()

        # the history: one entry, who and why, both flags
        page.get_by_role("link", name="flag.killed").first.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("admin: flag.killed")
        expect(page.locator("main")).to_contain_text("Reason: Production incident")
        expect(page.get_by_role("region", name="Before and after")).to_contain_text("ai_fallback_to_cloud")
        page.goto(f"{installation.console}/demo/history?verb=flag.killed")
        expect(page.locator("tbody tr")).to_have_count(1)

        # letting it go on is deliberate
        page.goto(f"{installation.console}/demo/emergency")
        page.get_by_role("textbox", name="Reason", exact=True).fill("The drill is over")
        page.get_by_label("Type demo to confirm").fill("staging")
        page.get_by_role("button", name="Re-enable").click()
        expect(page.locator("main")).to_contain_text("Nothing was changed")
        page.get_by_role("textbox", name="Reason", exact=True).fill("The drill is over")
        page.get_by_label("Type demo to confirm").fill("demo")
        page.get_by_role("button", name="Re-enable").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Emergency")
        expect(page.get_by_role("button", name=re.compile("Kill LiteRT on 1 device"))).to_be_enabled()
        assert not problems, problems
        on_a_phone_without_scripts(browser, context, installation.console)
        context.close()

        # Ctrl-C ends every process and leaves none
        assert installation.end() == 0
        assert processes_with(str(data_folder)) == []


def on_a_phone_without_scripts(browser: Browser, signed_in: BrowserContext, console: str) -> None:
    """Kill and re-enable by plain forms only, where nothing is wider than the screen."""
    phone = browser.new_context(
        viewport={"width": 390, "height": 844}, java_script_enabled=False, storage_state=signed_in.storage_state()
    )
    page = phone.new_page()
    page.goto(f"{console}/demo/")
    page.get_by_role("link", name=re.compile("Kill")).first.click()
    assert page.locator("#kill").bounding_box()["y"] < 844  # type: ignore[index]
    page.locator("#kill").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("LiteRT is off in demo")
    deadline = time.monotonic() + 10
    while page.locator(".census dd").first.inner_text() != "1":  # reading on is a reload
        assert time.monotonic() < deadline
        page.reload()
    page.get_by_role("textbox", name="Reason", exact=True).fill("The drill is over")
    page.get_by_label("Type demo to confirm").fill("demo")
    page.get_by_role("button", name="Re-enable").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Emergency")
    phone.close()
