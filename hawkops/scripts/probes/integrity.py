"""Is the model the one that was signed? Verified before it is loaded: LiteRT runs a tampered file without a word.

The signature is an OpenSSF model signature (a Sigstore bundle with one SHA-256 for each file), made with an elliptic-curve
key. Without a public key nothing can be verified, and that is said: a digest alone proves nothing about its author.
"""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hawkops.fleet import model as synthetic
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured
from hawkops.scripts.probes.measuring import Exit

MAGIC = b"LITERTLM"
FLATBUFFER = b"TFL3"
CACHES = ("*.xnnpack_cache", "*_mldrift_*", "*.mldrift_cache")
DOWNLOAD_SECONDS = 600.0
DOWNLOAD_BYTES_MOST = 8_000_000_000


@dataclass(frozen=True)
class Artefact:
    """A model, file or folder, with the signature and the key that belong to it."""

    path: Path
    signature: Path
    public_key: Path

    @property
    def files(self) -> list[Path]:
        """The files it is made of."""
        return [self.path] if self.path.is_file() else sorted(p for p in self.path.rglob("*") if p.is_file())


def data_folder() -> Path:
    """Where this installation keeps its keys."""
    return Path(os.environ.get("HAWKOPS_DATA") or Path(__file__).resolve().parents[3] / ".hawkops")


def artefact() -> Artefact:
    """The model of this host: LITERT_MODEL or the generated one, MODEL_SIGNATURE and MODEL_SIGNING_PUBLIC_KEY.

    Unless told, signature and key stand where `deploy-security-stack.sh` puts them, in the data folder.
    """
    path = Path(os.environ.get("LITERT_MODEL") or synthetic.PATH)
    keys = data_folder() / "signing"
    return Artefact(
        path,
        Path(os.environ.get("MODEL_SIGNATURE") or keys / f"{path.name}.sig"),
        Path(os.environ.get("MODEL_SIGNING_PUBLIC_KEY") or keys / "model.pub.pem"),
    )


def signature_finding(what: Artefact) -> Finding:
    """Verify the signature over every file of the model."""
    title = "Model signature"
    if not what.path.exists():
        return unmeasured(title, f"the model is missing: {what.path} (LITERT_MODEL names it)")
    if not what.public_key.is_file():
        return unmeasured(
            title, f"no public key at {what.public_key}: run deploy-security-stack.sh, or set MODEL_SIGNING_PUBLIC_KEY"
        )
    if not what.signature.is_file():
        return failed(title, f"{what.path.name} has no signature at {what.signature} (MODEL_SIGNATURE names it)")
    from model_signing import verifying

    began = time.perf_counter()
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=what.public_key).verify(what.path, what.signature)
    except Exception as error:  # noqa: BLE001 - whatever it says, the model is not proven
        return failed(title, f"{what.path.name} is not what was signed: {' '.join(str(error).split())[:300]}")
    milliseconds = (time.perf_counter() - began) * 1000
    many = len(what.files)
    return passed(title, f"{what.path.name}, {many} file{'s'[: many != 1]}, verified in {milliseconds:.0f} ms")


def structure_findings(what: Artefact) -> Iterator[Finding]:
    """Look at each model file itself: is it there, whole, and of the kind its name says."""
    if not what.path.exists():
        yield unmeasured("Model file", f"the model is missing: {what.path} (LITERT_MODEL names it)")
        return
    models = [file for file in what.files if file.suffix in (".litertlm", ".tflite")]
    if not models:
        yield failed("Model file", f"{what.path} holds no .litertlm or .tflite file")
    for file in models:
        yield _structure(file)


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


def redownload(what: Artefact, *, verify: bool, dry_run: bool = False) -> Iterator[Finding]:
    """Fetch the model anew from MODEL_URL, verify it beside the old one, and only then put it in its place.

    A dry run fetches and verifies, and throws away what it fetched.
    """
    import httpx

    title, url = "Download", os.environ.get("MODEL_URL", "")
    if not url:
        yield unmeasured(title, "MODEL_URL is not set: nobody says where the model comes from")
        return
    if what.path.is_dir():
        yield unmeasured(title, f"{what.path} is a folder; MODEL_URL fetches a single file")
        return
    fresh = what.path.with_name(f".{what.path.name}.fresh")
    try:
        size = _fetch(url, fresh)
        yield passed(title, f"{size / 1e6:.1f} MB from {httpx.URL(url).host}")
        if verify:
            finding = signature_finding(Artefact(fresh, what.signature, what.public_key))
            yield finding
            if finding.outcome is not Exit.PASSED:
                yield failed("Model", "the old one stays: the new one is not proven")
                return
        if dry_run:
            yield passed("Model", f"{what.path.name} would be replaced")
            return
        fresh.replace(what.path)
        yield passed("Model", f"{what.path.name} is replaced")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        yield failed(title, f"{_host(url)}: {error}; the old model stays")
    finally:
        fresh.unlink(missing_ok=True)


def _host(url: str) -> str:
    """Return the host of an address, which may be told: the rest may sign it, and let anybody in."""
    try:
        return urlsplit(url).hostname or "MODEL_URL"
    except ValueError:
        return "MODEL_URL"


def _fetch(url: str, target: Path) -> int:
    import httpx

    size = 0
    with httpx.stream("GET", url, timeout=30, follow_redirects=False) as answer, target.open("wb") as file:
        if answer.status_code != httpx.codes.OK:
            raise ValueError(f"answered {answer.status_code}")
        for chunk in answer.iter_bytes():
            size += len(chunk)
            if size > DOWNLOAD_BYTES_MOST:
                raise ValueError(f"has more than {DOWNLOAD_BYTES_MOST / 1e9:.0f} GB")
            file.write(chunk)
    return size
