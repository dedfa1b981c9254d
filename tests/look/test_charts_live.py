"""Charts are right after a sleep, a lost stream and a clock that was set: what they show is what the server last said."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from hawkops.core import charts
from tests.look.conftest import hide, show
from tests.look.site import Stage

Tab = Callable[..., Page]
SINCE = datetime(2026, 11, 26, 18, 0, tzinfo=UTC)
SHIFTED_DAY_MS = 86_400_000


def figure(*values: float, later: timedelta = timedelta()) -> dict[str, Any]:
    """A chart of some steps; steps travel as their first moment and their distance."""
    since = SINCE + later
    line = charts.line(charts.Steps(since, timedelta(minutes=1)), values, name="p5")
    return charts.figure(
        charts.Chart(
            sentence=f"ends at {values[-1]:g}",
            unit="tok/s",
            traces=[line],
            since=since,
            until=since + timedelta(minutes=len(values)),
        )
    )


def drawn(page: Page) -> dict[str, Any]:
    """What Plotly really holds: the moments and values of the first line, and the range of the axis."""
    return page.evaluate(  # type: ignore[no-any-return]
        """() => {
          const plot = document.querySelector("#gpu");
          return { x: plot._fullData[0].x, y: plot._fullData[0].y, range: plot._fullLayout.xaxis.range };
        }"""
    )


def says(page: Page, sentence: str) -> None:
    """Wait until the chart says it."""
    expect(page.locator("#gpu")).to_have_attribute("aria-label", sentence, timeout=8_000)


@pytest.fixture
def page(tab: Tab, stage: Stage) -> Page:
    stage.chart = figure(1.0, 2.0)
    found = tab()
    says(found, "ends at 2")
    return found


def test_steps__are_spread_to_the_moments_they_stand_for(page: Page) -> None:
    found = drawn(page)
    assert found["x"] == ["2026-11-26T18:00:00.000Z", "2026-11-26T18:01:00.000Z"]
    assert found["y"] == [1, 2]
    assert found["range"][0].startswith("2026-11-26 18:00")


def test_sleep__a_hidden_tab_asks_nothing_and_catches_up_when_it_returns(page: Page, stage: Stage) -> None:
    hide(page)
    stage.asked.clear()
    stage.chart = figure(1.0, 2.0, 3.0, later=timedelta(hours=8))
    for _ in range(3):
        stage.say("telemetry")
        page.wait_for_timeout(400)
    assert "figure" not in stage.asked
    show(page)
    says(page, "ends at 3")
    found = drawn(page)
    assert found["x"][0] == "2026-11-27T02:00:00.000Z"
    assert found["range"][0].startswith("2026-11-27 02:00")


def test_reconnect__what_was_missed_is_asked_for_without_an_event(page: Page, stage: Stage) -> None:
    before = stage.streams_opened
    stage.chart = figure(1.0, 2.0, 3.0, 4.0)
    stage.hang_up()  # nobody says "telemetry" any more: only the new stream tells the page
    says(page, "ends at 4")
    assert stage.streams_opened > before


@pytest.mark.parametrize("shift", [SHIFTED_DAY_MS, -SHIFTED_DAY_MS])
def test_clock_change__the_axis_stays_the_servers_and_news_still_come(page: Page, stage: Stage, shift: int) -> None:
    page.evaluate(
        """(shift) => {
          const Real = Date;
          window.Date = class extends Real {
            constructor(...given) { given.length ? super(...given) : super(Real.now() + shift); }
            static now() { return Real.now() + shift; }
          };
        }""",
        shift,
    )
    stage.chart = figure(1.0, 5.0)
    stage.say("telemetry")
    says(page, "ends at 5")
    found = drawn(page)
    assert found["x"] == ["2026-11-26T18:00:00.000Z", "2026-11-26T18:01:00.000Z"]
    assert found["range"][0].startswith("2026-11-26 18:00")
