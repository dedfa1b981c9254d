"""Checks of the settings that Django can't know: what of the promised protection is not there, and what to do."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import psycopg
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from hawkops.core.lines import hears

LOCAL = ("localhost", "127.0.0.1", "::1")


def register_all() -> None:
    """Let `manage.py check` ask them."""
    register(roles, Tags.security)
    register(addresses, Tags.security)
    register(direct, Tags.database)
    register(deployed, Tags.security, deploy=True)


def roles(**_given: Any) -> list[CheckMessage]:
    """Two roles: one that owns the tables, and one that may not alter the history."""
    if "owner" in settings.DATABASES:
        return []
    return [
        Warning(
            "Proof weakened: the application connects as the role that owns the tables, and so may switch off the "
            "database's refusal to alter the history.",
            hint="Make a second role, give its URL as DATABASE_URL and the owner's as DATABASE_OWNER_URL, and migrate.",
            id="hawkops.W001",
        )
    ]


def addresses(**_given: Any) -> list[CheckMessage]:
    """The public address, and the names the console answers to."""
    split = urlsplit(settings.CONSOLE_URL)
    found: list[CheckMessage] = []
    if split.scheme not in ("http", "https") or not split.hostname:
        return [Error(f"CONSOLE_URL is {settings.CONSOLE_URL!r}.", hint="Use https://host.", id="hawkops.E001")]
    if settings.DEBUG and split.hostname not in LOCAL:
        found.append(
            Error("HAWKOPS_DEBUG is on at a public address: errors show code and settings.", hint="Unset it.",
                  id="hawkops.E002")
        )  # fmt: skip
    if split.scheme == "http" and split.hostname not in LOCAL:
        found.append(
            Warning(
                f"People sign in to {split.hostname} without TLS: sessions can be read on the way.",
                hint="Put a proxy with TLS in front and set CONSOLE_URL to https://…; see TLS and proxies in the README.",
                id="hawkops.W002",
            )
        )
    if "*" in settings.TRUSTED_PROXIES:
        hint = "Name the proxies in front by address or network: 10.0.0.0/24."
        found.append(Warning("TRUSTED_PROXIES believes everybody: whence and how they come can be forged.", hint=hint,
                             id="hawkops.W005"))  # fmt: skip
    if "*" in settings.ALLOWED_HOSTS:
        found.append(Warning("ALLOWED_HOSTS allows every name.", hint="Name the console's own.", id="hawkops.W003"))
    elif split.hostname not in LOCAL and not _named(split.hostname):
        hint = f"Add {split.hostname} to ALLOWED_HOSTS."
        found.append(Error(f"The console refuses its own name, {split.hostname}.", hint=hint, id="hawkops.E003"))
    return found


def _named(host: str) -> bool:
    return any(host == one or (one.startswith(".") and host.endswith(one)) for one in settings.ALLOWED_HOSTS)


def direct(databases: Sequence[str] | None = None, **_given: Any) -> list[CheckMessage]:
    """LISTEN works: else a kill waits until devices ask, and pages stand still. Asked when the database may be."""
    if not databases:
        return []
    try:
        if hears(settings.DATABASE_URL):
            return []
    except psycopg.Error:
        return []  # that it can't be reached is said by whoever reaches for it
    return [
        Error(
            "DATABASE_URL leads through a transaction pooler: LISTEN hears nothing there, so kills, pages and alerts would "
            "come late.",
            hint="Give it a direct connection, or a pooler in session mode.",
            id="hawkops.E004",
        )
    ]


def deployed(**_given: Any) -> list[CheckMessage]:
    """What a server on the network needs besides."""
    if settings.WITNESS_URL or settings.DATA not in (settings.WITNESS_DIR, *settings.WITNESS_DIR.parents):
        return []
    return [
        Warning(
            "The history's witness writes into the data folder only: who rules this machine rules both.",
            hint="Point WITNESS_DIR to another machine's disk, or set WITNESS_URL.",
            id="hawkops.W004",
        )
    ]
