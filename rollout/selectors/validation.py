"""A validation as it stands: its clock, its lines with their numbers, and what they mean for the next phase."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hawkops.core.why import Why, why_of
from rollout.domain import validation as domain
from rollout.domain.policy import Need
from rollout.domain.validation import Clock, Standing
from rollout.models import PhaseRun, Release
from rollout.selectors import clocks, releases
from rollout.selectors.releases import Group, Row

# needs of their own, each with the member of the runbook that it sums up
SECTIONS = (
    ("validation", "Post-deployment validation"),
    ("compliance", "Compliance"),
    ("conclusion", "End of the phase"),
)


@dataclass(frozen=True)
class Reading:
    """One criterion of a line as stored evidence has it: value, target, samples, and how it moved."""

    title: str
    sentence: str
    verdict: str | None
    value: str = ""
    target: str = ""
    have: int = 0
    need: int = 0
    enough: str = ""
    points: tuple[float | None, ...] = ()
    bound: float | None = None
    criterion: str = ""
    # absent in evidence from before there was any
    why: Why | None = None


@dataclass(frozen=True)
class Shown:
    """A line of the validation with its readings."""

    row: Row
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class State:
    """What must hold after the newest phase, all of it: page, API and policy read this."""

    number: int
    clock: Clock | None
    sections: dict[str, list[Group]]

    @property
    def groups(self) -> list[Group]:
        """Every group, in the runbook's order."""
        return [group for groups in self.sections.values() for group in groups]

    @property
    def shown(self) -> list[tuple[str, list[Shown]]]:
        """The lines of the validation under the titles of their groups, each with its numbers."""
        live = self.clock.live if self.clock else timedelta()
        return [
            (group.title.rpartition(": ")[2].capitalize(), [_shown(row, live) for row in group.rows])
            for group in self.sections["validation"]
        ]

    @property
    def others(self) -> list[Group]:
        """What must hold besides: compliance and the end of the phase."""
        return [*self.sections["compliance"], *self.sections["conclusion"]]

    @property
    def synthetic(self) -> bool:
        """Whether a line of the validation stands on devices that are not real."""
        return any(row.standing.synthetic for group in self.sections["validation"] for row in group.rows)

    @property
    def open(self) -> int:
        """How many lines block."""
        return sum(group.open for group in self.groups)

    @property
    def following(self) -> str:
        """What happens next, and who brings it."""
        found = self.clock
        if found is None:
            return f"It begins by itself when phase {self.number} has reached its target percentage."
        if found.since is None:
            return "It counts again by itself once that incident is over; whoever commands it ends it."
        if found.paused_since is not None:
            return "It goes on by itself as soon as devices report again; nobody has to press anything."
        if not found.done:
            at = f" on {found.expected_at:%d %b, %H:%M} UTC" if found.expected_at else ""
            return (
                f"It counts by itself, and is full{at} if data goes on. Then the two scripts below run by themselves."
            )
        if self.open:
            return "The hours are full. A release team mends what blocks, or asks for a waiver that a second person grants."
        return "Everything that comes after this phase holds."


def newest(release: Release) -> PhaseRun | None:
    """Return the phase whose validation counts: the one begun last, unless the walk was aborted."""
    run = PhaseRun.objects.filter(release=release).order_by("-pk").first()
    return run if run is not None and run.state != "aborted" else None


def state(release: Release, run: PhaseRun, *, now: datetime | None = None) -> State:
    """Return how the validation of a phase stands. Stored evidence and the stored clock, a handful of queries."""
    found = clocks.current(release)
    mine = found if found is not None and found.run_id == run.pk else None
    clock = clocks.clock_of(mine, environment=release.environment, now=now) if mine is not None else None
    groups = {group.key: group for group in releases.after_phases(release)}
    book = releases.runbook(release)
    sections = {name: [groups[group.key] for group in getattr(book, name)] for name, _ in SECTIONS}
    return State(run.number, clock, sections)


def _shown(row: Row, live: timedelta) -> Shown:
    lines = row.evidence.lines if row.evidence is not None else []
    return Shown(row, tuple(_reading(line, live) for line in lines))


def _reading(line: dict[str, Any], live: timedelta) -> Reading:
    found, why = line.get("measured"), why_of(line["why"]) if line.get("why") else None
    if not found:
        return Reading(line["title"], line["sentence"], line["verdict"], why=why)
    return Reading(
        title=line["title"],
        sentence=line["sentence"],
        verdict=line["verdict"],
        value=found["value"],
        target=found["target"],
        have=found["have"],
        need=found["need"],
        enough=domain.spoken_expected(found["have"], found["need"], live),
        points=tuple(found["points"]),
        bound=found["bound"],
        criterion=found["criterion"],
        why=why,
    )


def needs(release: Release, run: PhaseRun, *, now: datetime | None = None) -> tuple[Need, ...]:
    """Return the lines that a validation adds before a phase may end; none for a runbook from before there was any."""
    found = state(release, run, now=now)
    if not found.groups:
        return ()
    data = domain.data_need(found.clock, found.clock.needed if found.clock else clocks.needed(), run.number)
    lines = [domain.lines_need(name, title, _standings(found.sections[name])) for name, title in SECTIONS]
    return (data, *(line for line in lines if line is not None))


def _standings(groups: Iterable[Group]) -> list[Standing]:
    return [
        Standing(row.box.title, row.standing.verdict, row.standing.in_scope, row.waiver is not None)
        for group in groups
        for row in group.rows
    ]
