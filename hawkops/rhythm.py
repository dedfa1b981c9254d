"""The rhythm of beat, by a clock that nobody sets: when a host's is set back by hours, sweepers must not wait for hours."""

import time
from datetime import UTC, datetime, timedelta

from celery.schedules import schedstate, schedule

_BEGAN, _BEGAN_AT = time.monotonic(), datetime.now(tz=UTC)


def steady_now() -> datetime:
    """Return the time as it was when the process began, and what has passed since."""
    return _BEGAN_AT + timedelta(seconds=time.monotonic() - _BEGAN)


class Rhythm(schedule):
    """Every so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds, nowfun=steady_now)
        self.every_seconds = seconds

    def __reduce__(self) -> tuple[type["Rhythm"], tuple[float]]:
        return type(self), (self.every_seconds,)

    def is_due(self, last_run_at: datetime) -> schedstate:
        """What ran last in the future, by the clock of a beat before this one, is due now."""
        if last_run_at > self.now() + timedelta(seconds=1):
            return schedstate(is_due=True, next=self.every_seconds)
        return super().is_due(last_run_at)
