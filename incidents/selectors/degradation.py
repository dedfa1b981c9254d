"""The response to a performance degradation: which backend, what disabling it reaches, and whether that helps."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from hawkops.history import selectors as history
from hawkops.history.models import HistoryEntry
from hawkops.scripts import selectors as scripts
from hawkops.scripts.models import Run, RunOutput
from incidents.domain.kill_clock import kill_revision
from incidents.domain.news import DRILL
from monitoring.selectors.backends import FLAGS, Backend, Backends, Figures, backends, figures
from rollout.domain.census import Census
from rollout.selectors import census
from rollout.selectors.flags import flags

REASON = "Performance degradation"
WATCH = "watch"
# how long after a press the page watches its recovery
WATCHED_FOR = timedelta(hours=2)
ROUND = re.compile(r"— every .+ — ([0-9:]{8}) UTC")
ROUNDS_SHOWN, LINES_MOST = 6, 4_000


@dataclass(frozen=True)
class Row:
    """One backend with its press. `loud` is the one to press; `off` that it is off already."""

    backend: Backend
    figures: Figures
    flag: str
    reach: int
    off: bool
    loud: bool
    known: bool


@dataclass(frozen=True)
class Round:
    """One round of the watch: when it began, its lines, and the line that sums it up."""

    at: str
    lines: tuple[RunOutput, ...]

    @property
    def says(self) -> str:
        """What it came to."""
        said = [one.text for one in self.lines if one.stream == "stdout" and one.text.strip()]
        return said[-1] if said else ""


@dataclass(frozen=True)
class Recovery:
    """What became of the newest press: who obeys, what the watch says, and the figures then and now."""

    entry: HistoryEntry
    backend: str
    census: Census
    run: Run | None
    rounds: tuple[Round, ...]
    before: Figures
    after: Figures
    # what all backends did then and now: a backend that is off reports nothing
    others: tuple[tuple[Figures, Figures], ...]

    @property
    def shown(self) -> tuple[Round, ...]:
        """The newest rounds, newest first."""
        return self.rounds[::-1][:ROUNDS_SHOWN]


@dataclass(frozen=True)
class Degradation:
    """Everything the page shows."""

    found: Backends
    rows: tuple[Row, ...]
    recovery: Recovery | None
    # the newest data that any of the lines was read from
    newest_at: datetime | None

    @property
    def affected(self) -> list[Row]:
        """The rows of affected backends."""
        return [one for one in self.rows if one.backend.affected]

    @property
    def unsure(self) -> list[Row]:
        """The rows of backends in use of which too little is known to say."""
        return [one for one in self.rows if one.backend.verdict is Verdict.INSUFFICIENT]


def degradation(environment: str) -> Degradation:
    """Judge every backend, and look at the newest press. Some dozens of queries."""
    now = clock.now()
    found = backends(environment, now=now)
    now_figures = figures(environment, found, at=now)
    stored = {flag.key: flag for flag in flags(environment)}
    reaches = census.reaches(environment, list(FLAGS.values()))
    affected = [one.name for one in found.affected if not _off(stored.get(FLAGS[one.name]))]
    rows = [
        Row(
            one,
            now_figures[one.name],
            FLAGS[one.name],
            reaches[FLAGS[one.name]],
            _off(stored.get(FLAGS[one.name])),
            one.name in affected[:1],
            FLAGS[one.name] in stored,
        )
        for one in found.each
    ]
    newest = [line.reading.at for one in found.each for line in one.lines if line.reading.at is not None]
    recovery = _recovery(environment, now_figures, now)
    return Degradation(
        found, tuple(sorted(rows, key=lambda row: not row.backend.affected)), recovery, max(newest, default=None)
    )


def _off(flag: object) -> bool:
    return getattr(flag, "override_variant", "") == "off"


def pressed(environment: str, *, now: datetime) -> tuple[HistoryEntry, str] | None:
    """Return the newest press that turned a backend off, drills aside, with the backend. One query."""
    rows = history.entries(
        environment=environment, verbs=("flag.override_set", "flag.killed"), since=now - WATCHED_FOR
    )  # fmt: skip
    for entry in rows.filter(environment=environment).exclude(reason__startswith=DRILL).order_by("-seq")[:20]:
        backend = _backend_of(entry)
        if backend:
            return entry, backend
    return None


def _backend_of(entry: HistoryEntry) -> str:
    if entry.verb == "flag.killed":
        return "cpu" if entry.reason.startswith(REASON) else ""
    state = entry.after if isinstance(entry.after, dict) else {}
    override = state.get("override") or {}
    if not isinstance(override, dict) or override.get("variant") != "off":
        return ""
    key = entry.subject.partition(":")[2]
    return next((name for name, flag in FLAGS.items() if flag == key and name != "cpu"), "")


def _recovery(environment: str, now_figures: dict[str, Figures], now: datetime) -> Recovery | None:
    found = pressed(environment, now=now)
    if found is None:
        return None
    entry, backend = found
    then = figures(environment, backends(environment, now=entry.at), at=entry.at)
    run = watch_of(environment, entry)
    return Recovery(
        entry=entry,
        backend=backend,
        census=census.census(environment, kill_revision(entry.after)),
        run=run,
        rounds=rounds(scripts.output(run, limit=LINES_MOST)) if run is not None else (),
        before=then[backend],
        after=now_figures[backend],
        others=tuple((then[name], now_figures[name]) for name in FLAGS if name != backend),
    )


def watch_of(environment: str, entry: HistoryEntry) -> Run | None:
    """Return the newest watch since a press. One query or two."""
    last = scripts.runs(environment, WATCH, limit=1)
    return last[0] if last and last[0].requested_at >= entry.at else None


def rounds(lines: Iterable[RunOutput]) -> tuple[Round, ...]:
    """Cut the output of a watch into its rounds."""
    found: list[tuple[str, list[RunOutput]]] = []
    for line in lines:
        if (begins := ROUND.fullmatch(line.text.strip())) is not None:
            found.append((begins[1], []))
        elif found:
            found[-1][1].append(line)
    return tuple(Round(at, tuple(own)) for at, own in found)
