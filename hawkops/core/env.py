"""Typed readers of the process environment. A bad value stops the start with a sentence; secrets may come from files.

What the environment does not say is read from `<HAWKOPS_DATA>/env`, which `manage.py up` writes.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from psycopg.conninfo import conninfo_to_dict

ROOT = Path(__file__).resolve().parents[2]


class BadSetting(Exception):
    """A setting can't be used as it is."""


def data_dir() -> Path:
    """The folder that holds everything this installation keeps."""
    return Path(os.environ.get("HAWKOPS_DATA") or ROOT / ".hawkops").resolve()


def _written_by_up() -> dict[str, str]:
    try:
        lines = (data_dir() / "env").read_text().splitlines()
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


_fallback = _written_by_up()


def text(name: str, default: str | None = None) -> str:
    """Read `NAME`, or the file that `NAME_FILE` names, or what `up` wrote. Raises BadSetting when all are absent."""
    if name in os.environ:
        return os.environ[name]
    if path := os.environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise BadSetting(f"{name}_FILE points to {path}, which can't be read: {error.strerror}.") from error
    if name in _fallback:
        return _fallback[name]
    if default is None:
        raise BadSetting(f"{name} is not set. Start everything with `manage.py up`, or set {name} or {name}_FILE.")
    return default


def flag(name: str, default: bool = False) -> bool:
    """Read a yes or no."""
    value = text(name, "1" if default else "0").strip().lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off", ""):
        return False
    raise BadSetting(f"{name} is {value!r}; use 1 or 0.")


def number(name: str, default: float) -> float:
    """Read a number from zero on."""
    value = text(name, str(default))
    try:
        found = float(value)
    except ValueError:
        raise BadSetting(f"{name} is {value!r}; use a number.") from None
    if not 0 <= found < float("inf"):
        raise BadSetting(f"{name} is {value!r}; use a number from 0 on.")
    return found


def choice(name: str, default: str, allowed: Iterable[str]) -> str:
    """Read one of some words."""
    value, known = text(name, default).strip(), list(allowed)
    if value not in known:
        raise BadSetting(f"{name} is {value!r}; use {', '.join(known)}.")
    return value


def words(name: str, default: str = "", *, allowed: Iterable[str] = ()) -> list[str]:
    """Read a comma-separated list; of `allowed` words only, where some are said."""
    found = [word.strip() for word in text(name, default).split(",") if word.strip()]
    known = list(allowed)
    if known and (strange := [word for word in found if word not in known]):
        raise BadSetting(f"{name} holds {strange[0]!r}; use {', '.join(known)}.")
    return found


def one_of(name: str, allowed: Iterable[str]) -> str:
    """Read one of some words; empty when unset."""
    found = words(name, allowed=allowed)
    if len(found) > 1:
        raise BadSetting(f"{name} takes one word.")
    return str(found[0]) if found else ""


def issuer(name: str) -> str:
    """Read whose word on people is taken: an https address, or one of this machine; empty when unset."""
    url = text(name, "")
    split = urlsplit(url)
    local = split.scheme == "http" and split.hostname in ("localhost", "127.0.0.1", "::1")
    if url and (not split.hostname or not (local or split.scheme == "https")):
        raise BadSetting(f"{name} is {url!r}; write the issuer as it names itself, https://…")
    return url


def database(url: str, *, session_timeout_ms: int | None) -> dict[str, object]:
    """Turn a PostgreSQL URL into Django's settings.

    `session_timeout_ms` bounds locks and statements; a session that idles inside a transaction is ended a little
    earlier, so that whoever waits for its lock outlives it.
    """
    if not url.startswith(("postgresql://", "postgres://")):
        raise BadSetting("DATABASE_URL must begin with postgresql://; HawkOps keeps its history in PostgreSQL only.")
    try:
        parts = conninfo_to_dict(url)
    except Exception as error:
        raise BadSetting(f"DATABASE_URL can't be read: {error}.") from error
    options: dict[str, object] = {"connect_timeout": 5, "application_name": "hawkops"}
    # a network that drops everything is noticed within a quarter of a minute; sockets of this machine take no notice
    options |= {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 15_000}
    for extra in ("sslmode", "sslrootcert"):
        if extra in parts:
            options[extra] = parts[extra]
    if session_timeout_ms is not None:
        options["options"] = (
            f"-c lock_timeout={session_timeout_ms} -c statement_timeout={session_timeout_ms}"
            f" -c idle_in_transaction_session_timeout={session_timeout_ms * 4 // 5}"
        )
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.get("dbname") or "hawkops",
        "USER": parts.get("user") or "",
        "PASSWORD": parts.get("password") or "",
        "HOST": parts.get("host") or "",
        "PORT": str(parts.get("port") or ""),
        "OPTIONS": options,
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
    }


def broker(redis_url: str) -> str:
    """Turn a redis-py URL into the form Celery's transport wants (unix sockets are spelled differently there)."""
    if not redis_url.startswith("unix://"):
        return redis_url
    split = urlsplit(redis_url)
    number = parse_qs(split.query).get("db", ["0"])[0]
    password = f":{split.password}@" if split.password else ""
    return f"redis+socket://{password}{unquote(split.path)}?virtual_host={number}"


def smtp(name: str) -> tuple[str, int, str, str, bool, bool]:
    """Read a mail server: host, port, user, password, STARTTLS, TLS from the start. The host is empty when unset.

    `smtp://user:password@host:587` (STARTTLS unless on this machine) or `smtps://…:465`.
    """
    url = text(name, "")
    if not url:
        return "", 25, "", "", False, False
    split = urlsplit(url)
    if split.scheme not in ("smtp", "smtps") or not split.hostname:
        raise BadSetting(f"{name} is no mail server; write smtp://user:password@host:587 or smtps://…")
    implicit = split.scheme == "smtps"
    local = split.hostname in ("localhost", "127.0.0.1", "::1")
    port = split.port or (465 if implicit else 587)
    user, password = unquote(split.username or ""), unquote(split.password or "")
    return split.hostname, port, user, password, not implicit and not local, implicit
