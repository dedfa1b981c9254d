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
from rollout.domain.targeting import Rule
from rollout.models import EnvironmentFlags, Flag, TargetGroup
from rollout.selectors import flags as selectors
from rollout.services.locking import as_read, flags_locked, flags_save, next_revision, reason_given
from rollout.services.raising import Authority

LITERT = "litert_enabled"
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
    schema: dict[str, Any] | None = None


_COMMAND = {"type": "integer", "minimum": 0}
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
        safe=ON,
        schema={"type": "integer", "minimum": 1, "maximum": 8},
    ),
    _Seed(
        "litert_switching_threshold",
        "Switching threshold",
        "The loss of throughput that makes a device change its backend; on asks for 30 %.",
        FlagType.FLOAT,
        0.3,
        0.1,
        safe=ON,
        demo=100_000,
        schema={"type": "number", "minimum": 0.01, "maximum": 1},
    ),
    _Seed(
        "litert_switch_cooldown_ms",
        "Switch cooldown",
        "Milliseconds between two changes of backend; on waits a minute.",
        FlagType.INTEGER,
        60_000,
        10_000,
        safe=ON,
        demo=100_000,
        schema={"type": "integer", "minimum": 0, "maximum": 86_400_000},
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
    # commands: a device carries out each number that it has not seen yet, once
    _Seed(
        "litert_model_redownload",
        "Download models anew",
        "Each new number: a device fetches its model again, proves it, and sets the old one aside. 0 is nothing.",
        FlagType.INTEGER,
        1,
        0,
        schema=_COMMAND,
    ),
    _Seed(
        "litert_model_cache_clear",
        "Clear the model cache",
        "Each new number: a device sets aside what LiteRT cached beside its model. 0 is nothing.",
        FlagType.INTEGER,
        1,
        0,
        schema=_COMMAND,
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
                    schema=seed.schema,
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
        as_read(key, flag.revision, expected_revision)
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
        as_read(key, flag.revision, expected_revision)
        if sorted(flag.requires) == wanted:
            return None
        every = dict(selectors.live(environment).values_list("key", "requires"))
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
        as_read(key, flag.revision, expected_revision)
        if flag.salt == salt:
            return None
        before = {**flag.state(), "salt": flag.salt}
        flag.salt = salt
        flags_save(state, [flag], authority=authority or Authority.of(actor))
        this.record("flag.salted", subject=f"flag:{key}", before=before, after={**flag.state(), "salt": salt})
    return this.entry
