"""The runbook's numbers that are no criteria, as they rule now: the database's, and the file's where none was seeded."""

from functools import cache
from typing import Any

from monitoring import thresholds
from monitoring.domain import thresholds as domain
from monitoring.domain.criteria import Severity, Unfit
from monitoring.domain.thresholds import HEALTH, MATRIX, RULES, Pace, Response, Rules
from monitoring.models import StoredSection


def paces() -> dict[str, Pace]:
    """Return how often each health check runs and how long it may take. One query."""
    return {**domain.paces(_of_file()[HEALTH]), **domain.paces(_ruling(HEALTH))}


def matrix() -> dict[Severity, Response]:
    """Return how soon an alert of each severity must be taken on. One query."""
    return domain.matrix(_ruling(MATRIX))


def rules() -> Rules:
    """Return when it is time to hold, to roll back or to wake everybody. One query."""
    return domain.rules(_ruling(RULES))


def stored() -> list[StoredSection]:
    """Return every stored section, in the file's order."""
    return list(StoredSection.objects.all())


def ruling() -> dict[str, dict[str, Any]]:
    """Return every section as plain data."""
    return {section: _ruling(section) for section in domain.SECTIONS}


def _ruling(section: str) -> dict[str, Any]:
    """Return a section; the file's when what is stored can't be used, since nothing runs without it."""
    row = StoredSection.objects.filter(key=section).first()
    if row is None:
        return _of_file()[section]
    try:
        return domain.document(section, row.document)
    except Unfit:
        return _of_file()[section]


@cache
def _of_file() -> dict[str, dict[str, Any]]:
    return thresholds.load_sections()
