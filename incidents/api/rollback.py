"""`/api/v1/ENVIRONMENT/rollback`: what each level would do, what was rolled back, and the press. Undo is a proposal."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from hawkops.accounts.api import asks, who
from hawkops.core.access import Role, Scope
from hawkops.core.api import Body
from hawkops.core.errors import Conflict
from incidents.selectors import rollback as selectors
from rollout.domain.rollback import Change, Level
from rollout.domain.targeting import Constraint
from rollout.selectors import rollbacks
from rollout.selectors.harm import Harm
from rollout.selectors.rollback_previews import Preview
from rollout.services.flags import BACKENDS
from rollout.services.rollback import rollback

MAY_STOP = (Role.OPERATOR,)

router = Router(tags=["Emergency"])


class RollbackBody(Body):
    """Which level, and why; a stop is never refused for its reason.

    Level 2 takes `backends` (all of them unless said), or with `cohorts` only the backend and the cohorts that the search
    finds. With `revision`, that of the previews, a halving that somebody has made since is not made twice.
    """

    level: int
    backends: list[str] = []
    cohorts: bool = False
    reason: str = ""
    revision: int | None = None


class RollbackChangeOut(Schema):
    """One flag, before and after, in words; `where` is empty for all devices."""

    flag: str
    where: str = ""
    before: str
    after: str


class RollbackLossOut(Schema):
    """How many active devices lose a flag's `on`, how many of them simulated; `about` where not each was asked."""

    flag: str
    devices: int
    simulated: int
    kept: int
    about: bool


class RollbackPreviewOut(Schema):
    """A level before it is pressed; without changes there is nothing left to lower."""

    level: int
    title: str
    backend: str = ""
    changes: list[RollbackChangeOut]
    losses: list[RollbackLossOut]


class RollbackCohortOut(Schema):
    """A cohort that is proposed, by the conditions of an override, with its active devices."""

    where: str
    devices: int
    simulated: int


class RollbackFoundOut(Schema):
    """What the cohort search found: cohorts, or everywhere; `why` says why no condition can name what was found."""

    backend: str
    by: str
    against: str
    everywhere: bool
    rest_is_well: bool
    cohorts: list[RollbackCohortOut]
    why: str


class RollbackKeptOut(Schema):
    """A rollback that was made; `standing` is what undoing it restores, `changed` what somebody changed since."""

    rollback: int
    level: int
    entry: int | None
    at: datetime
    by: str
    automatic: bool
    reason: str
    revision: int
    paused_phase: int | None
    standing: list[RollbackChangeOut]
    changed: list[RollbackChangeOut]
    undone_at: datetime | None
    undone_by: str
    run: int | None
    verdict: str


class RollbacksOut(Schema):
    """The levels as they stand, what the cohort search finds, and what was rolled back, newest first."""

    revision: int
    active_devices: int
    levels: list[RollbackPreviewOut]
    cloud_requests_per_second: float | None
    app_lacks: str
    found: list[RollbackFoundOut]
    looked: list[str]
    too_little_data: list[str]
    rollbacks: list[RollbackKeptOut]


class RolledBackOut(Schema):
    """What a rollback left; nothing changed where it was done already."""

    changed: bool
    rollback: int | None
    entry: int | None
    revision: int | None
    changes: list[RollbackChangeOut]
    run: int | None


@router.get("/{environment}/rollback", response=RollbacksOut, **asks(Scope.READ))
def rollback_levels(request: HttpRequest, environment: str) -> RollbacksOut:
    """What each of the four levels would do now, where harm sits, and what was rolled back."""
    levels = selectors.levels(environment)
    found, proposals = selectors.search(environment)
    proposed = {id(one.harm): one for one in proposals}
    app = RollbackPreviewOut(level=4, title=Level.APP.title, changes=[], losses=[])
    return RollbacksOut(
        revision=levels.revision,
        active_devices=levels.active,
        levels=[
            _preview(levels.halve),
            *(_preview(one.preview, one.name) for one in levels.backends),
            _preview(levels.kill),
            app,
        ],
        cloud_requests_per_second=levels.requests_per_second,
        app_lacks=levels.lacks,
        found=[_found(one, proposed.get(id(one))) for one in (found.harms if found else ())],
        looked=list(found.looked) if found else [],
        too_little_data=list(found.few) if found else [],
        rollbacks=[_kept(one) for one in rollbacks.rollbacks(environment)],
    )


@router.post("/{environment}/rollback", response=RolledBackOut, **asks(Scope.KILL, *MAY_STOP))
def rollback_make(request: HttpRequest, environment: str, body: RollbackBody) -> RolledBackOut:
    """Roll back by a level: 1 halves, 2 disables backends, 3 kills, 4 halts the Play track, rehearsed first.

    To undo it propose `rollback.undo` with `{"rollback": number}`.
    """
    backends, cohorts = body.backends or list(BACKENDS), list[tuple[Constraint, ...]]()
    if body.cohorts and body.level == Level.DISABLE:
        harm = _cohorts(environment, body.backends)
        backends, cohorts = [harm.backend], [one.constraints for one in harm.cohorts]
    made = rollback(
        environment=environment,
        level=body.level,
        backends=backends,
        cohorts=cohorts,
        reason=body.reason,
        seen=body.revision,
        **who(request),
    )
    if made is None:
        return RolledBackOut(changed=False, rollback=None, entry=None, revision=None, changes=[], run=None)
    kept = rollbacks.kept(environment, made.pk)
    return RolledBackOut(
        changed=True,
        rollback=made.pk,
        entry=kept.entry,
        revision=made.revision or None,
        changes=[_changed(one) for one in kept.standing],
        run=made.rehearsal_id,
    )


def _cohorts(environment: str, backends: list[str]) -> Harm:
    """Return what the search finds of one of the backends. Raises Conflict where that is nothing to act on."""
    _, proposals = selectors.search(environment)
    for one in proposals:
        if not backends or one.harm.backend in backends:
            return one.harm
    raise Conflict("Nothing was changed: the search finds no cohorts. Send cohorts: false to disable everywhere.")


def _preview(one: Preview, backend: str = "") -> RollbackPreviewOut:
    return RollbackPreviewOut(
        level=one.level.value,
        title=one.level.title,
        backend=backend,
        changes=[RollbackChangeOut(flag=each.flag, before=each.before, after=each.after) for each in one.changes],
        losses=[
            RollbackLossOut(
                flag=each.flag, devices=each.devices, simulated=each.simulated, kept=each.kept, about=each.about
            )
            for each in one.losses
        ],
    )


def _found(one: Harm, proposal: selectors.Proposal | None) -> RollbackFoundOut:
    cohorts = proposal.cohorts if proposal is not None else ()
    return RollbackFoundOut(
        backend=one.backend,
        by=one.title,
        against=one.against,
        everywhere=proposal is None,
        rest_is_well=one.restored,
        cohorts=[
            RollbackCohortOut(
                where=each.where,
                devices=sum(loss.devices for loss in each.losses),
                simulated=sum(loss.simulated for loss in each.losses),
            )
            for each in cohorts
        ],
        why=one.why,
    )


def _kept(one: rollbacks.Kept) -> RollbackKeptOut:
    row: Any = one.rollback
    return RollbackKeptOut(
        rollback=row.pk,
        level=row.level,
        entry=one.entry,
        at=row.at,
        by=row.by,
        automatic=row.automatic,
        reason=row.reason,
        revision=row.revision,
        paused_phase=row.phase,
        standing=[_changed(each) for each in one.standing],
        changed=[_changed(each) for each in one.changed],
        undone_at=row.undone_at,
        undone_by=row.undone_by,
        run=row.done.pk if row.done is not None else None,
        verdict=str(row.done.verdict or "") if row.done is not None else "",
    )


def _changed(one: Change) -> RollbackChangeOut:
    before, after = one.words
    return RollbackChangeOut(flag=one.flag, where=one.where, before=before, after=after)
