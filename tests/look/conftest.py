"""Tabs of one browser on the test site."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, TimeoutError

from tests.look import site

# Playwright keeps every page visible; this is what a browser tells a page whose tab goes to the back.
VISIBILITY = """
  window.tabHidden = false;
  Object.defineProperty(document, "hidden", { get: () => window.tabHidden });
  Object.defineProperty(document, "visibilityState", { get: () => (window.tabHidden ? "hidden" : "visible") });
  window.policy = [];
  addEventListener("securitypolicyviolation", (event) => window.policy.push(event.violatedDirective));
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with site.serve() as found:
        yield found


@pytest.fixture
def stage(address: str) -> Iterator[site.Stage]:
    site.STAGE.hang_up()
    fresh = site.Stage()
    site.STAGE.__dict__.update({**fresh.__dict__, "listeners": site.STAGE.listeners})
    yield site.STAGE


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    found = browser.new_context(viewport={"width": 1280, "height": 800})
    found.set_default_timeout(10_000)
    found.add_init_script(VISIBILITY)
    yield found
    found.close()


@pytest.fixture
def tab(context: BrowserContext, address: str, stage: site.Stage) -> Callable[..., Page]:
    """Open a tab and wait until it is live."""

    def opened(path: str = "/demo/", *, live: bool = True) -> Page:
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("requestfailed", lambda request: said.append(f"{request.url}: {request.failure}"))
        page.goto(address + path)
        if live:
            try:
                page.wait_for_selector('#live-mark[data-state="on"]', timeout=30_000)
            except TimeoutError as error:
                raise AssertionError(f"not live: {said}; {page.content()[:2_000]}") from error
        return page

    return opened


def hide(page: Page) -> None:
    """Send a tab to the back."""
    page.evaluate("window.tabHidden = true; document.dispatchEvent(new Event('visibilitychange'))")


def show(page: Page) -> None:
    """Bring a tab to the front."""
    page.evaluate("window.tabHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
