"""The database as `pg_dump` and `pg_restore` see it: which of them fits, and how they are told where it is."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings

from hawkops.core.errors import InvalidInput
from hawkops.embedded.postgres import wheel_binaries

VERSIONS = range(15, 19)
_VARIABLES = {"HOST": "PGHOST", "PORT": "PGPORT", "USER": "PGUSER", "PASSWORD": "PGPASSWORD", "NAME": "PGDATABASE"}


def owner() -> Mapping[str, Any]:
    """Return Django's settings of the role that owns the tables, or of the application's where that is the same."""
    return settings.DATABASES.get("owner") or settings.DATABASES["default"]


def connect(database: Mapping[str, Any]) -> psycopg.Connection[Any]:
    """Connect without the application's time limits."""
    extra = {name: value for name, value in database["OPTIONS"].items() if name.startswith("ssl")}
    return psycopg.connect(
        host=database["HOST"] or None,
        port=database["PORT"] or None,
        user=database["USER"] or None,
        password=database["PASSWORD"] or None,
        dbname=database["NAME"],
        connect_timeout=5,
        application_name="hawkops backup",
        **extra,
    )


def environment(database: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of a PostgreSQL program: a password in its arguments could be read by everybody."""
    named = {variable: str(database[name]) for name, variable in _VARIABLES.items() if database[name]}
    options = database["OPTIONS"]
    named |= {f"PG{name.upper()}": str(value) for name, value in options.items() if name.startswith("ssl")}
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "LC_ALL": "C.UTF-8",
        "PGAPPNAME": "hawkops backup",
        **named,
    }


def major(line: psycopg.Connection[Any]) -> int:
    """Return the server's version."""
    return line.info.server_version // 10_000


def tool(name: str, version: int) -> Path:
    """Return `pg_dump` or `pg_restore` of the server's own version. Raises InvalidInput, which says how to get it."""
    found: dict[int, Path] = {}
    for path in _candidates(name):
        said = subprocess.run([str(path), "--version"], capture_output=True, text=True, check=False)
        if match := re.search(r"\) (\d+)", said.stdout):
            found.setdefault(int(match[1]), path)
    if version in found:
        return found[version]
    others = f" Found here: {', '.join(str(one) for one in sorted(found))}." if found else ""
    raise InvalidInput(
        f"The server is PostgreSQL {version}, and {name} must be of the same version.{others} "
        f"Install postgresql-client-{version}, or put its folder on PATH."
    )


def _candidates(name: str) -> Iterator[Path]:
    """Give the programs there are: on PATH, where Debian puts them, and what the embedded server brings."""
    if found := shutil.which(name):
        yield Path(found)
    yield from sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if (brought := wheel_binaries() / name).exists():
        yield brought
