"""The installation that is hurt: all that `up` starts, with wires to cut, a clock to set, and a small disk."""

import argparse
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg

from hawkops.bench.faults.proxy import Way, Wire
from hawkops.embedded import processes, up
from hawkops.embedded.postgres import APPLICATION, DATABASE, OWNER, SOCKET_NAME, Postgres
from hawkops.embedded.servers import Servers
from hawkops.embedded.valkey import Valkey

OURS = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "SECRET_KEY", "CLOUD_AI_URL", "HAWKOPS_DATA")
DOORS = ("gateway", "console")
DISK_MEGABYTES = 1_400
# a supervisor that starts again what has ended does so after a moment
RESTART_SECONDS = 1.0
SCRIPT = """#!/bin/sh
# hawkops:
# title: Waits
# means: It passes when it was let wait.
echo waiting
sleep 4
"""


class System:
    """What runs, by name, and the ways to hurt it. Programs that end are started again, as a supervisor does."""

    def __init__(self, data: Path, say: Callable[[str], None]) -> None:
        self.data, self._say = data, say
        # PostgreSQL's user may not look into our folder
        self.open = Path(tempfile.mkdtemp(prefix="hawkops-faults-"))
        self.open.chmod(0o755)
        self.shim = self._shim()
        self.postgres = Postgres(data)
        self.valkey = Valkey(data)
        self.has_disk = self._disk()
        self.wires: dict[str, Wire] = {}
        self.installation = up.Installation(data, {})
        self._held: set[str] = set()
        self._ended: dict[str, float] = {}
        self._beside: list[subprocess.Popen[bytes]] = []
        self.console = self.gateway = ""

    # starting and ending

    def start(self, **extra: str) -> None:
        """Start everything, the programs behind wires."""
        self.server_env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), **self._clocked("host")}
        self.postgres.start(env=self.server_env)
        self.valkey.start(env=self.server_env)
        for door in DOORS:
            self.wires[door] = Wire(self.postgres.sockets / SOCKET_NAME)
        self.wires["workers"] = Wire(self.postgres.sockets / SOCKET_NAME)
        self.wires["broker"] = Wire(self.valkey.socket)
        scripts = self.data / "scripts"
        scripts.mkdir()
        (scripts / "wait.sh").write_text(SCRIPT)
        (scripts / "wait.sh").chmod(0o755)
        clean = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in OURS}
        self.installation.env = {
            **clean,
            **self._clocked("host"),
            "HAWKOPS_DATA": str(self.data),
            "DJANGO_SETTINGS_MODULE": "hawkops.settings",
            "PYTHONUNBUFFERED": "1",
            "DATABASE_URL": self._database("workers", APPLICATION),
            "DATABASE_OWNER_URL": self._database("workers", OWNER),
            "REDIS_URL": f"redis://127.0.0.1:{self.wires['broker'].port}/0",
            "HAWKOPS_SCRIPTS_DIR": str(scripts),
            "OUTBOUND_PRIVATE": "1",
            **extra,
        }
        self.installation.embedded = Servers(self.postgres, self.valkey)
        self.installation.told = {door: {"DATABASE_URL": self._database(door, APPLICATION)} for door in DOORS}
        # a worker whose clock alone can be wrong
        self.installation.told["alerts"] = self._clocked("alerts")
        options = _options(up.free_port(), up.free_port())
        up.start(self.installation, options)
        self.console = f"http://127.0.0.1:{options.port}"
        self.gateway = f"http://127.0.0.1:{options.gateway_port}"

    def end(self) -> None:
        """End everything and leave nothing."""
        self.beside_end()
        for wire in self.wires.values():
            wire.be(Way.OPEN)
        for child in self.installation.children:
            self._signal(child.name, signal.SIGCONT)
        up.stop(self.installation)
        for wire in self.wires.values():
            wire.end()
        if self.has_disk:
            subprocess.run(["umount", str(self.postgres.home)], check=False, capture_output=True)
        if self.postgres.user is not None:
            shutil.rmtree(self.postgres.home, ignore_errors=True)
        shutil.rmtree(self.open, ignore_errors=True)

    def command(self, *arguments: str) -> str:
        """Run a command of manage.py. Raises CalledProcessError."""
        done = subprocess.run(
            [sys.executable, str(up.ROOT / "manage.py"), *arguments],
            env=self.installation.env,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def superuser(self) -> "psycopg.Connection[tuple[object, ...]]":
        """Connect past every wire. Raises psycopg.OperationalError."""
        return psycopg.connect(self.postgres.url("postgres", DATABASE), autocommit=True, connect_timeout=3)

    # watching

    def tend(self) -> None:
        """Start again what has ended. Called by the main thread only: a child dies with the thread that started it."""
        for child in self.installation.children:
            if child.name in ("postgres", "valkey") or child.name in self._held or child.process.poll() is None:
                continue
            now = time.monotonic()
            ended = self._ended.setdefault(child.name, now)
            if now - ended >= RESTART_SECONDS:
                with suppress(ProcessLookupError):
                    os.killpg(child.process.pid, signal.SIGKILL)
                del self._ended[child.name]
                up.restart(self.installation, child)

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass, tending; say whether it came true."""
        ends = time.monotonic() + seconds
        while not until():
            if time.monotonic() >= ends:
                return False
            self.tend()
            time.sleep(0.1)
        return True

    # hurting

    def kill(self, name: str) -> None:
        """`kill -9` of one program; it is started again."""
        self._pid_signal(name, signal.SIGKILL)

    def freeze(self, name: str) -> None:
        """Stop a program and all that it started where they are."""
        self._signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let it go on."""
        self._signal(name, signal.SIGCONT)

    def clock_set(self, whose: str, seconds: int) -> None:
        """Set a clock so many seconds off: `host` is everybody's, `alerts` one worker's."""
        for name in ("host", "alerts") if whose == "host" else (whose,):
            with (self.open / f"clock-{name}").open("r+b") as file:
                file.write(struct.pack("<q", seconds))

    def postgres_restart(self, stop: signal.Signals) -> None:
        """End PostgreSQL by a signal and start it again."""
        assert self.postgres.process is not None
        self.postgres.process.send_signal(stop)
        self.postgres.process.wait(30)
        self.postgres.start(env=self.server_env)

    def valkey_restart(self, *, empty: bool) -> None:
        """Kill Valkey and start it again, with what it kept or without."""
        assert self.valkey.process is not None
        self.valkey.process.kill()
        self.valkey.process.wait(10)
        if empty:
            shutil.rmtree(self.valkey.home / "appendonlydir", ignore_errors=True)
        self.valkey.start(env=self.server_env)

    def beside(self, tree: Path, name: str, *command: str) -> "subprocess.Popen[bytes]":
        """Start a program of another tree beside ours."""
        with (self.data / "log" / f"beside-{name}.log").open("ab") as log:
            process = processes.spawn(command, env=self.installation.env, output=log, cwd=tree)
        self._beside.append(process)
        return process

    def beside_end(self) -> None:
        """End what runs beside."""
        for process in self._beside:
            processes.group_end(process, first=signal.SIGTERM, wait_seconds=8)
        self._beside = []

    # parts

    def _pid_signal(self, name: str, number: signal.Signals) -> None:
        child = next(one for one in self.installation.children if one.name == name)
        child.process.send_signal(number)

    def _signal(self, name: str, number: signal.Signals) -> None:
        child = next(one for one in self.installation.children if one.name == name)
        with suppress(ProcessLookupError):
            os.killpg(child.process.pid, number)

    def _database(self, wire: str, role: str) -> str:
        own = self.postgres.url(role)
        user = own.removeprefix("postgresql://").partition("@")[0]
        return f"postgresql://{user}@127.0.0.1:{self.wires[wire].port}/{DATABASE}"

    def _clocked(self, whose: str) -> dict[str, str]:
        if self.shim is None:
            return {}
        path = self.open / f"clock-{whose}"
        if not path.exists():
            path.write_bytes(struct.pack("<q", 0))
            path.chmod(0o644)
        return {"LD_PRELOAD": str(self.shim), "HAWKOPS_CLOCK": str(path)}

    def _shim(self) -> Path | None:
        """Build what lies about the time; None without a compiler."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            return None
        built = self.open / "shim.so"
        source = Path(__file__).with_name("shim.c")
        done = subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(built), str(source), "-ldl"], check=False)
        return None if done.returncode else built

    def _disk(self) -> bool:
        """Give PostgreSQL a small file system of its own, in memory; says whether that is allowed here."""
        if self.postgres.user is None:
            return False
        options = f"size={DISK_MEGABYTES}m,mode=0755"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.postgres.home)], check=False, capture_output=True
        )
        return not done.returncode


def _options(console: int, gateway: int) -> argparse.Namespace:
    return up.options_read(["--port", str(console), "--gateway-port", str(gateway), "--no-device"])
