"""Guardrails of phases under way, looked at every minute: kept, written down when they change, and acted on."""

import logging
from dataclasses import asdict

import orjson

from hawkops.core import clock
from hawkops.core.errors import HawkOpsError
from hawkops.core.live import announce
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.services import Change, change
from rollout.domain import guardrails as domain
from rollout.domain.guardrails import Guardrail, Judges
from rollout.models import GuardrailBand, GuardrailState, PhaseRun
from rollout.selectors import arms, flags, guardrails, phases
from rollout.selectors.guardrails import Found, Look
from rollout.services.rollback import rollback

log = logging.getLogger(__name__)


def guardrails_due() -> int:
    """Look at the guardrails of every phase under way, paused ones too; return how many phases were looked at."""
    looked = 0
    GuardrailBand.objects.exclude(run__state__in=phases.UNDER_WAY).delete()
    under_way = PhaseRun.objects.filter(state__in=phases.UNDER_WAY, release__running=True)
    for run in list(under_way.select_related("release__runbook")):
        try:
            guardrails_look(run=run)
            looked += 1
        except HawkOpsError as error:  # other phases are looked at all the same, and this one again in a minute
            log.error("guardrails.refused", extra={"phase": run.pk, "why": error.message})
    return looked


def guardrails_look(*, run: PhaseRun) -> list[Found]:
    """Judge a phase's guardrails now, keep what they say, and act on those that fail.

    What an override keeps from every device measures nothing: under one nothing is looked at. Empty, too, when nothing can
    have changed since the last look.
    """
    phase = phases.phase_of(run.release, run.number)
    if phase is None or not arms.served(run):
        return []
    flag = flags.flag(run.release.environment, phase.flag)
    if flag is None or flag.override_variant:
        return []
    now, since = clock.now(), guardrails.looked(run)
    if since is not None and arms.closed(since) == arms.closed(now):
        return []
    made = guardrails.look(run, now=now, since=since)
    found = guardrails.findings(made)
    if since is not None and _tilted(run, found):
        made = guardrails.look(run, now=now)
        found = guardrails.findings(made)
    if not found:
        return []
    _bands_kept(made)
    failed = _kept(run, made.classes, found)
    announce("evidence", run.release.environment, release=run.release_id)
    for one, cause in failed:
        _act(run, one, cause)
    return found


def _bands_kept(made: Look) -> None:
    """Keep what was read of bands that are over; two looks at once read the same."""
    if not made.arms.read:
        return
    metrics = guardrails.metrics(made.guardrails)
    GuardrailBand.objects.bulk_create(
        (
            GuardrailBand(run=made.arms.run, first=first, band=band, metrics=metrics, sums=orjson.dumps(sums).decode())
            for (first, band), sums in made.arms.read.items()
        ),
        update_conflicts=True,
        unique_fields=["run", "first", "band"],
        update_fields=["metrics", "sums"],
    )


def device_erase(environment: str, device_id: str) -> int:
    """Take a device's sums out of the bands that are kept; return of how many."""
    found = 0
    kept = GuardrailBand.objects.filter(run__release__environment=environment, sums__contains=device_id)
    for band in kept.select_for_update(no_key=True, of=("self",)):
        sums = orjson.loads(band.sums)
        if sums.pop(device_id, None) is not None:
            band.sums = orjson.dumps(sums).decode()
            band.save(update_fields=["sums"])
            found += 1
    return found


def _tilted(run: PhaseRun, found: list[Found]) -> bool:
    """Say whether the arms are filled as they were drawn no longer, or are again: on that every comparison rests."""
    kept = dict(GuardrailState.objects.filter(run=run).values_list("key", "verdict"))
    return any(
        one.guardrail.judges is Judges.SAMPLE_RATIO and one.said[0] != kept.get(one.guardrail.key) for one in found
    )


def _kept(run: PhaseRun, classes: tuple[str, ...], found: list[Found]) -> list[tuple[Found, int]]:
    """Keep what was found; return those that roll back and have not yet, each with the entry that says it fails."""
    failed: list[Found] = []
    at = clock.now()
    with change(actor=_rule("look"), environment=run.release.environment, reason="Guardrails") as this:
        locked = PhaseRun.objects.select_for_update(no_key=True).get(pk=run.pk)
        if locked.classes is None:
            locked.classes = list(classes)
            locked.save(update_fields=["classes"])
        states = {one.key: one for one in GuardrailState.objects.filter(run=locked)}
        for one in found:
            verdict, sentence = one.said
            state = states.get(one.guardrail.key) or GuardrailState(
                run=locked, key=one.guardrail.key, verdict="", changed_at=at
            )
            _noted(this, locked, state, one.guardrail, verdict, sentence)
            state.verdict, state.sentence, state.looked_at = verdict.value, sentence, at
            state.lines = [asdict(line) for line in one.lines]
            state.progress = asdict(one.progress) if one.progress is not None else None
            state.exclusion = domain.short(one.exclusion) if one.exclusion is not None else None
            if verdict is Verdict.FAIL:
                if one.guardrail.acts and not state.did_act:
                    failed.append(one)
                elif one.guardrail.would and state.acted_at is None:
                    state.acted_at, state.would = at, one.guardrail.would
            state.save()
        # of the others nothing can have changed
        GuardrailState.objects.filter(run=locked).update(looked_at=at)
    seqs = {entry.subject: entry.seq for entry in this.entries}
    return [(one, seqs.get(_subject(run, one.guardrail), 0)) for one in failed]


def _noted(this: Change, run: PhaseRun, state: GuardrailState, one: Guardrail, verdict: Verdict, sentence: str) -> None:
    """Write down that a guardrail begins to fail, or that it has recovered; that it still waits for devices is no news.

    Of one that does nothing, the first failure is written down as what it would have done, and when and why.
    """
    began, ended = verdict is Verdict.FAIL != state.verdict, state.verdict == Verdict.FAIL != verdict
    at = clock.now()
    if state.verdict != verdict.value:
        state.changed_at = at
    if not began and not ended:
        return
    after: dict[str, str | bool] = {
        "verdict": verdict.value,
        "sentence": sentence,
        "role": one.role.value,
        "does": one.does,
    }
    verb, reason = "guardrail.failed" if began else "guardrail.recovered", None
    if began and one.would and state.acted_at is None:
        verb, reason = "guardrail.would_have_acted", f"Would have {one.would} at {at:%H:%M} UTC because {sentence}"
        after |= {"would": one.would, "at": at.isoformat(timespec="seconds"), "dry_run": one.dry_run}
    this.record(
        verb,
        subject=_subject(run, one),
        before={"verdict": state.verdict} if state.verdict else None,
        after=after,
        reason=reason,
    )


def _act(run: PhaseRun, one: Found, cause: int) -> None:
    """Roll back, once for each phase: what people do after that is theirs to decide."""
    rail = one.guardrail
    _, sentence = one.said
    environment = run.release.environment
    with change(actor=_rule(rail.key), environment=environment, reason=sentence, cause=cause or None) as this:
        state = GuardrailState.objects.select_for_update(no_key=True).get(run=run, key=rail.key)
        if state.did_act:
            return
        state.acted_at, state.would = clock.now(), ""
        state.save(update_fields=["acted_at", "would"])
        rollback(
            environment=environment,
            level=rail.level,
            actor=_rule(rail.key),
            reason=f"Guardrail {rail.title}: {sentence}"[:300],
        )
        this.record(
            "guardrail.rolled_back",
            subject=_subject(run, rail),
            after={"level": rail.level, "does": rail.does, "sentence": sentence},
        )


def _rule(name: str) -> Actor:
    return Actor.rule(f"guardrail:{name}")


def _subject(run: PhaseRun, one: Guardrail) -> str:
    return f"guardrail:{run.release_id}:{run.number}:{one.key}"
