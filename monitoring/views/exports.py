"""A dashboard's numbers to take along: CSV, JSON, and a chart as a table."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.http import HttpResponse

from hawkops.core.charts import Figure
from hawkops.core.spreadsheet import harmless
from monitoring.selectors.criteria import Evaluated
from monitoring.views.board_page import BoardPage, Cell, ClassRow

COLUMNS = ("kind", "time", "chart", "line", "unit", "value", "observations", "devices", "verdict", "sentence")


def as_csv(page: BoardPage) -> HttpResponse:
    """Write every point, criterion and cell as a row. Names come from devices: none of them becomes a formula."""
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    writer = csv.DictWriter(answer, COLUMNS)
    writer.writeheader()
    for kind, rows in (("point", _points(page)), ("criterion", _criteria(page)), ("device class", _cells(page))):
        writer.writerows({"kind": kind, **{name: harmless(value) for name, value in row.items()}} for row in rows)
    return answer


def as_json(page: BoardPage) -> HttpResponse:
    """Write the same as one document."""
    body = {
        "environment": page.environment,
        "dashboard": page.board.key,
        "window": page.choice.key,
        "devices": page.population.key,
        "cohort": page.cohort or "all",
        "since": page.window.since.isoformat(timespec="seconds"),
        "until": page.until.isoformat(timespec="seconds") if page.until else None,
        "made_at": page.clock_at.isoformat(timespec="seconds"),
        "criteria": [{"criterion": row.pop("chart"), **row} for row in _criteria(page)],
        "classes": [{"criterion": row.pop("chart"), "device_class": row.pop("line"), **row} for row in _cells(page)],
        "points": list(_points(page)),
    }
    return HttpResponse(orjson.dumps(body), content_type="application/json")


def _points(page: BoardPage) -> Iterator[dict[str, Any]]:
    for name, figure in page.figures(exact=True).items():
        for trace in _named(figure):
            for at, value in zip(_times(page), trace["y"], strict=False):
                if value is not None:
                    line = {"chart": name, "line": trace["name"], "unit": figure["unit"], "value": value}
                    yield {"time": at.isoformat(), **line}


def _criteria(page: BoardPage) -> Iterator[dict[str, Any]]:
    for one in page.evaluated:
        yield _criterion(one)


def _criterion(one: Evaluated) -> dict[str, Any]:
    return {
        "time": one.reading.at.isoformat() if one.reading.at else None,
        "chart": one.criterion.key,
        "unit": one.criterion.unit,
        "value": one.reading.value,
        "observations": one.reading.count,
        "devices": one.reading.devices,
        "verdict": one.judgement.verdict.value,
        "sentence": one.judgement.sentence,
    }


def _cells(page: BoardPage) -> Iterator[dict[str, Any]]:
    for row in page.classes:
        for cell in row.cells:
            yield _cell(row, cell)


def _cell(row: ClassRow, cell: Cell) -> dict[str, Any]:
    return {
        "chart": cell.criterion.key,
        "line": row.device_class.name + (", simulated" if row.device_class.simulated else ""),
        "unit": cell.criterion.unit,
        "value": cell.value,
        "devices": cell.devices,
        "verdict": cell.verdict.value if cell.verdict else "",
        "sentence": cell.note,
    }


@dataclass(frozen=True)
class Table:
    """A chart's lines side by side, newest first."""

    names: list[str]
    rows: list[tuple[datetime, list[float | None]]]


def table(page: BoardPage, figure: Figure) -> Table:
    """Return a figure's steps with data."""
    traces = _named(figure)
    across = zip(*(trace["y"] for trace in traces), strict=False)
    rows = [
        (at, list(values))
        for at, values in zip(_times(page), across, strict=False)
        if any(value is not None for value in values)
    ]
    return Table([trace["name"] for trace in traces], rows[::-1])


def _named(figure: Figure) -> list[dict[str, Any]]:
    return [trace for trace in figure.get("data", ()) if trace["name"]]


def _times(page: BoardPage) -> Iterator[datetime]:
    begins, step = page.window.since.timestamp(), page.window.step / timedelta(seconds=1)
    for place in range(page.window.steps):
        yield datetime.fromtimestamp(begins + place * step, tz=UTC)
