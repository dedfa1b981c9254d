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


def settled(page: Page, stage: Stage) -> None:
    """Wait until the page asks for nothing any more: its first stream makes it ask once more than its own loading."""
    expect(page.locator("#live-mark")).to_have_text("live")
    asked = -1
    while asked != len(stage.asked):
        asked = len(stage.asked)
        page.wait_for_timeout(1_000)


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
    settled(page, stage)
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
    settled(page, stage)
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


def foot(*, age: float) -> dict[str, Any]:
    """What stands under a chart, as the server says it."""
    seconds = timedelta(seconds=age)
    under = charts.Foot(sample="4 812 observations", data_at=SINCE, age=seconds, due=timedelta(minutes=2))
    chart = charts.Chart(
        sentence=f"aged {age:g}",
        unit="s",
        traces=[charts.line(charts.Steps(SINCE, timedelta(minutes=1)), [1.0, 2.0], name="p95")],
        foot=under,
    )
    return charts.figure(chart)


def test_age__under_a_chart__grows_by_itself_and_warns_when_older_than_expected(page: Page, stage: Stage) -> None:
    line = page.locator(".plot-foot")
    stage.chart = foot(age=12)
    stage.say("telemetry")
    expect(line).to_contain_text("As of 1", timeout=8_000)
    expect(line).to_contain_text("ago · 4 812 observations")
    expect(line).not_to_have_class("plot-foot late")
    first = line.inner_text()
    expect(line).not_to_have_text(first, timeout=4_000)
    stage.chart = foot(age=119)
    stage.say("telemetry")
    expect(line).to_contain_text("No news", timeout=8_000)  # nobody says anything any more: it crosses 120 s alone
    expect(line).to_contain_text("expected within 2\u202fmin")
    expect(line).to_have_class("plot-foot late")


def test_age__with_no_event_at_all__the_chart_asks_again_each_half_minute(page: Page, stage: Stage) -> None:
    page.clock.install()
    page.reload()
    says(page, "ends at 2")
    stage.chart = figure(1.0, 7.0)
    page.clock.fast_forward(31_000)
    page.clock.run_for(2_000)
    says(page, "ends at 7")


def test_marks__an_empty_chart__keeps_the_list_or_says_it_anew(page: Page, stage: Stage) -> None:
    marks = page.locator("#marks li")
    changed = charts.Mark(SINCE, "LiteRT killed")
    drawn_one = charts.Chart(
        sentence="killed",
        unit="s",
        traces=[charts.line(charts.Steps(SINCE, timedelta(minutes=1)), [1.0], name="p95")],
        since=SINCE,
        marks=[changed],
    )
    stage.chart = charts.figure(drawn_one)
    stage.say("history")
    expect(marks).to_have_text(["ALiteRT killed"], timeout=8_000)
    stage.chart = charts.empty("No device reported its latency in this window.")
    stage.say("telemetry")
    expect(page.locator(".plot-empty")).to_be_visible(timeout=8_000)
    expect(marks).to_have_count(1)
    stage.chart = charts.empty("No device reported.", marks=[changed, charts.Mark(SINCE, "Fallback forced")])
    stage.say("telemetry")
    expect(marks).to_have_count(2, timeout=8_000)


def test_patterns__a_chart_with_that_topic__is_asked_again(page: Page, stage: Stage) -> None:
    page.evaluate("document.querySelector('#gpu').dataset.topics = 'patterns'")
    stage.chart = figure(1.0, 9.0)
    stage.say("patterns")
    says(page, "ends at 9")


def test_legend__of_simulated_lines_only__says_so_once(page: Page, stage: Stage) -> None:
    steps = charts.Steps(SINCE, timedelta(minutes=1))
    lines = [charts.line(steps, [1.0, 2.0], name=name, simulated=True) for name in ("p50", "p95")]
    stage.chart = charts.figure(charts.Chart(sentence="two", unit="s", traces=lines))
    stage.say("telemetry")
    says(page, "two")
    expect(page.locator(".plot-legend span")).to_have_text(["p50", "p95", "all simulated"])
