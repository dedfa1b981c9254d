"""The program that verifies a compliance pack anywhere: Python and `cryptography` only.

    python verify_compliance.pyz FILE [--key VERIFIER ...]

Exit 0 when all of it holds, 1 when something does not (the first such thing is named), 2 when it can't be read.
"""

import argparse
import sys
from pathlib import Path

from hawkops.compliance.domain import pack
from hawkops.history.domain.checkpoint import Unproven, Verifier


def main(arguments: list[str] | None = None) -> int:
    """Verify the file that is named."""
    parser = argparse.ArgumentParser(prog="verify_compliance", description="Verify a release's compliance pack.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--key", action="append", default=[], metavar="VERIFIER", help="who is trusted to have signed")
    given = parser.parse_args(arguments)
    try:
        keys = [Verifier.parse(text) for text in given.key]
        document = pack.read(given.file.read_text(encoding="utf-8"))
        found = pack.verify(document, keys=keys)
    except (OSError, Unproven, pack.Unreadable, UnicodeDecodeError) as error:
        print(f"This can't be read: {error}.", file=sys.stderr)
        return 2
    for sentence in pack.sentences(found, document, trusted=bool(keys)):
        print(sentence)
    return 1 if found.unfit else 0


def program() -> None:
    """What the stand-alone file runs."""
    sys.exit(main())
