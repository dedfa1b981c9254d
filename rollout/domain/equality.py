"""When two values of flags are the same to a device. Pure."""

import json
from typing import Any


def same(one: Any, other: Any) -> bool:
    """Say whether two values are the same JSON: clients are strict, so 1, 1.0 and true are not."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
