"""Both servers together, as `up` and the tests want them."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from hawkops.embedded.postgres import APPLICATION, OWNER, Postgres
from hawkops.embedded.valkey import Valkey


@dataclass
class Servers:
    """Running servers and their addresses; None for one that was not wanted."""

    postgres: Postgres | None
    valkey: Valkey | None

    @property
    def database_url(self) -> str:
        """For the application's role."""
        assert self.postgres is not None
        return self.postgres.url(APPLICATION)

    @property
    def owner_url(self) -> str:
        """For the role that owns the tables."""
        assert self.postgres is not None
        return self.postgres.url(OWNER)

    @property
    def superuser_url(self) -> str:
        """For whom no rule of the database holds: only measures of what such a one can do need it."""
        assert self.postgres is not None
        return self.postgres.url("postgres")

    @property
    def redis_url(self) -> str:
        """For redis-py."""
        assert self.valkey is not None
        return self.valkey.url

    def stop(self) -> None:
        """Stop both."""
        if self.valkey is not None:
            self.valkey.stop()
        if self.postgres is not None:
            self.postgres.stop()

    def remove(self) -> None:
        """Delete what PostgreSQL keeps outside the data folder (tests only; the servers must have stopped)."""
        if self.postgres is not None:
            shutil.rmtree(self.postgres.home, ignore_errors=True)


def start(data: Path, *, postgres: bool = True, valkey: bool = True, durable: bool = True) -> Servers:
    """Start the servers with their data under `data`. Raises StartRefused, and then none runs.

    `durable=False` is for tests: nothing waits for the disk.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
    servers = Servers(Postgres(data, durable=durable) if postgres else None, Valkey(data) if valkey else None)
    try:
        if servers.postgres is not None:
            servers.postgres.start(env=env)
        if servers.valkey is not None:
            servers.valkey.start(env=env)
    except BaseException:
        servers.stop()
        raise
    return servers
