"""How a version of the runbook becomes the one that releases walk through: who must sign, and who may not. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class State(StrEnum):
    """A draft may still be edited; an adopted version never changes and is pinned by new releases."""

    DRAFT = "draft"
    ADOPTED = "adopted"


@dataclass(frozen=True)
class Signature:
    """One person's approval for one team, over the text with this digest."""

    team: str
    person: str
    digest: str


def valid(signatures: Iterable[Signature], digest: str) -> tuple[Signature, ...]:
    """Return the signatures that speak of this text."""
    return tuple(one for one in signatures if one.digest == digest)


def missing(teams: Iterable[str], signatures: Collection[Signature]) -> tuple[str, ...]:
    """Return the teams that have not signed yet, in the given order."""
    signed = {one.team for one in signatures}
    return tuple(team for team in teams if team not in signed)


def objection(
    *, person: str, team: str, person_teams: Collection[str], makers: Collection[str], signatures: Collection[Signature]
) -> str:
    """Return why a person may not sign for a team, as a sentence; empty when nothing stands against it."""
    if person in makers:
        return "You imported or edited this version, so others approve it: nobody signs for his own words."
    if team not in person_teams:
        own = ", ".join(sorted(person_teams)) or "no team"
        return f"You sign for {own}, not for {team}; somebody of {team} approves for it."
    if own_signature := next((one for one in signatures if one.person == person), None):
        return f"You approved this version for {own_signature.team} already: one person counts for one team."
    if any(one.team == team for one in signatures):
        return f"Somebody approved this version for {team} already."
    return ""


def overdue_since(next_review: date, today: date) -> date | None:
    """Return the day on which the review was due when that day has passed, else None."""
    return next_review if next_review < today else None
