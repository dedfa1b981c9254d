"""Reading releases: the checklist as it stands, and its summary for other pages. Stored evidence only, never a probe."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from django.db.models import Q, QuerySet
from django.urls import reverse

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import NotFound
from hawkops.core.verdicts import Verdict, worst
from hawkops.core.why import Why, why_of
from hawkops.history import selectors as history
from hawkops.history.models import HistoryEntry
from hawkops.scripts import own
from hawkops.scripts import selectors as scripts
from hawkops.scripts.models import Run
from hawkops.scripts.uses import Use
from rollout.domain import gates, reasons
from rollout.domain import runbook as domain
from rollout.domain.adoption import State
from rollout.domain.gates import Standing
from rollout.domain.phases import spoken
from rollout.models import Attestation, Evidence, PhaseRun, Release, RunbookVersion, Waiver
from rollout.selectors import clocks, flags


@dataclass(frozen=True)
class Row:
    """A box with where it stands, and what there is to see and press."""

    box: domain.Box
    standing: Standing
    evidence: Evidence | None
    word: Attestation | None
    chip: str
    run: Run | None = None
    # the waiver that stands, of a box that does not pass
    waiver: Waiver | None = None
    # where a production release's measurements come from, else its own environment
    measured_in: str = ""

    @property
    def why(self) -> Why:
        """Why it stands where it stands, and what would change that."""
        kept = self.evidence if self.box.automatic else None
        return reasons.box_why(
            self.box,
            self.standing,
            subject=kept.subject if kept else {},
            lines=kept.lines if kept else [],
            measured_in=self.measured_in,
            waived_until=self.waiver.expires_at if self.waiver else None,
        )

    @property
    def whys(self) -> list[Why]:
        """Why each of its lines says what it says, where a criterion judges it."""
        lines = self.evidence.lines if self.evidence is not None and self.box.automatic else []
        return [why_of(line["why"]) for line in lines if line.get("why")]

    @property
    def left_percent(self) -> int:
        """How much of its span the evidence still has, for the ring."""
        at, expires_at = self.standing.at, self.standing.expires_at
        if at is None or expires_at is None or expires_at <= at:
            return 0
        left = (expires_at - clock.now()) / (expires_at - at)
        return max(0, min(100, round(100 * left)))

    @property
    def good_for(self) -> str:
        """The span of its evidence in words."""
        return gates.span(self.box.valid_for)

    @property
    def blocks(self) -> bool:
        """Whether it keeps the release from rising: it is in scope, does not pass, and is not waived."""
        return self.standing.in_scope and not self.standing.passes and self.waiver is None


@dataclass
class Group:
    """A group of boxes."""

    key: str
    title: str
    measured_in: str
    rows: list[Row] = field(default_factory=list)
    # whether it counts after each phase instead of before the first
    after: bool = False

    @property
    def total(self) -> int:
        """How many boxes it has."""
        return len(self.rows)

    @property
    def scoped(self) -> list[Row]:
        """The boxes of which somebody has what they judge."""
        return [row for row in self.rows if row.standing.in_scope]

    @property
    def passed(self) -> int:
        """How many of them pass."""
        return sum(row.standing.passes for row in self.rows)

    @property
    def open(self) -> int:
        """How many keep the release from rising."""
        return sum(row.blocks for row in self.rows)

    @property
    def waived(self) -> int:
        """How many don't pass, but are waived."""
        return sum(row.waiver is not None for row in self.rows)

    @property
    def worst(self) -> Verdict:
        """The verdict that the group's line shows."""
        return worst([row.standing.verdict for row in self.scoped])

    @property
    def badge(self) -> str:
        """The words of its badge: `5 of 5 PASS`, `2 of 5 NO DATA`."""
        count = sum(row.standing.verdict is self.worst for row in self.scoped)
        return f"{count} of {len(self.scoped)} {self.worst.label}"


@dataclass(frozen=True)
class Summary:
    """Where the release of an environment stands."""

    release: Release | None
    groups: list[Group]
    url: str
    # the phase under way, and the number of the last one that passed
    run: PhaseRun | None = None
    passed: int = 0

    @property
    def phase(self) -> int | None:
        """The number of the phase under way; None before and between them."""
        return self.run.number if self.run else None

    @property
    def gates_total(self) -> int:
        """All boxes and gates."""
        return sum(group.total for group in self.groups)

    @property
    def gates_open(self) -> int:
        """The ones that don't pass."""
        return sum(group.open for group in self.groups)

    @property
    def counts(self) -> Counter[Verdict]:
        """How many boxes have each verdict."""
        return Counter(row.standing.verdict for group in self.groups for row in group.rows)

    @property
    def gates_passed(self) -> int:
        """The ones that pass."""
        return sum(group.passed for group in self.groups)

    @property
    def waived(self) -> int:
        """How many boxes are waived."""
        return sum(group.waived for group in self.groups)

    @property
    def headline(self) -> str:
        """One sentence for a manager."""
        if self.release is None:
            return "No release walks through the runbook here."
        name = f"{self.release.name} {self.release.app_version}"
        if self.run is not None:
            return f"{name} is in phase {self.run.number}, {self.run.state}; gates: {gates.headline(self.counts)}."
        return f"{name}: {gates.headline(self.counts)}."

    @property
    def strip_headline(self) -> str:
        """The same for the strip."""
        if self.release is None:
            return "No release"
        if self.run is not None:
            return f"Phase {self.run.number} {self.run.state}, {self.run.percent:g} %"
        return f"{self.gates_passed} of {self.gates_total} gates pass"

    @property
    def strip_detail(self) -> str:
        """And its second line."""
        if self.release is None:
            return "nothing to gate"
        version = self.release.app_version
        if self.run is None:
            waived = f", {self.waived} waived" if self.waived else ""
            return f"{version}, before phase {self.passed + 1}{waived}"
        if self.run.held:
            return f"{version}: a step is due and waits"
        if self.run.state == "running" and self.run.next_at is not None:
            wait = max(self.run.next_at - clock.now(), timedelta())
            return f"{version}: {self.run.percents[self.run.step]:g} % in {spoken(wait)}"
        return version


def runbook(release: Release) -> domain.Runbook:
    """Return the runbook that the release pins."""
    return runbook_of(release.runbook)


def runbook_of(version: RunbookVersion) -> domain.Runbook:
    """Return a version's runbook; each text is read once a process."""
    return _read(version.pk, version.digest)


@lru_cache(maxsize=32)
def _read(pk: int, _digest: str) -> domain.Runbook:
    return domain.runbook(RunbookVersion.objects.values_list("document", flat=True).get(pk=pk))


def measured_in(release: Release, group: domain.Group) -> str:
    """Return the environment whose measurements speak for a group: staging for production's first, else the own."""
    if release.environment == Environment.PRODUCTION and group.measured_in:
        return group.measured_in
    return release.environment


def checklist(release: Release) -> list[Group]:
    """Return the checklist as it stands, in the runbook's order. A handful of queries."""
    return _groups(release, runbook(release).checklist)


def after_phases(release: Release) -> list[Group]:
    """Return what must hold after each phase as it stands: validation, compliance, conclusion. A handful of queries."""
    return _groups(release, runbook(release).after_phases)


def _groups(release: Release, wanted: Sequence[domain.Group]) -> list[Group]:
    if not wanted:
        return []
    book = runbook(release)
    evidence = {one.box: one for one in Evidence.objects.filter(release=release)}
    words = {one.box: one for one in Attestation.objects.filter(release=release)}
    subject = gates.Subject(
        release.environment,
        release.model_digest,
        flags.revision(release.environment),
        _programs(one.subject for one in evidence.values()),
        clocks.named(clocks.current(release)),
    )
    runs = {where: scripts.runs_latest(where) for where in {measured_in(release, group) for group in wanted}}
    now = clock.now()
    waived = {one.box: one for one in Waiver.objects.filter(release=release, expires_at__gt=now)}
    groups = []
    for group in wanted:
        where = measured_in(release, group)
        elsewhere = where if where != release.environment else ""
        found = Group(group.key, group.title, elsewhere, after=group in book.after_phases)
        for box in group.boxes:
            kept, word = evidence.get(box.key), words.get(box.key)
            standing = gates.stand(
                box,
                evidence=_evidence(kept, box) if kept else None,
                tick=gates.Tick(word.ticked, word.by, word.at, word.note, word.link) if word else None,
                subject=subject,
                now=now,
            )
            run = next((runs[where][name] for name in box.scripts if box.automatic and name in runs[where]), None)
            found.rows.append(
                Row(
                    box,
                    standing,
                    kept,
                    word,
                    _chip(kept, box, release),
                    run,
                    None if standing.passes else waived.get(box.key),
                    where,
                )
            )
        groups.append(found)
    return groups


def _programs(subjects: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the digests of the programs that evidence stands on, as they are now; a missing one is left out."""
    found: dict[str, str] = {}
    for name in {name for subject in subjects for name in subject.get("programs") or {}}:
        entry = own.catalogue().get(name)
        if entry is not None:
            with suppress(NotFound):
                found[name] = entry.program_digest()
    return found


def _evidence(kept: Evidence, box: domain.Box) -> gates.Evidence:
    at = kept.measured_at or kept.checked_at
    return gates.Evidence(Verdict(kept.verdict), kept.sentence, kept.subject, at, kept.expires_at or at + box.valid_for)


def _chip(kept: Evidence | None, box: domain.Box, release: Release) -> str:
    """Say what the evidence is bound to; empty when nothing but the release itself."""
    if not box.automatic:
        return f"app {release.version_code}"
    subject = kept.subject if kept else {}
    if digest := subject.get("model_digest"):
        return f"model {gates.short(str(digest))}"
    if revision := subject.get("flag_revision"):
        return f"revision {revision}"
    if code := subject.get("version_code"):
        return f"app {code}"
    if chain := subject.get("chain"):
        return f"chain {gates.grouped(chain)}"
    return ""


def release_running(environment: str) -> Release | None:
    """Return the release that is under way, or None."""
    return (
        Release.objects.select_related("runbook")
        .defer("runbook__text")
        .filter(environment=environment, running=True)
        .first()
    )


def releases_running() -> list[Release]:
    """Return every release that is under way, of all environments."""
    return list(Release.objects.select_related("runbook").defer("runbook__text").filter(running=True))


def releases(environment: str) -> list[Release]:
    """Return all releases, newest first."""
    return list(Release.objects.select_related("runbook").defer("runbook__text").filter(environment=environment))


def runbook_latest() -> RunbookVersion | None:
    """Return the runbook that was adopted last, which the next release will pin."""
    adopted = RunbookVersion.objects.filter(state=State.ADOPTED.value)
    return adopted.order_by("-adopted_at", "-pk").defer("text", "document").first()


def evidence_checked_at(release: Release) -> datetime | None:
    """Return when a check last answered; None before the first."""
    return Evidence.objects.filter(release=release).order_by("-checked_at").values_list("checked_at", flat=True).first()


def release_summary(environment: str) -> Summary:
    """Return where the environment's release stands."""
    release = release_running(environment)
    if release is None:
        return Summary(None, [], reverse("rollout:releases", kwargs={"environment": environment}))
    url = reverse("rollout:release", kwargs={"environment": environment, "pk": release.pk})
    run = PhaseRun.objects.filter(release=release, state__in=["running", "paused"]).first()
    return Summary(release, checklist(release), url, run, passed(release))


def walked(release: Release) -> QuerySet[HistoryEntry]:
    """Return what happened on a release's walk, newest first: itself, its phases, its boxes, what was decided."""
    return history.entries(environment=release.environment).filter(
        Q(subject=f"release:{release.pk}")
        | Q(subject__startswith=f"phase:{release.pk}:")
        | Q(subject__startswith=f"check:{release.pk}:")
        | Q(subject__startswith=f"decision:{release.pk}:")
    )


def passed(release: Release) -> int:
    """Return the number of the last phase that passed since the newest abort; 0 before the first."""
    number = 0
    for run in PhaseRun.objects.filter(release=release):
        if run.state == "passed":
            number = run.number
        elif run.state == "aborted":
            number = 0
    return number


def script_uses(environment: str, name: str) -> list[Use]:
    """Return the boxes of running releases that a script's runs in an environment decide."""
    return [
        Use(
            box.title,
            f"{release.name}, {release.environment}: {group.title}",
            f"{reverse('rollout:checklist', kwargs={'environment': release.environment, 'pk': release.pk})}#{box.key}",
        )
        for release in releases_running()
        for group in runbook(release).groups
        if measured_in(release, group) == environment
        for box in group.boxes
        if box.automatic and name in box.scripts
    ]
