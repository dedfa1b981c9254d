"""Reads on who may enter."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from hawkops.accounts.models import ApiToken, BreakGlassCode, DeviceKey
from hawkops.core import clock

# what was used so lately is still in somebody's hands
USED_LATELY = timedelta(days=7)


@dataclass(frozen=True)
class Ending:
    """A key or token in use, and when it ends."""

    title: str
    ends: datetime


def glass_open() -> BreakGlassCode | None:
    """Return the code behind which somebody works just now, None while nobody does."""
    return BreakGlassCode.objects.filter(open_until__gt=clock.now()).order_by("-opened_at").first()


def credentials_ending(*, now: datetime, within: timedelta) -> list[Ending]:
    """Return keys and tokens in use that end so soon (or have just ended) and have no longer-lived one of their name.

    The soonest first.
    """
    found = []
    for word, model in (("The device key", DeviceKey), ("The token", ApiToken)):
        lives = model.objects.filter(revoked_at=None)
        ending = lives.filter(
            expires_at__lte=now + within, expires_at__gt=now - USED_LATELY, last_used_at__gte=now - USED_LATELY
        )
        for one in ending:
            later = lives.filter(environment=one.environment, name=one.name).exclude(pk=one.pk)
            if not later.filter(Q(expires_at=None) | Q(expires_at__gt=now + within)).exists():
                assert one.expires_at is not None
                found.append(Ending(f"{word} {one.name} of {one.environment or 'all environments'}", one.expires_at))
    return sorted(found, key=lambda one: one.ends)
