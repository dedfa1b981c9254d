"""Is a model the one that was signed? Asked before it is loaded: LiteRT runs a tampered file without a word.

The signature is an OpenSSF model signature (a Sigstore bundle with one SHA-256 for each file), made with an elliptic-curve
key. Without a public key nothing can be verified, and that is said: a digest alone proves nothing about its author.
"""

import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hawkops.fleet.model import PATH


class Standing(StrEnum):
    """What is known of a model's author."""

    VERIFIED = "verified"
    UNSIGNED = "unsigned"
    BROKEN = "broken"


@dataclass(frozen=True)
class Proof:
    """What the signature says, and a sentence. UNSIGNED: there is no key here, so nobody can say."""

    standing: Standing
    sentence: str


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


def artefact(path: Path | None = None) -> Artefact:
    """The model of this host: LITERT_MODEL or the generated one, MODEL_SIGNATURE and MODEL_SIGNING_PUBLIC_KEY.

    Unless told, signature and key stand where `deploy-security-stack.sh` puts them, in the data folder.
    """
    path = path or Path(os.environ.get("LITERT_MODEL") or PATH)
    keys = data_folder() / "signing"
    return Artefact(
        path,
        Path(os.environ.get("MODEL_SIGNATURE") or keys / f"{path.name}.sig"),
        Path(os.environ.get("MODEL_SIGNING_PUBLIC_KEY") or keys / "model.pub.pem"),
    )


def proof(what: Artefact) -> Proof:
    """Verify the signature over every file of the model. Where there is a key, only a verified model may be loaded."""
    if not what.public_key.is_file():
        if os.environ.get("MODEL_SIGNING_PUBLIC_KEY"):
            return Proof(Standing.BROKEN, f"MODEL_SIGNING_PUBLIC_KEY names no file: {what.public_key}")
        lack = f"no public key at {what.public_key}: run deploy-security-stack.sh, or set MODEL_SIGNING_PUBLIC_KEY"
        return Proof(Standing.UNSIGNED, lack)
    if not what.signature.is_file():
        lack = f"{what.path.name} has no signature at {what.signature} (MODEL_SIGNATURE names it)"
        return Proof(Standing.BROKEN, lack)
    from model_signing import verifying  # half a second, which nobody without a key need wait

    began = time.perf_counter()
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=what.public_key).verify(what.path, what.signature)
    except Exception as error:  # noqa: BLE001 - whatever it says, the model is not proven
        said = " ".join(str(error).split())[:300]
        return Proof(Standing.BROKEN, f"{what.path.name} is not what was signed: {said}")
    milliseconds, many = (time.perf_counter() - began) * 1000, len(what.files)
    words = f"{what.path.name}, {many} file{'s'[: many != 1]}, verified in {milliseconds:.0f} ms"
    return Proof(Standing.VERIFIED, words)
