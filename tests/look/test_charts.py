"""Every figure that leaves the server is one that Plotly's own validator accepts, in both themes."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson
import pytest
from plotly.graph_objects import Figure

from hawkops.core import charts

NOW = datetime(2026, 11, 26, 18, 46, tzinfo=UTC)
TIMES = [NOW - timedelta(minutes=minutes) for minutes in range(60, 0, -1)]


def example() -> charts.Chart:
    """One chart with everything on it."""
    p5: list[float | None] = [1900.0 - 4 * step for step in range(60)]
    p5[30] = None
    p50: list[float | None] = [2350.0] * 60
    return charts.Chart(
        sentence="GPU throughput over 1 h: the fifth percentile fell below 1 876 tokens a second.",
        unit="tok/s",
        traces=[
            *charts.band(TIMES, p5, p50, style="GPU"),
            charts.line(TIMES, p50, name="p50", style="GPU", thin=True),
            charts.line(TIMES, p5, name="p5, 95 % reach it", style="GPU"),
            charts.line(TIMES, p50, name="p5", style="GPU", simulated=True),
            charts.bars(TIMES, [1, 12] * 30, name="switches", limit=10),
            charts.line(["run 1", "run 2"], [1, 2], name="runs", markers=True, text=["PASS", "FAIL"]),
        ],
        since=TIMES[0],
        until=NOW,
        targets=[charts.Target(1876, "target 1 876", missed=True), charts.Target(1700, "limit")],
        marks=[charts.Mark(NOW - timedelta(minutes=m), f"Change {m}") for m in (5, 20, 90)],
        data_at=NOW,
    )


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_figure__in_either_theme__plotly_accepts_it(mode: Literal["light", "dark"]) -> None:
    drawn = charts.themed(charts.figure(example()), mode)
    assert Figure(drawn).data
    assert Figure(drawn, skip_invalid=False).layout.shapes[0].line.color.startswith("rgba(")


def test_themed__unknown_role__fails_validation() -> None:
    chart = charts.figure(example())
    chart["data"][2]["line"]["color"] = "no-such-role"
    with pytest.raises(ValueError, match="no-such-role"):
        Figure(charts.themed(chart))


def test_roles__every_style__is_a_colour_in_both_themes() -> None:
    for style in charts.STYLES.values():
        assert charts.tokens()["light"][style["color"]] != charts.tokens()["dark"][style["color"]]


def test_marks__older_than_the_view__have_no_letter() -> None:
    figure = charts.figure(example())
    assert [(mark["letter"], mark["text"]) for mark in figure["marks"]] == [("A", "Change 20"), ("B", "Change 5")]


def test_respond__not_a_number__becomes_a_gap() -> None:
    figure = charts.figure(
        charts.Chart(sentence="", unit="s", traces=[charts.line(TIMES[:2], [float("nan"), 1.0], name="p95")])
    )
    answer: dict[str, Any] = orjson.loads(charts.respond(figure).content)
    assert answer["data"][0]["y"] == [None, 1.0]


def test_themed__tokens_and_template__say_the_same() -> None:
    """The theme file is written by hand from the tokens; this keeps the two from drifting apart."""
    for mode in ("light", "dark"):
        layout = charts._template()["templates"][mode]["layout"]
        assert charts._rgba(layout["font"]["color"]) == charts.tokens()[mode]["ink-2"]
        assert charts._rgba(layout["hoverlabel"]["bgcolor"]) == charts.tokens()[mode]["raised"]
        assert charts._rgba(layout["yaxis"]["gridcolor"]) == charts.tokens()[mode]["grid"]


def test_line__simulated_control__differs_from_treatment_without_colour() -> None:
    made = [charts.line(TIMES[:2], [1.0, 2.0], name=s, style=s, simulated=True) for s in ("treatment", "control")]
    assert len({one["line"]["dash"] for one in made}) == 2


def test_target__far_above__is_said_at_the_edge_and_draws_no_line() -> None:
    chart = charts.Chart(
        sentence="",
        unit="s",
        traces=[charts.line(TIMES[:2], [1.0, 2.0], name="p95")],
        targets=[charts.Target(3.0, "target 3 s"), charts.Target(50.0, "alert 50 s", missed=True, far=True)],
    )
    figure = charts.figure(chart)
    assert [shape["y0"] for shape in figure["layout"]["shapes"]] == [3.0]
    (edge,) = [note for note in figure["layout"]["annotations"] if note["text"] == "alert 50 s ↑"]
    assert (edge["yref"], edge["y"], edge["font"]["color"]) == ("paper", 1, "target")


def test_target__that_compares__has_no_height_and_colours_the_chart() -> None:
    line = charts.line(TIMES[:2], [1.0, 2.0], name="p5")
    change = charts.Target(-0.05, "target -5 %", missed=True, drawn=False)
    figure = charts.figure(charts.Chart(sentence="", unit="s", traces=[line], targets=[change]))
    assert figure["missed"]
    assert not figure["layout"]["shapes"]
    assert all(note["name"] == "unit" for note in figure["layout"]["annotations"])
