"""The key that signs checkpoints. It lives outside the database: who can rewrite the history can't sign it anew."""

import os
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from django.conf import settings

from hawkops.core.errors import InvalidInput
from hawkops.history.domain.checkpoint import NAME, Unproven, Verifier, verifier_of
from hawkops.history.witnessed import Folder

FILE = "history.key"


def origin() -> str:
    """Return the log's name: the installation's public address without its scheme, as checkpoints' origins are written."""
    return str(settings.CONSOLE_URL).partition("://")[2].rstrip("/").replace(" ", "") + "/history"


def signing_key() -> Ed25519PrivateKey:
    """Return the key of `HISTORY_SIGNING_KEY`, or the one in the data folder, made at the first use.

    Raises InvalidInput when what is there is no Ed25519 key, OSError when the folder can't be written.
    """
    text = settings.HISTORY_SIGNING_KEY or _kept(Path(settings.DATA) / FILE)
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"HISTORY_SIGNING_KEY is no private key in PEM: {error}.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidInput("HISTORY_SIGNING_KEY is not an Ed25519 key. Make one: openssl genpkey -algorithm ed25519.")
    return key


def _kept(path: Path) -> str:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)  # whole or not at all, and only one of two that come at once
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text()


def verifiers(folder: Folder | None = None, *, of: Iterable[tuple[int, str]] = ()) -> list[Verifier]:
    """Return who may have signed: the present key, those of `HISTORY_VERIFIERS`, and those the witness learnt of.

    The present key may have signed the notes `of` (size, note) under other names: an installation's address changes.
    Raises InvalidInput for a key that can't be read.
    """
    try:
        key = signing_key()
        names = (note.partition("\n")[0] for _size, note in of)
        known = [verifier_of(name, key) for name in (origin(), *names) if NAME.fullmatch(name)]
        known += [Verifier.parse(text) for text in settings.HISTORY_VERIFIERS]
        known += [Verifier.parse(text) for text in folder.signers()] if folder else []
    except Unproven as error:
        raise InvalidInput(f"{error}.") from error
    return list(dict.fromkeys(known))
