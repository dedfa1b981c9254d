"""How what rules differs from the threshold file as it stands on disk now, field by field."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hawkops.core.errors import InvalidInput
from monitoring import thresholds
from monitoring.domain import criteria, targets
from monitoring.domain.thresholds import Difference, differences
from monitoring.models import StoredCriterion, StoredProfile, StoredSection


class Kind(StrEnum):
    """What differs."""

    CRITERION = "criterion"
    PROFILE = "profile"
    SECTION = "section"


class How(StrEnum):
    """In what way."""

    EDITED = "differs"
    OWN = "only here"
    GONE = "no longer in the file"
    MISSING = "only in the file"


@dataclass(frozen=True)
class Drifted:
    """Something that is not what the file says."""

    kind: Kind
    key: str
    how: How
    differences: list[Difference]


@dataclass(frozen=True)
class Drift:
    """Everything that differs; `refusal` says why the file can't be read, and then nothing is compared."""

    found: list[Drifted]
    refusal: str = ""

    def of(self, kind: Kind, key: str) -> Drifted | None:
        """Return how one thing differs; None when it does not."""
        return next((one for one in self.found if (one.kind, one.key) == (kind, key)), None)


def drift() -> Drift:
    """Compare the database with the file. Three queries."""
    try:
        wanted: dict[Kind, Mapping[str, Any]] = {
            Kind.CRITERION: {one.key: criteria.document(one) for one in thresholds.load()},
            Kind.PROFILE: {one.name: targets.document(one) for one in thresholds.load_profiles()},
            Kind.SECTION: thresholds.load_sections(),
        }
    except InvalidInput as unreadable:
        return Drift([], unreadable.message)
    rows: Mapping[Kind, Iterable[StoredCriterion | StoredProfile | StoredSection]] = {
        Kind.CRITERION: StoredCriterion.objects.all(),
        Kind.PROFILE: StoredProfile.objects.all(),
        Kind.SECTION: StoredSection.objects.all(),
    }
    return Drift([one for kind in Kind for one in _compared(kind, rows[kind], wanted[kind])])


def _compared(
    kind: Kind, rows: Iterable[StoredCriterion | StoredProfile | StoredSection], wanted: Mapping[str, Any]
) -> list[Drifted]:
    found = []
    known = set()
    for row in rows:
        known.add(row.key)
        if row.key not in wanted:
            found.append(Drifted(kind, row.key, How.OWN if row.seed is None else How.GONE, []))
        elif changed := differences(row.document, wanted[row.key]):
            found.append(Drifted(kind, row.key, How.EDITED, changed))
    return found + [Drifted(kind, key, How.MISSING, []) for key in wanted if key not in known]
