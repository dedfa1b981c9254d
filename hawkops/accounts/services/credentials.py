"""What devices and programs carry: keys and tokens, kept as hashes."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from hawkops.accounts.models import ApiToken, DeviceKey, User
from hawkops.core import clock
from hawkops.core.access import Scope
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.services import Change, change

TOKEN_LIFETIME, TOKEN_LIFETIME_MOST = timedelta(days=90), timedelta(days=365)
# a key lies in an app: its devices get another one with an update
KEY_LIFETIME, KEY_LIFETIME_MOST = timedelta(days=365), timedelta(days=1_100)
# the old one and its successor, while whoever carries it is told the new one
LIVE_MOST = 2
# how long both live after a rotation
TOKEN_OVERLAP, KEY_OVERLAP, OVERLAP_MOST = timedelta(days=7), timedelta(days=30), timedelta(days=180)
TOKEN_USED_EVERY = timedelta(minutes=5)


def secret_hash(secret: str) -> str:
    """Return how a random secret is stored. A plain hash is enough: there is nothing to guess in 192 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def device_key_create(
    *,
    environment: str,
    name: str,
    actor: Actor,
    lifetime: timedelta | None = KEY_LIFETIME,
    request_id: str = "",
) -> tuple[DeviceKey, str]:
    """Create a device key; the second value is the key itself, shown this once. A lifetime of None never ends by itself.

    Two of one name may live at once, so that devices can be given the new one before the old one ends.
    """
    environment = Environment(environment).value
    name = name.strip()
    if not name or len(name) > 80 or not name.isprintable():
        raise InvalidInput("Give the key a name of at most 80 characters that says which devices carry it.")
    if lifetime is not None and not timedelta() < lifetime <= KEY_LIFETIME_MOST:
        raise InvalidInput(f"A device key lives 1 to {KEY_LIFETIME_MOST.days} days, or until it is revoked.")
    secret = f"hk_{environment}_{secrets.token_urlsafe(24)}"
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        at = clock.now()
        if _live_count(DeviceKey, environment, name) >= LIVE_MOST:
            raise Conflict(f"{LIVE_MOST} keys named {name} live already; revoke one of them first.")
        key = DeviceKey.objects.create(
            environment=environment,
            name=name,
            prefix=secret[: len(environment) + 8],
            key_hash=secret_hash(secret),
            created_at=at,
            expires_at=None if lifetime is None else at + lifetime,
        )
        this.record("key.created", subject=f"device_key:{key.pk}", after={"name": name, "expires_at": key.expires_at})
    return key, secret


def device_key_rotate(
    *, key: DeviceKey, actor: Actor, overlap: timedelta = KEY_OVERLAP, reason: str = "", request_id: str = ""
) -> tuple[DeviceKey, str]:
    """Make a key's successor, which lives as long as the key was made for; the key itself ends after the overlap.

    Returns the successor and its secret. Raises Conflict for a key that lives no more, or that has a successor already.
    """
    with change(actor=actor, environment=key.environment, reason=reason, request_id=request_id) as this:
        old = DeviceKey.objects.select_for_update(no_key=True).get(pk=key.pk)
        ends = _ends(old, overlap)
        fresh, secret = device_key_create(
            environment=old.environment, name=old.name, actor=actor, lifetime=_lifetime(old)
        )
        _end_at(this, old, ends, verb="key.rotated", subject="device_key", successor=fresh.pk)
    return fresh, secret


def _live_count(model: type[DeviceKey] | type[ApiToken], environment: str, name: str) -> int:
    found = model.objects.select_for_update(no_key=True).filter(environment=environment, name=name, revoked_at=None)
    return len(found.filter(Q(expires_at=None) | Q(expires_at__gt=clock.now())))


def _ends(old: DeviceKey | ApiToken, overlap: timedelta) -> datetime:
    """Return when what is rotated ends; never later than it would have. Raises Conflict, InvalidInput."""
    if not old.live:
        raise Conflict(f"{old.name} lives no more, so nothing has to overlap: make a new one.")
    if not timedelta() <= overlap <= OVERLAP_MOST:
        raise InvalidInput(f"Both may live for 0 to {OVERLAP_MOST.days} days.")
    ends = clock.now() + overlap
    return min(ends, old.expires_at) if old.expires_at else ends


def _lifetime(old: DeviceKey) -> timedelta | None:
    return old.expires_at - old.created_at if old.expires_at else None


def _end_at(
    this: Change, old: DeviceKey | ApiToken, ends: datetime, *, verb: str, subject: str, successor: int
) -> None:
    before, old.expires_at = old.expires_at, ends
    old.save(update_fields=["expires_at"])
    after = {"expires_at": ends, "successor": f"{subject}:{successor}"}
    this.record(verb, subject=f"{subject}:{old.pk}", before={"expires_at": before}, after=after)


def probe_key_ensure(*, environment: str) -> str:
    """Return the key that HawkOps itself presents at the devices' door, for checks that ask as a device would.

    Derived from SECRET_KEY, so that every process knows it and no file holds it. A revoked one stays revoked.
    """
    digest = hmac.new(settings.SECRET_KEY.encode(), f"probe:{environment}".encode(), hashlib.sha256).hexdigest()
    secret = f"hk_{environment}_{digest[:32]}"
    if DeviceKey.objects.filter(key_hash=secret_hash(secret)).exists():
        return secret
    with change(actor=Actor.rule("probe"), environment=environment) as this:
        key, made = DeviceKey.objects.get_or_create(
            key_hash=secret_hash(secret),
            defaults={
                "environment": Environment(environment).value,
                "name": "HawkOps' own probe",
                "prefix": secret[: len(environment) + 8],
                "created_at": clock.now(),
            },
        )
        if made:
            this.record("key.created", subject=f"device_key:{key.pk}", after={"name": key.name, "expires_at": None})
    return secret


def device_key_revoke(*, key: DeviceKey, actor: Actor, reason: str = "", request_id: str = "") -> None:
    """Revoke a device key at once, in every gateway."""
    with change(actor=actor, environment=key.environment, reason=reason, request_id=request_id) as this:
        locked = DeviceKey.objects.select_for_update(no_key=True).get(pk=key.pk)
        if locked.revoked_at is not None:
            return
        locked.revoked_at = clock.now()
        locked.save(update_fields=["revoked_at"])
        this.record(
            "key.revoked",
            subject=f"device_key:{key.pk}",
            before={"revoked_at": None},
            after={"revoked_at": locked.revoked_at},
        )


def api_token_create(
    *,
    environment: str,
    name: str,
    scopes: Iterable[Scope],
    actor: Actor,
    created_by: User | None = None,
    lifetime: timedelta = TOKEN_LIFETIME,
    request_id: str = "",
) -> tuple[ApiToken, str]:
    """Create an API token for one environment or (empty) for all; the second value is the token, shown this once.

    Two of one name may live at once, so that a program can be given the new one before the old one is revoked.
    """
    environment = Environment(environment).value if environment else ""
    name, wanted = name.strip(), sorted({scope.value for scope in scopes})
    if not name or len(name) > 80 or not name.isprintable():
        raise InvalidInput("Give the token a name of at most 80 characters that says which program carries it.")
    if not wanted:
        raise InvalidInput(f"Say what the token may do: {', '.join(Scope)}.")
    if not timedelta() < lifetime <= TOKEN_LIFETIME_MOST:
        raise InvalidInput(f"A token lives 1 to {TOKEN_LIFETIME_MOST.days} days.")
    secret = f"hkt_{environment or 'all'}_{secrets.token_urlsafe(24)}"
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        at = clock.now()
        if _live_count(ApiToken, environment, name) >= LIVE_MOST:
            raise Conflict(f"{LIVE_MOST} tokens named {name} live already; revoke one of them first.")
        token = ApiToken.objects.create(
            environment=environment,
            name=name,
            prefix=secret[: secret.index("_", 4) + 5],
            token_hash=secret_hash(secret),
            scopes=wanted,
            created_by=created_by,
            created_at=at,
            expires_at=at + lifetime,
        )
        this.record(
            "token.created",
            subject=f"api_token:{token.pk}",
            after={"name": name, "scopes": wanted, "environment": environment or "all", "expires_at": token.expires_at},
        )
    return token, secret


def api_token_rotate(
    *,
    token: ApiToken,
    actor: Actor,
    created_by: User | None = None,
    overlap: timedelta = TOKEN_OVERLAP,
    reason: str = "",
    request_id: str = "",
) -> tuple[ApiToken, str]:
    """Make a token's successor with the same scopes and lifetime; the token itself ends after the overlap.

    Returns the successor and its secret. Raises Conflict for a token that lives no more, or that has a successor already.
    """
    with change(actor=actor, environment=token.environment, reason=reason, request_id=request_id) as this:
        old = ApiToken.objects.select_for_update(no_key=True).get(pk=token.pk)
        ends = _ends(old, overlap)
        fresh, secret = api_token_create(
            environment=old.environment,
            name=old.name,
            scopes=[Scope(scope) for scope in old.scopes],
            actor=actor,
            created_by=created_by,
            lifetime=old.expires_at - old.created_at,
        )
        _end_at(this, old, ends, verb="token.rotated", subject="api_token", successor=fresh.pk)
    return fresh, secret


def api_token_revoke(*, token: ApiToken, actor: Actor, reason: str = "", request_id: str = "") -> None:
    """Revoke an API token; the next request with it is refused."""
    with change(actor=actor, environment=token.environment, reason=reason, request_id=request_id) as this:
        locked = ApiToken.objects.select_for_update(no_key=True).get(pk=token.pk)
        if locked.revoked_at is not None:
            return
        locked.revoked_at = clock.now()
        locked.save(update_fields=["revoked_at"])
        this.record(
            "token.revoked",
            subject=f"api_token:{token.pk}",
            before={"revoked_at": None},
            after={"revoked_at": locked.revoked_at},
        )


def api_token_find(*, secret: str) -> ApiToken | None:
    """Return the live token, None for any other text; that it was used is noted once in some minutes, without an entry."""
    token = ApiToken.objects.filter(token_hash=secret_hash(secret)).first()
    if token is None or not token.live:
        return None
    now = clock.now()
    unnoted = Q(last_used_at=None) | Q(last_used_at__lt=now - TOKEN_USED_EVERY)
    if token.last_used_at is None or token.last_used_at < now - TOKEN_USED_EVERY:
        ApiToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=now)
    return token
