"""Keeping that somebody reviewed who has access."""

from django.db import connection

from hawkops.compliance import access
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.services import change

NOTE_MOST = 500
# any number that nobody else takes for another purpose
REVIEW_LOCK = 0x6861_776B_0002


def access_reviewed(*, environment: str, digest: str, note: str, actor: Actor, request_id: str = "") -> None:
    """Record that what `digest` stands for was reviewed. Raises Conflict when access has changed since it was shown."""
    note = note.replace("\x00", "").strip()
    if not note or len(note) > NOTE_MOST:
        raise InvalidInput(f"Say what the review came to, in at most {NOTE_MOST} characters.")
    with change(actor=actor, environment=environment, reason=note, request_id=request_id) as this:
        with connection.cursor() as cursor:  # two who press at once are two reviews, one after the other
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [REVIEW_LOCK])
        found = access.review(environment)
        if found.digest != digest:
            raise Conflict("Access has changed since this page was shown. Look at it again, then review.")
        this.record(
            access.REVIEWED,
            subject=f"access:{environment}",
            before={"entry": found.last.seq} if found.last else None,
            after={
                "digest": digest,
                "people": len(found.people),
                "keys": len(found.keys),
                "tokens": len(found.tokens),
            },
        )
