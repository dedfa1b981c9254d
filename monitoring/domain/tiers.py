"""How long which resolution is kept: every observation stands in each tier until that tier's time is over."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Tier:
    """Rows of one width. `keep` is how far back they reach, `partition` how much of them is dropped at once."""

    width: int
    keep: timedelta
    partition: timedelta

    @property
    def step(self) -> timedelta:
        """The width as a span."""
        return timedelta(seconds=self.width)


FINEST = Tier(10, timedelta(hours=3), timedelta(hours=1))
MINUTE = Tier(60, timedelta(hours=50), timedelta(hours=6))
TEN_MINUTES = Tier(600, timedelta(days=32), timedelta(days=1))
HOUR = Tier(3_600, timedelta(days=400), timedelta(days=30))
TIERS = (FINEST, MINUTE, TEN_MINUTES, HOUR)
BY_WIDTH = {tier.width: tier for tier in TIERS}


def tier_for(*, step: timedelta, since: datetime, now: datetime) -> Tier:
    """Return the coarsest tier that resolves `step` and reaches back to `since`, else the finest that reaches back."""
    reaching = [tier for tier in TIERS if since >= now - tier.keep] or [HOUR]
    fitting = [tier for tier in reaching if not step % tier.step]
    return fitting[-1] if fitting else reaching[0]


def tier_of_span(span: timedelta, *, since: datetime, now: datetime) -> Tier:
    """Return the tier to sum a span from whose ends need not be exact: to a fifteenth of the span or better."""
    fitting = [tier for tier in TIERS if tier.step * 15 <= span and since >= now - tier.keep]
    return fitting[-1] if fitting else tier_for(step=FINEST.step, since=since, now=now)


def finer(tier: Tier) -> tuple[Tier, ...]:
    """Return the tiers finer than this one, coarsest first."""
    return tuple(reversed(TIERS[: TIERS.index(tier)]))
