"""Passkeys: the browser's half is `static/js/passkeys.js`, the rules are fido2's. The challenge lies in the session."""

import json
import struct
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.internal import auth
from django.core.exceptions import ValidationError

from hawkops.accounts.models import User
from hawkops.core.bounded import fit, json_loads
from hawkops.core.errors import HawkOpsError, InvalidInput

ANSWER_MOST = 20_000
# whatever is wrong with an answer is said in one way
UNFIT = (ValidationError, ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error)
REFUSED = "The passkey was not accepted. Try again; nothing was changed."


def options_new(user: User) -> dict[str, Any]:
    """Return what a browser needs to make a passkey: one that its device keeps, and asks its owner for."""
    return _plain(auth.begin_registration(user, passwordless=True))


def options(user: User | None) -> dict[str, Any]:
    """Return what a browser needs to show a passkey: one of a person's or, of nobody known yet, any."""
    return _plain(auth.begin_authentication(user))


def made(answer: str) -> dict[str, Any]:
    """Return what is kept of a new passkey: the browser's answer, checked. Raises InvalidInput."""
    given = _read(answer)
    try:
        auth.parse_registration_response(given)
        auth.complete_registration(given)
    except UNFIT as error:
        raise InvalidInput(REFUSED) from error
    finally:
        auth.clear_state()
    response = {name: given["response"].get(name) for name in ("clientDataJSON", "attestationObject", "transports")}
    return {"id": given["id"], "rawId": given["rawId"], "type": given["type"], "response": response}


def shown(answer: str, user: User | None) -> tuple[User, Authenticator]:
    """Return whose passkey the browser has shown; of `user` when they are known. Raises InvalidInput."""
    given = _read(answer)
    try:
        auth.parse_authentication_response(given)
        found = user or auth.extract_user_from_response(given)
        factor = auth.complete_authentication(found, given)
    except UNFIT as error:
        raise InvalidInput(REFUSED) from error
    finally:
        # a challenge counts once, also when it was answered wrongly
        auth.clear_state()
    if not isinstance(found, User) or not found.is_active:
        raise InvalidInput(REFUSED)
    return found, factor


def _read(answer: str) -> dict[str, Any]:
    if len(answer) > ANSWER_MOST:
        raise InvalidInput(REFUSED)
    try:
        found = fit(json_loads(answer.encode()))
    except (HawkOpsError, UnicodeEncodeError):
        raise InvalidInput(REFUSED) from None
    if not isinstance(found, dict) or not isinstance(found.get("response"), dict):
        raise InvalidInput(REFUSED)
    return found


def _plain(found: Any) -> dict[str, Any]:
    """Return fido2's mapping as what it is in JSON."""
    read: dict[str, Any] = json.loads(json.dumps(found, default=dict))
    return read
