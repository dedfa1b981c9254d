"""Changing flags. Lock order: the environment's revision, then its flags by key, then (by the history) the chain's head."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from rollout.domain import targeting
from rollout.domain.flags import OFF, ON, FlagType, circle
from rollout.domain.targeting import Constraint, Rule
from rollout.models import EnvironmentFlags, Flag, TargetGroup
from rollout.services.locking import flags_locked, flags_save, next_revision, reason_given
from rollout.services.raising import Authority

LITERT = "litert_enabled"
SCOPED_MOST = 10
# the runbook's reason of a drill
DRILL = "Pre-deployment test"
FALLBACK = "ai_fallback_to_cloud"
BACKENDS = {
    "gpu": "litert_gpu_backend",
    "npu": "litert_npu_backend",
    "adaptive": "litert_adaptive_switching",
}
# The five switches of the runbook; each is drilled before a deployment.
SWITCHES = (LITERT, *BACKENDS.values(), FALLBACK)


@dataclass(frozen=True)
class _Seed:
    key: str
    title: str
    explanation: str
    type: FlagType
    on: Any
    off: Any
    safe: str = OFF
    requires: tuple[str, ...] = ()
    demo: int = 0
    elsewhere: int = 0


SEEDS = (
    _Seed(LITERT, "LiteRT", "On-device AI as a whole.", FlagType.BOOLEAN, True, False, demo=100_000),
    _Seed(
        BACKENDS["gpu"], "GPU backend", "LiteRT may ask for the GPU.", FlagType.BOOLEAN, True, False, requires=(LITERT,)
    ),
    _Seed(
        BACKENDS["npu"], "NPU backend", "LiteRT may ask for the NPU.", FlagType.BOOLEAN, True, False, requires=(LITERT,)
    ),
    _Seed(
        BACKENDS["adaptive"],
        "Adaptive switching",
        "LiteRT may change its backend while it runs.",
        FlagType.BOOLEAN,
        True,
        False,
        requires=(LITERT,),
        demo=100_000,
    ),
    _Seed(
        FALLBACK,
        "Cloud fallback",
        "Requests that LiteRT does not serve go to cloud AI.",
        FlagType.BOOLEAN,
        True,
        False,
        safe=ON,
        demo=100_000,
        elsewhere=100_000,
    ),
    _Seed(
        "litert_max_concurrent_inferences",
        "Concurrent inferences",
        "How many inferences a device runs at once; on lowers it to ease memory.",
        FlagType.INTEGER,
        2,
        4,
    ),
    _Seed(
        "litert_switching_threshold",
        "Switching threshold",
        "The loss of throughput that makes a device change its backend; on asks for 30 %.",
        FlagType.FLOAT,
        0.3,
        0.1,
        demo=100_000,
    ),
    _Seed(
        "litert_switch_cooldown_ms",
        "Switch cooldown",
        "Milliseconds between two changes of backend; on waits a minute.",
        FlagType.INTEGER,
        60_000,
        10_000,
        demo=100_000,
    ),
    _Seed(
        "litert_aggressive_gc",
        "Aggressive memory reclaim",
        "Free memory after every inference.",
        FlagType.BOOLEAN,
        True,
        False,
    ),
    _Seed(
        "litert_clear_unused_models",
        "Clear unused models",
        "Drop models from the cache that no request uses.",
        FlagType.BOOLEAN,
        True,
        False,
    ),
)


def flags_seed(*, actor: Actor) -> int:
    """Create the runbook's flags where they are missing; return how many. Existing ones stay as they are.

    Everywhere but in `demo` all LiteRT flags begin at 0 %.
    """
    made = 0
    for environment in Environment:
        with change(actor=actor, environment=environment.value, reason="Installation") as this:
            at = clock.now()
            EnvironmentFlags.objects.get_or_create(environment=environment.value, defaults={"changed_at": at})
            state = EnvironmentFlags.objects.select_for_update(no_key=True).get(pk=environment.value)
            present = set(Flag.objects.filter(environment=environment.value).values_list("key", flat=True))
            missing = [seed for seed in SEEDS if seed.key not in present]
            if not missing:
                continue
            revision = next_revision(state)
            flags = [
                Flag(
                    environment=environment.value,
                    key=seed.key,
                    title=seed.title,
                    explanation=seed.explanation,
                    position=SEEDS.index(seed),
                    type=seed.type.value,
                    on=seed.on,
                    off=seed.off,
                    safe_variant=seed.safe,
                    thousandths=seed.demo if environment is Environment.DEMO else seed.elsewhere,
                    salt=f"{seed.key}-1",
                    requires=list(seed.requires),
                    revision=revision,
                    changed_at=at,
                )
                for seed in missing
            ]
            Flag.objects.bulk_create(flags)
            made += len(flags)
            this.record(
                "flag.created",
                subject=f"flags:{environment.value}",
                after={"revision": revision, "percentages": {flag.key: flag.percent for flag in flags}},
            )
    return made


def flag_percentage_set(
    *,
    environment: str,
    key: str,
    percent: float,
    actor: Actor,
    reason: str,
    expected_revision: int | None = None,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Set the share of devices that get the `on` value; None when it already is so.

    Raises Conflict when the flag changed after `expected_revision` was read.
    """
    if not 0 <= percent <= 100:
        raise InvalidInput(f"{percent:g} % is not a percentage; use 0 to 100.")
    thousandths = round(percent * 1000)
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state, flags = flags_locked(environment, [key])
        flag = flags[key]
        if expected_revision is not None and flag.revision != expected_revision:
            raise Conflict(
                f"{key} was changed meanwhile: it is at {flag.percent:g} % since revision {flag.revision}. Look again."
            )
        if flag.thousandths == thousandths:
            return None
        before = flag.state()
        flag.thousandths = thousandths
        flags_save(state, [flag], authority=authority or Authority.of(actor))
        this.record("flag.percentage_set", subject=f"flag:{key}", before=before, after=flag.state())
    return this.entry


def flag_rules_set(
    *,
    environment: str,
    key: str,
    rules: Iterable[Rule],
    pinned: Mapping[str, str],
    expected_revision: int,
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Set a flag's rules, in order, and the variants of single devices; None when they already are so.

    Raises InvalidInput for a rule that can never match, Conflict when the flag changed after `expected_revision`.
    """
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state, flags = flags_locked(environment, [key])
        flag = flags[key]
        if flag.revision != expected_revision:
            raise Conflict(f"{key} was changed meanwhile, at revision {flag.revision}. Look again: nothing is saved.")
        groups = frozenset(TargetGroup.objects.filter(environment=environment).values_list("key", flat=True))
        documents = [rule.document() for rule in targeting.rules_checked(tuple(rules), groups=groups)]
        wanted = targeting.pinned_checked(pinned)
        if flag.rules == documents and flag.pinned == wanted:
            return None
        before = flag.state()
        flag.rules, flag.pinned = documents, wanted
        flags_save(state, [flag], authority=authority or Authority.of(actor))
        this.record("flag.rules_changed", subject=f"flag:{key}", before=before, after=flag.state())
    return this.entry


def flag_requires_set(
    *,
    environment: str,
    key: str,
    requires: Iterable[str],
    expected_revision: int,
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Say which flags must be on for this one to be on; None when it already is so.

    Raises InvalidInput for a flag that is not there, and for flags that would require each other in a circle.
    """
    wanted = sorted(set(requires))
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state, flags = flags_locked(environment, [key])
        flag = flags[key]
        if flag.revision != expected_revision:
            raise Conflict(f"{key} was changed meanwhile, at revision {flag.revision}. Look again: nothing is saved.")
        if sorted(flag.requires) == wanted:
            return None
        every = dict(Flag.objects.filter(environment=environment).values_list("key", "requires"))
        if unknown := [one for one in wanted if one not in every]:
            raise InvalidInput(f"There is no flag {unknown[0]!r} in {environment} that could be required.")
        if found := circle({**every, key: wanted}):
            raise InvalidInput(f"Flags may not require each other in a circle: {' → '.join(found)}.")
        before = {**flag.state(), "requires": flag.requires}
        flag.requires = wanted
        flags_save(state, [flag], authority=authority or Authority.of(actor))
        this.record(
            "flag.requires_changed", subject=f"flag:{key}", before=before, after={**flag.state(), "requires": wanted}
        )
    return this.entry


def flag_salt_set(
    *,
    environment: str,
    key: str,
    salt: str,
    expected_revision: int,
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Salt a flag anew, so that devices fall into other buckets; None when it has this salt.

    Explicit, and recorded: raising a percentage never moves a device, this does.
    """
    salt = salt.strip()
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,80}", salt):
        raise InvalidInput("A salt has 1 to 80 letters, digits, dots, dashes and underscores.")
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state, flags = flags_locked(environment, [key])
        flag = flags[key]
        if flag.revision != expected_revision:
            raise Conflict(f"{key} was changed meanwhile, at revision {flag.revision}. Look again: nothing is saved.")
        if flag.salt == salt:
            return None
        before = {**flag.state(), "salt": flag.salt}
        flag.salt = salt
        flags_save(state, [flag], authority=authority or Authority.of(actor))
        this.record("flag.salted", subject=f"flag:{key}", before=before, after={**flag.state(), "salt": salt})
    return this.entry


def flag_override_set(
    *,
    environment: str,
    key: str,
    variant: str,
    actor: Actor,
    reason: str,
    request_id: str = "",
    cause: int | None = None,
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Force a flag to one variant on every device; None when it already is."""
    return _overrides_set(
        environment=environment,
        wanted={key: variant},
        verb="flag.override_set",
        actor=actor,
        reason=reason,
        request_id=request_id,
        cause=cause,
        authority=authority,
    )


def flag_override_clear(
    *, environment: str, key: str, actor: Actor, reason: str, request_id: str = "", authority: Authority | None = None
) -> HistoryEntry | None:
    """Lift a flag's override, so that its percentage counts again; None when there is none."""
    return _overrides_set(
        environment=environment,
        wanted={key: ""},
        verb="flag.override_cleared",
        actor=actor,
        reason=reason,
        request_id=request_id,
        authority=authority,
    )


def flag_scoped_override_set(
    *,
    environment: str,
    key: str,
    variant: str,
    constraints: Iterable[Constraint],
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Force a flag to one variant on the devices that meet every constraint; the same ones given again replace it."""
    where = tuple(constraints)
    if variant not in (ON, OFF):
        raise InvalidInput("An override is on or off.")
    if not where:
        raise InvalidInput("Say which devices; without a condition it is an override for all.")
    targeting.rules_checked((Rule(variant, constraints=where),), groups=frozenset())
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state, flags = flags_locked(environment, [key])
        flag = flags[key]
        document = targeting.constraints_document(where)
        kept = [one for one in flag.scoped_overrides if one["constraints"] != document]
        if len(kept) >= SCOPED_MOST:
            raise InvalidInput(f"A flag has at most {SCOPED_MOST} overrides for some devices; lift one first.")
        before = flag.state()
        made = {
            "number": max((one["number"] for one in flag.scoped_overrides), default=0) + 1,
            "variant": variant,
            "reason": reason_given(reason),
            "by": actor.label,
            "at": clock.now().isoformat(),
            "constraints": document,
        }
        flag.scoped_overrides = [made, *kept]
        flags_save(state, [flag], authority=authority or Authority.of(actor))
        this.record("flag.override_set", subject=f"flag:{key}", before=before, after=flag.state())
    return this.entry


def flag_scoped_override_clear(
    *,
    environment: str,
    key: str,
    number: int,
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Lift one override for some devices; None when it is lifted already."""
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state, flags = flags_locked(environment, [key])
        flag = flags[key]
        kept = [one for one in flag.scoped_overrides if one["number"] != number]
        if len(kept) == len(flag.scoped_overrides):
            return None
        before = flag.state()
        flag.scoped_overrides = kept
        flags_save(state, [flag], authority=authority or Authority.of(actor))
        this.record("flag.override_cleared", subject=f"flag:{key}", before=before, after=flag.state())
    return this.entry


def kill(
    *, environment: str, actor: Actor, reason: str, request_id: str = "", cause: int | None = None
) -> HistoryEntry | None:
    """Turn LiteRT off and cloud fallback on, in one atomic change with one entry; None when both already are.

    Never refused for its reason: an empty one becomes the runbook's.
    """
    return _overrides_set(
        environment=environment,
        wanted={LITERT: OFF, FALLBACK: ON},
        verb="flag.killed",
        actor=actor,
        reason=reason.strip() or "Production incident",
        request_id=request_id,
        cause=cause,
    )


def backend_disable(
    *, environment: str, backend: str, actor: Actor, reason: str, request_id: str = "", cause: int | None = None
) -> HistoryEntry | None:
    """Turn one backend (gpu, npu or adaptive switching) off on every device; None when it already is."""
    if backend not in BACKENDS:
        raise InvalidInput(f"There is no backend {backend!r}; use one of {', '.join(BACKENDS)}.")
    return _overrides_set(
        environment=environment,
        wanted={BACKENDS[backend]: OFF},
        verb="flag.override_set",
        actor=actor,
        reason=reason.strip() or "Performance degradation",
        request_id=request_id,
        cause=cause,
    )


def reenable(
    *,
    environment: str,
    keys: Iterable[str],
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Lift the overrides of the flags in one change; None when none is in force. A raise: it needs a reason."""
    wanted = dict.fromkeys(keys, "")
    if not wanted:
        raise InvalidInput("Choose at least one override to lift.")
    return _overrides_set(
        environment=environment,
        wanted=wanted,
        verb="flag.reenabled",
        actor=actor,
        reason=reason_given(reason),
        request_id=request_id,
        authority=authority,
    )


def _only_a_drill(flag: Flag, reason: str) -> bool:
    """Say whether what is in force is a drill, which a press in earnest takes over: its end leaves that alone."""
    return flag.override_reason == DRILL != reason


def _overrides_set(
    *,
    environment: str,
    wanted: dict[str, str],
    verb: str,
    actor: Actor,
    reason: str,
    request_id: str,
    cause: int | None = None,
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Set or (empty variant) clear several overrides in one revision and one entry."""
    if any(variant not in ("", ON, OFF) for variant in wanted.values()):
        raise InvalidInput("An override is on or off.")
    reason = reason.strip()[:300]
    with change(actor=actor, environment=environment, reason=reason, request_id=request_id, cause=cause) as this:
        state, flags = flags_locked(environment, wanted)
        moving = [
            flag
            for key, flag in flags.items()
            if flag.override_variant != wanted[key] or (wanted[key] and _only_a_drill(flag, reason))
        ]
        if not moving:
            return None
        before = {flag.key: flag.state() for flag in moving}
        for flag in moving:
            variant = wanted[flag.key]
            flag.override_variant = variant
            flag.override_reason = reason if variant else ""
            flag.override_by = actor.label if variant else ""
            flag.override_at = clock.now() if variant else None
            flag.override_revision = None
        flags_save(state, moving, authority=authority or Authority.of(actor))
        after = {flag.key: flag.state() for flag in moving}
        subject = LITERT if LITERT in after else moving[0].key
        single = len(after) == 1
        this.record(
            verb,
            subject=f"flag:{subject}",
            before=before[subject] if single else before,
            after=after[subject] if single else after,
        )
    return this.entry
