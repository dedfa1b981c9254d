"""Writes on versions of the runbook by people: a draft imported or edited, and its approval until it is adopted."""

from django.db import IntegrityError, transaction

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.access import Role, can_in_all
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hawkops.core.teams import Team
from hawkops.history.actors import Actor
from hawkops.history.services import change
from rollout.domain import adoption
from rollout.domain.adoption import State
from rollout.models import RunbookApproval, RunbookVersion
from rollout.runbook.loading import Loaded, loads
from rollout.selectors.runbooks import signatures

NEW = ""


def version_import(
    *, text: bytes, name: str, expected_digest: str, actor: Actor, request_id: str = ""
) -> RunbookVersion:
    """Take a text as a new draft, or as the next text of a draft, whose approvals fall with it.

    `expected_digest` is the digest of the draft that was edited, NEW for a version that is not there yet. Raises
    InvalidInput with file and line, and Conflict when the draft is there already or was edited meanwhile.
    """
    loaded = loads(text, name=name)
    version = loaded.runbook.version
    with change(actor=actor, reason=loaded.runbook.changes[:300], request_id=request_id) as this:
        _unlike_others(loaded)
        found = RunbookVersion.objects.select_for_update(no_key=True).filter(version=version).first()
        if found is None:
            if expected_digest != NEW:
                raise InvalidInput(
                    f"{name} says that it is version {version}, another one than the draft that was edited. "
                    "Import it as a version of its own."
                )
            made = _created(loaded, actor)
            this.record("runbook.imported", subject=f"runbook:{version}", after=_said(loaded, made))
            return made
        _editable(found, loaded, expected_digest)
        before = {"digest": found.digest, "approved_for": [one.team for one in found.approvals.all()]}
        fallen = found.approvals.all().delete()[0]
        found.document, found.text, found.digest = loaded.document, loaded.text, loaded.digest
        found.made_by, found.imported_at = actor.label, clock.now()
        if actor.reference not in found.makers:
            found.makers = [*found.makers, actor.reference]
        found.save()
        after = {**_said(loaded, found), "approvals_fallen": fallen}
        this.record("runbook.edited", subject=f"runbook:{version}", before=before, after=after)
    return found


def version_approve(*, version: str, digest: str, team: str, signer: User, request_id: str = "") -> RunbookVersion:
    """Approve a draft for a team, over the text that was read (its digest); the last team's approval adopts it."""
    if not can_in_all(signer, tuple(Environment), Role.APPROVER):
        raise NotAllowed("A runbook counts in every environment: approving it needs the role approver in each.")
    if team not in tuple(Team):
        raise InvalidInput(f"Say for which team you approve: {', '.join(Team)}.")
    actor = Actor.person(signer)
    with change(actor=actor, request_id=request_id) as this:
        found = RunbookVersion.objects.select_for_update(no_key=True).filter(version=version).first()
        if found is None:
            raise NotFound(f"There is no version {version} of the runbook.")
        if found.adopted:
            raise Conflict(f"Version {version} is adopted already.")
        if found.digest != digest:
            raise Conflict(f"Version {version} was edited after you read it. Read it again: nothing is approved.")
        signed = signatures(found)
        if said := adoption.objection(
            person=actor.reference,
            team=team,
            person_teams=signer.teams(),
            makers=found.makers,
            signatures=signed,
        ):
            raise NotAllowed(said)
        RunbookApproval.objects.create(
            version=found, team=team, person=actor.reference, by=actor.label, digest=digest, at=clock.now()
        )
        signed = signatures(found)
        missing = adoption.missing(tuple(Team), signed)
        subject = f"runbook:{version}"
        this.record("runbook.approved", subject=subject, after={"team": team, "digest": digest, "missing": missing})
        if not missing:
            found.state, found.adopted_at = State.ADOPTED.value, clock.now()
            found.save(update_fields=["state", "adopted_at"])
            this.record(
                "runbook.adopted",
                subject=subject,
                before={"state": State.DRAFT.value},
                after={
                    "state": State.ADOPTED.value,
                    "digest": digest,
                    "approved_by": {one.team: one.person for one in signed},
                },
            )
    return found


def _created(loaded: Loaded, actor: Actor) -> RunbookVersion:
    version = loaded.runbook.version
    try:
        with transaction.atomic():
            return RunbookVersion.objects.create(
                version=version,
                document=loaded.document,
                text=loaded.text,
                digest=loaded.digest,
                makers=[actor.reference],
                made_by=actor.label,
                imported_at=clock.now(),
            )
    except IntegrityError:
        raise Conflict(f"Somebody imported version {version} just now. Look at it first: nothing is saved.") from None


def _editable(found: RunbookVersion, loaded: Loaded, expected_digest: str) -> None:
    version = found.version
    if found.digest == loaded.digest:
        raise InvalidInput(f"This is version {version} as it stands, byte for byte; there is nothing to import.")
    if found.adopted:
        raise InvalidInput(
            f"Version {version} is adopted, and releases rely on its text. Give yours a version of its own."
        )
    if expected_digest == NEW:
        raise Conflict(f"There is a draft {version} already. Edit it on its page, so that nobody's words are lost.")
    if found.digest != expected_digest:
        raise Conflict(f"{found.made_by} edited {version} meanwhile. Look at it again: nothing is saved.")


def _unlike_others(loaded: Loaded) -> None:
    """Refuse a text that differs from another version in its number only."""
    others = RunbookVersion.objects.exclude(version=loaded.runbook.version)
    for version, document in others.values_list("version", "document"):
        if _unnumbered(document) == _unnumbered(loaded.document):
            raise InvalidInput(f"It says the same as version {version}, but for its number; there is nothing to adopt.")


def _unnumbered(document: dict[str, object]) -> dict[str, object]:
    about = document.get("runbook")
    if not isinstance(about, dict):
        return document
    return {**document, "runbook": {key: value for key, value in about.items() if key != "version"}}


def _said(loaded: Loaded, version: RunbookVersion) -> dict[str, object]:
    """What the history keeps of a text."""
    return {
        "digest": loaded.digest,
        "state": version.state,
        "author": loaded.runbook.author,
        "changes": loaded.runbook.changes,
        "next_review": loaded.runbook.next_review.isoformat(),
        "boxes": loaded.runbook.boxes_total,
        "phases": len(loaded.runbook.phases),
    }
