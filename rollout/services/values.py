"""Changing what a flag serves, and the JSON Schema that both its values must meet."""

from typing import Any

from hawkops.core.errors import Conflict, NotFound
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from rollout.domain import values as domain
from rollout.domain.flags import OFF, ON, FlagType
from rollout.domain.values import Shown, Values
from rollout.models import Flag
from rollout.selectors import flags as selectors
from rollout.services.locking import as_read, flags_locked, flags_save, reason_given
from rollout.services.raising import Authority


def flag_values_set(
    *,
    environment: str,
    key: str,
    on: Any,
    off: Any,
    schema: Any,
    expected_revision: int,
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Set a flag's values and its schema (None for none); None when they already are so.

    Raises FieldUnfit for what can't be kept, Conflict when the flag changed after `expected_revision`.
    """
    # a flag's type never changes, so this is looked at before anything is locked: a schema may take its time
    wanted = _checked(environment, key, Values(on, off, schema))
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state, flags = flags_locked(environment, [key])
        flag = flags[key]
        as_read(key, flag.revision, expected_revision)
        if wanted.equals(standing(flag)):
            return None
        if flag.experiment:
            raise Conflict(f"{key} is divided by the A/B test {flag.experiment['key']}. End that first.")
        before = _state(flag)
        flag.on, flag.off, flag.schema = wanted.on, wanted.off, wanted.schema
        flags_save(state, [flag], authority=authority or Authority.of(actor))
        this.record("flag.values_changed", subject=f"flag:{key}", before=before, after=_state(flag))
    return this.entry


def changes(environment: str, key: str, given: Values) -> list[Shown]:
    """Return what values and schema would change, for people to compare. Raises FieldUnfit, NotFound."""
    wanted = _checked(environment, key, given)
    return domain.differences(standing(_found(environment, key)), wanted)


def standing(flag: Flag) -> Values:
    """Return a flag's values as devices get them, and its schema."""
    known = flag.domain()
    return Values(known.value(ON), known.value(OFF), flag.schema)


def _checked(environment: str, key: str, given: Values) -> Values:
    flag = _found(environment, key)
    return domain.values_checked(FlagType(flag.type), given, standing=standing(flag))


def _found(environment: str, key: str) -> Flag:
    found = selectors.flag(environment, key)
    if found is None:
        raise NotFound(f"There is no flag {key!r} in {environment}.")
    return found


def _state(flag: Flag) -> dict[str, object]:
    return {**flag.state(), "on": flag.on, "off": flag.off, "schema": flag.schema}
