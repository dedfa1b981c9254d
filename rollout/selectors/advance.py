"""May the running release go on? One list of lines for page, API, command line and scheduler; every line must pass.

What else must hold (time, sample, criteria, approval) joins as another source in `SOURCES`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hawkops.core.errors import NotFound
from hawkops.core.verdicts import Verdict, worst
from rollout.models import Release
from rollout.selectors.releases import checklist, release_running


@dataclass(frozen=True)
class Line:
    """One thing that must pass, with its sentence; `key` names it for programs, unique within its group."""

    group: str
    key: str
    title: str
    verdict: Verdict
    sentence: str

    @property
    def blocks(self) -> bool:
        """Whether it keeps the release where it is."""
        return self.verdict is not Verdict.PASS


@dataclass(frozen=True)
class Advance:
    """The release with all its lines, in the runbook's order."""

    release: Release
    lines: tuple[Line, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the lines; only PASS lets the release go on."""
        return worst([line.verdict for line in self.lines])

    @property
    def blocking(self) -> tuple[Line, ...]:
        """The lines that do not pass."""
        return tuple(line for line in self.lines if line.blocks)

    @property
    def headline(self) -> str:
        """One sentence."""
        name = f"{self.release.name} {self.release.app_version} in {self.release.environment}"
        if not self.blocking:
            return f"{name} may go on: all {len(self.lines)} lines pass."
        return f"{name} may not go on: {len(self.blocking)} of {len(self.lines)} lines do not pass."


def may_advance(environment: str) -> Advance:
    """Return what the running release's next phase takes. Raises NotFound when no release is under way."""
    release = release_running(environment)
    if release is None:
        raise NotFound(f"No release is under way in {environment}.")
    return Advance(release, tuple(line for source in SOURCES for line in source(release)))


def _boxes(release: Release) -> Iterator[Line]:
    for group in checklist(release):
        for row in group.rows:
            yield Line(group.title, row.box.key, row.box.title, row.standing.verdict, row.standing.sentence)


SOURCES: tuple[Callable[[Release], Iterator[Line]], ...] = (_boxes,)
