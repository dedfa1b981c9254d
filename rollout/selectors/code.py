"""Which code judges: its version, and a digest of what readings, verdicts and recommendations are computed by."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
JUDGING = (
    "hawkops/core/verdicts.py",
    "monitoring/domain",
    "rollout/domain/bundle.py",
    "rollout/domain/decision.py",
    "rollout/domain/lines.py",
    "rollout/domain/validation.py",
)


@cache
def code() -> dict[str, str]:
    """Return the version of HawkOps and the digest of the code that judges."""
    found = hashlib.sha256()
    for place in JUDGING:
        path = ROOT / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found.update(f"{file.relative_to(ROOT)}\n".encode())
            found.update(file.read_bytes())
    try:
        number = version("hawkops")
    except PackageNotFoundError:
        number = "0"
    return {"version": number, "judging": found.hexdigest()}
