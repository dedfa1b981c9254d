"""A validation as it stands: its clock, its lines with their numbers, and what they mean for the next phase."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from rollout.domain import validation as domain
from rollout.domain.policy import Need
from rollout.domain.validation import Clock, Standing
from rollout.models import PhaseRun, Release
from rollout.selectors import clocks, releases
from rollout.selectors.releases import Group

# needs of their own, each with the member of the runbook that it sums up
SECTIONS = (
    ("validation", "Post-deployment validation"),
    ("compliance", "Compliance"),
    ("conclusion", "End of the phase"),
)


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


def state(release: Release, run: PhaseRun, *, now: datetime | None = None) -> State:
    """Return how the validation of a phase stands. Stored evidence and the stored clock, a handful of queries."""
    found = clocks.current(release)
    mine = found if found is not None and found.run_id == run.pk else None
    clock = clocks.clock_of(mine, environment=release.environment, now=now) if mine is not None else None
    groups = {group.key: group for group in releases.after_phases(release)}
    book = releases.runbook(release)
    sections = {name: [groups[group.key] for group in getattr(book, name)] for name, _ in SECTIONS}
    return State(run.number, clock, sections)


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
