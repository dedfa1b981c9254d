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
from hawkops.history.services import change

TOKEN_LIFETIME, TOKEN_LIFETIME_MOST = timedelta(days=90), timedelta(days=365)
# the old one and its successor, while a program is told the new one
TOKENS_LIVE_MOST = 2
TOKEN_USED_EVERY = timedelta(minutes=5)


def secret_hash(secret: str) -> str:
    """Return how a random secret is stored. A plain hash is enough: there is nothing to guess in 192 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def device_key_create(
    *, environment: str, name: str, actor: Actor, expires_at: datetime | None = None, request_id: str = ""
) -> tuple[DeviceKey, str]:
    """Create a device key; the second value is the key itself, shown this once."""
    environment = Environment(environment).value
    if not name.strip():
        raise InvalidInput("Give the key a name that says which devices carry it.")
    secret = f"hk_{environment}_{secrets.token_urlsafe(24)}"
    with change(actor=actor, environment=environment, request_id=request_id) as this:
        key = DeviceKey.objects.create(
            environment=environment,
            name=name.strip(),
            prefix=secret[: len(environment) + 8],
            key_hash=secret_hash(secret),
            created_at=clock.now(),
            expires_at=expires_at,
        )
        this.record("key.created", subject=f"device_key:{key.pk}", after={"name": key.name, "expires_at": expires_at})
    return key, secret


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
        live = ApiToken.objects.select_for_update(no_key=True).filter(
            environment=environment, name=name, revoked_at=None, expires_at__gt=at
        )
        if len(live) >= TOKENS_LIVE_MOST:
            raise Conflict(f"{TOKENS_LIVE_MOST} tokens named {name} live already; revoke one of them first.")
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
