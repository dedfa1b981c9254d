"""Waivers: a box may stay open until a day, in somebody's name, with a second person's yes. Never silent."""

from datetime import datetime, timedelta

from hawkops.core import clock
from hawkops.core.errors import InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.history.services import change
from rollout.models import Release, Waiver
from rollout.selectors.releases import runbook
from rollout.services.locking import reason_given

LONGEST = timedelta(days=30)


def title(release: Release, box: str) -> str:
    """Say what a waiver is for. Raises NotFound for a box that the runbook lacks."""
    found = runbook(release).box(box)
    if found is None:
        raise NotFound(f"The runbook has no box {box!r}.")
    return f"Waive “{found[1].title}” of {release.name} {release.app_version}"


def expiry_checked(at: datetime) -> datetime:
    """Return when a waiver ends. Raises InvalidInput for a time that is over or too far."""
    now = clock.now()
    if not now < at <= now + LONGEST:
        raise InvalidInput(f"A waiver ends at a time to come, within {LONGEST.days} days.")
    return at


def owner_checked(owner: str) -> str:
    """Return who answers for a waiver. Raises InvalidInput when nobody does."""
    if not owner.strip() or len(owner.strip()) > 150:
        raise InvalidInput("Say who answers for the waiver, in at most 150 characters.")
    return owner.strip()


def waiver_make(
    *,
    release: Release,
    box: str,
    owner: str,
    expires_at: datetime,
    approvers: list[str],
    actor: Actor,
    reason: str,
    request_id: str = "",
) -> Waiver:
    """Waive a box until a time; a new waiver takes an older one's place. Comes by an approved proposal only."""
    title(release, box)
    owner = owner_checked(owner)
    expiry_checked(expires_at)
    if not approvers:
        raise InvalidInput("A waiver takes a second person's yes.")
    with change(
        actor=actor, environment=release.environment, reason=reason_given(reason), request_id=request_id
    ) as this:
        Release.objects.select_for_update(no_key=True).get(pk=release.pk)
        made, _new = Waiver.objects.update_or_create(
            release=release,
            box=box,
            defaults={
                "reason": reason_given(reason),
                "owner": owner,
                "by": ", ".join([actor.label, *approvers])[:300],
                "made_at": clock.now(),
                "expires_at": expires_at,
            },
        )
        this.record(
            "check.waived",
            subject=f"check:{release.pk}:{box}",
            after={"owner": owner, "expires_at": expires_at},
        )
    return made


def waiver_end(*, waiver: Waiver, actor: Actor, reason: str, request_id: str = "") -> None:
    """Take a waiver back: the box counts again at once."""
    release = waiver.release
    with change(
        actor=actor, environment=release.environment, reason=reason_given(reason), request_id=request_id
    ) as this:
        gone, _tables = Waiver.objects.filter(pk=waiver.pk).delete()
        if gone:
            this.record(
                "check.waiver_ended",
                subject=f"check:{release.pk}:{waiver.box}",
                before={"owner": waiver.owner, "expires_at": waiver.expires_at},
            )
