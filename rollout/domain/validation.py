"""The arithmetic of a validation: hours of live data after a phase's target percentage, and what they say. Pure.

The clock runs only while data flows, in steps of ten minutes; a critical incident sets it to zero, and it stands still
until that is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hawkops.core.verdicts import Verdict, worst
from rollout.domain.phases import spoken
from rollout.domain.policy import Need

# with no data for this long the clock stands: devices report every few minutes at most
SILENCE = timedelta(minutes=20)


@dataclass(frozen=True)
class Critical:
    """A critical incident; one that is not over has no end."""

    title: str
    opened_at: datetime
    ended_at: datetime | None = None
    address: str = ""


@dataclass(frozen=True)
class Start:
    """From when a clock counts, and why not from the phase's target. `at` is None while an incident holds it at zero."""

    at: datetime | None
    because: str = ""
    address: str = ""


def start(began_at: datetime, incidents: Iterable[Critical]) -> Start:
    """Return from when the clock counts: from the target percentage on, or from the end of the last critical incident."""
    found = Start(began_at)
    for one in sorted(incidents, key=lambda one: one.opened_at):
        if one.ended_at is None:
            return Start(None, one.title, one.address)
        if found.at is not None and one.ended_at > found.at:
            found = Start(one.ended_at, one.title, one.address)
    return found


def live(slots: Iterable[datetime], *, width: timedelta, since: datetime, until: datetime) -> timedelta:
    """Add up the steps with data, each as far as it lies between `since` and `until`."""
    parts = (min(slot + width, until) - max(slot, since) for slot in set(slots))
    return sum((part for part in parts if part > timedelta()), timedelta())


@dataclass(frozen=True)
class Clock:
    """How far a validation is. `since` is None while a critical incident that is not over holds it at zero."""

    began_at: datetime
    since: datetime | None
    needed: timedelta
    live: timedelta
    last_data_at: datetime | None
    counted_at: datetime
    done_at: datetime | None = None
    because: str = ""
    address: str = ""

    @property
    def done(self) -> bool:
        """Whether the hours of data are full."""
        return self.done_at is not None

    @property
    def left(self) -> timedelta:
        """What is still wanted."""
        return max(timedelta(), self.needed - self.live)

    @property
    def paused_since(self) -> datetime | None:
        """Since when no data has come; None while it flows and when nothing is wanted any more."""
        if self.done or self.since is None:
            return None
        last = max(self.last_data_at or self.since, self.since)
        return last if self.counted_at - last > SILENCE else None

    @property
    def expected_at(self) -> datetime | None:
        """When it is full if data goes on flowing; None while it stands."""
        if self.done or self.since is None or self.paused_since is not None:
            return None
        return self.counted_at + self.left

    @property
    def share(self) -> int:
        """How far it is, in percent."""
        return min(100, int(100 * self.live / self.needed)) if self.needed else 100

    @property
    def have(self) -> str:
        """Say it in short: `31 h 20 min of 48 h`."""
        return f"{exact(min(self.live, self.needed))} of {exact(self.needed)}"

    @property
    def sentence(self) -> str:
        """Say where it stands."""
        again = (
            f" It began anew {self.since:%d %b, %H:%M} UTC, after “{self.because}”."
            if self.since and self.because
            else ""
        )
        if self.since is None:
            return f"{self.have}: held at zero by a critical incident that is not over, “{self.because}”."
        if self.done:
            return f"{self.have} of live data.{again}"
        if paused := self.paused_since:
            return f"{self.have}; paused since {_moment(paused, self.counted_at)}: no data.{again}"
        return f"{self.have}; data flows, {exact(self.left)} to go.{again}"


def exact(span: timedelta) -> str:
    """Say hours to the minute: `31 h 20 min`, `48 h`."""
    hours, minutes = divmod(max(0, int(span.total_seconds() // 60)), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def _moment(at: datetime, now: datetime) -> str:
    return f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%d %b, %H:%M} UTC"


@dataclass(frozen=True)
class Standing:
    """A line of what must hold after a phase, in short."""

    title: str
    verdict: Verdict
    in_scope: bool = True
    waived: bool = False

    @property
    def blocks(self) -> bool:
        """Whether it keeps the release where it is."""
        return self.in_scope and not self.waived and self.verdict is not Verdict.PASS


def data_need(clock: Clock | None, needed: timedelta, number: int) -> Need:
    """Return the line of the hours of data; without a clock the target percentage is not reached yet."""
    if clock is None:
        sentence = f"The {exact(needed)} begin when phase {number} has reached its target percentage."
        return Need("data", "Hours of data", False, sentence, f"0 min of {exact(needed)}", Verdict.INSUFFICIENT)
    verdict = Verdict.PASS if clock.done else Verdict.INSUFFICIENT
    return Need("data", "Hours of data", clock.done, clock.sentence, clock.have, verdict)


def lines_need(key: str, title: str, lines: Iterable[Standing]) -> Need | None:
    """Return the line of a section; None for one that the runbook lacks. Nothing in scope speaks for nothing."""
    rows = list(lines)
    if not rows:
        return None
    scoped = [one for one in rows if one.in_scope]
    blocking = [one for one in scoped if one.blocks]
    passing = sum(one.verdict is Verdict.PASS for one in scoped)
    waived = sum(one.waived for one in scoped)
    have = f"{passing} of {len(scoped)} pass" + (f", {waived} waived" if waived else "")
    if not scoped:
        return Need(key, title, False, "None is in scope, so nothing speaks for it.", have, Verdict.NO_DATA)
    said = "; ".join(f"{one.title} {one.verdict.label}" for one in blocking[:4])
    more = f" and {len(blocking) - 4} more" if len(blocking) > 4 else ""
    out = len(rows) - len(scoped)
    scope = f" {out} not in scope." if out else ""
    sentence = f"{said}{more}." if blocking else "All pass or are waived." if waived else "All pass."
    verdict = worst([one.verdict for one in blocking]) if blocking else Verdict.PASS
    return Need(key, title, not blocking, sentence + scope, have, verdict)


def expected(have: int, need: int, live_time: timedelta) -> timedelta | None:
    """Return how long it takes until there are enough samples at their pace so far; None when there are none yet."""
    if have >= need:
        return timedelta()
    if have <= 0 or live_time <= timedelta():
        return None
    return live_time * ((need - have) / have)


def spoken_expected(have: int, need: int, live_time: timedelta) -> str:
    """Say when there are enough samples: `enough`, `in about 3 h of data`; empty while nothing came."""
    left = expected(have, need, live_time)
    if left is None:
        return ""
    return "enough" if not left else f"in about {spoken(max(left, timedelta(minutes=1)))} of data"
