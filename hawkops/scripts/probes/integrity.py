"""The model's files as lines of a check: signature, structure, and the two repairs of troubleshooting."""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from hawkops.fleet import model as synthetic
from hawkops.fleet.model.signature import Artefact, Standing, data_folder, proof
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured
from hawkops.scripts.probes.measuring import Exit

MAGIC = b"LITERTLM"
FLATBUFFER = b"TFL3"
CACHES = ("*.xnnpack_cache", "*_mldrift_*", "*.mldrift_cache")
# no more than the runner lets a script write
DOWNLOAD_BYTES_MOST = 8_000_000_000


def described(what: Artefact) -> dict[str, str | bool]:
    """Describe the model in a result; a folder and a model that can't be read have no digest."""
    try:
        digest = synthetic.digest(what.path)
        generated = synthetic.is_synthetic(what.path, digest)
    except OSError:
        return {"model": what.path.name}
    name = synthetic.NAME if digest == synthetic.SHA256 else what.path.stem
    return {"model": name, "model_digest": f"sha256:{digest}", "synthetic": generated}


def signature_finding(what: Artefact) -> Finding:
    """Verify the signature over every file of the model."""
    title = "Model signature"
    if not what.path.exists():
        return unmeasured(title, f"the model is missing: {what.path} (LITERT_MODEL names it)")
    found = proof(what)
    judged = {Standing.VERIFIED: passed, Standing.UNSIGNED: unmeasured, Standing.BROKEN: failed}
    return replace(judged[found.standing](title, found.sentence), about=described(what))


def subject_findings(what: Artefact, environment: str) -> Iterator[Finding]:
    """Say when the model can't speak of this environment: nothing real runs the small generated one."""
    about = described(what)
    if environment in ("production", "staging") and about.get("synthetic"):
        sentence = f"the model is the small generated one, so this says nothing of {environment}"
        yield replace(unmeasured("Subject", sentence), about=about)


def structure_findings(what: Artefact) -> Iterator[Finding]:
    """Look at each model file itself: is it there, whole, and of the kind its name says."""
    if not what.path.exists():
        yield unmeasured("Model file", f"the model is missing: {what.path} (LITERT_MODEL names it)")
        return
    models = [file for file in what.files if file.suffix in (".litertlm", ".tflite")]
    if not models:
        yield failed("Model file", f"{what.path} holds no .litertlm or .tflite file")
    for file in models:
        yield replace(_structure(file), about=described(Artefact(file, what.signature, what.public_key)))


def _structure(file: Path) -> Finding:
    title = f"Model file {file.name}"
    try:
        with file.open("rb") as stream:
            head = stream.read(16)
        size = file.stat().st_size
        digest = synthetic.digest(file)
        expected = synthetic.expected_digest(file)
    except OSError as error:
        return failed(title, f"can't be read: {error.strerror}")
    good = head.startswith(MAGIC) if file.suffix == ".litertlm" else head[4:8] == FLATBUFFER
    if not good:
        return failed(title, f"does not begin as a {file.suffix[1:]} file; {size} bytes")
    if expected is not None and expected != digest:
        return failed(title, f"sha256 {digest[:12]}… is not the expected {expected[:12]}…")
    known = "as expected" if expected else "nobody says which digest it should have"
    return passed(title, f"{size / 1e6:.1f} MB, sha256 {digest[:12]}… {known}")


def sign(what: Artefact, private_key: Path) -> None:
    """Sign a model; the signature stands outside the model's folder, so that it is no extra file in it."""
    from model_signing import signing

    what.signature.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    signing.Config().use_elliptic_key_signer(private_key=private_key).sign(what.path, what.signature)


# ---- the two repairs of troubleshooting ----


def cache_clear(what: Artefact, *, force: bool, dry_run: bool = False) -> Iterator[Finding]:
    """Move what LiteRT cached beside the model into a quarantine folder; nothing is deleted. Needs `force`."""
    if not what.path.exists():
        yield unmeasured("Model cache", f"the model is missing: {what.path} (LITERT_MODEL names it)")
        return
    folder = what.path if what.path.is_dir() else what.path.parent
    found = sorted({file for pattern in CACHES for file in folder.glob(pattern)})
    if not found:
        yield passed("Model cache", f"nothing is cached beside {what.path.name}")
        return
    if not force:
        yield failed("Model cache", f"{len(found)} cached files; say --force to move them away")
        return
    size = sum(file.stat().st_size for file in found)
    if dry_run:
        names = ", ".join(file.name for file in found[:5])
        yield passed("Model cache", f"{len(found)} files, {size / 1e6:.1f} MB, would be moved to quarantine: {names}")
        return
    quarantine = data_folder() / "quarantine" / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    quarantine.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in found:
        shutil.move(str(file), quarantine / file.name)
    yield passed("Model cache", f"{len(found)} files, {size / 1e6:.1f} MB, moved to {quarantine}")


def redownload(what: Artefact, *, dry_run: bool = False) -> Iterator[Finding]:
    """Fetch the model anew from MODEL_URL, verify it beside the old one, and only then put it in its place.

    A dry run fetches and verifies, and throws away what it fetched.
    """
    from hawkops.core import outbound
    from hawkops.core.errors import InvalidInput

    title, url = "Download", os.environ.get("MODEL_URL", "")
    if not url:
        yield unmeasured(title, "MODEL_URL is not set: nobody says where the model comes from")
        return
    if what.path.is_dir():
        yield unmeasured(title, f"{what.path} is a folder; MODEL_URL fetches a single file")
        return
    host = _host(url)
    fresh = what.path.with_name(f".{what.path.name}.fresh")
    try:
        size = outbound.fetch(url, fresh, bytes_most=DOWNLOAD_BYTES_MOST)
        yield passed(title, f"{size / 1e6:.1f} MB from {host}")
        finding = signature_finding(Artefact(fresh, what.signature, what.public_key))
        yield finding
        if finding.outcome is not Exit.PASSED:
            judged = failed if finding.outcome is Exit.FAILED else unmeasured
            yield judged("Model", "the old one stays: the new one is not proven")
            return
        if dry_run:
            yield passed("Model", f"{what.path.name} would be replaced")
            return
        fresh.replace(what.path)
        yield passed("Model", f"{what.path.name} is replaced")
    except (outbound.Undelivered, InvalidInput, OSError, ValueError) as error:
        words = str(error.strerror or error) if isinstance(error, OSError) else str(error)
        yield failed(title, f"{host}: {words.replace(url, host)}; the old model stays")
    finally:
        fresh.unlink(missing_ok=True)


def _host(url: str) -> str:
    """Return the host of an address, which may be told: the rest may sign it, and let anybody in."""
    try:
        return urlsplit(url).hostname or "MODEL_URL"
    except ValueError:
        return "MODEL_URL"
