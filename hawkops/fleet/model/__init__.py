"""The small model of the local device: random weights, so its text is noise and its speed says nothing of a phone."""

import hashlib
from pathlib import Path

NAME = "synthetic-0.8MB"
PATH = Path(__file__).with_name("synthetic.litertlm")
SHA256 = "b6ea5fe33c543c4db05b78ddb7343c878a44dcbeb8817b763e1613408c827410"


def digest(path: Path) -> str:
    """Compute the SHA-256 of a model file as 64 hex digits. Raises OSError when it can't be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_synthetic(path: Path, sha256: str) -> bool:
    """Tell whether a model file is one of our generated ones: by digest, or by the marker written into its header."""
    if sha256 == SHA256:
        return True
    with path.open("rb") as file:
        return b"synthetic, random weights" in file.read(65536)


def is_synthetic_file(path: Path) -> bool:
    """Tell the same of a file whose digest is not known yet."""
    return is_synthetic(path, digest(path))


def expected_digest(path: Path) -> str | None:
    """Return the digest that a model must have: ours, or the one in a `.sha256` file beside it. None: nobody says."""
    if path.resolve() == PATH.resolve():
        return SHA256
    beside = path.with_name(path.name + ".sha256")
    return beside.read_text().split()[0].lower() if beside.is_file() else None
