"""Whether exposure may rise, asked in one place: whatever saves a flag or a group comes by here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from django.conf import settings

from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict
from hawkops.core.recent import must_be_recent
from hawkops.history.actors import Actor
from rollout.domain import flags as domain
from rollout.domain.policy import Approver, Decision, Raise, decide
from rollout.models import Flag
from rollout.selectors import policy, releases

# Those that the checklist wants at 0 %: their gates are the release's.
LITERT_FLAGS = ("litert_enabled", "litert_gpu_backend", "litert_npu_backend", "litert_adaptive_switching")


class Refused(Conflict):
    """Exposure may not rise now; the message says which lines are missing, `decision` has them all."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(f"Nothing was changed. {decision.sentence}")
        self.decision = decision


class NeedsApproval(Refused):
    """Nothing but somebody else's yes is missing: the change can be proposed."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision)
        self.args = (f"{self.args[0]} Propose it, so that somebody can say yes.",)


@dataclass(frozen=True)
class Authority:
    """By what right exposure may rise: who made the change, who approved it, and the release whose plan acts."""

    makers: frozenset[str] = frozenset()
    approvers: tuple[Approver, ...] = ()
    plan_of: int | None = None
    # a rollback is undone: what a plan had served already is no raise of its own
    undoes: bool = False

    @classmethod
    def of(cls, actor: Actor) -> Authority:
        """The person's own, which nobody has approved."""
        return cls(frozenset([actor.reference]))


def admit_flags(environment: str, flags: Iterable[Flag], authority: Authority) -> None:
    """Let flags be saved as they are now. Raises Refused when that raises exposure and something is missing."""
    changed = list(flags)
    stored = {one.pk: one.domain() for one in Flag.objects.filter(pk__in=[flag.pk for flag in changed])}
    lifting = {flag.key for flag in changed if domain.lifts_safety(stored[flag.pk], flag.domain())}
    # what a lockdown has forced stays forced while it stands, whether or not a device would move today
    kept = lifting if lifting and policy.lockdown(environment) else set()
    raised = {
        flag.key: authority.undoes or restores(stored[flag.pk], flag.domain())
        for flag in changed
        if flag.key in kept or domain.raises_exposure(stored[flag.pk], flag.domain())
    }
    admit(environment, raised, authority)


def admit(environment: str, raised: Mapping[str, bool], authority: Authority) -> None:
    """Let the named flags rise; each value says whether it only lifts overrides. Raises Refused."""
    if not raised:
        return
    decision = decide(question(environment, raised, authority))
    if decision.allowed:
        if authority.plan_of is None:
            must_be_recent_in(environment)
        return
    raise NeedsApproval(decision) if decision.people_only else Refused(decision)


def must_be_recent_in(environment: str) -> None:
    """Let who raises in a session have signed in lately, where other people are asked too. Raises NeedsRecentLogin."""
    if policy.others_asked(environment):
        must_be_recent()


def restores(before: domain.Flag, after: domain.Flag) -> bool:
    """Say whether a change only lifts overrides, so that what was decided before counts again."""
    lifted = after.override in (None, before.override) and set(after.scoped) <= set(before.scoped)
    return (
        lifted
        and domain.same_values(before, after)
        and replace(before, override=None, scoped=()) == replace(after, override=None, scoped=())
    )


def question(environment: str, raised: Mapping[str, bool], authority: Authority) -> Raise:
    """Gather what the policy must know about flags that rise."""
    gates, released = None, True
    if (
        environment == Environment.PRODUCTION
        and authority.plan_of is None
        and any(key in LITERT_FLAGS for key in raised)
    ):
        release = releases.release_running(environment)
        released = release is not None
        gates = policy.gates_open(release) if release else ()
    return Raise(
        environment=environment,
        makers=authority.makers,
        approvers=authority.approvers,
        rehearsed=policy.rehearsed(environment),
        one_person=settings.ONE_PERSON_INSTALLATION,
        lockdown=policy.lockdown(environment),
        freeze=policy.freeze(environment),
        plan=_holder(environment, [key for key, restored in raised.items() if not restored], authority),
        gates=gates,
        released=released,
        planned=authority.plan_of is not None,
    )


def _holder(environment: str, keys: Iterable[str], authority: Authority) -> str:
    for key in keys:
        run = policy.plan_holding(environment, key)
        if run is not None and run.release_id != authority.plan_of:
            return f"Phase {run.number} of {run.release.name} {run.release.app_version}"
    return ""
