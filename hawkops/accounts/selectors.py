"""What is known of ways in: a person's factors, sessions and identities elsewhere; keys, tokens and sealed codes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from hawkops.accounts.models import ApiToken, BreakGlassCode, DeviceKey, User
from hawkops.core import clock

# recovery codes alone are none
FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
MUST_HAVE = (
    "Your role needs a second factor before you change anything: add an authenticator app or a passkey under your name. "
    "Kills never ask. Nothing was changed."
)


def has_factor(user: User) -> bool:
    """Whether signing in takes a second step. One query."""
    return bool(Authenticator.objects.filter(user=user, type__in=FACTORS).exists())


def lacks_factor(user: object) -> bool:
    """Whether a person must have a factor, by `SECOND_FACTOR_FOR`, and has none."""
    if not settings.SECOND_FACTOR_FOR or not isinstance(user, User) or user.breaks_glass:
        return False
    return not user.roles_in("").isdisjoint(settings.SECOND_FACTOR_FOR) and not has_factor(user)


@dataclass(frozen=True)
class Passkey:
    """A passkey, as its person knows it."""

    pk: int
    name: str
    added_at: datetime
    used_at: datetime | None


@dataclass(frozen=True)
class Factors:
    """What a person has beside the password."""

    app: Authenticator | None
    passkeys: list[Passkey]
    # of the recovery codes; None when none were made
    codes_left: int | None

    @property
    def any(self) -> bool:
        """Whether signing in takes a second step."""
        return self.app is not None or bool(self.passkeys)


def factors(user: User) -> Factors:
    """Return a person's factors. One query."""
    app, passkeys, codes = None, [], None
    for row in Authenticator.objects.filter(user=user).order_by("created_at"):
        if row.type == Authenticator.Type.TOTP:
            app = row
        elif row.type == Authenticator.Type.WEBAUTHN:
            passkeys.append(Passkey(row.pk, row.data["name"], row.created_at, row.last_used_at))
        else:
            codes = settings.MFA_RECOVERY_CODE_COUNT - int(row.data["used_mask"]).bit_count()
    return Factors(app, passkeys, codes)


@dataclass(frozen=True)
class SessionSeen:
    """A session that still counts."""

    pk: int
    key: str
    browser: str
    address: str
    since: datetime
    seen_at: datetime


def sessions(user: User) -> list[SessionSeen]:
    """Return the sessions of a person that still count, the last seen first."""
    rows = list(UserSession.objects.filter(user=user).order_by("-last_seen_at"))
    living = set(session_keys(user, Session.objects.filter(session_key__in=[row.session_key for row in rows])))
    return [
        SessionSeen(row.pk, row.session_key, browser(row.user_agent), row.ip, row.created_at, row.last_seen_at)
        for row in rows
        if row.session_key in living
    ]


def session_keys(user: User, among: QuerySet[Session] | None = None) -> Iterator[str]:
    """Give the key of every session in which the person is signed in, those that nobody noted too."""
    rows = Session.objects.all() if among is None else among
    for row in rows.filter(expire_date__gt=timezone.now()).iterator():
        held = row.get_decoded()
        if held.get(SESSION_KEY) != str(user.pk) or BACKEND_SESSION_KEY not in held:
            continue
        if any(constant_time_compare(held.get(HASH_SESSION_KEY, ""), one) for one in _hashes(user)):
            yield row.session_key


def _hashes(user: User) -> Iterator[str]:
    yield user.get_session_auth_hash()
    yield from user.get_session_auth_fallback_hash()


def identities(user: User) -> list[SocialAccount]:
    """Return the identities elsewhere by which a person may sign in."""
    return list(SocialAccount.objects.filter(user=user).order_by("pk"))


# the first that matches: every browser claims to be several
BROWSERS = (("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrome", "Chrome"), ("Safari", "Safari"))
SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def browser(user_agent: str) -> str:
    """Return in words what a browser says of itself."""
    name = next((said for found, said in BROWSERS if found in user_agent), "")
    system = next((said for found, said in SYSTEMS if found in user_agent), "")
    if name and system:
        return f"{name} on {system}"
    return name or system or user_agent[:40] or "unknown browser"


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
