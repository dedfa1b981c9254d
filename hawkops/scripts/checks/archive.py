"""An archive of evidence proven without the installation it came from: signature, hashes, and the history's chain."""

import base64
import binascii
import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hawkops.history.domain import chain
from hawkops.history.models import HistoryEntry
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured

SIGNED, SIGNATURE, KEY, HISTORY = "manifest.json", "manifest.sig", "evidence.pub.pem", "history.jsonl"
BYTES_MOST = 2_000_000_000


class Unreadable(Exception):
    """The file is no archive of evidence."""


def entry_document(entry: HistoryEntry) -> dict[str, Any]:
    """Return an entry with everything that its hash is made of."""
    row = asdict(entry.row())
    return {**row, "at": entry.at.isoformat(), "previous_hash": entry.previous_hash, "hash": entry.hash}


def verify(path: Path, *, public_key: bytes | None = None) -> Iterator[Finding]:
    """Prove an archive line by line. Without a public key its own is used, which proves only that it fits together."""
    try:
        files = _read(path)
        manifest = json.loads(files[SIGNED])
        listed: dict[str, dict[str, Any]] = dict(manifest["files"])
    except (Unreadable, KeyError, TypeError, ValueError) as error:
        yield unmeasured("Archive", f"{path} is no archive of evidence: {error}")
        return
    yield _signature(files, public_key)
    yield _hashes(files, listed)
    yield _history(files.get(HISTORY, b""), manifest.get("history_head"))


def _read(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    left = BYTES_MOST
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is None or member.name in found or member.size > left:
                    raise Unreadable(f"{member.name} is twice in it, too large, or no file")
                found[member.name] = file.read()
                left -= member.size
    except (OSError, EOFError, tarfile.TarError) as error:
        raise Unreadable(str(error)) from error
    if missing := [name for name in (SIGNED, SIGNATURE, KEY) if name not in found]:
        raise Unreadable(f"{', '.join(missing)} is missing")
    return found


def _signature(files: dict[str, bytes], public_key: bytes | None) -> Finding:
    title = "Signature"
    try:
        key = serialization.load_pem_public_key(public_key or files[KEY])
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return failed(title, "the key is none of an elliptic curve")
        key.verify(base64.b64decode(files[SIGNATURE], validate=False), files[SIGNED], ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return failed(title, "the manifest was not signed with this key, or was altered after it")
    except (ValueError, binascii.Error) as error:
        return failed(title, f"the key or the signature can't be read: {error}")
    digest = fingerprint(public_key or files[KEY])
    if public_key is None:
        return unmeasured(title, f"fits the key that lies in the archive, {digest}: name the one you trust with --key")
    return passed(title, f"of the key {digest}")


def fingerprint(public_key: bytes) -> str:
    """Return what a public key is called: SHA-256 of its DER form, shortened."""
    key = serialization.load_pem_public_key(public_key)
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256 {hashlib.sha256(der).hexdigest()[:32]}"


def _hashes(files: dict[str, bytes], listed: dict[str, dict[str, Any]]) -> Finding:
    title = "Files"
    held = files.keys() - {SIGNED, SIGNATURE, KEY}
    if held != listed.keys():
        return failed(title, f"the manifest and the archive differ in {', '.join(sorted(held ^ listed.keys()))}")
    for name in sorted(held):
        if hashlib.sha256(files[name]).hexdigest() != listed[name].get("sha256"):
            return failed(title, f"{name} was altered: its content does not give the hash in the manifest")
    return passed(title, f"all {len(held)} give their hashes")


def _history(lines: bytes, head: Any) -> Finding:
    """Walk the archived part of the chain up to the head that the manifest names."""
    title = "History"
    names = [one.name for one in fields(chain.Row)]
    try:
        documents = [json.loads(line) for line in lines.splitlines()]
        rows = [
            (
                chain.Row(**{**{name: one[name] for name in names}, "at": datetime.fromisoformat(one["at"])}),
                str(one["previous_hash"]),
                str(one["hash"]),
            )
            for one in documents
        ]
        named = (int(head["seq"]), str(head["hash"]))
    except (KeyError, TypeError, ValueError) as error:
        return failed(title, f"{HISTORY} can't be read: {error!r}")
    if not rows:
        return unmeasured(title, "the archive holds no entry")
    broken = chain.verify(rows, head=named, after=(rows[0][0].seq - 1, rows[0][1]))
    if broken:
        return failed(title, broken.why)
    return passed(title, f"entries {rows[0][0].seq} to {named[0]} follow from one another, head {named[1][:16]}")
