"""Figures for the browser, as plain arrays. Colours are roles of tokens.css ("gpu", "target"), never values:
`static/js/charts.js` looks them up in the page's theme, and `themed` here in the same file, for reports and validation.
"""

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Literal

import orjson
from django.conf import settings
from django.http import HttpResponse

Trace = dict[str, Any]
Figure = dict[str, Any]
Mode = Literal["light", "dark"]
Number = float | int | None

# How a series looks: colour and dash both differ, so that no reading needs colour alone.
STYLES: dict[str, dict[str, str]] = {
    "cpu": {"color": "cpu", "dash": "solid", "symbol": "circle"},
    "gpu": {"color": "gpu", "dash": "7px,2px", "symbol": "square"},
    "npu": {"color": "npu", "dash": "2px,2px", "symbol": "diamond"},
    "cloud": {"color": "cloud", "dash": "6px,2px,1px,2px", "symbol": "circle-open"},
    "treatment": {"color": "treatment", "dash": "solid", "symbol": "circle"},
    "control": {"color": "comparison", "dash": "4px,3px", "symbol": "circle"},
    "series-5": {"color": "series-5", "dash": "solid", "symbol": "triangle-up"},
    "series-6": {"color": "series-6", "dash": "4px,2px", "symbol": "x"},
}
PLAIN = STYLES["treatment"]
# simulated lines are dotted, those of control sparsely: no reading needs colour alone
DOTTED, DOTTED_CONTROL = "1px,3px", "2px,7px"
WIDTH, THIN = 1.75, 1
# Day and month as everywhere on the pages, at whatever scale the axis has.
TICKS = [
    {"dtickrange": [None, 60_000], "value": "%H:%M:%S\n%d %b"},
    {"dtickrange": [60_000, 86_400_000], "value": "%H:%M\n%d %b"},
    {"dtickrange": [86_400_000, None], "value": "%d %b\n%Y"},
]
MARKS_MOST = len(string.ascii_uppercase)


@dataclass(frozen=True)
class Steps:
    """Moments at equal distances: a figure carries only the first one and the distance."""

    since: datetime
    step: timedelta

    def after(self, count: int) -> "Steps":
        """Return the same, beginning some steps later."""
        return Steps(self.since + count * self.step, self.step)


@dataclass(frozen=True)
class Target:
    """A line to stay above (`at_least`) or below. `missed` is None while nothing can be judged.

    A `far` one would flatten everything measured: it is said at the upper edge instead of drawn. One that is no height
    on this axis (how something stands to its control) is not `drawn`, and colours the chart all the same.
    """

    value: float
    label: str
    missed: bool | None = None
    far: bool = False
    drawn: bool = True


@dataclass(frozen=True)
class Mark:
    """One change, drawn as a lettered vertical line and said in the list above the charts."""

    at: datetime
    text: str
    url: str = ""


@dataclass(frozen=True)
class Foot:
    """What stands under a chart: on how much it rests, how old that is, and how old it may usually get.

    `age` is None in a window that has ended; the browser lets it grow by its own stopwatch, never by its clock.
    """

    sample: str = ""
    data_at: datetime | None = None
    age: timedelta | None = None
    due: timedelta | None = None
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """Everything one figure says. `sentence` is what a screen reader hears; `data_at` is the newest reading's time."""

    sentence: str
    unit: str
    traces: Sequence[Trace]
    since: datetime | None = None
    until: datetime | None = None
    targets: Sequence[Target] = ()
    marks: Sequence[Mark] = ()
    data_at: datetime | None = None
    foot: Foot | None = None
    categories: bool = False
    zero_based: bool = False


def line(
    x: Steps | Sequence[datetime | str],
    y: Sequence[Number],
    *,
    name: str,
    style: str = "treatment",
    thin: bool = False,
    simulated: bool = False,
    markers: bool = False,
    text: Sequence[str] = (),
) -> Trace:
    """Draw readings as a line; None breaks it. `style` is a backend or a part in the comparison (see STYLES), thin is
    the median, simulated is dotted, with open symbols, and named so; `markers` shows single results, one per run."""
    look = STYLES.get(style.lower(), PLAIN)
    if simulated:
        dash = DOTTED_CONTROL if style.lower() == "control" else DOTTED
        look = {**look, "dash": dash, "symbol": f"{look['symbol'].removesuffix('-open')}-open"}
    trace: Trace = {
        "type": "scatter",
        "mode": "lines+markers" if markers else "lines",
        **_across(x),
        "y": list(y),
        "name": f"{name}, simulated" if simulated else name,
        "line": {"color": look["color"], "dash": look["dash"], "width": THIN if thin else WIDTH},
        "connectgaps": False,
        "meta": {"style": f"{style.lower()} fake" if simulated else style.lower(), "thin": thin},
    }
    if markers:
        trace["marker"] = {"color": look["color"], "symbol": look["symbol"], "size": 6}
    if text:
        trace["text"] = list(text)
    return trace


def band(
    x: Steps | Sequence[datetime | str], low: Sequence[Number], high: Sequence[Number], *, style: str = "treatment"
) -> list[Trace]:
    """Fill the space between two lines: from the median to the guaranteed percentile, or an interval."""
    role = f"{style.lower()}-band" if style.lower() in ("cpu", "gpu", "npu", "cloud") else "band"
    edge: Trace = {
        "type": "scatter",
        "mode": "lines",
        **_across(x),
        "name": "",
        "line": {"width": 0, "color": role},
        "hoverinfo": "skip",
        "connectgaps": False,
        "meta": {"silent": True},
    }
    return [{**edge, "y": list(low)}, {**edge, "y": list(high), "fill": "tonexty", "fillcolor": role}]


def bars(
    x: Steps | Sequence[datetime | str], y: Sequence[Number], *, name: str, style: str = "", limit: float | None = None
) -> Trace:
    """Draw counts as bars; those above `limit` stand out."""
    plain = STYLES[style.lower()]["color"] if style.lower() in STYLES else "ink-2"
    over = [limit is not None and value is not None and value > limit for value in y]
    return {
        "type": "bar",
        **_across(x),
        "y": list(y),
        "name": name,
        "marker": {"color": ["fail" if is_over else plain for is_over in over] if any(over) else plain},
        "meta": {"style": style.lower(), "bar": True},
    }


def figure(chart: Chart) -> Figure:
    """Build what Plotly draws (`data`, `layout`) and what the page says beside it."""
    marks = _lettered(chart.marks, since=chart.since)
    hover = f"%{{y:,.4~g}} {chart.unit}".rstrip()
    xaxis: dict[str, Any] = {"type": "category"} if chart.categories else {"type": "date", "tickformatstops": TICKS}
    if chart.since and chart.until:
        xaxis["range"] = [_moment(chart.since), _moment(chart.until)]
    return {
        "data": [t if t["meta"].get("silent") else {**t, "hovertemplate": hover} for t in chart.traces],
        "layout": {
            "xaxis": xaxis,
            "yaxis": {"rangemode": "tozero" if chart.zero_based else "normal", **_headroom(chart)},
            "shapes": [
                *(_target_line(one) for one in chart.targets if one.drawn and not one.far),
                *map(_mark_line, marks),
            ],
            "annotations": [_unit_label(chart.unit), *_target_labels(chart.targets), *map(_mark_flag, marks)],
            "showlegend": False,
        },
        "unit": chart.unit,
        "marks": marks,
        "sentence": chart.sentence,
        "missed": any(target.missed for target in chart.targets),
        "data_at": chart.data_at.isoformat(timespec="seconds") if chart.data_at else None,
        **({"foot": _foot(chart.foot)} if chart.foot else {}),
    }


def empty(sentence: str, *, brings: str = "", marks: Sequence[Mark] | None = None, foot: Foot | None = None) -> Figure:
    """Say what is missing and what would bring it, instead of drawing an empty plane.

    The changes are said all the same where the page lists them: `marks` None leaves its list as it is.
    """
    return {
        "empty": sentence,
        "brings": brings,
        **({} if marks is None else {"marks": _lettered(marks)}),
        **({"foot": _foot(foot)} if foot else {}),
    }


def _foot(foot: Foot) -> dict[str, Any]:
    return {
        "sample": foot.sample,
        "at": foot.data_at.isoformat(timespec="seconds") if foot.data_at else None,
        "said_at": f"{foot.data_at:%a %d %b %Y, %H:%M:%S} UTC" if foot.data_at else "",
        "age": foot.age.total_seconds() if foot.age is not None else None,
        "due": foot.due.total_seconds() if foot.due is not None else None,
        "note": foot.note,
    }


def respond(content: Figure) -> HttpResponse:
    """Answer with the figure as JSON; not a number never reaches the browser, it becomes a gap."""
    answer = HttpResponse(orjson.dumps(content, option=orjson.OPT_NAIVE_UTC), content_type="application/json")
    answer["Cache-Control"] = "no-store"
    return answer


def themed(content: Figure, mode: Mode = "light") -> Figure:
    """Look every role up and put the template under it, as charts.js does: a figure that stands alone."""
    template = _template()["templates"][mode]
    return {
        "data": _painted(content["data"], tokens()[mode]),
        "layout": {**_painted(content["layout"], tokens()[mode]), "template": template},
    }


@cache
def tokens() -> dict[str, dict[str, str]]:
    """Read the colours of tokens.css for both themes: the one place where they are defined."""
    css = (settings.ROOT / "static" / "css" / "tokens.css").read_text()
    found = re.findall(r"--([a-z0-9-]+): light-dark\((#\w+), (#\w+)\);", css)
    return {
        "light": {role: _rgba(light) for role, light, _ in found},
        "dark": {role: _rgba(dark) for role, _, dark in found},
    }


@cache
def _template() -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads((settings.ROOT / "static" / "js" / "plotly-theme.json").read_bytes())
    return read


def _painted(node: Any, colours: dict[str, str], key: str = "") -> Any:
    """Copy a figure with roles replaced wherever a key ends in "color"; an unknown role stays and fails validation."""
    if isinstance(node, dict):
        return {name: _painted(value, colours, name) for name, value in node.items()}
    if isinstance(node, list):
        return [_painted(value, colours, key) for value in node]
    return colours.get(node, node) if isinstance(node, str) and key.lower().endswith("color") else node


def _rgba(value: str) -> str:
    """Write #rgb, #rrggbb and #rrggbbaa in the form that every version of Plotly reads."""
    digits = value[1:] if len(value) > 5 else "".join(digit * 2 for digit in value[1:])
    red, green, blue, *alpha = bytes.fromhex(digits)
    return f"rgba({red},{green},{blue},{(alpha[0] if alpha else 255) / 255:.2f})"


def _lettered(marks: Sequence[Mark], *, since: datetime | None = None) -> list[dict[str, Any]]:
    """Give the newest changes in view their letters, oldest first."""
    seen = [mark for mark in marks if not since or mark.at >= since]
    newest = sorted(seen, key=lambda mark: mark.at)[-MARKS_MOST:]
    return [
        {"letter": letter, "at": _moment(mark.at), "text": mark.text, "url": mark.url}
        for letter, mark in zip(string.ascii_uppercase, newest, strict=False)
    ]


def _target_line(target: Target) -> dict[str, Any]:
    return {
        "type": "line",
        "name": "target",
        "line": {"color": "target" if target.missed else "mark", "width": 1.25, "dash": "5px,4px"},
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "yref": "y",
        "y0": target.value,
        "y1": target.value,
        "layer": "above",
    }


def _headroom(chart: Chart) -> dict[str, Any]:
    """Leave room above the lines where the upper edge says what lies beyond it."""
    if not any(one.drawn and one.far for one in chart.targets):
        return {}
    values = [value for t in chart.traces for value in t.get("y", ()) if isinstance(value, int | float)]
    return {"autorangeoptions": {"include": max(values) * 1.35}} if values else {}


def _target_labels(targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Label every line; of two that are close each second label stands at the other end. Far ones share the edge."""
    near = [one for one in targets if one.drawn and not one.far]
    far = [one for one in targets if one.drawn and one.far]
    labels = [_target_label(target, right=place % 2 == 1) for place, target in enumerate(near)]
    if far:
        missed = any(one.missed for one in far)
        labels.append(_edge_label(", ".join(f"{one.label} ↑" for one in far), missed=missed))
    return labels


def _target_label(target: Target, *, right: bool) -> dict[str, Any]:
    return {
        "name": "target",
        "text": target.label,
        "xref": "paper",
        "x": 1 if right else 0,
        "xanchor": "right" if right else "left",
        "yref": "y",
        "y": target.value,
        "yanchor": "bottom",
        "showarrow": False,
        "bgcolor": "surface",
        "font": {"color": "target" if target.missed else "mark", "size": 11.5, "weight": 600},
    }


def _edge_label(text: str, *, missed: bool) -> dict[str, Any]:
    """Say at the upper edge what lies above it."""
    return {
        "name": "target",
        "text": text,
        "xref": "paper",
        "x": 0,
        "xanchor": "left",
        "yref": "paper",
        "y": 1,
        "yanchor": "top",
        "showarrow": False,
        "bgcolor": "surface",
        "font": {"color": "target" if missed else "mark", "size": 11.5, "weight": 600},
    }


def _unit_label(unit: str) -> dict[str, Any]:
    """Say the unit once, above the axis it belongs to."""
    return {
        "name": "unit",
        "text": unit,
        "xref": "paper",
        "x": 0,
        "xanchor": "right",
        "xshift": -6,
        "yref": "paper",
        "y": 1,
        "yanchor": "bottom",
        "yshift": 4,
        "showarrow": False,
        "font": {"color": "ink-3", "size": 11.5},
    }


def _mark_line(mark: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "line",
        "name": "change",
        "line": {"color": "mark", "width": 1, "dash": "2px,2px"},
        "xref": "x",
        "x0": mark["at"],
        "x1": mark["at"],
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "layer": "below",
    }


def _mark_flag(mark: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "change",
        "text": mark["letter"],
        "hovertext": mark["text"],
        "xref": "x",
        "x": mark["at"],
        "xanchor": "center",
        "yref": "paper",
        "y": 1,
        "yanchor": "bottom",
        "showarrow": False,
        "bgcolor": "mark",
        "borderpad": 2,
        "font": {"color": "surface", "size": 9.5, "weight": 700},
    }


def _across(x: Steps | Sequence[datetime | str]) -> Trace:
    if isinstance(x, Steps):
        return {"x0": _moment(x.since), "dx": x.step.total_seconds() * 1e3}
    return {"x": _moments(x)}


def _moments(values: Sequence[datetime | str]) -> list[str]:
    return [_moment(value) if isinstance(value, datetime) else value for value in values]


def _moment(value: datetime) -> str:
    """Plotly reads times without a zone, so all times are UTC and say so on the axis's hover."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
