"""Windows of time on a page: how long, in which steps, and where the steps begin."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from monitoring.domain.tiers import HOUR, TIERS


@dataclass(frozen=True)
class Window:
    """A span cut into equal steps; the last step is the one that still grows."""

    since: datetime
    steps: int
    step: timedelta

    @property
    def until(self) -> datetime:
        """The end of the growing step."""
        return self.since + self.steps * self.step

    @property
    def span(self) -> timedelta:
        """How long it is."""
        return self.steps * self.step

    def index(self, moment: datetime) -> int:
        """Return the step a moment belongs to; it may lie outside."""
        return (moment - self.since) // self.step

    def starts(self) -> list[datetime]:
        """Return where each step begins."""
        return [self.since + position * self.step for position in range(self.steps)]

    def earlier(self, span: timedelta) -> "Window":
        """Return the same window beginning a span earlier, in the same steps."""
        more = -(-span // self.step)
        return Window(self.since - more * self.step, self.steps + more, self.step)


@dataclass(frozen=True)
class Choice:
    """A window that a page offers. `renew_ms` is how often its charts ask again at most: wide ones cost more."""

    key: str
    label: str
    span: timedelta
    step: timedelta
    renew_ms: int


# Each step is a multiple of a tier's width, and that tier reaches back as far as the window does.
CHOICES = (
    Choice("15m", "15 min", timedelta(minutes=15), timedelta(seconds=10), 1_000),
    Choice("1h", "1 h", timedelta(hours=1), timedelta(seconds=30), 1_500),
    Choice("6h", "6 h", timedelta(hours=6), timedelta(minutes=3), 3_000),
    Choice("24h", "24 h", timedelta(hours=24), timedelta(minutes=10), 4_000),
    Choice("48h", "48 h", timedelta(hours=48), timedelta(minutes=10), 6_000),
    Choice("7d", "7 d", timedelta(days=7), timedelta(hours=1), 15_000),
)


def chosen(key: str) -> Choice:
    """Return the choice of that key, the first one for anything else."""
    return next((choice for choice in CHOICES if choice.key == key), CHOICES[0])


def window(choice: Choice, now: datetime) -> Window:
    """Lay the window so that its steps begin at round times and its last step holds `now`."""
    seconds = choice.step.total_seconds()
    end = datetime.fromtimestamp((now.timestamp() // seconds + 1) * seconds, tz=UTC)
    return Window(end - choice.span, choice.span // choice.step, choice.step)


def ended(choice: Choice, until: datetime, now: datetime) -> Window:
    """Lay a window that ended at a moment, in steps no finer than what is still kept of that time."""
    kept = next((tier for tier in TIERS if until - choice.span >= now - tier.keep), HOUR)
    step = -(-choice.step // kept.step) * kept.step
    return window(replace(choice, step=step, span=max(choice.span, step)), until)
