"""Security evidence of an incident: one archive, every file hashed in its manifest, the manifest signed."""

import argparse
import base64
import hashlib
import io
import json
import os
import platform
import re
import sys
import tarfile
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import InvalidInput
from hawkops.fleet.model.signature import artefact
from hawkops.history import selectors
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change, history_verify
from hawkops.scripts.checks import archive
from hawkops.scripts.models import Run
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured

LOOK_BACK = timedelta(days=7)
INCIDENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def options(parser: argparse.ArgumentParser) -> None:
    """Add the incident."""
    parser.add_argument("--incident-id", dest="incident", required=True, help="the incident the evidence belongs to")


def evidence_collect(given: argparse.Namespace) -> Iterator[Finding]:
    """Collect, hash, sign, and record that it was done."""
    if not INCIDENT.fullmatch(given.incident):
        raise InvalidInput(f"{given.incident!r} is no incident id: letters, digits, dots and dashes, 64 at most.")
    private = settings.DATA / "signing" / "evidence.pem"
    if not private.exists():
        yield unmeasured("Signature", "there is no key to sign with: run deploy-security-stack.sh first")
        return
    now, environment = clock.now(), os.environ.get("HAWKOPS_ENVIRONMENT", "")
    verified = history_verify(requested_by="collect-security-evidence")
    files = dict(_files(verified.head_seq))
    manifest = {
        "incident": given.incident,
        "collected_at": now.isoformat(),
        "history_head": {"seq": verified.head_seq, "hash": verified.head_hash, "good": verified.good},
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()
        },
    }
    text = json.dumps(manifest, indent=1, sort_keys=True).encode()
    signature = _sign(private, text)
    target = settings.DATA / "evidence" / f"{given.incident}-{now:%Y%m%dT%H%M%SZ}.tar.gz"
    _write(target, {**files, "manifest.json": text, "manifest.sig": signature, "evidence.pub.pem": _public(private)})
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    with change(
        actor=Actor.rule("collect-security-evidence"),
        environment=environment if environment in set(Environment) else "",
        reason=f"Incident {given.incident}",
    ) as this:
        this.record(
            "evidence.collected",
            subject=f"incident:{given.incident}",
            after={"file": target.name, "sha256": digest, "files": len(files), "history": verified.head_seq},
        )
    for name, data in files.items():
        yield passed(name, f"{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()[:16]}…")
    said = f"{target}, {target.stat().st_size} bytes, sha256 {digest}; manage.py evidence_verify proves it"
    yield passed("Archive", said)
    if verified.good:
        yield passed(
            "History", f"all {verified.head_seq} entries verify; the archive holds those of {LOOK_BACK.days} days"
        )
    else:
        yield failed("History", f"{verified.why}: what the archive holds of it proves that, and no more")


def _files(head: int) -> Iterator[tuple[str, bytes]]:
    since = clock.now() - LOOK_BACK
    yield "history.jsonl", _lines(archive.entry_document(entry) for entry in _entries(since, head))
    yield (
        "runs.jsonl",
        _lines(_run(run) for run in Run.objects.filter(requested_at__gte=since).order_by("pk").iterator()),
    )
    yield "installation.json", json.dumps(_installation(), indent=1, sort_keys=True).encode()
    yield "model.json", json.dumps(_model(), indent=1, sort_keys=True).encode()
    for path in sorted((settings.DATA / "log").glob("*.log")):
        yield f"log/{path.name}", _tail(path)


def _lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, sort_keys=True, default=str).encode() + b"\n" for row in rows)


def _entries(since: datetime, head: int) -> Iterator[HistoryEntry]:
    """Give every entry since then, hidden ones too: a chain with holes proves nothing."""
    first = selectors.entries(since=since, hidden=True).order_by("seq").values_list("seq", flat=True).first()
    found = selectors.entries(hidden=True).filter(seq__gte=first or head + 1, seq__lte=head)
    yield from found.order_by("seq").iterator(chunk_size=2_000)


def _run(run: Run) -> dict[str, Any]:
    names = ("pk", "environment", "script", "arguments", "state", "exit_code", "summary", "results", "requested_at")
    return {name: getattr(run, name) for name in names}


def _installation() -> dict[str, Any]:
    packages = ("django", "celery", "psycopg", "litert-lm-api", "cryptography", "model-signing")
    return {
        "python": sys.version,
        "system": platform.platform(),
        "packages": {name: metadata.version(name) for name in packages if _installed(name)},
        "console": settings.CONSOLE_URL,
        "gateway": settings.GATEWAY_URL,
        "debug": settings.DEBUG,
    }


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _model() -> dict[str, Any]:
    what = artefact()
    return {
        "path": str(what.path),
        "files": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in what.files if file.is_file()},
        "signature": what.signature.read_text() if what.signature.is_file() else None,
    }


def _tail(path: Path, most: int = 2_000_000) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most))
        return file.read(most)


def _sign(private: Path, data: bytes) -> bytes:
    key = serialization.load_pem_private_key(private.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return base64.b64encode(key.sign(data, ec.ECDSA(hashes.SHA256()))) + b"\n"


def _public(private: Path) -> bytes:
    return private.with_name(f"{private.stem}.pub.pem").read_bytes()


def _write(target: Path, files: dict[str, bytes]) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    with tarfile.open(fresh, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), 0o600, int(clock.now().timestamp())
            archive.addfile(member, io.BytesIO(data))
    fresh.chmod(0o600)
    fresh.replace(target)
