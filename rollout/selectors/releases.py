"""Reading releases: the checklist as it stands, and its summary for other pages."""

from dataclasses import dataclass, field
from datetime import datetime

from django.urls import reverse

from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from rollout.domain.gates import Finding, Standing, Word, standing
from rollout.models import Attestation, Evidence, Release, RunbookVersion


@dataclass(frozen=True)
class Box:
    """One box of the checklist, as the runbook's data says it."""

    key: str
    text: str
    stands_on: str
    check: str
    comes_with: str
    group: str
    expects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A box with where it stands."""

    box: Box
    standing: Standing
    evidence: Evidence | None
    word: Attestation | None

    @property
    def checked_at(self) -> datetime | None:
        """When evidence or a person last spoke."""
        if self.evidence is not None and self.box.check:
            return self.evidence.checked_at
        return self.word.at if self.word else None


@dataclass
class Group:
    """A group of boxes."""

    key: str
    title: str
    rows: list[Row] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many boxes it has."""
        return len(self.rows)

    @property
    def passed(self) -> int:
        """How many of them pass."""
        return sum(row.standing.verdict is Verdict.PASS for row in self.rows)

    @property
    def open(self) -> int:
        """How many don't."""
        return self.total - self.passed

    @property
    def worst(self) -> Verdict:
        """The verdict that the group's line shows."""
        order = (Verdict.FAIL, Verdict.ERROR, Verdict.STALE, Verdict.INSUFFICIENT, Verdict.NO_DATA, Verdict.PASS)
        return min((row.standing.verdict for row in self.rows), key=order.index, default=Verdict.NO_DATA)


@dataclass(frozen=True)
class Summary:
    """Where the release of an environment stands."""

    release: Release | None
    groups: list[Group]
    url: str

    @property
    def gates_total(self) -> int:
        """All boxes and gates."""
        return sum(group.total for group in self.groups)

    @property
    def gates_open(self) -> int:
        """The ones that don't pass."""
        return sum(group.open for group in self.groups)

    @property
    def headline(self) -> str:
        """One sentence for a manager."""
        if self.release is None:
            return "No release walks through the runbook here."
        counts: dict[Verdict, int] = {}
        for group in self.groups:
            for row in group.rows:
                counts[row.standing.verdict] = counts.get(row.standing.verdict, 0) + 1
        blocked = [f"{n} {verdict.label}" for verdict, n in counts.items() if verdict is not Verdict.PASS]
        passed = counts.get(Verdict.PASS, 0)
        rest = f"; {', '.join(blocked)}" if blocked else ""
        return f"{self.release.name} {self.release.app_version}: {passed} of {self.gates_total} boxes pass{rest}."

    @property
    def strip_headline(self) -> str:
        """The same for the strip."""
        if self.release is None:
            return "No release"
        return f"{self.gates_total - self.gates_open} of {self.gates_total} gates pass"

    @property
    def strip_detail(self) -> str:
        """And its second line."""
        return f"{self.release.app_version}, before phase 1" if self.release else "nothing to gate"


def boxes(runbook: RunbookVersion) -> list[Box]:
    """Return every box and gate in the runbook's order."""
    found = []
    for group in runbook.document["groups"]:
        found += [_box(box, group["key"]) for box in group["boxes"]]
    return found + [_box(gate, "gates") for gate in runbook.document["gates"]]


def _box(data: dict[str, object], group: str) -> Box:
    expects = data.get("expects", [])
    return Box(
        key=str(data["key"]),
        text=str(data["text"]),
        stands_on=str(data["stands_on"]),
        check=str(data.get("check", "")),
        comes_with=str(data.get("comes_with", "")),
        group=group,
        expects=tuple(map(str, expects if isinstance(expects, list) else [])),
    )


def checklist(release: Release) -> list[Group]:
    """Return the checklist as it stands. Two queries."""
    evidence = {one.box: one for one in Evidence.objects.filter(release=release)}
    words = {one.box: one for one in Attestation.objects.filter(release=release)}
    titles = {group["key"]: group["title"] for group in release.runbook.document["groups"]}
    titles["gates"] = "Code quality gates"
    groups: dict[str, Group] = {}
    now = clock.now()
    for box in boxes(release.runbook):
        found, word = evidence.get(box.key), words.get(box.key)
        stands = standing(
            automatic=bool(box.check),
            comes_with=box.comes_with,
            evidence=(
                Finding(Verdict(found.verdict), found.sentence, found.subject, found.synthetic),
                found.checked_at,
            )
            if found
            else None,
            word=Word(word.ticked, word.by, word.at, word.note, word.link) if word else None,
            subject=release.subject,
            now=now,
        )
        group = groups.setdefault(box.group, Group(box.group, titles[box.group]))
        group.rows.append(Row(box, stands, found, word))
    return list(groups.values())


def running(environment: str) -> Release | None:
    """Return the release that is under way, or None."""
    return Release.objects.select_related("runbook").filter(environment=environment, running=True).first()


def releases(environment: str) -> list[Release]:
    """Return all releases, newest first."""
    return list(Release.objects.select_related("runbook").filter(environment=environment))


def release_summary(environment: str) -> Summary:
    """Return where the environment's release stands. Three queries."""
    release = running(environment)
    if release is None:
        return Summary(None, [], reverse("rollout:releases", kwargs={"environment": environment}))
    url = reverse("rollout:checklist", kwargs={"environment": environment, "pk": release.pk})
    return Summary(release, checklist(release), url)
