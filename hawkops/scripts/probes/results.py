"""Where measurements go besides standard output: JSON lines in the file that HAWKOPS_RESULT names."""

import json
import os
from pathlib import Path

from hawkops.scripts.probes.limits import Limit
from hawkops.scripts.probes.measuring import Exit, Reading, Subject

OUTCOMES = {Exit.PASSED: "pass", Exit.FAILED: "fail", Exit.UNMEASURED: "no_data"}


def append(reading: Reading, limit: Limit, outcome: Exit, subject: Subject | None, **more: str) -> None:
    """Append one measurement; does nothing when nobody asked for it."""
    target = os.environ.get("HAWKOPS_RESULT")
    if not target:
        return
    line = {
        "name": reading.name,
        "value": reading.value,
        "unit": reading.unit,
        "backend": reading.backend,
        "outcome": OUTCOMES[outcome],
        "threshold": limit.bound / limit.scale,
        "comparison": "at_least" if limit.at_least else "at_most",
        "note": reading.sentence,
        **(subject.described() if subject else {"target": "host", "synthetic": None}),
        **reading.details,
        **more,
    }
    with Path(target).open("a") as file:
        file.write(json.dumps(line) + "\n")
