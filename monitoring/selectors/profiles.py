"""The profiles in force: what the database holds, and the file's where nothing was ever seeded."""

from functools import cache

from monitoring import thresholds
from monitoring.domain.targets import Profile, Profiles, profile
from monitoring.models import StoredProfile


def profiles() -> Profiles:
    """Return them. One query."""
    stored = [profile(document) for document in StoredProfile.objects.values_list("document", flat=True)]
    return Profiles(stored or _of_file())


def stored() -> list[StoredProfile]:
    """Return every stored profile, in the file's order."""
    return list(StoredProfile.objects.all())


@cache
def _of_file() -> tuple[Profile, ...]:
    return tuple(thresholds.load_profiles())
