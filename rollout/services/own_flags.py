"""Flags of a team's own: made in every environment at once, archived in one where they are done with."""

import re
from typing import Any

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from rollout.domain import values
from rollout.domain.bucketing import BUCKETS
from rollout.domain.flags import OFF, ON, FlagType
from rollout.domain.values import FieldUnfit, Values
from rollout.models import Flag
from rollout.selectors import experiments, releases
from rollout.selectors import flags as selectors
from rollout.services.flags import SEEDS
from rollout.services.locking import as_read, environment_locked, flags_locked, flags_save, next_revision, reason_given
from rollout.services.raising import Authority, admit

KEY = re.compile(r"[A-Za-z0-9._-]{1,80}")
# their pages would lie elsewhere
TAKEN_KEYS = ("new", "create", ".", "..")
# after those of the runbook, by their keys
POSITION = 1_000


def flag_create(
    *,
    key: str,
    title: str,
    explanation: str,
    kind: str,
    on: Any,
    off: Any,
    safe_variant: str,
    schema: Any,
    actor: Actor,
    reason: str,
    request_id: str = "",
) -> list[HistoryEntry]:
    """Make a flag in every environment, where every device gets its safe value; return each environment's entry.

    That is 0 % of `on`, or 100 % where `on` is the safe one: making a flag raises nothing. Raises FieldUnfit.
    """
    key, title, explanation = key.strip(), title.strip(), explanation.strip()
    _named(key, title, explanation)
    if kind not in list(FlagType):
        raise FieldUnfit("type", f"a flag's type is one of {', '.join(FlagType)}.")
    if safe_variant not in (ON, OFF):
        raise FieldUnfit("safe_variant", "the safe variant is on or off.")
    kept = values.values_checked(FlagType(kind), Values(on, off, schema))
    with change(actor=actor, reason=reason_given(reason), request_id=request_id) as this:
        states = [environment_locked(one) for one in sorted(Environment)]
        if taken := list(Flag.objects.filter(key=key).order_by("environment")):
            archived = any(flag.archived_at for flag in taken)
            raise FieldUnfit(
                "key", f"there is a flag {key} already{', archived' if archived else ''}; take another key."
            )
        for state in states:
            with change(actor=actor, environment=state.environment, reason=reason_given(reason)) as one:
                revision = next_revision(state)
                flag = Flag.objects.create(
                    environment=state.environment,
                    key=key,
                    title=title,
                    explanation=explanation,
                    position=POSITION,
                    type=kind,
                    on=kept.on,
                    off=kept.off,
                    schema=kept.schema,
                    safe_variant=safe_variant,
                    thousandths=BUCKETS if safe_variant == ON else 0,
                    salt=f"{key}-1"[:80],
                    revision=revision,
                    changed_at=state.changed_at,
                )
                one.record(
                    "flag.created",
                    subject=f"flag:{key}",
                    after={
                        **flag.state(),
                        "title": title,
                        "type": kind,
                        "on": kept.on,
                        "off": kept.off,
                        "safe_variant": safe_variant,
                        "schema": kept.schema,
                    },
                )
    return this.entries


def flag_archive(
    *,
    environment: str,
    key: str,
    expected_revision: int,
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Archive a flag: nobody is answered from it any more, and its key stays taken.

    Devices then get what their own code falls back to, which nobody here knows: so it counts as raising. Raises Conflict
    for a flag of the runbook, and for one that something still needs.
    """
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state, flags = flags_locked(environment, [key])
        flag = flags[key]
        if why := kept_by(environment, key):
            raise Conflict(why)
        as_read(key, flag.revision, expected_revision)
        admit(environment, {key: False}, authority or Authority.of(actor))
        before = flag.state()
        flag.archived_at = clock.now()
        flags_save(state, [flag], authority=authority or Authority.of(actor))
        this.record(
            "flag.archived", subject=f"flag:{key}", before=before, after={"archived": True, "revision": flag.revision}
        )
    return this.entry


def is_seeded(key: str) -> bool:
    """Say whether the runbook brings the flag."""
    return any(seed.key == key for seed in SEEDS)


def kept_by(environment: str, key: str) -> str:
    """Say what keeps a flag from being archived; empty when nothing does."""
    if is_seeded(key):
        return f"{key} is one of the runbook's flags, which are never archived. Set it to 0 % instead."
    if running := experiments.running_on(environment, key):
        return f"{key} is divided by the A/B test {running.key}. End that first."
    if needing := [flag.key for flag in selectors.flags(environment) if key in flag.requires]:
        return f"{', '.join(needing)} requires {key}. Change that first."
    release = releases.release_running(environment)
    if release is not None and key in releases.runbook(release).flags:
        return f"{release.name} {release.app_version} walks by a runbook that names {key}. Complete it first."
    return ""


def _named(key: str, title: str, explanation: str) -> None:
    if not KEY.fullmatch(key):
        raise FieldUnfit("key", "a key has 1 to 80 letters, digits, dots, dashes and underscores.")
    if key in TAKEN_KEYS:
        raise FieldUnfit("key", f"a flag can't be called {key}: its page could not be opened.")
    if not title or len(title) > 120 or not title.isprintable():
        raise FieldUnfit("title", "give it a title of at most 120 characters, on one line.")
    if not explanation or len(explanation) > 500 or not explanation.isprintable():
        raise FieldUnfit("explanation", "say in at most 500 characters, on one line, what its on value does.")
