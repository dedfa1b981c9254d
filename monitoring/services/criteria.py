"""Writes on criteria: seeded from the file, edited by people, each edit one history entry with before and after."""

from collections.abc import Callable, Iterable
from typing import Any

from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.history.services import change
from monitoring import thresholds
from monitoring.domain import criteria, targets
from monitoring.domain import thresholds as sections
from monitoring.models import StoredCriterion, StoredProfile, StoredSection

CRITERIA_MOST = 200
Row = StoredCriterion | StoredProfile | StoredSection
# addresses of pages that stand beside those of criteria
RESERVED = ("new",)


def criteria_seed(*, actor: Actor) -> int:
    """Take over the threshold file and return how many entries it changed: new ones are added, edited ones stay."""
    taken: dict[str, Any] = {}
    with change(actor=actor, reason="Installation") as this:
        wanted = {one.key: criteria.document(one) for one in thresholds.load()}
        taken |= _seed(StoredCriterion, wanted, actor, "")
        floors = {one.name: targets.document(one) for one in thresholds.load_profiles()}
        taken |= _seed(StoredProfile, floors, actor, "profile ")
        taken |= _seed(StoredSection, thresholds.load_sections(), actor, "section ")
        if taken:
            this.record("criteria.seeded", subject="criteria:file", after=taken)
    return len(taken)


def _seed(kind: type[Row], wanted: dict[str, dict[str, Any]], actor: Actor, prefix: str) -> dict[str, Any]:
    taken: dict[str, Any] = {}
    rows: Iterable[Row] = kind.objects.select_for_update(no_key=True)
    known = {found.key: found for found in rows}
    for key, document in wanted.items():
        found = known.get(key) or kind(key=key, revision=0)
        if found.seed == document:
            continue
        if not found.revision or not found.drifted:
            found.document = document
            if isinstance(found, StoredCriterion):
                found.purpose = document["purpose"]
        found.seed = document
        _save(found, actor)
        taken[f"{prefix}{key}"] = document
    return taken


def criterion_save(
    *, document: dict[str, Any], actor: Actor, reason: str, expected_revision: int | None = None, request_id: str = ""
) -> StoredCriterion:
    """Store a criterion as edited, or a new one. Raises InvalidInput, or Conflict when somebody was faster."""
    made = _checked("criterion", criteria.criterion, document)
    if made.key in RESERVED:
        raise InvalidInput(f"{made.key!r} is the address of a page; choose another key.")
    fresh = criteria.document(made)
    with change(actor=actor, reason=_reason(reason, "criterion"), request_id=request_id) as this:
        found = StoredCriterion.objects.select_for_update(no_key=True).filter(key=made.key).first()
        if found is None and StoredCriterion.objects.count() >= CRITERIA_MOST:
            raise InvalidInput(f"There are {CRITERIA_MOST} criteria already; delete one that nobody needs.")
        found = found or StoredCriterion(key=made.key, revision=0)
        before = _replaced(found, fresh, expected_revision)
        found.purpose = made.purpose.value
        _save(found, actor)
        verb = "criterion.changed" if before else "criterion.created"
        this.record(verb, subject=f"criterion:{made.key}", before=before, after=fresh)
    return found


def criterion_delete(*, key: str, actor: Actor, reason: str, request_id: str = "") -> None:
    """Delete a team's own criterion that was paused before. Raises NotFound, InvalidInput or Conflict."""
    with change(actor=actor, reason=_reason(reason, "criterion"), request_id=request_id) as this:
        found = StoredCriterion.objects.select_for_update().filter(key=key).first()
        if found is None:
            raise NotFound(f"There is no criterion {key!r}.")
        if found.seed is not None:
            raise InvalidInput(f"{key} is the runbook's: pause it instead.")
        if not found.document.get("paused"):
            raise Conflict(f"{key} is in force. Pause it first, and see what that leaves unwatched.")
        before = found.document
        found.delete()
        this.record("criterion.deleted", subject=f"criterion:{key}", before=before, after=None)


def criterion_reset(*, key: str, actor: Actor, reason: str, request_id: str = "") -> StoredCriterion:
    """Put a criterion back to what the threshold file says."""
    wanted = next((criteria.document(one) for one in thresholds.load() if one.key == key), None)
    found = StoredCriterion.objects.filter(key=key).first()
    if found is None or wanted is None:
        raise NotFound(f"The threshold file has no criterion {key!r}.")
    return criterion_save(
        document=wanted, actor=actor, reason=reason, expected_revision=found.revision, request_id=request_id
    )


def profile_save(
    *, document: dict[str, Any], actor: Actor, reason: str, expected_revision: int | None = None, request_id: str = ""
) -> StoredProfile:
    """Store a profile as edited, or a new one. Raises InvalidInput, or Conflict when somebody was faster."""
    made = _checked("profile", targets.profile, document)
    fresh = targets.document(made)
    with change(actor=actor, reason=_reason(reason, "profile"), request_id=request_id) as this:
        others = list(StoredProfile.objects.select_for_update(no_key=True).exclude(key=made.name))
        for other in map(targets.profile, (one.document for one in others)):
            if both := made.device_classes & other.device_classes if made.environments & other.environments else set():
                raise InvalidInput(
                    f"{sorted(both)[0]} has the profile {other.name} there already: one class, one floor."
                )
        found = StoredProfile.objects.select_for_update(no_key=True).filter(key=made.name).first()
        found = found or StoredProfile(key=made.name, revision=0)
        before = _replaced(found, fresh, expected_revision)
        _save(found, actor)
        verb = "profile.changed" if before else "profile.created"
        this.record(verb, subject=f"profile:{made.name}", before=before, after=fresh)
    return found


def section_save(
    *, key: str, document: dict[str, Any], actor: Actor, reason: str, expected_revision: int, request_id: str = ""
) -> StoredSection:
    """Store a section as edited. Raises NotFound, InvalidInput, or Conflict when somebody was faster."""
    fresh = _checked("section", lambda data: sections.document(key, data), document)
    with change(actor=actor, reason=_reason(reason, "section"), request_id=request_id) as this:
        found = StoredSection.objects.select_for_update(no_key=True).filter(key=key).first()
        if found is None:
            raise NotFound(f"There is no section {key!r}.")
        if missing := sorted(set(found.document) - set(fresh)):
            raise InvalidInput(f"{missing[0]} is missing.")
        before = _replaced(found, fresh, expected_revision)
        _save(found, actor)
        this.record("section.changed", subject=f"section:{key}", before=before, after=fresh)
    return found


def _replaced(found: Row, fresh: dict[str, Any], expected_revision: int | None) -> Any:
    """Put a document in the place of another and return that one; None for a new row."""
    if found.revision and not expected_revision:
        raise Conflict(f"There is one named {found.key} already. Choose another key, or edit that one.")
    if found.revision != (expected_revision or 0):
        raise Conflict(f"{found.key} was changed meanwhile. Look at what stands now, then save again.")
    before = found.document if found.revision else None
    if before == fresh:
        raise InvalidInput("Nothing differs from what stands now.")
    found.document = fresh
    return before


def _checked(what: str, read: Callable[[dict[str, Any]], Any], document: dict[str, Any]) -> Any:
    try:
        return read(document)
    except criteria.Unfit as unfit:
        raise InvalidInput(f"{'.'.join(map(str, unfit.path)) or what}: {unfit.message}.") from unfit


def _reason(reason: str, what: str) -> str:
    said = reason.strip()[:300]
    if not said:
        raise InvalidInput(f"Say why the {what} changes: the reason stands in the history.")
    if not criteria.writable(said):
        raise InvalidInput("The reason has a character that can't be stored: a control character.")
    return said


def _save(found: Row, actor: Actor) -> None:
    found.revision += 1
    found.changed_at, found.changed_by = clock.now(), actor.label
    found.save()
