"""Rolling a walk back by levels: each one transaction, lowering only, and the phase pauses so that nothing rises again."""

from hawkops.core import clock
from hawkops.core.errors import InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.services import Change, change
from rollout.domain.flags import ON
from rollout.domain.guardrails import LEVELS
from rollout.models import PhaseRun, Release
from rollout.selectors import phases as selectors
from rollout.services import overrides
from rollout.services.flags import LITERT
from rollout.services.locking import flags_locked, flags_save, reason_given
from rollout.services.raising import Authority


def rollback(
    *, release: Release, level: int, actor: Actor, reason: str, request_id: str = "", cause: int | None = None
) -> int | None:
    """Roll back: 1 halves the percentage of the phase, 2 disables the backends, 3 kills LiteRT and lets the cloud answer.

    The phase under way is paused in the same change. Returns the first entry; None when there was nothing left to lower.
    """
    if level not in LEVELS:
        raise InvalidInput("A rollback has level 1 (half), 2 (backends) or 3 (everything).")
    environment, reason = release.environment, reason_given(reason)
    with change(actor=actor, environment=environment, reason=reason, request_id=request_id, cause=cause) as this:
        locked = (
            Release.objects.select_for_update(no_key=True, of=("self",)).select_related("runbook").get(pk=release.pk)
        )
        run = selectors.run_under_way(locked)
        if level == 1:
            _halve(locked, run, actor, this)
        elif level == 2:
            overrides.backends_disable(environment=environment, actor=actor, reason=reason)
        else:
            overrides.kill(environment=environment, actor=actor, reason=reason)
        if run is not None and run.state == "running":
            run.state, run.paused_at = "paused", clock.now()
            run.save(update_fields=["state", "paused_at"])
            this.record(
                "phase.paused",
                subject=f"phase:{run.release_id}:{run.number}",
                before={"state": "running"},
                after={"state": "paused", "rollback": level},
            )
    return this.entries[0].seq if this.entries else None


def _halve(release: Release, run: PhaseRun | None, actor: Actor, this: Change) -> None:
    """Halve what rules and percentage serve on, of the phase's flag, or of LiteRT where no phase is under way."""
    phase = selectors.phase_of(release, run.number) if run is not None else None
    key = phase.flag if phase is not None else LITERT
    state, flags = flags_locked(release.environment, [key])
    flag = flags[key]
    before = flag.state()
    rules = [
        {**rule, "thousandths": rule["thousandths"] // 2} if rule["variant"] == ON else rule for rule in flag.rules
    ]
    if rules == flag.rules and not flag.thousandths:
        return
    flag.rules, flag.thousandths = [rule for rule in rules if rule["thousandths"]], flag.thousandths // 2
    flags_save(state, [flag], authority=Authority.of(actor))
    this.record("flag.rules_changed", subject=f"flag:{key}", before=before, after=flag.state())
    if run is not None and phase is not None:
        share = max((rule.thousandths for rule in selectors.own_rules(flag.domain(), phase)), default=0)
        run.served = [*run.served, {"at": state.changed_at.isoformat(), "thousandths": share}]
        run.save(update_fields=["served"])
