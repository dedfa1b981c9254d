"""The four dashboards: tiles, charts and a table by device class over one window and one population, all in the URL."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

import orjson
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from hawkops.core import charts, clock
from hawkops.core.access import requires
from hawkops.core.charts import Figure
from hawkops.core.htmx import render_page
from hawkops.core.verdicts import Verdict
from monitoring.charts.boards import BOARDS, OVERVIEW, Board, Panel
from monitoring.charts.drawing import Asked
from monitoring.charts.marks import change_marks, lettered
from monitoring.charts.words import rate_words
from monitoring.domain import criteria, windows
from monitoring.domain.cardinality import OTHER
from monitoring.domain.criteria import Criterion
from monitoring.selectors import criteria as criteria_selectors
from monitoring.selectors import telemetry as selectors
from monitoring.selectors.criteria import Evaluated, Evaluation
from monitoring.selectors.profiles import profiles
from monitoring.selectors.telemetry import Arm, BackendUse, DeviceClass, Population, Reading

# Fewer devices than this say little about their class: their cell is never green.
SMALL = 20
COHORTS = (("", "All"), (Arm.TREATMENT.value, "Treatment"), (Arm.CONTROL.value, "Control"))


@dataclass(frozen=True)
class Tile:
    """A criterion with what was read for it."""

    title: str
    figure: str
    unit: str
    rule: str
    detail: str
    at: datetime | None
    verdict: Verdict
    simulated: bool
    key: str
    backend: str


@dataclass(frozen=True)
class Cell:
    """What a device class reads for one criterion."""

    words: str
    verdict: Verdict | None
    note: str
    small: bool = False

    @property
    def css(self) -> str:
        """The tint: only a judged cell of enough devices has one."""
        return "small" if self.small else self.verdict.css if self.verdict else ""


@dataclass(frozen=True)
class ClassRow:
    """A device class and its cells."""

    device_class: DeviceClass
    cells: Sequence[Cell]


class BoardPage:
    """What a page says. Everything is computed when the template first asks: a part costs only what it shows."""

    def __init__(self, environment: str, board: Board, *, window: str, devices: str, cohort: str) -> None:
        self.environment = environment
        self.board = board
        self.now = clock.now()
        self.choice = windows.chosen(window)
        self.window = windows.window(self.choice, self.now)
        self._asked_devices = devices
        self.cohort = cohort if cohort in {key for key, _ in COHORTS} else ""

    def address(self, part: str = "") -> str:
        """Return the address of the page or of a part of it: charts, csv, json."""
        name = f"monitoring:{self.board.key}{'_' + part if part else ''}"
        return f"{reverse(name, kwargs={'environment': self.environment})}?{self.query}"

    @property
    def charts_address(self) -> str:
        """Where its charts come from."""
        return self.address("charts")

    @property
    def csv_address(self) -> str:
        """Where its numbers are as CSV."""
        return self.address("csv")

    @property
    def json_address(self) -> str:
        """Where its numbers are as JSON."""
        return self.address("json")

    @cached_property
    def device_classes(self) -> list[DeviceClass]:
        """Who reported within the hour."""
        return selectors.device_classes(self.environment, now=self.now)

    @cached_property
    def offered(self) -> list[Population]:
        """What the page can be narrowed to."""
        return selectors.populations(self.device_classes)

    @cached_property
    def population(self) -> Population:
        """Who is shown; an unknown wish counts as none."""
        chosen = next((one for one in self.offered if one.key == self._asked_devices), self.offered[0])
        return chosen.of_arm(Arm(self.cohort)) if self.cohort else chosen

    @cached_property
    def devices(self) -> int:
        """How many devices are shown."""
        return selectors.devices_in(self.device_classes, self.population)

    @property
    def devices_exact(self) -> bool:
        """Whether that is a count; of a huge fleet it is an estimate from a share."""
        return all(one.exact for one in self.device_classes)

    @property
    def folded(self) -> bool:
        """Whether the table of classes has a row for those that were folded."""
        return any(one.name == OTHER for one in self.device_classes)

    @cached_property
    def left_out(self) -> int:
        """How many are not."""
        return sum(one.devices for one in self.device_classes) - self.devices

    @cached_property
    def query(self) -> str:
        """The window, the population and the cohort as the URL writes them."""
        return self._query()

    def _query(self, **changes: str) -> str:
        wanted = {"window": self.choice.key, "devices": self.population.key, "cohort": self.cohort, **changes}
        return urlencode({name: value for name, value in wanted.items() if value})

    @cached_property
    def board_links(self) -> list[dict[str, object]]:
        """The four dashboards, over the same window and devices."""
        return [
            {
                "label": one.title,
                "url": f"{reverse(f'monitoring:{one.key}', kwargs={'environment': self.environment})}?{self.query}",
                "on": one is self.board,
            }
            for one in BOARDS.values()
        ]

    @cached_property
    def window_links(self) -> list[dict[str, object]]:
        """The windows on offer."""
        return [
            {"label": one.label, "url": f"?{self._query(window=one.key)}", "on": one is self.choice}
            for one in windows.CHOICES
        ]

    @cached_property
    def population_links(self) -> list[dict[str, object]]:
        """The populations on offer."""
        return [
            {"label": one.label, "url": f"?{self._query(devices=one.key)}", "on": one.key == self.population.key}
            for one in self.offered
        ]

    @cached_property
    def cohort_links(self) -> list[dict[str, object]]:
        """The sides of the comparison."""
        return [
            {"label": label, "url": f"?{self._query(cohort=key)}", "on": key == self.cohort} for key, label in COHORTS
        ]

    @cached_property
    def criteria(self) -> Mapping[str, Criterion]:
        """Every criterion by key."""
        return {one.key: one for one in criteria_selectors.criteria()}

    def _chosen(self, keys: Sequence[str]) -> list[Criterion]:
        return [self.criteria[key] for key in keys if key in self.criteria]

    @cached_property
    def evaluated(self) -> list[Evaluated]:
        """The criteria of the tiles, judged on the population shown."""
        wanted = self._chosen(self.board.tiles)
        return Evaluation(self.environment, wanted, population=self.population, now=self.now).all()

    @cached_property
    def tiles(self) -> list[Tile]:
        """The readings above the charts."""
        return [self._tile(one) for one in self.evaluated]

    def _tile(self, one: Evaluated) -> Tile:
        criterion, reading = one.criterion, one.reading
        figure, _, unit = "–", "", ""
        if reading.value is not None:
            figure, _, unit = _parted(criteria.shown(reading.value, criterion))
        threshold = criterion.threshold if criterion.threshold is not None else reading.threshold
        wanted = f"{criterion.comparator.value} {criteria.shown(threshold, criterion)}" if threshold is not None else ""
        over = f"{criterion.aggregate.label} over {criteria.spoken(criterion.window)}"
        unjudged = one.judgement.verdict not in (Verdict.PASS, Verdict.FAIL)
        return Tile(
            title=criterion.title,
            figure=figure,
            unit=unit,
            rule=f"{wanted}, {over}" if wanted else f"{over}, no absolute target",
            detail=one.judgement.sentence if unjudged else f"{reading.count:,} observations".replace(",", "\u202f"),
            at=reading.at,
            verdict=one.judgement.verdict,
            simulated=one.simulated,
            key=criterion.key,
            backend=criterion.over.backends[0] if len(criterion.over.backends) == 1 else "",
        )

    @cached_property
    def columns(self) -> list[Criterion]:
        """The criteria of the table."""
        return self._chosen(self.board.columns)

    @cached_property
    def classes(self) -> list[ClassRow]:
        """The table of device classes."""
        everybody = Population("", "", arm=self.population.arm)
        look = Evaluation(self.environment, self.columns, population=everybody, now=self.now)
        return [
            ClassRow(one, [_cell(found, one) for found in look.of_class(one.name, simulated=one.simulated)])
            for one in self.device_classes
        ]

    @cached_property
    def throughputs(self) -> dict[str, Reading]:
        """The latest throughput by backend."""
        return selectors.throughputs(environment=self.environment, population=self.population, now=self.now)

    @cached_property
    def reported(self) -> bool:
        """Whether anything has ever been reported."""
        return bool(self.device_classes) or selectors.last_data_at(self.environment) is not None

    @cached_property
    def headline(self) -> str:
        """The page's answer as a sentence with its number."""
        if not self.reported:
            return "No device has reported yet"
        if self.board.litert:
            return self._litert_headline()
        judged = [one for one in self.evaluated if one.judgement.verdict in (Verdict.PASS, Verdict.FAIL)]
        failed = [one.criterion.title for one in judged if one.judgement.verdict is Verdict.FAIL]
        if failed:
            return f"{', '.join(failed[:2])}{' and more' if len(failed) > 2 else ''} outside the limit"
        if not judged:
            return f"{self.board.title}: nothing can be judged yet"
        return f"{len(judged)} of {len(self.evaluated)} {self.board.title.lower()} criteria pass"

    def _litert_headline(self) -> str:
        live = [one for one in self.throughputs.values() if one.count]
        kind = "simulated device" if self.population.simulated else "device"
        many = f"{'' if self.devices_exact else 'about '}{self.devices} {kind}{'' if self.devices == 1 else 's'}"
        if not live:
            return f"No local inference on {many} in the last 5 min"
        top = max(live, key=lambda one: one.count)
        figure, unit = rate_words(top.median)
        return f"{top.backend.upper()} prefill runs at {figure} {unit} on {many}"

    @cached_property
    def profiles(self) -> str:
        """Whose targets are drawn."""
        if not self.board.litert:
            return ""
        here = [one for one in self.device_classes if self.population.counts(one.name, simulated=one.simulated)]
        known = profiles()
        found = [known.of(one.name, self.environment) for one in here]
        titles = sorted({profile.title for profile in found if profile})
        if not titles:
            return "No absolute targets for these devices." if here else ""
        if len(set(found)) > 1:
            return f"Targets ({'; '.join(titles)}) are drawn when one class is chosen."
        return f"Targets: {'; '.join(titles)}."

    @cached_property
    def marks(self) -> list[dict[str, str]]:
        """The changes that the charts mark."""
        return lettered(self.asked.marks)

    @cached_property
    def use(self) -> list[BackendUse]:
        """Backends asked for against backends that ran."""
        return selectors.backend_use(environment=self.environment, window=self.window, population=self.population)

    @cached_property
    def asked(self) -> Asked:
        """What the charts are asked for: one read for all of them."""
        return self.asking(self.board.reads)

    def asking(self, names: Sequence[str]) -> Asked:
        """Return what charts of some metrics are asked for."""
        return Asked(
            environment=self.environment,
            window=self.window,
            population=self.population,
            marks=change_marks(self.environment, since=self.window.since),
            names=names,
            now=self.now,
            criteria=self.criteria,
            devices=self.devices,
        )

    def figures(self) -> dict[str, Figure]:
        """Return every chart by name."""
        return {panel.name: panel.drawer.draw(self.asked) for panel in self.board.panels}


def _parted(text: str) -> tuple[str, str, str]:
    """Part a number from its unit: the unit begins after the last space before letters."""
    head, space, tail = text.rpartition("\u202f")
    return (head, space, tail) if head and not tail[:1].isdigit() else (text, "", "")


def _cell(found: Evaluated, one: DeviceClass) -> Cell:
    value = found.reading.value
    if value is None:
        return Cell("–", None, found.judgement.sentence)
    text = criteria.shown(value, found.criterion)
    verdict = found.judgement.verdict
    if one.devices < SMALL and verdict is not Verdict.FAIL:
        return Cell(text, Verdict.INSUFFICIENT, f"n < {SMALL}", small=True)
    return Cell(text, verdict if verdict in (Verdict.PASS, Verdict.FAIL) else None, found.judgement.sentence)


def _page(request: HttpRequest, environment: str, key: str) -> BoardPage:
    asked = request.GET
    return BoardPage(
        environment,
        BOARDS[key],
        window=asked.get("window", ""),
        devices=asked.get("devices", ""),
        cohort=asked.get("cohort", ""),
    )


@require_safe
@requires()
def board(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """A dashboard."""
    return render_page(request, "monitoring/board.html", {"page": _page(request, environment, key)})


@require_safe
@requires()
def board_charts(request: HttpRequest, environment: str, key: str) -> HttpResponse:
    """Every figure of a dashboard in one answer, by name, as plain arrays."""
    return charts.respond(_page(request, environment, key).figures())


@require_safe
@requires()
def board_numbers(request: HttpRequest, environment: str, key: str, form: str) -> HttpResponse:
    """A dashboard's numbers as CSV or JSON: one row for each point of each line."""
    page = _page(request, environment, key)
    name = f"hawkops-{environment}-{key}-{page.choice.key}.{form}"
    rows = _numbers(page)
    if form == "json":
        body = {
            "environment": environment,
            "dashboard": key,
            "window": page.choice.key,
            "devices": page.population.key,
            "cohort": page.cohort or "all",
            "made_at": page.now.isoformat(timespec="seconds"),
            "criteria": [_criterion_row(one) for one in page.evaluated],
            "points": list(rows),
        }
        answer = HttpResponse(orjson.dumps(body), content_type="application/json")
    else:
        answer = HttpResponse(content_type="text/csv; charset=utf-8")
        writer = csv.DictWriter(answer, ["time", "chart", "line", "unit", "value"])
        writer.writeheader()
        writer.writerows(rows)
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["Cache-Control"] = "no-store"
    return answer


def _criterion_row(one: Evaluated) -> dict[str, Any]:
    return {
        "criterion": one.criterion.key,
        "value": one.reading.value,
        "verdict": one.judgement.verdict.value,
        "sentence": one.judgement.sentence,
        "observations": one.reading.count,
        "at": one.reading.at.isoformat() if one.reading.at else None,
    }


def _numbers(page: BoardPage) -> Iterator[dict[str, Any]]:
    begins, step = page.window.since.timestamp(), page.window.step.total_seconds()
    for name, figure in page.figures().items():
        for trace in figure.get("data", ()):
            if not trace["name"]:
                continue
            for place, value in enumerate(trace["y"]):
                if value is not None:
                    at = datetime.fromtimestamp(begins + place * step, tz=UTC).isoformat()
                    yield {"time": at, "chart": name, "line": trace["name"], "unit": figure["unit"], "value": value}


@require_safe
@requires()
def overview_chart(request: HttpRequest, environment: str) -> HttpResponse:
    """The overview's chart of throughput."""
    return _one(_page(request, environment, "litert"), OVERVIEW)


@require_safe
@requires()
def chart(request: HttpRequest, environment: str, key: str, name: str) -> HttpResponse:
    """One figure of a dashboard."""
    page = _page(request, environment, key)
    panel = page.board.panel(name)
    if panel is None:
        raise Http404(f"There is no chart {name!r}.")
    return _one(page, panel)


def _one(page: BoardPage, panel: Panel) -> HttpResponse:
    return charts.respond(panel.drawer.draw(page.asking(panel.drawer.names)))
