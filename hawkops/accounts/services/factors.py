"""Second factors: authenticator app, passkeys, recovery codes. Secrets are sealed, and no entry says one."""

import unicodedata
from typing import Any

from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.utils import timezone

from hawkops.accounts.models import User
from hawkops.accounts.selectors import factors, has_factor
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.core.recent import must_be_recent
from hawkops.core.sealing import Unsealable, seal, unseal
from hawkops.history.actors import Actor
from hawkops.history.services import change

APP, PASSKEY, CODE = "authenticator app", "passkey", "recovery code"
NAME_MOST = 40
PASSKEYS_MOST = 10
WRONG = "That is not the code that the app shows now. Look whether the phone's clock is right, and type the newest one."


def app_secret() -> str:
    """Return a fresh secret for an authenticator app, as base32."""
    return str(generate_totp_secret())


def app_add(*, user: User, secret: str, code: str, request_id: str = "") -> list[str]:
    """Add an authenticator app that has shown it knows the secret. Returns recovery codes when it is the first factor."""
    must_be_recent()
    counter = _counter(secret, code)
    if counter is None:
        raise InvalidInput(WRONG)
    with change(actor=Actor.person(user), request_id=request_id) as this:
        _lock(user)
        if Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists():
            raise Conflict("You have an authenticator app already; remove it first.")
        before = _held(user)
        Authenticator.objects.create(
            user=user, type=Authenticator.Type.TOTP, data={"secret": seal(secret), "last_counter": counter}
        )
        this.record("person.factor_added", subject=_subject(user), before=before, after=_held(user))
        return _first_codes(user)


def passkey_add(*, user: User, name: str, credential: dict[str, Any], request_id: str = "") -> list[str]:
    """Add a passkey whose answer was checked. Returns recovery codes when it is the first factor."""
    must_be_recent()
    name = _named(name)
    with change(actor=Actor.person(user), request_id=request_id) as this:
        _lock(user)
        held = Authenticator.objects.filter(user=user, type=Authenticator.Type.WEBAUTHN)
        if len(held) >= PASSKEYS_MOST:
            raise Conflict(f"You have {PASSKEYS_MOST} passkeys; remove one first.")
        before = _held(user)
        Authenticator.objects.create(
            user=user, type=Authenticator.Type.WEBAUTHN, data={"name": name, "credential": credential}
        )
        this.record("person.factor_added", subject=_subject(user), before=before, after=_held(user))
        return _first_codes(user)


def passkey_rename(*, user: User, pk: int, name: str, request_id: str = "") -> None:
    """Give a passkey another name."""
    must_be_recent()
    name = _named(name)
    with change(actor=Actor.person(user), request_id=request_id) as this:
        row = _passkey(user, pk)
        if row.data["name"] == name:
            return
        before = _held(user)
        row.data["name"] = name
        row.save(update_fields=["data"])
        this.record("person.factor_renamed", subject=_subject(user), before=before, after=_held(user))


def app_remove(*, user: User, request_id: str = "") -> None:
    """Remove the authenticator app."""
    must_be_recent()
    with change(actor=Actor.person(user), request_id=request_id) as this:
        _lock(user)
        before = _held(user)
        removed, _ = Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).delete()
        if not removed:
            raise NotFound("There is no authenticator app.")
        _no_codes_without_factor(user)
        this.record("person.factor_removed", subject=_subject(user), before=before, after=_held(user))


def passkey_remove(*, user: User, pk: int, request_id: str = "") -> None:
    """Remove a passkey."""
    must_be_recent()
    with change(actor=Actor.person(user), request_id=request_id) as this:
        _lock(user)
        row, before = _passkey(user, pk), _held(user)
        row.delete()
        _no_codes_without_factor(user)
        this.record("person.factor_removed", subject=_subject(user), before=before, after=_held(user))


def recovery_codes_make(*, user: User, request_id: str = "") -> list[str]:
    """Make recovery codes anew; earlier ones count no more. They are returned this once."""
    must_be_recent()
    with change(actor=Actor.person(user), request_id=request_id):
        _lock(user)
        if not has_factor(user):
            raise Conflict("Add an authenticator app or a passkey first: recovery codes stand in for them.")
        return _make_codes(user)


def second_factor_reset(*, user: User, actor: Actor, reason: str) -> int:
    """Remove all factors of somebody who lost them, who then signs in without until they add one. Returns how many.

    Raises InvalidInput without a reason: it opens an account to whoever knows the password.
    """
    if not reason.strip():
        raise InvalidInput("Say why: --reason. It opens the account to whoever has the password or a login link.")
    with change(actor=actor, reason=reason.strip()) as this:
        _lock(user)
        before = _held(user)
        Authenticator.objects.filter(user=user).delete()
        this.record("person.second_factor_reset", subject=_subject(user), before=before, after=_held(user))
    return len(before["factors"])


def code_spend(*, user: User, code: str, recovery: bool = True, request_id: str = "") -> str:
    """Spend a code of the app or, where they count, a recovery code. Returns which it was, empty for neither.

    Each counts once, and of two at the same moment one. Raises Conflict when the secret can't be opened any more.
    """
    try:
        with change(actor=Actor.person(user), request_id=request_id) as this:
            for row in Authenticator.objects.select_for_update(no_key=True).filter(user=user).order_by("pk"):
                if row.type == Authenticator.Type.TOTP and _spend_counter(row, code):
                    return APP
                if row.type == Authenticator.Type.RECOVERY_CODES and recovery and _spend_recovery(row, code):
                    left = len(RecoveryCodes(row).get_unused_codes())
                    before, after = {"recovery_codes": left + 1}, {"recovery_codes": left}
                    this.record("person.recovery_code_used", subject=_subject(user), before=before, after=after)
                    return CODE
    except Unsealable:
        raise Conflict(
            "What your factor is checked with was sealed by a SECRET_KEY that is gone. On the host: "
            "manage.py second_factor_reset NAME --reason …"
        ) from None
    return ""


def _spend_counter(row: Authenticator, code: str) -> bool:
    counter = _counter(unseal(row.data["secret"]), code)
    if counter is None or counter <= row.data.get("last_counter", -1):
        return False
    row.data["last_counter"] = counter
    _spent(row)
    return True


def _spend_recovery(row: Authenticator, code: str) -> bool:
    codes = RecoveryCodes(row)
    found = [n for n, one in enumerate(codes.generate_codes()) if compare_user_code(actual=code, expected=one)]
    if not found or row.data["used_mask"] & (1 << found[0]):
        return False
    row.data["used_mask"] |= 1 << found[0]
    _spent(row)
    return True


def factor_used(*, factor: Authenticator) -> None:
    """Note when a passkey was used."""
    Authenticator.objects.filter(pk=factor.pk).update(last_used_at=timezone.now())


def _spent(row: Authenticator) -> None:
    """Keep what must not count again, in a locked row."""
    row.last_used_at = timezone.now()
    row.save(update_fields=["data", "last_used_at"])


def _counter(secret: str, code: str) -> int | None:
    """Return the half minute of which the code is; None when it is of none near now."""
    for counter in yield_hotp_counters_from_time():
        if compare_user_code(actual=code, expected=format_hotp_value(hotp_value(secret, counter))):
            return int(counter)
    return None


def _first_codes(user: User) -> list[str]:
    if Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).exists():
        return []
    return _make_codes(user)


def _make_codes(user: User) -> list[str]:
    with change(actor=Actor.person(user)) as this:
        before = {"recovery_codes": _held(user)["recovery_codes"]}
        Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).delete()
        codes = [str(one) for one in RecoveryCodes.activate(user).generate_codes()]
        after = {"recovery_codes": len(codes)}
        this.record("person.recovery_codes_made", subject=_subject(user), before=before, after=after)
    return codes


def _no_codes_without_factor(user: User) -> None:
    if not has_factor(user):
        Authenticator.objects.filter(user=user).delete()


def _passkey(user: User, pk: int) -> Authenticator:
    rows = Authenticator.objects.select_for_update(no_key=True).filter(user=user, type=Authenticator.Type.WEBAUTHN)
    row = rows.filter(pk=pk).first()
    if row is None:
        raise NotFound("You have no such passkey.")
    return row


def _lock(user: User) -> None:
    """Let two changes to one person's factors come one after the other."""
    User.objects.select_for_update(no_key=True).get(pk=user.pk)


def _named(name: str) -> str:
    name = " ".join(unicodedata.normalize("NFC", name).replace("\x00", "").split()) or "Passkey"
    if len(name) > NAME_MOST or not name.isprintable():
        raise InvalidInput(f"A passkey has a name of at most {NAME_MOST} characters.")
    return name


def _held(user: User) -> dict[str, Any]:
    """What the history says that a person has; never a secret."""
    held = factors(user)
    names = [f"{PASSKEY} {one.name}" for one in held.passkeys]
    return {"factors": [APP, *names] if held.app else names, "recovery_codes": held.codes_left or 0}


def _subject(user: User) -> str:
    return f"person:{user.pk}"
