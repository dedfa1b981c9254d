"""Reading a runbook file: YAML to plain data, then to the runbook; every error names the file and its line."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hawkops.core import located
from hawkops.core.errors import InvalidInput
from rollout.domain import runbook as domain
from rollout.domain.reading import Unfit

FOLDER = Path(__file__).parent
CURRENT = FOLDER / "runbook-1.0.0.yaml"
# it is part of an address, and of a file's name
VERSION = re.compile(r"(?=.{1,20}$)\d{1,6}(\.\d{1,6}){1,3}(-[a-z0-9]+)?")


@dataclass(frozen=True)
class Loaded:
    """A runbook with the plain data it came from, its text byte for byte, and the text's SHA-256."""

    runbook: domain.Runbook
    document: dict[str, Any]
    text: bytes
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
    if not VERSION.fullmatch(found.version):
        wrong = f"{found.version!r} is not a version; write 1.0.2, at most 20 characters"
        raise document.refusal(("runbook", "version"), wrong)
    return Loaded(found, document.data, text, hashlib.sha256(text).hexdigest())
