"""Reading a runbook file: YAML to plain data, then to the runbook; every error names the file and its line."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hawkops.core import located
from hawkops.core.errors import InvalidInput
from rollout.domain import runbook as domain
from rollout.domain.reading import Unfit

FOLDER = Path(__file__).parent
CURRENT = FOLDER / "runbook-1.0.0.yaml"


@dataclass(frozen=True)
class Loaded:
    """A runbook with the plain data it came from and the SHA-256 of its text."""

    runbook: domain.Runbook
    document: dict[str, Any]
    digest: str


def load(path: Path = CURRENT) -> Loaded:
    """Read and check a runbook file. Raises InvalidInput that says `file, line N: what is wrong`."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path.name} can't be read: {error.strerror}.") from error
    return loads(text, name=path.name)


def loads(text: bytes, *, name: str) -> Loaded:
    """Read and check a runbook's text."""
    document = located.read(text, name=name)
    try:
        found = domain.runbook(document.data)
    except Unfit as unfit:
        raise document.refusal(unfit.path, unfit.message) from unfit
    return Loaded(found, document.data, hashlib.sha256(text).hexdigest())
