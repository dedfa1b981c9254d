"""Proving an archive of evidence again, by its file alone: its signature, every file's hash, and the history's chain.

An archive may come from anybody: nothing of it is unpacked, its seals are bounded, and the rest is read as a stream.
"""

import base64
import binascii
import hashlib
import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hawkops.history.domain import chain
from hawkops.scripts.checks.evidence import HISTORY, MANIFEST, PUBLIC_KEY, SIGNATURE
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured

SEALS = (MANIFEST, SIGNATURE, PUBLIC_KEY)
SEAL_BYTES_MOST = 4_000_000
LINE_BYTES_MOST = 16_000_000
CHUNK_BYTES = 1 << 20
NAMED_MOST = 5
BROKEN = (tarfile.TarError, zlib.error, EOFError, OSError)


class Unreadable(Exception):
    """The file is no archive of evidence; the message says why."""


@dataclass
class _Found:
    """What lies in an archive: the seals as they are, everything else as its size and hash."""

    seals: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, tuple[int, str]] = field(default_factory=dict)


def evidence_verify(archive: Path, *, trusted: Path | None) -> Iterator[Finding]:
    """Verify an archive. `trusted` is the public key it must be signed with; the one inside proves nothing by itself."""
    try:
        found = _read(archive)
        manifest = _manifest(found)
    except Unreadable as error:
        yield failed("Archive", f"{archive.name} {error}")
        return
    yield _signature(found, trusted)
    yield _files(found, manifest["files"])
    yield _chain(archive, manifest["history_head"])


def _read(archive: Path) -> _Found:
    found = _Found()
    try:
        with tarfile.open(archive, "r:gz") as opened:
            for member in opened:
                if member.name in found.seals or member.name in found.files:
                    raise Unreadable(f"holds {member.name!r} twice")
                file = opened.extractfile(member) if member.isreg() and not member.issparse() else None
                if file is None:
                    raise Unreadable(f"holds {member.name!r}, which is no plain file")
                if member.name in SEALS:
                    if member.size > SEAL_BYTES_MOST:
                        raise Unreadable(f"has a {member.name} of {member.size} bytes")
                    found.seals[member.name] = file.read()
                    continue
                digest = hashlib.sha256()
                while chunk := file.read(CHUNK_BYTES):
                    digest.update(chunk)
                found.files[member.name] = (member.size, digest.hexdigest())
    except BROKEN as error:
        raise Unreadable(f"can't be read as an archive: {error}") from error
    return found


def _manifest(found: _Found) -> dict[str, Any]:
    if missing := [name for name in SEALS if name not in found.seals]:
        raise Unreadable(f"lacks {', '.join(missing)}")
    try:
        manifest = json.loads(found.seals[MANIFEST])
        head, files = manifest["history_head"], manifest["files"]
        fits = isinstance(head["seq"], int) and isinstance(head["hash"], str)
        fits = fits and all(isinstance(about["sha256"], str) for about in files.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(f"has a {MANIFEST} that can't be read") from error
    if not fits:
        raise Unreadable(f"has a {MANIFEST} that says other things than a manifest does")
    return dict(manifest)


def _signature(found: _Found, trusted: Path | None) -> Finding:
    title = "Signature"
    try:
        own = _fingerprint(found.seals[PUBLIC_KEY])
        pem = trusted.read_bytes() if trusted is not None else found.seals[PUBLIC_KEY]
        name = _fingerprint(pem)
        signature = base64.b64decode(found.seals[SIGNATURE], validate=False)
        _public(pem).verify(signature, found.seals[MANIFEST], ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        if trusted is not None and name != own:
            return failed(title, f"made with another key: the archive carries {own}, trusted is {name}")
        return failed(title, f"{MANIFEST} was altered: it is not what key {name} signed")
    except (OSError, ValueError, UnsupportedAlgorithm, binascii.Error) as error:
        return failed(title, f"can't be verified: {error}")
    if trusted is None:
        words = f"made with the key that the archive carries, {own}: whose it is, it can't say; name yours with --key"
        return unmeasured(title, words)
    return passed(title, f"{MANIFEST} is what key {name} signed")


def _public(pem: bytes) -> ec.EllipticCurvePublicKey:
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("the key is of another kind")
    return key


def _fingerprint(pem: bytes) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(_public(pem).public_bytes(serialization.Encoding.DER, form)).hexdigest()[:16]


def _files(found: _Found, described: dict[str, dict[str, Any]]) -> Finding:
    wrong = [f"{name} is missing" for name in described.keys() - found.files.keys()]
    wrong += [f"{name} is not in {MANIFEST}" for name in found.files.keys() - described.keys()]
    for name in described.keys() & found.files.keys():
        size, digest = found.files[name]
        if digest != described[name]["sha256"] or size != described[name].get("bytes"):
            wrong.append(f"{name} was altered")
    if wrong:
        more = f" and {len(wrong) - NAMED_MOST} more" if len(wrong) > NAMED_MOST else ""
        return failed("Files", ", ".join(sorted(wrong)[:NAMED_MOST]) + more)
    return passed("Files", f"{len(described)}, each as {MANIFEST} says")


def _chain(archive: Path, head: dict[str, Any]) -> Finding:
    title = "Chain"
    try:
        found = chain.verify(_rows(archive), head=(head["seq"], head["hash"]))
    except (Unreadable, ValueError, *BROKEN) as error:
        return failed(title, str(error))
    if found:
        return failed(title, f"breaks at entry {found.seq}: {found.why}")
    return passed(title, f"{head['seq']} entries, each follows from the one before it, head {str(head['hash'])[:16]}…")


def _rows(archive: Path) -> Iterator[tuple[chain.Row, str, str]]:
    with tarfile.open(archive, "r:gz") as opened:
        try:
            file = opened.extractfile(HISTORY)
        except KeyError:
            file = None
        if file is None:
            raise Unreadable(f"{HISTORY} is missing, so there is no chain to verify")
        number = 0
        while line := file.readline(LINE_BYTES_MOST):
            number += 1
            try:
                row = chain.imported(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise Unreadable(f"line {number} of {HISTORY} {error}") from error
            yield row
