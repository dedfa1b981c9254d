"""Why a run's writer is no longer wanted."""

from hawkops.core.errors import Conflict


class StaleToken(Conflict):
    """Another attempt of the run is under way, or it has ended: what this one says is refused."""
