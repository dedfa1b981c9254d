"""Secrets at rest: sealed with a key made from SECRET_KEY, so that a copy of the database alone gives none away.

Whoever changes SECRET_KEY must enter them anew; what can't be opened says so.
"""

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class Unsealable(Exception):
    """It was sealed with another SECRET_KEY, or altered."""


def seal(text: str) -> str:
    """Return what may be stored; nothing stays nothing."""
    return _box(settings.SECRET_KEY).encrypt(text.encode()).decode() if text else ""


def unseal(sealed: str) -> str:
    """Return the secret. Raises Unsealable."""
    if not sealed:
        return ""
    try:
        return _box(settings.SECRET_KEY).decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise Unsealable("It was sealed with another SECRET_KEY; enter it anew.") from error


@lru_cache(maxsize=4)
def _box(secret: str) -> Fernet:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"hawkops.sealed").derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(key))
