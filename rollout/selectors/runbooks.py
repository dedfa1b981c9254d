"""Reading versions of the runbook: the list, what one lacks for adoption, and how two differ."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date

from hawkops.core import clock
from hawkops.core.errors import NotFound
from hawkops.core.teams import Team
from rollout.domain import adoption
from rollout.domain import runbook as domain
from rollout.domain.adoption import Signature
from rollout.domain.runbook_diff import Section, diff, text_diff
from rollout.models import Release, RunbookApproval, RunbookVersion
from rollout.selectors.releases import runbook_latest, runbook_of

# a longer text is not compared line by line on a page; comparing takes the product of both lengths at worst
TEXT_LINES_MOST = 3_000


@dataclass(frozen=True)
class Sign:
    """A team, and its approval when it gave one."""

    team: Team
    approval: RunbookApproval | None


@dataclass(frozen=True)
class Shown:
    """A version with its runbook, where it stands, and who walks through it."""

    version: RunbookVersion
    runbook: domain.Runbook
    newest: bool
    overdue: date | None
    signs: tuple[Sign, ...]
    releases: tuple[Release, ...]
    elsewhere: int

    @property
    def missing(self) -> tuple[str, ...]:
        """The teams whose approval a draft lacks."""
        return () if self.version.adopted else tuple(sign.team.value for sign in self.signs if sign.approval is None)


@dataclass(frozen=True)
class Compared:
    """How two versions differ; `text` is None when they are too long to compare line by line."""

    before: RunbookVersion
    after: RunbookVersion
    sections: tuple[Section, ...]
    text: list[tuple[str, str]] | None


def signatures(version: RunbookVersion) -> tuple[Signature, ...]:
    """Return the approvals that speak of the version's text."""
    given = (Signature(one.team, one.person, one.digest) for one in version.approvals.all())
    return adoption.valid(given, version.digest)


def versions(environment: str) -> list[Shown]:
    """Return every version, newest first, with the environment's releases that pin it. Texts are read once a process."""
    found = RunbookVersion.objects.order_by("-pk").defer("text", "document").prefetch_related("approvals")
    walking = defaultdict(list)
    for release in Release.objects.only("pk", "environment", "name", "app_version", "running", "runbook_id"):
        walking[release.runbook_id].append(release)
    latest = runbook_latest()
    return [_shown(one, environment, walking[one.pk], latest) for one in found]


def version(environment: str, name: str) -> Shown:
    """Return one version. Raises NotFound."""
    found = version_row(name)
    walking = Release.objects.filter(runbook=found).only("pk", "environment", "name", "app_version", "running")
    return _shown(found, environment, list(walking), runbook_latest())


def version_row(name: str) -> RunbookVersion:
    """Return a version's row. Raises NotFound."""
    found = RunbookVersion.objects.filter(version=name).defer("document").prefetch_related("approvals").first()
    if found is None:
        raise NotFound(f"There is no version {name} of the runbook.")
    return found


def text_of(found: RunbookVersion) -> bytes:
    """Return a version's YAML, byte for byte as it was imported. Raises NotFound where an old installation kept none."""
    if not found.text:
        raise NotFound(f"The text of {found.version} is not kept yet; `manage.py seed` takes it from the bundled file.")
    return bytes(found.text)


def compared(before: str, after: str) -> Compared:
    """Return how one version became another. Raises NotFound."""
    one, other = version_row(before), version_row(after)
    texts = [bytes(each.text).decode("utf-8", errors="replace") for each in (one, other)]
    short = all(text.count("\n") < TEXT_LINES_MOST for text in texts)
    return Compared(one, other, diff(runbook_of(one), runbook_of(other)), text_diff(*texts) if short else None)


def overdue_since(runbook: domain.Runbook) -> date | None:
    """Return the day on which a runbook's review was due when that has passed."""
    return adoption.overdue_since(runbook.next_review, clock.now().date())


def _shown(found: RunbookVersion, environment: str, walking: list[Release], latest: RunbookVersion | None) -> Shown:
    given = {one.team: one for one in found.approvals.all() if one.digest == found.digest}
    here = tuple(release for release in walking if release.environment == environment)
    runbook = runbook_of(found)
    return Shown(
        version=found,
        runbook=runbook,
        newest=latest is not None and latest.pk == found.pk,
        overdue=overdue_since(runbook),
        signs=tuple(Sign(team, given.get(team.value)) for team in Team),
        releases=here,
        elsewhere=len(walking) - len(here),
    )
