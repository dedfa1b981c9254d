"""Reading rollbacks: those that were made, and of each what of it still stands."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hawkops.core.errors import NotFound
from hawkops.history.models import HistoryEntry
from hawkops.scripts.models import State
from rollout.domain import rollback as domain
from rollout.domain.rollback import Change, Level, Part
from rollout.models import Flag, Rollback
from rollout.selectors import flags

APP_SCRIPT = "scripts/rollback-app-version.sh"
APP_ARGUMENTS = {"version": "previous", "track": "production"}
SHOWN_MOST = 20
_OPEN = (State.QUEUED.value, State.RUNNING.value)


@dataclass(frozen=True)
class Kept:
    """A rollback with its entry of the history, and what of it stands and what somebody changed since."""

    rollback: Rollback
    entry: int | None
    standing: tuple[Change, ...]
    changed: tuple[Change, ...]

    @property
    def level(self) -> Level:
        """Which level it is."""
        return Level(self.rollback.level)

    @property
    def undoable(self) -> bool:
        """Whether there is anything to restore."""
        return self.rollback.undone_at is None and bool(self.standing)


def parts(flag: Flag) -> dict[str, Any]:
    """Return of a flag what a rollback may change, part by part."""
    return {
        Part.SHARE: {"rules": flag.rules, "thousandths": flag.thousandths},
        Part.OVERRIDE: {
            "variant": flag.override_variant,
            "reason": flag.override_reason,
            "by": flag.override_by,
            "at": flag.override_at.isoformat() if flag.override_at else None,
            "revision": flag.override_revision,
        },
        Part.SCOPED: flag.scoped_overrides,
    }


def rollback(environment: str, number: int) -> Rollback:
    """Return one rollback. Raises NotFound."""
    found = Rollback.objects.filter(environment=environment, pk=number).first()
    if found is None:
        raise NotFound(f"There is no rollback {number} in {environment}.")
    return found


def rollbacks(environment: str, *, limit: int = SHOWN_MOST) -> list[Kept]:
    """Return an environment's newest rollbacks, newest first. Three queries."""
    found = list(Rollback.objects.filter(environment=environment).select_related("release", "rehearsal", "run")[:limit])
    if not found:
        return []
    now = {flag.key: parts(flag) for flag in flags.flags(environment)}
    entries = _entries(found)
    return [_kept(one, now, entries.get(one.subject)) for one in found]


def kept(environment: str, number: int) -> Kept:
    """Return one rollback with what of it stands. Raises NotFound."""
    found = rollback(environment, number)
    now = {flag.key: parts(flag) for flag in flags.flags(environment)}
    return _kept(found, now, entry_of(found))


def entry_of(found: Rollback) -> int | None:
    """Return a rollback's entry of the history; None until the change that made it has ended."""
    return _entries([found]).get(found.subject)


def halved_since(environment: str, revision: int) -> bool:
    """Whether somebody halved, and nobody took it back, after a revision was looked at."""
    halves = Rollback.objects.filter(environment=environment, level=Level.HALVE, undone_at=None)
    return halves.filter(revision__gt=revision).exclude(changes=[]).exists()


def app_under_way(environment: str) -> Rollback | None:
    """Return the app's rollback that has not ended: it is rehearsed or runs, or its run is about to be asked for."""
    newest = (
        Rollback.objects.filter(environment=environment, level=Level.APP).select_related("rehearsal", "run").first()
    )
    if newest is None or newest.done is None:
        return None
    return newest if newest.done.state in _OPEN else None


def _entries(found: Iterable[Rollback]) -> dict[str, int]:
    rows = HistoryEntry.objects.filter(verb="rollback.made", subject__in=[one.subject for one in found])
    return dict(rows.values_list("subject", "seq"))


def _kept(one: Rollback, now: dict[str, dict[str, Any]], entry: int | None) -> Kept:
    changes = [domain.change(document) for document in one.changes]
    standing = tuple(each for each in changes if each.flag in now and each.stands(now[each.flag]))
    return Kept(one, entry, standing, tuple(each for each in changes if each not in standing))
