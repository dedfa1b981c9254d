"""The pack as files: JSON that is verified, HTML that is printed, and the program that verifies."""

import json
from collections.abc import Mapping
from typing import Any

from django.template.loader import render_to_string

from hawkops.history.exporting import MODULES, program

# what the stand-alone program consists of: the very modules that verify here
VERIFYING = (*MODULES, "compliance/domain/told.py", "compliance/domain/pack.py", "compliance/verifying.py")


def pack_text(document: Mapping[str, Any]) -> str:
    """Return a pack as it is verified."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def pack_page(document: Mapping[str, Any]) -> str:
    """Return a pack as one page that stands alone and prints."""
    return render_to_string("compliance/file.html", {"pack": document, **document})


def verifier_program() -> bytes:
    """Return the stand-alone verifier as one file: `python verify_compliance.pyz FILE`."""
    return program(VERIFYING, "hawkops.compliance.verifying:program")
