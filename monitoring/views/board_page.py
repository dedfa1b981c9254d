"""What a dashboard's page says: tiles, charts and a table by device class over one window and one population."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from urllib.parse import urlencode

from django.urls import reverse

from hawkops.core import clock
from hawkops.core.charts import Figure
from hawkops.core.errors import InvalidInput
from hawkops.core.moments import utc
from hawkops.core.verdicts import Verdict
from monitoring.charts.asked import Asked, limit_word
from monitoring.charts.boards import BOARDS, Board, Panel, declared
from monitoring.charts.marks import change_marks, lettered
from monitoring.charts.words import rate_words
from monitoring.domain import criteria, windows
from monitoring.domain.cardinality import OTHER
from monitoring.domain.criteria import Aggregate, Criterion
from monitoring.selectors import criteria as criteria_selectors
from monitoring.selectors import telemetry as selectors
from monitoring.selectors.cells import Cells, cell_devices
from monitoring.selectors.criteria import Evaluated, Evaluation
from monitoring.selectors.links import dashboard_links
from monitoring.selectors.looks import why_silent
from monitoring.selectors.profiles import profiles
from monitoring.selectors.telemetry import SIMULATED, Arm, BackendUse, DeviceClass, Population, Reading
from monitoring.views.tiles import Tile, aside, tile

# Fewer devices than this say little: their cell is never green.
SMALL = 20
COHORTS = (("", "All"), (Arm.TREATMENT.value, "Treatment"), (Arm.CONTROL.value, "Control"))


@dataclass(frozen=True)
class Cell:
    """What a device class reads for one criterion, and how many devices that are; None where that isn't known."""

    criterion: Criterion
    words: str
    verdict: Verdict | None
    note: str
    value: float | None = None
    devices: int | None = None
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


@dataclass(frozen=True)
class Limit:
    """A criterion that a chart draws, in words."""

    key: str
    words: str


@dataclass(frozen=True)
class ShownPanel:
    """A panel with its limits as the criteria in force say them."""

    panel: Panel
    limits: Sequence[Limit]
    address: str


class BoardPage:
    """What a page says. Everything is computed when the template first asks: a part costs only what it shows."""

    def __init__(self, environment: str, board: Board, *, window: str, devices: str, cohort: str, until: str) -> None:
        self.environment = environment
        self.board = board
        self.clock_at = clock.now()
        self.until = _past(until, self.clock_at)
        self.now = self.until or self.clock_at
        self.choice = windows.chosen(window)
        self.window = (
            windows.ended(self.choice, self.until, self.clock_at)
            if self.until
            else windows.window(self.choice, self.now)
        )
        self._asked_devices = devices
        self.cohort = cohort if cohort in {key for key, _ in COHORTS} else ""

    @property
    def live(self) -> bool:
        """Whether it shows what is now; a window that ended doesn't move."""
        return self.until is None

    # --- addresses ---

    def address(self, part: str = "", **named: str) -> str:
        """Return the address of the page or of a part of it: charts, csv, json."""
        return self._address(self.board, part, **named)

    def _address(self, board: Board, part: str = "", **named: str) -> str:
        name = f"monitoring:{board.key}{'_' + part if part else ''}"
        return f"{reverse(name, kwargs={'environment': self.environment, **named})}?{self.query}"

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
    def query(self) -> str:
        """The window, the population and the cohort as the URL writes them."""
        return self._query()

    def _query(self, **changes: str) -> str:
        until = self.until.isoformat(timespec="seconds").replace("+00:00", "Z") if self.until else ""
        wanted = {
            "window": self.choice.key,
            "devices": self.population.key,
            "cohort": self.cohort,
            "until": until,
            **changes,
        }
        return urlencode({name: value for name, value in wanted.items() if value})

    @cached_property
    def live_query(self) -> str:
        """The same, up to now."""
        return self._query(until="")

    @cached_property
    def board_links(self) -> list[dict[str, object]]:
        """The four dashboards, over the same window and devices."""
        return [{"label": one.title, "url": self._address(one), "on": one is self.board} for one in BOARDS.values()]

    @cached_property
    def runbook_links(self) -> list[dict[str, object]]:
        """Where the runbook's reader finds each dashboard: here, or where somebody said."""
        elsewhere = dashboard_links(self.environment)
        return [
            {
                "key": one.key,
                "title": one.title,
                "here": reverse(f"monitoring:{one.key}", kwargs={"environment": self.environment}),
                "url": elsewhere.get(one.key, ""),
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

    # --- devices ---

    @cached_property
    def device_classes(self) -> list[DeviceClass]:
        """Who reported within the hour."""
        return selectors.device_classes(self.environment, now=self.now)

    @cached_property
    def offered(self) -> list[Population]:
        """What the page can be narrowed to. Who reported long ago is forgotten before what was reported."""
        found = selectors.populations(self.device_classes)
        if not self.live and not self.device_classes:
            found.append(Population(SIMULATED, "Simulated devices", simulated=True))
        return found

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

    # --- criteria ---

    @cached_property
    def criteria(self) -> Mapping[str, Criterion]:
        """Every criterion by key."""
        return {one.key: one for one in criteria_selectors.criteria()}

    def _chosen(self, keys: Iterable[str]) -> list[Criterion]:
        return [self.criteria[key] for key in dict.fromkeys(keys) if key in self.criteria]

    def judge(self, keys: Iterable[str]) -> dict[str, Evaluated]:
        """Judge some criteria on the population shown, each once."""
        look = Evaluation(self.environment, self._chosen(keys), population=self.population, now=self.now)
        return {one.criterion.key: one for one in look.all()}

    @cached_property
    def _look(self) -> Evaluation:
        """One read for tiles and table: of every device on the side shown."""
        wanted = self._chosen((*self.board.tiles, *self.board.columns))
        return Evaluation(
            self.environment, wanted, population=Population("", "", arm=self.population.arm), now=self.now
        )

    @cached_property
    def evaluated(self) -> list[Evaluated]:
        """The criteria of the tiles, judged on the population shown."""
        found = {one.criterion.key: one for one in self._look.of_population(self.population)}
        return [found[key] for key in self.board.tiles if key in found]

    @cached_property
    def tiles(self) -> list[Tile]:
        """The readings above the charts."""
        return [
            tile(
                one,
                live=self.live,
                aside=aside(one, self._by_alerts.get(one.criterion.key), why_silent(one.criterion, self.environment)),
            )
            for one in self.evaluated
        ]

    @cached_property
    def _by_alerts(self) -> dict[str, Evaluated]:
        """The criteria of the tiles, judged as alerts judge them: on every device, whoever is shown."""
        look = self._look
        if self.cohort:
            look = Evaluation(self.environment, self._chosen(self.board.tiles), population=None, now=self.now)
        return {one.criterion.key: one for one in look.all()}

    @cached_property
    def alerts_judge(self) -> int | None:
        """On how many devices alerts are judged; None where those are the devices shown."""
        counts = selectors.may_judge(self.environment, simulated=True)
        judged = sum(one.devices for one in self.device_classes if counts or not one.simulated)
        alike = not self.cohort and judged == self.devices and (counts or not self.population.simulated)
        return None if alike else judged

    @cached_property
    def columns(self) -> list[Criterion]:
        """The criteria of the table."""
        return self._chosen(self.board.columns)

    @cached_property
    def classes(self) -> list[ClassRow]:
        """The table of device classes."""
        side = self.population.arm
        behind = cell_devices(self.environment, self.columns, self.device_classes, side=side, now=self.now)
        return [
            ClassRow(one, [_cell(found[key], one, behind) for key in self.board.columns if key in found])
            for one in self.device_classes
            for found in [self._of_class(one)]
        ]

    def _of_class(self, one: DeviceClass) -> dict[str, Evaluated]:
        return {found.criterion.key: found for found in self._look.of_class(one.name, simulated=one.simulated)}

    # --- the answer ---

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
            return f"{self.board.title}: nothing can be judged{' yet' if self.live else ' then'}"
        return f"{len(judged)} of {len(self.evaluated)} {self.board.title.lower()} criteria pass"

    def _litert_headline(self) -> str:
        live = [one for one in self.throughputs.values() if one.count]
        kind = "simulated device" if self.population.simulated else "device"
        many = f"{self.devices} {kind}{'' if self.devices == 1 else 's'}"
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
        without = sum(profile is None for profile in found)
        left = f" {without} of {len(found)} classes have none." if without else ""
        return f"Targets: {'; '.join(titles)}.{left}"

    # --- charts ---

    @cached_property
    def panels(self) -> tuple[Panel, ...]:
        """The charts: the board's own, and one for each business metric that a team declared."""
        return (*self.board.panels, *(declared(selectors.declared(self.environment)) if self.board.declared else ()))

    def panel(self, name: str) -> Panel | None:
        """Return a panel by name."""
        return next((one for one in self.panels if one.name == name), None)

    def shown(self, panel: Panel) -> ShownPanel:
        """Return a panel with its limits in words."""
        limits = [Limit(one.key, _limit(one)) for one in self._chosen(panel.drawer.keys_among(self.criteria))]
        return ShownPanel(panel, limits, self.address("chart_table", name=panel.name))

    @cached_property
    def shown_panels(self) -> list[ShownPanel]:
        """The charts with their limits."""
        return [self.shown(one) for one in self.panels]

    @cached_property
    def change_marks(self) -> list[dict[str, str]]:
        """The changes that the charts mark."""
        return lettered(change_marks(self.environment, since=self.window.since, until=self.until))

    @cached_property
    def use(self) -> list[BackendUse]:
        """Backends asked for against backends that ran."""
        return selectors.backend_use(
            environment=self.environment, window=self.window, population=self.population, now=self.clock_at
        )

    def asking(self, panels: Sequence[Panel], *, exact: bool = False) -> Asked:
        """Return what some charts are asked for: one read and one judgement for all of them."""
        keys = {key for panel in panels for key in panel.drawer.keys_among(self.criteria)}
        return Asked(
            environment=self.environment,
            window=self.window,
            population=self.population,
            marks=change_marks(self.environment, since=self.window.since, until=self.until),
            names=sorted({name for panel in panels for name in panel.drawer.names}),
            now=self.now,
            clock_at=self.clock_at,
            criteria=self.criteria,
            judged=self.judge(sorted(keys)),
            renew=timedelta(milliseconds=self.choice.renew_ms),
            live=self.live,
            exact=exact,
        )

    def figures(self, panels: Sequence[Panel] = (), *, exact: bool = False) -> dict[str, Figure]:
        """Return charts by name; all when none are named."""
        wanted = panels or self.panels
        asked = self.asking(wanted, exact=exact)
        return {panel.name: panel.drawer.draw(asked) for panel in wanted}


def _past(text: str, now: datetime) -> datetime | None:
    """Read a moment before now; None for anything else. Without a zone it is UTC."""
    try:
        found = utc(datetime.fromisoformat(text))
    except (ValueError, InvalidInput):
        return None
    return found if found < now and found.year > now.year - 3 else None


def _limit(one: Criterion) -> str:
    """Say a limit: `alert p95 < 5 s over 5 min`."""
    wanted = "the class's profile" if one.threshold is None else criteria.shown(one.threshold, one)
    if one.aggregate is Aggregate.RANGE:
        return f"{limit_word(one)} within the middle {wanted} of the {criteria.spoken(criteria.BASELINE)} before"
    return f"{limit_word(one)} {one.aggregate.label} {one.comparator.value} {wanted} over {criteria.spoken(one.window)}"


def _cell(found: Evaluated, one: DeviceClass, behind: Cells) -> Cell:
    value, criterion, sentence = found.reading.value, found.criterion, found.judgement.sentence
    devices = behind[one.name, one.simulated, criterion.key]
    if value is None:
        return Cell(criterion, "–", None, sentence, None, devices)
    text = criteria.shown(value, criterion)
    verdict = found.judgement.verdict
    if verdict is Verdict.FAIL:
        return Cell(criterion, text, verdict, sentence, value, devices)
    if devices is None:
        note = f"{sentence}; how many devices stand behind it is not known"
        return Cell(criterion, text, None, note, value, devices)
    if devices < SMALL:
        return Cell(criterion, text, Verdict.INSUFFICIENT, f"n < {SMALL}", value, devices, small=True)
    return Cell(criterion, text, verdict if verdict is Verdict.PASS else None, sentence, value, devices)
