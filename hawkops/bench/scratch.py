"""A PostgreSQL of a measure's own, in a temporary folder, with Django pointed at it while the measure runs."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import connections

import hawkops
from hawkops.core import env
from hawkops.embedded import servers


@dataclass(frozen=True)
class Scratch:
    """Where it is: for its superuser, for the tables' owner, and for the application."""

    superuser_url: str
    owner_url: str
    database_url: str
    folder: Path


@contextmanager
def scratch_database(*, durable: bool = False) -> Iterator[Scratch]:
    """Start a server, migrate, and point Django at it; afterwards all is as it was."""
    connection = connections["default"]
    kept = dict(connection.settings_dict)
    with tempfile.TemporaryDirectory(prefix="hk-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        running = servers.start(folder / "d", valkey=False, durable=durable)
        try:
            _migrate(running.owner_url, running.database_url)
            connection.close()
            connection.settings_dict.update(
                env.database(running.database_url, session_timeout_ms=settings.SESSION_TIMEOUT_MS)
            )
            yield Scratch(running.superuser_url, running.owner_url, running.database_url, folder)
        finally:
            connection.close()
            connection.settings_dict.update(kept)
            running.stop()
            running.remove()


def _migrate(owner_url: str, database_url: str) -> None:
    given = {
        **os.environ,
        "DATABASE_OWNER_URL": owner_url,
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "hawkops.settings",
    }
    manage = Path(hawkops.__file__).resolve().parent.parent / "manage.py"
    subprocess.run([sys.executable, str(manage), "migrate", "--no-input", "--verbosity", "0"], check=True, env=given)
