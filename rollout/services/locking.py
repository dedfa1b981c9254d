"""The locks of every change to flags, in their order, and the one way to save them."""

from collections.abc import Iterable
from typing import Any

from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from rollout.models import EnvironmentFlags, Flag
from rollout.services.raising import Authority, admit_flags


def reason_given(reason: str) -> str:
    """Return the reason as the history keeps it. Raises InvalidInput when there is none."""
    if not reason.strip():
        raise InvalidInput("Say why: the reason stands in the history.")
    return reason.strip()[:300]


def as_read(key: str, revision: int, expected: int) -> None:
    """Raises Conflict where something was changed after the revision that its form was made from."""
    if revision != expected:
        raise Conflict(f"{key} was changed meanwhile, at revision {revision}. Look again: nothing is saved.")


def next_revision(state: EnvironmentFlags) -> int:
    """Let the environment's revision grow; its row is locked."""
    state.revision += 1
    state.changed_at = clock.now()
    state.save(update_fields=["revision", "changed_at"])
    return state.revision


def environment_locked(environment: str) -> EnvironmentFlags:
    """Lock an environment's revision, which every change of its flags and groups does first."""
    state = EnvironmentFlags.objects.select_for_update(no_key=True).filter(pk=environment).first()
    if state is None:
        raise NotFound(f"The environment {environment} has no flags yet. Run `manage.py seed`.")
    return state


def flags_locked(environment: str, keys: Iterable[str]) -> tuple[EnvironmentFlags, dict[str, Flag]]:
    """Lock the environment's revision, then the flags in order of their keys. Raises Conflict for an archived one."""
    wanted = sorted(set(keys))
    state = environment_locked(environment)
    found = Flag.objects.select_for_update(no_key=True).filter(environment=environment, key__in=wanted).order_by("key")
    flags = {flag.key: flag for flag in found}
    if missing := [key for key in wanted if key not in flags]:
        raise NotFound(f"There is no flag {missing[0]!r} in {environment}.")
    if archived := [key for key, flag in flags.items() if flag.archived_at]:
        raise Conflict(
            f"{archived[0]} is archived in {environment}: nobody is answered from it, and it stays as it is."
        )
    return state, flags


def undrilled(flag: Flag) -> list[dict[str, Any]]:
    """Return a flag's overrides for some devices without its drill, which a press in earnest ends."""
    return [one for one in flag.scoped_overrides if not one.get("group")]


def flags_save(state: EnvironmentFlags, flags: list[Flag], *, authority: Authority) -> None:
    """Save flags at a new revision; a new override for all ends a drill.

    Raises Refused when that raises exposure and something is missing.
    """
    for flag in flags:
        if flag.override_variant and flag.override_revision is None:
            flag.scoped_overrides = undrilled(flag)
    admit_flags(state.environment, flags, authority)
    revision = next_revision(state)
    for flag in flags:
        flag.revision = revision
        flag.changed_at = state.changed_at
        if flag.override_variant and flag.override_revision is None:
            flag.override_revision = revision
        flag.save()
