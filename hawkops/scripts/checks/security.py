"""The security stack: keys made, the model signed, rights tightened; and a comparison of what was applied with what is."""

import argparse
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings

from hawkops.accounts.models import DeviceKey
from hawkops.core import clock
from hawkops.fleet.model.signature import artefact
from hawkops.history.actors import Actor
from hawkops.history.services import change
from hawkops.scripts.checks.encryption import SECRETS
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured
from hawkops.scripts.probes.integrity import sign, signature_finding
from hawkops.scripts.probes.measuring import Exit

APPLIED = "security/applied.json"
KEY_AGE_MOST = timedelta(days=365)
# What a browser is told with every page; a deployment that weakens one of these is not what was applied.
POLICIES = (
    "SECURE_CONTENT_TYPE_NOSNIFF",
    "SECURE_REFERRER_POLICY",
    "X_FRAME_OPTIONS",
    "SESSION_COOKIE_SECURE",
    "CSRF_COOKIE_SECURE",
    "SESSION_COOKIE_AGE",
    "CONTENT_SECURITY_POLICY",
)


KEYS = (("model", "signs models"), ("evidence", "signs evidence"))


def options(parser: argparse.ArgumentParser) -> None:
    """Add the dry run."""
    parser.add_argument("--dry-run", action="store_true", help="say what would be made, signed and tightened")


def stack_deploy(given: argparse.Namespace) -> Iterator[Finding]:
    """Make what is missing, tighten what is open, and write down what was applied. Safe to repeat."""
    if getattr(given, "dry_run", False):
        yield from _stack_rehearsed()
        return
    data: Path = settings.DATA
    for name, purpose in KEYS:
        yield _key_pair(data / "signing", name, purpose)
    what = artefact()
    if not os.environ.get("MODEL_SIGNING_PUBLIC_KEY") and what.path.exists():
        if signature_finding(what).outcome is not Exit.PASSED:
            if what.signature.exists():
                yield failed("Model", f"{what.path.name} is not what was signed; look at it before signing anew")
                return
            sign(what, data / "signing" / "model.pem")
        yield signature_finding(what)
    else:
        yield signature_finding(what)
    tightened = [path for path in (data / name for name in SECRETS) if path.exists() and _tighten(path, 0o600)]
    if data.exists() and _tighten(data, 0o700):
        tightened.append(data)
    yield passed("Rights", f"{len(tightened)} tightened" if tightened else "already tight")
    applied = _state()
    path = data / APPLIED
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else None
    if before != applied:
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(applied, indent=1, sort_keys=True))
        fresh.replace(path)
        with change(actor=Actor.rule("deploy-security-stack")) as this:
            this.record("security.applied", subject="security:stack", before=before, after=applied)
    yield passed("Policies", f"{len(POLICIES)} settings applied and written down ({path})")


def _stack_rehearsed() -> Iterator[Finding]:
    """Say what `stack_deploy` would do, and fail where it would."""
    data: Path = settings.DATA
    for name, purpose in KEYS:
        halves = [(data / "signing" / f"{name}{end}").exists() for end in (".pem", ".pub.pem")]
        title = f"Key that {purpose}"
        if any(halves) and not all(halves):
            yield failed(title, f"only one half is in {data / 'signing'}; put the other back, or move both away")
        else:
            yield passed(title, "is there and stays" if all(halves) else f"would be made in {data / 'signing'}")
    what = artefact()
    if os.environ.get("MODEL_SIGNING_PUBLIC_KEY") or not what.path.exists() or what.signature.exists():
        yield signature_finding(what)
    else:
        yield passed("Model signature", f"{what.path.name} would be signed")
    loose = [path.name for path in (data, *(data / name for name in SECRETS)) if path.exists() and _loose(path)]
    yield passed("Rights", f"would be tightened: {', '.join(loose)}" if loose else "already tight")
    yield passed("Policies", f"{len(POLICIES)} settings would be written down ({data / APPLIED})")


def configuration_validate(_given: argparse.Namespace) -> Iterator[Finding]:
    """Compare what is with what was applied, and judge the parts that age."""
    path: Path = settings.DATA / APPLIED
    if not path.exists():
        yield unmeasured("Applied", "nothing was applied yet: run deploy-security-stack.sh first")
        return
    applied, now = json.loads(path.read_text()), _state()
    for part in sorted({*applied, *now}):
        if applied.get(part) == now.get(part):
            yield passed(f"As applied: {part}", "unchanged")
        else:
            yield failed(f"As applied: {part}", f"is {_short(now.get(part))}, was {_short(applied.get(part))}")
    yield signature_finding(artefact())
    loose = [name for name in SECRETS if (settings.DATA / name).exists() and _loose(settings.DATA / name)]
    yield (
        failed("Rights", f"others may read {', '.join(loose)}")
        if loose
        else passed("Rights", "secrets are their owner's")
    )
    yield _key_ages()


def _key_pair(folder: Path, name: str, purpose: str) -> Finding:
    private_path, public_path = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    title = f"Key that {purpose}"
    if private_path.exists() and public_path.exists():
        return passed(title, f"there: {_fingerprint(public_path)}")
    if private_path.exists() or public_path.exists():
        return failed(title, f"only one half is in {folder}; put the other back, or move both away")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with os.fdopen(os.open(private_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    public_path.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return passed(title, f"made: {_fingerprint(public_path)}")


def _fingerprint(path: Path) -> str:
    return f"P-256, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


def _tighten(path: Path, mode: int) -> bool:
    if not _loose(path):
        return False
    path.chmod(mode)
    return True


def _loose(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _state() -> dict[str, Any]:
    """What is now, as plain JSON: policies, key fingerprints, the model's digest, hashers."""
    state: dict[str, Any] = {name: json.loads(json.dumps(getattr(settings, name), default=str)) for name in POLICIES}
    keys = sorted((settings.DATA / "signing").glob("*.pub.pem"))
    state["keys"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in keys}
    what = artefact()
    state["model"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in what.files if path.is_file()}
    state["password_hasher"] = settings.PASSWORD_HASHERS[0]
    return state


def _short(value: Any) -> str:
    return "absent" if value is None else json.dumps(value)[:80]


def _key_ages() -> Finding:
    live = DeviceKey.objects.filter(revoked_at=None)
    old = [key.name for key in live if clock.now() - key.created_at > KEY_AGE_MOST]
    if old:
        return failed("Device keys", f"older than {KEY_AGE_MOST.days} days: {', '.join(old[:5])}")
    return passed("Device keys", f"{live.count()} live, none older than {KEY_AGE_MOST.days} days")
