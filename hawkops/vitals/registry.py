"""The vital signs there are. Whoever brings one registers a reading, and page, alert, doctor and `/metrics` have it."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import DatabaseError

from hawkops.core import clock
from hawkops.core.verdicts import Verdict

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Vital:
    """One reading. `value` and `limit` are in the unit; nothing measured is NO_DATA, never a pass."""

    key: str
    title: str
    sentence: str
    verdict: Verdict
    # what to do where it does not pass
    advice: str
    value: float | None = None
    limit: float | None = None
    unit: str = ""

    @property
    def failing(self) -> bool:
        """Whether somebody must be told; what was never measured is no alarm."""
        return self.verdict in (Verdict.FAIL, Verdict.STALE, Verdict.ERROR)


Reading = Callable[[datetime], Iterable[Vital]]
_readings: dict[str, Reading] = {}


def register(name: str, reading: Reading) -> None:
    """Read it from now on; the same name replaces what had it."""
    _readings[name] = reading


def vitals(now: datetime | None = None) -> list[Vital]:
    """Take every reading, in the order they were registered. One that fails is an ERROR of its own."""
    found: list[Vital] = []
    for name, reading in _readings.items():
        try:
            found.extend(reading(now or clock.now()))
        except DatabaseError:
            raise
        except Exception as error:
            log.exception("vitals.reading_failed", extra={"reading": name})
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            found.append(Vital(name, name.replace("_", " ").capitalize(), why, Verdict.ERROR, "The log says more."))
    return found


def at_most(key: str, title: str, value: float | None, limit: float, *, unit: str, sentence: str, advice: str) -> Vital:
    """Return a reading that must not exceed its limit; None is NO_DATA."""
    verdict = Verdict.NO_DATA if value is None else Verdict.FAIL if value > limit else Verdict.PASS
    return Vital(key, title, sentence, verdict, advice, value, limit, unit)
