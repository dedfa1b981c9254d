"""May the running release go on? One list of lines for page, API, command line and scheduler; every line must pass.

The boxes of the checklist, then what the policy asks of the next phase: order, time, sample, criteria, people.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hawkops.core.errors import NotFound
from hawkops.core.verdicts import Verdict, worst
from hawkops.core.why import Why
from rollout.models import PhaseRun, Release
from rollout.selectors.phases import next_of, run_under_way
from rollout.selectors.policy import BEFORE_START
from rollout.selectors.releases import Group, Row, after_phases, checklist, release_running

# lines of the policy that sum up boxes, each of which is a line here
SUMMED = ("gates", "validation", "compliance", "conclusion")


@dataclass(frozen=True)
class Line:
    """One thing that must pass, with its sentence; `key` names it for programs, unique within its group."""

    group: str
    key: str
    title: str
    verdict: Verdict
    sentence: str
    why: Why
    waived: bool = False

    @property
    def blocks(self) -> bool:
        """Whether it keeps the release where it is: it does not pass, and is not waived."""
        return self.verdict is not Verdict.PASS and not self.waived


@dataclass(frozen=True)
class Advance:
    """The release with all its lines, in the runbook's order."""

    release: Release
    lines: tuple[Line, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the lines that are not waived; only PASS lets the release go on."""
        return worst([line.verdict for line in self.lines if not line.waived])

    @property
    def blocking(self) -> tuple[Line, ...]:
        """The lines that do not pass."""
        return tuple(line for line in self.lines if line.blocks)

    @property
    def headline(self) -> str:
        """One sentence."""
        name = f"{self.release.name} {self.release.app_version} in {self.release.environment}"
        if not self.blocking:
            waived = sum(line.waived for line in self.lines)
            return f"{name} may go on: all {len(self.lines)} lines pass" + (
                f" or are waived ({waived})." if waived else "."
            )
        return f"{name} may not go on: {len(self.blocking)} of {len(self.lines)} lines do not pass."


def may_advance(environment: str) -> Advance:
    """Return what the running release's next phase takes. Raises NotFound when no release is under way."""
    release = release_running(environment)
    if release is None:
        raise NotFound(f"No release is under way in {environment}.")
    return Advance(release, tuple(line for source in SOURCES for line in source(release)))


def _boxes(release: Release) -> Iterator[Line]:
    begun = PhaseRun.objects.filter(release=release).exists()
    for group in checklist(release):
        for row in group.rows:
            if begun and row.box.by == BEFORE_START:
                continue
            yield _line(group, row)


def _line(group: Group, row: Row) -> Line:
    said = row.standing
    waived = f" Waived until {row.waiver.expires_at:%d %b}: {row.waiver.reason}." if row.waiver else ""
    sentence = f"{said.sentence}{waived}"
    return Line(group.title, row.box.key, row.box.title, said.verdict, sentence, row.why, bool(row.waiver))


def _policy(release: Release) -> Iterator[Line]:
    """What the policy asks besides the gates. What only time or people bring is too little yet, not a failure."""
    coming = next_of(release)
    if coming is None:
        return
    title = f"Phase {coming.phase.number}: {coming.phase.title}" if coming.phase else "The end of the walk"
    for need in coming.decision.needs:
        if need.key not in SUMMED:
            waits = Verdict.INSUFFICIENT if need.key in ("time", "steps", "sample", "approval") else Verdict.FAIL
            verdict = need.verdict or (Verdict.PASS if need.met else waits)
            yield Line(title, need.key, need.title, verdict, need.sentence, need.why)


def _after(release: Release) -> Iterator[Line]:
    """What must hold after the phase under way; what nobody has is no line."""
    run = run_under_way(release)
    if run is None:
        return
    for group in after_phases(release):
        for row in group.rows:
            if row.standing.in_scope:
                yield _line(group, row)


SOURCES: tuple[Callable[[Release], Iterator[Line]], ...] = (_boxes, _after, _policy)
