"""Secrets at rest: sealed with a key made from SECRET_KEY, so that a copy of the database alone gives none away.

Rotation: the new key goes to SECRET_KEY, the old one to SECRET_KEY_FALLBACKS, and `secrets_rotate` seals everything anew;
then the old one can go. What no key opens says so, and must be entered anew.
"""

import base64
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.apps import apps
from django.conf import settings
from django.db import models

if TYPE_CHECKING:
    _Text = models.TextField[str, str]
else:
    _Text = models.TextField


class Unsealable(Exception):
    """It was sealed with a SECRET_KEY that is gone, or altered."""


class SealedField(_Text):
    """A column of sealed texts; services seal and open them. Marks what `secrets_rotate` has to seal anew."""

    def deconstruct(self) -> tuple[str, str, list[object], dict[str, object]]:
        """For the database it is a text like others."""
        name, _path, given, named = super().deconstruct()
        return name, "django.db.models.TextField", list(given), dict(named)


# of columns that hold a JSON object, which of its values are sealed
_inside: dict[str, dict[str, tuple[str, ...]]] = {}


def sealed_inside(model: type[models.Model], column: str, *keys: str) -> None:
    """Say that some values of a JSON column are sealed, so that `secrets_rotate` seals them anew too."""
    _inside.setdefault(model._meta.label, {})[column] = keys


def seal(text: str) -> str:
    """Return what may be stored; nothing stays nothing."""
    return _box(settings.SECRET_KEY).encrypt(text.encode()).decode() if text else ""


def unseal(sealed: str) -> str:
    """Return the secret. Raises Unsealable."""
    if not sealed:
        return ""
    try:
        return _boxes().decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise Unsealable("It was sealed with another SECRET_KEY; enter it anew.") from error


def resealed(sealed: str) -> str:
    """Return the same secret under the present key, itself when it is already. Raises Unsealable."""
    if not sealed:
        return ""
    try:
        _box(settings.SECRET_KEY).decrypt(sealed.encode())
    except InvalidToken:
        return seal(unseal(sealed))
    return sealed


def sealed_columns() -> Iterator[tuple[type[models.Model], list[str]]]:
    """Give every model that holds sealed texts, with their columns."""
    for model in apps.get_models():
        names = [field.attname for field in model._meta.concrete_fields if isinstance(field, SealedField)]
        names += _inside.get(model._meta.label, {})
        if names:
            yield model, names


def resealed_columns(row: models.Model, names: list[str]) -> dict[str, Any]:
    """Return a row's sealed columns under the present key. Raises Unsealable."""
    found: dict[str, Any] = {}
    for name in names:
        held, keys = getattr(row, name), _inside.get(row._meta.label, {}).get(name)
        if keys is None:
            found[name] = resealed(held)
        else:
            found[name] = {**held, **{key: resealed(held[key]) for key in keys if key in held}}
    return found


def _boxes() -> MultiFernet:
    return MultiFernet([_box(key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


@lru_cache(maxsize=8)
def _box(secret: str) -> Fernet:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"hawkops.sealed").derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(key))
