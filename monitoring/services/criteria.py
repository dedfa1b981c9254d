"""Writes on criteria: seeded from the file, edited by people, each edit one history entry with before and after."""

from typing import Any

from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.history.services import change
from monitoring import thresholds
from monitoring.domain import criteria, targets
from monitoring.models import StoredCriterion, StoredProfile


def criteria_seed(*, actor: Actor) -> int:
    """Take over the threshold file and return how many criteria it changed: new ones are added, edited ones stay."""
    taken: dict[str, Any] = {}
    with change(actor=actor, reason="Installation") as this:
        known = {found.key: found for found in StoredCriterion.objects.select_for_update(no_key=True)}
        for wanted in thresholds.load():
            document = criteria.document(wanted)
            found = known.get(wanted.key) or StoredCriterion(key=wanted.key, revision=0)
            if found.seed == document:
                continue
            if not found.revision or not found.drifted:
                found.document, found.purpose = document, wanted.purpose.value
            found.seed = document
            _save(found, actor)
            taken[wanted.key] = document
        taken |= _profiles_seed(actor)
        if taken:
            this.record("criteria.seeded", subject="criteria:file", after=taken)
    return len(taken)


def _profiles_seed(actor: Actor) -> dict[str, Any]:
    taken: dict[str, Any] = {}
    known = {found.key: found for found in StoredProfile.objects.select_for_update(no_key=True)}
    for wanted in thresholds.load_profiles():
        document = targets.document(wanted)
        found = known.get(wanted.name) or StoredProfile(key=wanted.name, revision=0)
        if found.seed == document:
            continue
        if not found.revision or not found.drifted:
            found.document = document
        found.seed = document
        _save(found, actor)
        taken[f"profile {wanted.name}"] = document
    return taken


def profile_save(
    *, document: dict[str, Any], actor: Actor, reason: str, expected_revision: int | None = None, request_id: str = ""
) -> StoredProfile:
    """Store a profile as edited, or a new one. Raises InvalidInput, or Conflict when somebody was faster."""
    try:
        made = targets.profile(document)
    except criteria.Unfit as unfit:
        raise InvalidInput(f"{'.'.join(map(str, unfit.path)) or 'profile'}: {unfit.message}.") from unfit
    if not reason.strip():
        raise InvalidInput("Say why the profile changes: the reason stands in the history.")
    fresh = targets.document(made)
    with change(actor=actor, reason=reason.strip()[:300], request_id=request_id) as this:
        others = list(StoredProfile.objects.select_for_update(no_key=True).exclude(key=made.name))
        for other in map(targets.profile, (one.document for one in others)):
            if both := made.device_classes & other.device_classes if made.environments & other.environments else set():
                raise InvalidInput(
                    f"{sorted(both)[0]} has the profile {other.name} there already: one class, one floor."
                )
        found = StoredProfile.objects.select_for_update(no_key=True).filter(key=made.name).first()
        if (found.revision if found else 0) != (expected_revision or 0):
            raise Conflict(f"{made.name} was changed meanwhile. Look at what stands now, then save again.")
        before = found.document if found else None
        if before == fresh:
            raise InvalidInput("Nothing differs from what stands now.")
        found = found or StoredProfile(key=made.name, revision=0)
        found.document = fresh
        _save(found, actor)
        verb = "profile.changed" if before else "profile.created"
        this.record(verb, subject=f"profile:{made.name}", before=before, after=fresh)
    return found


def criterion_save(
    *, document: dict[str, Any], actor: Actor, reason: str, expected_revision: int | None = None, request_id: str = ""
) -> StoredCriterion:
    """Store a criterion as edited, or a new one. Raises InvalidInput, or Conflict when somebody was faster."""
    made = _checked(document)
    if not reason.strip():
        raise InvalidInput("Say why the criterion changes: the reason stands in the history.")
    fresh = criteria.document(made)
    with change(actor=actor, reason=reason.strip()[:300], request_id=request_id) as this:
        found = StoredCriterion.objects.select_for_update(no_key=True).filter(key=made.key).first()
        if (found.revision if found else 0) != (expected_revision or 0):
            raise Conflict(f"{made.key} was changed meanwhile. Look at what stands now, then save again.")
        before = found.document if found else None
        if before == fresh:
            raise InvalidInput("Nothing differs from what stands now.")
        if found is None:
            found = StoredCriterion(key=made.key, revision=0)
        found.document, found.purpose = fresh, made.purpose.value
        _save(found, actor)
        verb = "criterion.changed" if before else "criterion.created"
        this.record(verb, subject=f"criterion:{made.key}", before=before, after=fresh)
    return found


def criterion_reset(*, key: str, actor: Actor, reason: str, request_id: str = "") -> StoredCriterion:
    """Put a criterion back to what the threshold file says."""
    found = StoredCriterion.objects.filter(key=key).first()
    if found is None or found.seed is None:
        raise NotFound(f"The threshold file has no criterion {key!r}.")
    return criterion_save(
        document=found.seed, actor=actor, reason=reason, expected_revision=found.revision, request_id=request_id
    )


def _checked(document: dict[str, Any]) -> criteria.Criterion:
    try:
        return criteria.criterion(document)
    except criteria.Unfit as unfit:
        raise InvalidInput(f"{'.'.join(map(str, unfit.path)) or 'criterion'}: {unfit.message}.") from unfit


def _save(found: StoredCriterion | StoredProfile, actor: Actor) -> None:
    found.revision += 1
    found.changed_at, found.changed_by = clock.now(), actor.label
    found.save()
