"""Reading a release's phases: what is under way, how its criteria stand, and what is missing for the next one."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.conf import settings

from hawkops.core import clock
from hawkops.core.environments import Environment
from monitoring.domain.criteria import Purpose
from monitoring.selectors import reasons
from monitoring.selectors.criteria import Evaluated, criteria
from monitoring.selectors.judging import judged
from rollout.domain import decision as decision_domain
from rollout.domain import phases as domain
from rollout.domain.bucketing import BUCKETS
from rollout.domain.flags import ON, Flag
from rollout.domain.phases import Audience, Judged, Progress
from rollout.domain.policy import Decision, Need, Raise, approval_need, decide, gates_need, lockdown_need
from rollout.domain.runbook import Phase
from rollout.domain.targeting import Rule
from rollout.models import PhaseRun, Proposal, Release, Validation
from rollout.selectors import (
    actions,
    census,
    flags,
    guardrail_states,
    policy,
    procedure,
    releases,
    targeting,
    validation,
)
from rollout.selectors import decision as decisions

UNDER_WAY = ("running", "paused")
# for so long most devices must be known before a step that nobody presses is done
KNOWN_FOR = timedelta(hours=24)


def phase_of(release: Release, number: int) -> Phase | None:
    """Return a phase of the runbook that the release pins; None when it has no such phase."""
    return next((phase for phase in releases.runbook(release).phases if phase.number == number), None)


def run_under_way(release: Release) -> PhaseRun | None:
    """Return the phase that is running or paused."""
    return PhaseRun.objects.filter(release=release, state__in=UNDER_WAY).first()


def following(release: Release) -> Phase | None:
    """Return the phase that comes next; None after the last one."""
    run = run_under_way(release)
    return phase_of(release, (run.number if run else releases.passed(release)) + 1)


def audience(environment: str, phase: Phase) -> Audience:
    """Count the active devices, and those that a phase speaks of, each once."""
    return Audience(*targeting.audience(targeting.snapshot(environment), domain.rules(phase, BUCKETS)))


def plan_rules(release: Release, phase: Phase, percent: float) -> tuple[Rule, ...]:
    """Return the plan's rules at a step; earlier phases stay as they ended. Asks every active device: lock nothing yet."""
    ours: list[Rule] = []
    for one in releases.runbook(release).phases:
        if one.number <= phase.number and one.flag == phase.flag:
            at = percent if one.number == phase.number else one.to_percent
            ours += domain.rules(one, domain.thousandths(one, at, audience(release.environment, one)))
    return tuple(ours)


def own_rules(flag: Flag, phase: Phase) -> list[Rule]:
    """Return the rules of a flag by which a phase serves its audience, as they stand."""
    shapes = {(rule.group, rule.constraints) for rule in domain.rules(phase, 1)}
    return [rule for rule in flag.rules if rule.variant == ON and (rule.group, rule.constraints) in shapes]


def criteria_rows(
    release: Release, phase: Phase, *, now: datetime | None = None, since: datetime | None = None
) -> list[Judged]:
    """Return a phase's success criteria as they read now, in the runbook's order.

    With `since`, when the phase began, each says why.
    """
    now = now or clock.now()
    wanted = {key for one in phase.criteria for key in one.judged_by}
    chosen = criteria(purposes=[Purpose.PHASE], keys=wanted)
    lines = judged(release.environment, chosen, now=now).lines if chosen else []
    found = {line.criterion.key: _row(line, now, since) for line in lines}
    return [domain.together(one.title, [found[key] for key in one.judged_by if key in found]) for one in phase.criteria]


def _row(line: Evaluated, now: datetime, since: datetime | None) -> Judged:
    said = line.judgement
    whys = (reasons.of(line, now=now, since=since),) if since is not None else ()
    return Judged(line.criterion.title, said.verdict, said.sentence, said.in_scope, (line.criterion.key,), whys)


def progress(run: PhaseRun, *, now: datetime | None = None) -> Progress:
    """Return how far a phase is."""
    phase = phase_of(run.release, run.number)
    assert phase is not None  # the release keeps its runbook
    now = now or clock.now()
    paused = timedelta(seconds=run.paused_seconds)
    if run.paused_at is not None:
        paused += now - run.paused_at
    reached = census.reach(run.release.environment, phase.flag)
    found = Validation.objects.filter(run=run).only("lasted_seconds", "lasted_done_seconds").first()
    if found is None:
        return Progress(phase, run.started_at, paused, run.step, reached)
    done = found.lasted_done_seconds
    return Progress(
        phase,
        run.started_at,
        paused,
        run.step,
        reached,
        validated_from=timedelta(seconds=found.lasted_seconds),
        validated_after=timedelta(seconds=done) if done is not None else None,
    )


def start_decision(
    release: Release, number: int, change: Raise, *, jump: bool = False, disagrees: str = "",
    found: decisions.State | None = None,
) -> Decision:  # fmt: skip
    """Return every line that starting a phase needs. A jump leaves out what waiting would bring, and says so.

    `disagrees` is why somebody goes on against the recommendation; `found` is what it rests on, read now without it.
    """
    now = clock.now()
    phase = phase_of(release, number)
    if phase is None:
        return Decision((Need("order", "Order", False, f"The runbook has no phase {number}."),))
    run, needs = run_under_way(release), []
    reached = run.number if run else releases.passed(release)
    needs.append(_order(release, number, reached, jump=jump))
    if not jump:
        needs += _ending(run, now)
    if run is not None:
        needs.append(_recommended(release, run, disagrees, found))
    needs.append(gates_need(policy.gates_open(release)))
    if (left := actions.need(release.environment)) is not None:
        needs.append(left)
    if not reached:
        needs.append(_procedure(release))
    needs += _audience(release, phase)
    needs += _clear(release, phase)
    asked = replace(change, each_team=jump or policy.others_asked(release.environment), gates=None, plan="")
    needs += [need for need in decide(asked).needs if need.key != "approval"]
    if asked.each_team:
        needs.append(approval_need(asked))
    return Decision(tuple(needs))


@dataclass(frozen=True)
class Next:
    """What comes next on a walk: the phase (None for the walk's end), what it needs, and the proposal that waits."""

    phase: Phase | None
    decision: Decision
    waiting: Proposal | None = None


def next_of(release: Release) -> Next | None:
    """Return what comes next, with everybody's yes so far; None when nothing does."""
    if not release.running:
        return None
    phase = following(release)
    if phase is None:
        return Next(None, end_decision(release)) if run_under_way(release) else None
    waiting = policy.proposed(release, phase.number)
    asked = Raise(
        release.environment,
        frozenset(waiting.makers if waiting else ()),
        policy.approvers(waiting) if waiting else (),
        rehearsed=policy.rehearsed(release.environment),
        one_person=settings.ONE_PERSON_INSTALLATION,
        lockdown=policy.lockdown(release.environment),
        freeze=policy.freeze(release.environment),
    )
    given = waiting.payload if waiting else {}
    decision = start_decision(
        release, phase.number, asked, jump=bool(given.get("jump")), disagrees=given.get("disagrees") or ""
    )
    return Next(phase, decision, waiting)


def end_decision(release: Release, *, disagrees: str = "", found: decisions.State | None = None) -> Decision:
    """Return what the last phase needs before the release is complete."""
    run = run_under_way(release)
    if run is None or phase_of(release, run.number + 1) is not None:
        return Decision((Need("order", "Order", False, "The last phase is not under way."),))
    return Decision((*_ending(run, clock.now()), _recommended(release, run, disagrees, found)))


def _recommended(release: Release, run: PhaseRun, disagrees: str, found: decisions.State | None) -> Need:
    known = found or decisions.state(release, run)
    return decision_domain.need(known.recommended if known else None, disagrees, phase=run.number)


def _order(release: Release, number: int, reached: int, *, jump: bool) -> Need:
    if not release.running:
        return Need("order", "Order", False, "This release is superseded.")
    if number <= reached:
        return Need("order", "Order", False, f"Phase {number} is behind: phase {reached} was begun already.")
    if number > reached + 1 and not jump:
        return Need("order", "Order", False, f"Phase {reached + 1} comes before phase {number}.")
    if jump:
        return Need(
            "order",
            "Order",
            True,
            f"A jump from phase {reached} to {number}: time, sample, criteria and validation are not asked.",
        )
    return Need("order", "Order", True, f"Phase {number} is next.")


def _ending(run: PhaseRun | None, now: datetime) -> Iterable[Need]:
    if run is None:
        return ()
    if run.state == "paused":
        return (Need("paused", "Pause", False, f"Phase {run.number} is paused; resume it first."),)
    before = progress(run, now=now)
    own = domain.ending(before, criteria_rows(run.release, before.phase, now=now), now)
    rails = guardrail_states.need(run)
    return (*own, *((rails,) if rails else ()), *validation.needs(run.release, run, now=now))


def _procedure(release: Release) -> Need:
    found = procedure.procedure(release)
    total, missing = found.summary.total, procedure.unmet(release)
    more = f" And {len(missing) - 3} more." if len(missing) > 3 else ""
    sentence = " ".join(missing[:3]) + more if missing else "Every deployment step is done or skipped."
    return Need("procedure", "Deployment", not missing, sentence, f"{total - len(missing)} of {total} steps")


def _audience(release: Release, phase: Phase) -> Iterable[Need]:
    found = audience(release.environment, phase)
    share = f" of {found.fleet} active" if found.fleet else ""
    have = f"{found.devices}{share}"
    if not found.devices:
        where = f"the group {' or '.join(phase.groups)}" if phase.groups else "the phase's conditions"
        return (Need("audience", "Audience", False, f"No active device meets {where}.", have),)
    if phase.strategy == "TARGET_GROUPS" and not domain.internal_fits(found):
        return (
            Need(
                "audience",
                "Audience",
                False,
                f"{found.devices} devices are more than 1 % of {found.fleet} and more than 100. Make the group smaller.",
                have,
            ),
        )
    return (Need("audience", "Audience", True, f"{found.devices} active devices.", have),)


def _clear(release: Release, phase: Phase) -> Iterable[Need]:
    stored = flags.flag(release.environment, phase.flag)
    if stored is None:
        return (Need("flag", "Flag", False, f"There is no flag {phase.flag} in {release.environment}."),)
    if stored.override_variant:
        by = f"{stored.override_by}: {stored.override_reason}"
        return (
            Need("flag", "Flag", False, f"{phase.flag} is forced {stored.override_variant} by {by}. Lift that first."),
        )
    return (Need("flag", "Flag", True, f"No override is in force on {phase.flag}."),)


def held(run: PhaseRun) -> str:
    """Say why a step that is due must wait; empty when it may be done. Every gate is looked at again."""
    release = run.release
    phase = phase_of(release, run.number)
    if phase is None or run.state != "running":
        return "The phase is not running."
    locked = lockdown_need(policy.lockdown(release.environment))
    if not locked.met:
        return f"{locked.title}: {locked.sentence}"
    stored = flags.flag(release.environment, phase.flag)
    if stored is None or stored.override_variant:
        return f"{phase.flag} is under an override."
    if stored.revision != run.flag_revision:
        return f"{phase.flag} was changed by hand at revision {stored.revision}. Resume the phase to go on from there."
    if (strange := census.newcomers(release.environment, within=KNOWN_FOR)).is_burst:
        return f"{strange.sentence}: a step waits until most devices that it is judged by are known."
    if failing := guardrail_states.holding(run):
        said = "; ".join(f"{row.guardrail.title}: {row.state.sentence}" for row in failing if row.state)
        return f"Guardrails fail. {said}"
    change = Raise(Environment(release.environment).value, frozenset(), freeze=policy.freeze(release.environment))
    lines = [gates_need(policy.gates_open(release)), *decide(change).needs]
    return " ".join(f"{need.title}: {need.sentence}" for need in lines if not need.met and need.key != "approval")
