"""The profiles in force: what the database holds, and the file's where nothing was ever seeded."""

from functools import cache
from typing import Any

from monitoring import thresholds
from monitoring.domain.criteria import Unfit
from monitoring.domain.targets import Profile, Profiles, profile
from monitoring.models import StoredProfile


def profiles() -> Profiles:
    """Return them. One query. One that can't be read leaves its classes without a target, and the others with theirs."""
    documents = list(StoredProfile.objects.values_list("document", flat=True))
    return Profiles([one for one in map(_usable, documents) if one] if documents else _of_file())


def _usable(document: Any) -> Profile | None:
    try:
        return profile(document)
    except Unfit:
        return None


def stored() -> list[StoredProfile]:
    """Return every stored profile, in the file's order."""
    return list(StoredProfile.objects.all())


@cache
def _of_file() -> tuple[Profile, ...]:
    return tuple(thresholds.load_profiles())
