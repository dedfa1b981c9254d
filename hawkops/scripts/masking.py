"""What no output of a script may show: keys, and the secret parts of every address that a script is handed."""

import os
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from django.conf import settings

# A shorter password is masked where it stands in its address and nowhere else: three letters are in every other word.
SECRET_CHARACTERS = 4
# Values of a query may be plain words (alt=media); a signature or a key is longer.
QUERY_CHARACTERS = 8
NAMED = (
    "SECRET_KEY",
    "SLACK_WEBHOOK",
    "SECURITY_WEBHOOK",
    "ALERTMANAGER_TOKEN",
    "METRICS_TOKEN",
    "EMAIL_HOST_PASSWORD",
)
ADDRESSES = ("DATABASE_URL", "REDIS_URL", "CLOUD_AI_URL", "SLACK_WEBHOOK", "SECURITY_WEBHOOK")
# Their queries are options, and a masked "verify-full" would hide what is said about it.
OPTIONS = ("postgres", "postgresql", "redis", "rediss", "unix")


def secrets_of(env: Mapping[str, str]) -> frozenset[str]:
    """Return the secrets in what a script is handed, and in the settings: it may find those in the data folder."""
    named = [str(getattr(settings, name, "") or "") for name in NAMED]
    named += [env.get(name, "") for name in NAMED]
    named += settings.SECRET_KEY_FALLBACKS
    addresses = [getattr(settings, name) for name in ADDRESSES] + [os.environ.get("DATABASE_OWNER_URL", "")]
    addresses += env.values()
    # of a chat's webhook, the path is the secret
    named += [urlsplit(url).path for url in (settings.SLACK_WEBHOOK, settings.SECURITY_WEBHOOK)]
    found = {form for secret in named if len(secret) >= SECRET_CHARACTERS for form in _forms(secret)}
    return frozenset(found.union(*(_inside(address) for address in addresses if "://" in address)))


def _inside(address: str) -> Iterator[str]:
    """Give the secret parts of an address: who signs in, with what, and what a query proves itself with."""
    try:
        split = urlsplit(address)
        user, password = split.username or "", split.password or ""
    except ValueError:
        yield address  # nobody can tell its parts
        return
    if password:
        yield f"{user}:{password}@"
        if len(unquote(password)) >= SECRET_CHARACTERS:
            yield from _forms(password)
    elif len(user) >= QUERY_CHARACTERS:
        yield from _forms(user)  # a key alone stands where a name would
    if split.query and split.scheme.partition("+")[0] not in OPTIONS:
        if len(split.query) >= QUERY_CHARACTERS:
            yield split.query
        for _, value in parse_qsl(split.query):
            if len(value) >= QUERY_CHARACTERS:
                yield from _forms(value)
    elif split.query:
        for name, value in parse_qsl(split.query):
            if "password" in name and len(value) >= SECRET_CHARACTERS:
                yield from _forms(value)


def _forms(secret: str) -> set[str]:
    """Return a secret as it may be written: as it is, and as addresses write it and read it."""
    return {secret, unquote(secret), quote(secret, safe="")}
