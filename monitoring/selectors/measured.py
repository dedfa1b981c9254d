"""Readings that are measured here instead of reported by devices: whoever knows one registers how it is read."""

from collections.abc import Callable
from datetime import datetime, timedelta

from hawkops.history import selectors as history
from monitoring.domain.criteria import Reading
from monitoring.domain.metrics import HISTORY_GAP, SERIES_USED
from monitoring.selectors.cardinality import cardinality

# environment, window, now -> what was measured
Reader = Callable[[str, timedelta, datetime], Reading]


def _history_gap(_environment: str, window: timedelta, now: datetime) -> Reading:
    """The longest silence of the history within the window, in seconds; the one that still lasts counts too."""
    last = history.last_entry_at()
    if last is None:
        return Reading(None)
    return Reading(history.longest_silence(since=now - window, now=now).total_seconds(), 1, 0, max(last, now - window))


def _series_used(environment: str, _window: timedelta, now: datetime) -> Reading:
    """How much of the room for telemetry series is used now, 1 when new ones begin to fold."""
    return Reading(cardinality(environment).used, 1, 0, now)


_READERS: dict[str, Reader] = {HISTORY_GAP: _history_gap, SERIES_USED: _series_used}


def register(metric: str, reader: Reader) -> None:
    """Say how a metric of the catalogue is measured."""
    _READERS[metric] = reader


def reader(metric: str) -> Reader | None:
    """Return how a metric is measured here; None when devices report it."""
    return _READERS.get(metric)
