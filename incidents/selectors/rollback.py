"""The four rollback levels before, during and after: previews, what was done, and the checks of whether it helped."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import DatabaseError

from hawkops.core import clock
from hawkops.scripts.probes import play
from incidents.selectors.recovery import recovery
from incidents.selectors.stampede import cloud_requests_per_second
from rollout.selectors import census as census_selectors
from rollout.selectors import flags, harm, rollback_previews, rollbacks
from rollout.selectors.harm import Harm, Search
from rollout.selectors.rollback_previews import Cohort, Loss, Preview, Walk
from rollout.services.flags import BACKENDS, FALLBACK, LITERT

TITLES = {"gpu": "GPU", "npu": "NPU", "adaptive": "Adaptive switching"}
# a rollback's census is followed so long
FOLLOWED = timedelta(hours=1)
# of so few active devices the page searches at once
SEARCHED_AT_ONCE = 2_000


@dataclass(frozen=True)
class Backend:
    """One of level 2's switches, with what turning it off everywhere does."""

    name: str
    title: str
    flag: str
    preview: Preview

    @property
    def off(self) -> bool:
        """Whether it is off already."""
        return not self.preview.changes


@dataclass(frozen=True)
class Proposal:
    """A set of cohorts that the search proposes, with the devices that lose their backend and those that keep it."""

    harm: Harm
    cohorts: tuple[Cohort, ...]
    whole: Loss

    @property
    def title(self) -> str:
        """Its backend, as people call it."""
        return TITLES[self.harm.backend]


@dataclass(frozen=True)
class Levels:
    """Every level as it stands now."""

    walk: Walk | None
    halve: Preview
    backends: tuple[Backend, ...]
    kill: Preview
    requests_per_second: float | None
    # what the script of level 4 lacks
    lacks: str
    revision: int
    active: int
    simulated: int


def levels(environment: str) -> Levels:
    """Return what each level would do now."""
    walk = rollback_previews.walk(environment)
    return Levels(
        walk,
        rollback_previews.halve(environment, walk.flag if walk is not None else LITERT),
        tuple(
            Backend(name, TITLES[name], key, rollback_previews.disable(environment, [key]))
            for name, key in BACKENDS.items()
        ),
        rollback_previews.kill(environment, LITERT, FALLBACK),
        _requests(environment),
        _lacks(),
        flags.revision(environment),
        census_selectors.active_count(environment),
        census_selectors.simulated_count(environment),
    )


def search(environment: str) -> tuple[Search | None, tuple[Proposal, ...]]:
    """Return what the cohort search finds now, and what of it can be proposed; None where it could not be read.

    A few queries and up to a second or two, kept for a minute. No press waits for it.
    """
    walk = rollback_previews.walk(environment)
    try:
        found = harm.search(environment, walk.run if walk is not None else None)
    except DatabaseError:
        return None, ()
    proposals = []
    for one in found.harms:
        if one.everywhere or not one.cohorts:
            continue
        where = [cohort.constraints for cohort in one.cohorts]
        cohorts, whole = rollback_previews.cohorts(environment, [BACKENDS[one.backend]], where)
        proposals.append(Proposal(one, tuple(cohorts), whole[0]))
    return found, tuple(proposals)


def best(found: Search | None, proposals: tuple[Proposal, ...]) -> Harm | None:
    """Return the proposal to choose: of the most certain harm, where cohorts explain it; None for everywhere."""
    if found is None or found.best is None:
        return None
    return next((one.harm for one in proposals if one.harm == found.best), None)


def preselected(found: Search | None) -> list[str]:
    """Return the backends that the figures name; the runbook's own two where they name none."""
    best = found.best if found is not None else None
    return [best.backend] if best is not None else ["gpu", "adaptive"]


def after(environment: str) -> dict[str, Any]:
    """Return what was done lately: the rollbacks with what stands of each, the newest one's census and its checks."""
    kept = rollbacks.rollbacks(environment)
    newest = next((one.rollback for one in kept if one.rollback.revision and one.rollback.changes), None)
    follows = newest is not None and newest.undone_at is None and newest.at >= clock.now() - FOLLOWED
    return {
        "rollbacks": kept,
        "followed": newest if follows else None,
        "census": census_selectors.census(environment, newest.revision) if follows and newest is not None else None,
        "recovery": recovery(environment),
        "app": next((one for one in kept if one.level == 4), None),
    }


def _requests(environment: str) -> float | None:
    try:
        return cloud_requests_per_second(environment)
    except DatabaseError:
        return None


def _lacks() -> str:
    """Say what this machine lacks to reach Google Play; empty when nothing is. Reads one file, calls nobody."""
    try:
        play.connect()
    except play.Lacking as lack:
        return str(lack)
    return ""
