"""The checks behind `manage.py probe NAME`: whoever owns the data registers one when its app is ready."""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hawkops.core.errors import NotFound
from hawkops.scripts.probes.findings import Finding


@dataclass(frozen=True)
class Check:
    """One check: what it looks at, its options, and what it finds."""

    name: str
    means: str
    run: Callable[[argparse.Namespace], Iterable[Finding]]
    options: Callable[[argparse.ArgumentParser], None] = lambda _parser: None


CHECKS: dict[str, Check] = {}


def register(check: Check) -> None:
    """Make a check known. Registering a name twice is a mistake of ours."""
    assert check.name not in CHECKS, check.name
    CHECKS[check.name] = check


def check(name: str) -> Check:
    """Return a check. Raises NotFound."""
    try:
        return CHECKS[name]
    except KeyError:
        raise NotFound(f"There is no probe {name!r}; there are {', '.join(sorted(CHECKS))}.") from None
