"""Drills of the kill switches: pressed on one group only, measured, and restored by themselves. Pure.

waiting → pressed → restored → over; what is never pressed, or taken over by a press in earnest, is over at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hawkops.core.errors import InvalidInput
from hawkops.core.verdicts import Verdict

# who is drilled
GROUP = "internal_testers"
MINUTES, MINUTES_LEAST, MINUTES_MOST = 5, 1, 15
# how long it stands after the last device obeyed, so that people can look
LOOK = timedelta(seconds=10)
# the shares of the group whose moments are kept
SHARES = (50, 95, 99)


class State(StrEnum):
    """How far a drill is."""

    WAITING = "waiting"
    PRESSED = "pressed"
    RESTORED = "restored"
    OVER = "over"


# the switch of a flag is in one of these at most once
STANDING = (State.WAITING.value, State.PRESSED.value)
OPEN = (*STANDING, State.RESTORED.value)


class Outcome(StrEnum):
    """How a drill ended."""

    OBEYED = "obeyed"
    TIME_OVER = "time over"
    TAKEN_OVER = "taken over"
    STOPPED = "stopped"
    REFUSED = "refused"

    @property
    def verdict(self) -> Verdict | None:
        """What it proves of the switch; None for a drill that was cut short, which proves nothing."""
        return {Outcome.OBEYED: Verdict.PASS, Outcome.TIME_OVER: Verdict.FAIL}.get(self)


@dataclass(frozen=True)
class Counted:
    """How many of a drill's devices obey, and when the first and the last of them came to."""

    devices: int
    moments: tuple[datetime, ...]

    @property
    def obeyed(self) -> int:
        """Devices that obey."""
        return len(self.moments)

    @property
    def all_at(self) -> datetime | None:
        """When the last one obeyed; None while one is missing, and without any."""
        return share_at(self.moments, self.devices, 100)


def share_at(moments: Sequence[datetime], devices: int, percent: int) -> datetime | None:
    """Return when so many percent of the devices obeyed, rounded up to whole devices; None until they do."""
    wanted = -(-devices * percent // 100)
    return sorted(moments)[wanted - 1] if 0 < wanted <= len(moments) else None


def ended(counted: Counted, *, restores_at: datetime, now: datetime) -> Outcome | None:
    """Say whether a drill that is pressed ends now, and how; None while it goes on."""
    if counted.all_at is not None and (now >= counted.all_at + LOOK or now >= restores_at):
        return Outcome.OBEYED
    return Outcome.TIME_OVER if now >= restores_at else None


def minutes_checked(minutes: int) -> int:
    """Return after how many minutes a drill ends at the latest. Raises InvalidInput."""
    if not MINUTES_LEAST <= minutes <= MINUTES_MOST:
        raise InvalidInput(f"A drill takes {MINUTES_LEAST} to {MINUTES_MOST} minutes at most, not {minutes}.")
    return minutes


def flags_checked(flags: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return the flags to drill in the order of the known ones, each once; all of them for none. Raises InvalidInput."""
    wanted = set(flags)
    if unknown := sorted(wanted - set(known)):
        raise InvalidInput(f"{unknown[0]!r} is no kill switch; they are {', '.join(known)}.")
    return [one for one in known if one in wanted or not wanted]
