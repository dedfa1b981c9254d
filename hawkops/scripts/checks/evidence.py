"""Security evidence of an incident: one archive, every file hashed in its manifest, the manifest signed."""

import argparse
import base64
import hashlib
import io
import json
import platform
import re
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings

from hawkops.core import clock
from hawkops.core.errors import InvalidInput
from hawkops.history import selectors
from hawkops.history.actors import Actor
from hawkops.history.domain import chain
from hawkops.history.services import change, history_verify
from hawkops.scripts.models import Run
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured
from hawkops.scripts.probes.integrity import artefact

# of runs; the history is there from its first entry on, because a chain is proven from its beginning
LOOK_BACK = timedelta(days=7)
HISTORY, MANIFEST, SIGNATURE, PUBLIC_KEY = "history.jsonl", "manifest.json", "manifest.sig", "evidence.pub.pem"
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
    now = clock.now()
    verified = history_verify(requested_by="collect-security-evidence")
    target = settings.DATA / "evidence" / f"{given.incident}-{now:%Y%m%dT%H%M%SZ}.tar.gz"
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = dict(_files())
    with tempfile.TemporaryFile(dir=target.parent) as history:
        described = {HISTORY: _export(history, until_seq=verified.head_seq)}
        described |= {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()
        }
        head = {"seq": verified.head_seq, "hash": verified.head_hash, "good": verified.good}
        manifest = {
            "incident": given.incident,
            "collected_at": now.isoformat(),
            "history_head": head,
            "files": described,
        }
        text = json.dumps(manifest, indent=1, sort_keys=True).encode()
        seals = {MANIFEST: text, SIGNATURE: _sign(private, text), PUBLIC_KEY: _public(private)}
        _write(target, history, {**files, **seals})
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with change(actor=Actor.rule("collect-security-evidence"), reason=f"Incident {given.incident}") as this:
        this.record(
            "evidence.collected",
            subject=f"incident:{given.incident}",
            after={"file": target.name, "sha256": digest, "files": len(described), "history": verified.head_seq},
        )
    for name, about in described.items():
        yield passed(name, f"{about['bytes']} bytes, sha256 {str(about['sha256'])[:16]}…")
    if verified.good:
        yield passed("Chain", f"{verified.head_seq} entries verify, and can be verified again in {HISTORY}")
    else:
        yield failed("Chain", f"breaks at entry {verified.bad_seq}: {verified.why}; it is in the archive as it is")
    yield passed("Archive", f"{target}, {target.stat().st_size} bytes, sha256 {digest}")


def _files() -> Iterator[tuple[str, bytes]]:
    since = clock.now() - LOOK_BACK
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


def _export(target: IO[bytes], *, until_seq: int) -> dict[str, Any]:
    """Write the whole chain, heartbeats included, and say how long the file is and what it hashes to."""
    digest, size = hashlib.sha256(), 0
    for entry in selectors.whole_chain(until_seq=until_seq):
        document = chain.exported(entry.row(), entry.previous_hash, entry.hash)
        line = json.dumps(document, sort_keys=True).encode() + b"\n"
        digest.update(line)
        size += target.write(line)
    target.seek(0)
    return {"sha256": digest.hexdigest(), "bytes": size}


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


def _write(target: Path, history: IO[bytes], files: dict[str, bytes]) -> None:
    fresh = target.with_suffix(".new")
    contents: dict[str, IO[bytes]] = {HISTORY: history, **{name: io.BytesIO(data) for name, data in files.items()}}
    with tarfile.open(fresh, "w:gz") as archive:
        for name, file in contents.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = file.seek(0, io.SEEK_END), 0o600, int(clock.now().timestamp())
            file.seek(0)
            archive.addfile(member, file)
    fresh.chmod(0o600)
    fresh.replace(target)
