"""What the policy needs to know: lockdowns, freeze windows, plans that hold flags, and the gates that are open."""

from django.conf import settings

from hawkops.core import clock
from hawkops.core.teams import Team
from rollout.domain import gates
from rollout.domain.policy import PRODUCTION, Approver, Freeze, Gate, Lockdown
from rollout.models import FreezeWindow, PhaseRun, Proposal, Release
from rollout.selectors import releases
from rollout.selectors.lockdown import standing

# It speaks before the first phase only: a plan under way has raised a flag.
BEFORE_START = "flags_at_zero"


def others_asked(environment: str) -> bool:
    """Say whether raising here takes other people's yes: in production, and where that is rehearsed."""
    return environment == PRODUCTION or rehearsed(environment)


def rehearsed(environment: str) -> bool:
    """Say whether the settings want other people's yes beside production."""
    return environment in settings.APPROVALS_IN


def lockdown(environment: str) -> Lockdown | None:
    """Return the lockdown that stands; None without one. One query."""
    found = standing(environment)
    return Lockdown(found.at, found.by, found.severity, found.reason) if found else None


def freeze(environment: str) -> Freeze | None:
    """Return the freeze window that is open now and lasts longest; None without one."""
    now = clock.now()
    found = (
        FreezeWindow.objects.filter(environment=environment, starts_at__lte=now, ends_at__gt=now)
        .order_by("-ends_at")
        .first()
    )
    return Freeze(found.ends_at, found.by, found.reason) if found else None


def freezes(environment: str) -> list[FreezeWindow]:
    """Return the freeze windows that are open or to come."""
    return list(FreezeWindow.objects.filter(environment=environment, ends_at__gt=clock.now()))


def plan_holding(environment: str, key: str) -> PhaseRun | None:
    """Return the phase under way whose plan holds a flag."""
    run = (
        PhaseRun.objects.select_related("release__runbook")
        .filter(release__environment=environment, release__running=True, state__in=["running", "paused"])
        .first()
    )
    return run if run and key in plan_flags(run.release, run.number) else None


def plan_flags(release: Release, number: int) -> tuple[str, ...]:
    """Return the flags that a phase moves."""
    phases = releases.runbook(release).phases
    return tuple({phase.flag: None for phase in phases if phase.number == number})


def gates_open(release: Release) -> tuple[Gate, ...]:
    """Return the boxes of a release that keep it from rising: neither passed nor waived."""
    begun = PhaseRun.objects.filter(release=release).exists()
    return tuple(
        Gate(row.box.title, f"{row.standing.verdict.label}: {row.standing.sentence}")
        for group in releases.checklist(release)
        for row in group.rows
        if row.blocks and not (begun and row.box.by == BEFORE_START)
    )


def proposed(release: Release, number: int) -> Proposal | None:
    """Return the open proposal to start a phase; None without one."""
    return Proposal.objects.filter(
        environment=release.environment, subject=f"phase:{release.pk}:{number}", state="open"
    ).first()


def approvers(proposal: Proposal) -> tuple[Approver, ...]:
    """Return everybody whose yes to this edition of a proposal stands."""
    standing = proposal.approvals.filter(edition=proposal.edition, fell_at=None)
    return tuple(Approver(one.reference, one.by, frozenset(map(Team, one.teams))) for one in standing)


def frozen_evidence(release: Release | None) -> dict[str, object]:
    """Return what an approval keeps of the evidence it saw: subject, and each box with its verdict."""
    if release is None:
        return {}
    groups = releases.checklist(release)
    rows = [row for group in (*groups, *releases.after_phases(release)) for row in group.rows]
    return {
        "release": release.pk,
        **release.subject,
        "runbook": release.runbook.version,
        "boxes": {row.box.key: row.standing.verdict.value for row in rows},
        "headline": gates.headline(releases.Summary(release, groups, "").counts),
    }
