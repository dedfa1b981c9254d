"""The break-glass account: a sealed code lets somebody in once, for an hour, loudly, when nobody else can sign in.

It may do what an operator and an administrator may, and raise nothing where other people are asked.
"""

import secrets
from datetime import timedelta

from hawkops.accounts.lockout import try_begin, try_failed, try_succeeded
from hawkops.accounts.models import BREAK_GLASS, BreakGlassCode, User
from hawkops.accounts.services.credentials import secret_hash
from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.services import Change, change

OPEN_FOR = timedelta(minutes=60)
# two envelopes in two safes
SEALED_MOST = 2
# Crockford's base 32: no letter looks like a figure
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
GROUPS, GROUP = 5, 5
REASON_LEAST = 10
# what concerns the installation itself stands there
ENVIRONMENT = "production"


def spelled(code: str) -> str:
    """Return a code as it is hashed: typed at night, with spaces and dashes, O for 0, I or L for 1."""
    plain = "".join(letter for letter in code.upper() if letter.isalnum())
    return plain.translate(str.maketrans("OIL", "011"))


def break_glass_create(*, actor: Actor, request_id: str = "") -> tuple[BreakGlassCode, str]:
    """Make a code; the second value is to be printed, sealed and kept apart. Raises Conflict with two sealed already."""
    letters = [secrets.choice(LETTERS) for _ in range(GROUPS * GROUP)]
    code = "-".join("".join(letters[start : start + GROUP]) for start in range(0, GROUPS * GROUP, GROUP))
    with change(actor=actor, environment=ENVIRONMENT, request_id=request_id) as this:
        sealed = BreakGlassCode.objects.select_for_update(no_key=True).filter(opened_at=None, revoked_at=None)
        if len(sealed) >= SEALED_MOST:
            raise Conflict(f"{SEALED_MOST} codes are sealed already; revoke one of them first.")
        _account(this)
        made = BreakGlassCode.objects.create(
            code_hash=secret_hash(spelled(code)), made_at=clock.now(), made_by=actor.reference
        )
        this.record("break_glass.code_made", subject=f"break_glass:{made.pk}", after={"sealed": len(sealed) + 1})
    return made, code


def break_glass_revoke(*, code: BreakGlassCode, actor: Actor, reason: str = "", request_id: str = "") -> None:
    """Take a sealed code back: a seal was found broken, say."""
    with change(actor=actor, environment=ENVIRONMENT, reason=reason, request_id=request_id) as this:
        locked = BreakGlassCode.objects.select_for_update(no_key=True).get(pk=code.pk)
        if not locked.sealed:
            return
        locked.revoked_at = clock.now()
        locked.save(update_fields=["revoked_at"])
        this.record("break_glass.code_revoked", subject=f"break_glass:{locked.pk}", after={"at": locked.revoked_at})


def break_glass_open(*, code: str, reason: str, address: str, request_id: str = "") -> tuple[User, BreakGlassCode]:
    """Spend a code and return the account that it opens, and the code with the time it is open for.

    Raises InvalidInput for a code that is none, or without a reason; TooManyTries in a pause.
    """
    reason = " ".join(reason.split())
    if len(reason) < REASON_LEAST:
        raise InvalidInput("Say in a sentence why: everybody is told, and it stands in the history.")
    given = {"name": BREAK_GLASS, "address": address}
    try_begin(**given)
    found = BreakGlassCode.objects.filter(code_hash=secret_hash(spelled(code)), opened_at=None, revoked_at=None).first()
    opened = _spent(found, reason, request_id) if found is not None else None
    if opened is None:
        try_failed(**given, request_id=request_id)
        raise InvalidInput("That code opens nothing: it was mistyped, spent or taken back.")
    try_succeeded(**given)
    return User.objects.get(username=BREAK_GLASS), opened


def _spent(code: BreakGlassCode, reason: str, request_id: str) -> BreakGlassCode | None:
    """Spend a code; None where somebody else did just now."""
    actor = Actor.person(User.objects.get(username=BREAK_GLASS))
    with change(actor=actor, environment=ENVIRONMENT, reason=reason, request_id=request_id) as this:
        locked = BreakGlassCode.objects.select_for_update(no_key=True).get(pk=code.pk)
        if not locked.sealed:
            return None
        at = clock.now()
        locked.opened_at, locked.open_until, locked.reason = at, at + OPEN_FOR, reason[:500]
        locked.save(update_fields=["opened_at", "open_until", "reason"])
        after = {"until": locked.open_until, "made_by": locked.made_by}
        this.record("break_glass.opened", subject=f"break_glass:{locked.pk}", after=after)
    return locked


def break_glass_close(*, actor: Actor, request_id: str = "") -> int:
    """End at once whatever is open; return how many codes that were."""
    with change(actor=actor, environment=ENVIRONMENT, request_id=request_id) as this:
        at = clock.now()
        found = list(BreakGlassCode.objects.select_for_update(no_key=True).filter(open_until__gt=at))
        for one in found:
            before, one.open_until = one.open_until, at
            one.save(update_fields=["open_until"])
            this.record(
                "break_glass.closed", subject=f"break_glass:{one.pk}", before={"until": before}, after={"until": at}
            )
    return len(found)


def _account(this: Change) -> None:
    """Make the account with the first code. Nobody can sign in to it otherwise: it has no password, no link and no role."""
    found, made = User.objects.get_or_create(username=BREAK_GLASS)
    if made:
        found.set_unusable_password()
        found.save(update_fields=["password"])
        this.record("person.created", subject=f"person:{found.pk}", after={"roles": [], "environment": "all"})
