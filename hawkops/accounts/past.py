"""How the history speaks of people: the roles of each environment are a member of their own, and visits change nothing."""

from dataclasses import replace
from typing import Any

from hawkops.history.domain.travel import Kind, Told

# what people do here without becoming otherwise
PASSING = ("person.signed_in", "person.confirmed", "person.session_ended", "person.locked")


def read(_name: str, told: Told) -> Told:
    """Return what an entry says of a person, its roles named by where they count."""
    if told.verb in PASSING:
        return replace(told, before=None, after=None)
    return replace(told, before=_placed(told.before), after=_placed(told.after))


def _placed(side: Any) -> Any:
    if not isinstance(side, dict) or not {"roles", "environment"} <= side.keys():
        return side
    rest = {name: value for name, value in side.items() if name not in ("roles", "environment")}
    return {**rest, f"roles in {side['environment']}": side["roles"]}


PEOPLE = Kind(read=read)
