"""Reading what was proposed, for the apps above."""

from dataclasses import dataclass
from datetime import datetime

from rollout.models import Proposal


@dataclass(frozen=True)
class Fate:
    """What became of a proposal: open, applied or withdrawn, when and by whom."""

    pk: int
    state: str
    ended_at: datetime | None
    ended_by: str


def fate(pk: int | None) -> Fate:
    """Return what became of a proposal; one that is gone counts as withdrawn. One query."""
    found = Proposal.objects.filter(pk=pk).first() if pk is not None else None
    if found is None:
        return Fate(pk or 0, "withdrawn", None, "")
    return Fate(found.pk, found.state, found.ended_at, found.ended_by)
