"""Wrong passwords and codes lock a name at an address, with growing pauses; no kill, link or token asks here.

Codes have counts of their own, one of them over all addresses: a right password must not buy new guesses, and six digits
are few.
"""

import hashlib
import hmac
import ipaddress
import math
import unicodedata
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest

from hawkops.accounts.models import SecretTries, User
from hawkops.core import clock
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor
from hawkops.history.services import change

# tries before the first pause: for one name, and from one address for any names
FREE_FOR_NAME, FREE_FOR_ADDRESS = 5, 30
# and wrong codes of one name from anywhere
FREE_FOR_CODES = 20
PAUSE_FIRST, PAUSE_MOST = timedelta(seconds=30), timedelta(minutes=15)
FORGOTTEN_AFTER = timedelta(days=1)


class TooManyTries(HawkOpsError):
    """Too many wrong passwords or codes; the one given now was not looked at."""

    status = 429

    def __init__(self, wait: timedelta, *, codes: bool = False) -> None:
        self.seconds = max(1, math.ceil(wait.total_seconds()))
        minutes = math.ceil(self.seconds / 60)
        spoken = f"{self.seconds} seconds" if self.seconds < 120 else f"{minutes} minutes"
        if codes:
            super().__init__(f"Too many wrong codes. Wait {spoken}, then try again with a new one.")
        else:
            super().__init__(
                f"Too many wrong passwords from here. Wait {spoken}, then try again; a login link works at once."
            )


def pause_after(tries: int, free: int) -> timedelta:
    """Return how long to wait after so many wrong tries: nothing, then twice as long each time."""
    if tries < free:
        return timedelta()
    return min(PAUSE_MOST, PAUSE_FIRST * (1 << min(tries - free, 10)))


def try_begin(*, name: str, address: str, codes: bool = False) -> None:
    """Count a try before it is checked, so that many at once can't slip through. Raises TooManyTries in a pause."""
    free = {**_own_keys(name, address, codes), _address_key(address): FREE_FOR_ADDRESS}
    now = clock.now()
    with transaction.atomic():
        SecretTries.objects.filter(last_at__lt=now - FORGOTTEN_AFTER).delete()
        fresh = [SecretTries(key=key, last_at=now) for key in sorted(free)]
        SecretTries.objects.bulk_create(fresh, ignore_conflicts=True)
        rows = list(SecretTries.objects.select_for_update(no_key=True).filter(key__in=free).order_by("key"))
        if waits := [row.until - now for row in rows if row.until and row.until > now]:
            raise TooManyTries(max(waits), codes=codes)
        for row in rows:
            row.count, row.last_at = row.count + 1, now
            pause = pause_after(row.count, free[row.key])
            row.until = now + pause if pause else None
            row.save(update_fields=["count", "last_at", "until"])


def try_succeeded(*, name: str, address: str, codes: bool = False) -> None:
    """Forget the wrong tries for the name; of the address only this one, since others may be guessing beside."""
    SecretTries.objects.filter(key__in=_own_keys(name, address, codes)).delete()
    SecretTries.objects.filter(key=_address_key(address)).update(count=Greatest(F("count") - 1, 0), until=None)


def try_failed(*, name: str, address: str, codes: bool = False, request_id: str = "") -> None:
    """Record the pause that a wrong password or code began, if it began one; the address stands where it can be erased."""
    keys = (*_own_keys(name, address, codes), _address_key(address))
    row = SecretTries.objects.filter(key__in=keys, until__gt=clock.now()).order_by("-until").first()
    if row is None:
        return
    # as the form reads it; no name holds what PostgreSQL can't
    spelled = unicodedata.normalize("NFKC", name).strip()
    person = User.objects.filter(username=spelled).first() if spelled.isprintable() else None
    actor = Actor("rule:lockout", f"lockout of {address}")
    with change(actor=actor, request_id=request_id) as this:
        this.record(
            "person.locked",
            # never what was typed: it may be a password
            subject=f"person:{person.pk}" if person else "person:unknown",
            after={"tries": row.count, "until": row.until},
        )


def _own_keys(name: str, address: str, codes: bool) -> dict[str, int]:
    """What is counted for the name, and how many tries of it are free."""
    spelled = unicodedata.normalize("NFKC", name).strip().casefold()
    if codes:
        return {_key("codes", spelled, _network(address)): FREE_FOR_NAME, _key("codes", spelled, ""): FREE_FOR_CODES}
    return {_key("name", spelled, _network(address)): FREE_FOR_NAME}


def _address_key(address: str) -> str:
    return _key("address", "", _network(address))


def _key(*parts: str) -> str:
    return hmac.new(settings.SECRET_KEY.encode(), repr(parts).encode(), hashlib.sha256).hexdigest()


def _network(address: str) -> str:
    """Return the address, of IPv6 the /64 that one household has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(parsed if parsed.version == 4 else ipaddress.ip_network((parsed, 64), strict=False))
