"""The processes of an installation, each started, killed and started again by the story; `up` would end with the first."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from hawkops.embedded.valkey import Valkey
from tests.installation import ROOT, free_ports

CELERY = (sys.executable, "-m", "celery", "-A", "hawkops")
QUIET = ("--without-gossip", "--without-mingle", "--loglevel", "warning", "-c", "1")
WORKERS = ("critical", "alerts", "scripts")
# what opens incidents, pages and sends
BACKGROUND = ("console", *WORKERS, "beat")


@dataclass
class Processes:
    """By name; `log` is a folder with what each said."""

    data: Path
    env: Mapping[str, str]
    valkey: Valkey
    console_port: int
    gateway_port: int
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)

    @property
    def console(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.console_port}"

    @property
    def gateway(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.gateway_port}"

    def start(self, *names: str) -> None:
        """Start programs, as `up` does."""
        for name in names:
            self.run(name, *self._command(name))
        for name, url in (("console", self.console), ("gateway", self.gateway)):
            if name in names:
                wait_for(lambda url=url: _answers(url), 60, f"{name} answers")  # type: ignore[misc]

    def run(self, name: str, *command: str) -> None:
        """Start a program in a group of its own."""
        with (self.data / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command, env=self.env, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, *names: str) -> None:
        """SIGKILL programs with all that they started, and start them again."""
        for name in names:
            with suppress(ProcessLookupError):
                os.killpg(self.running[name].pid, signal.SIGKILL)
            self.running[name].wait(10)
            self.killed.append(name)
        self.start(*names)

    def valkey_restart(self) -> None:
        """Kill Valkey and start it again, while everybody else goes on."""
        assert self.valkey.process is not None
        self.valkey.process.kill()
        self.valkey.process.wait(10)
        self.killed.append("valkey")
        self.valkey.start(env={"PATH": os.environ["PATH"]})

    def end(self) -> None:
        """End everything."""
        for process in self.running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        self.valkey.stop()

    def said(self) -> str:
        """The last of what each said, for a test that fails."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-1_500:]}" for path in sorted(self.data.glob("*.log"))
        )

    def _command(self, name: str) -> tuple[str, ...]:
        if name in WORKERS:
            return (*CELERY, "worker", "-Q", name, "-n", f"{name}@%h", *QUIET)
        if name == "beat":
            return (*CELERY, "beat", "-s", str(self.data / "beat"), "--pidfile=", "--loglevel", "warning")
        if name == "second-path":
            return (sys.executable, "-m", "hawkops.second_path")
        port = self.console_port if name == "console" else self.gateway_port
        return (sys.executable, "-m", "hawkops.serve", name, "--port", str(port))


@contextmanager
def processes(data: Path, **env: str) -> Iterator[Processes]:
    """Give an installation on the test's own database, with a Valkey of its own, that does not run yet."""
    data.mkdir(parents=True, exist_ok=True)
    valkey = Valkey(data)
    valkey.start(env={"PATH": os.environ["PATH"]})
    console, gateway = free_ports(2)
    told = {
        **os.environ,
        "REDIS_URL": valkey.url,
        "CONSOLE_URL": f"http://127.0.0.1:{console}",
        "GATEWAY_URL": f"http://127.0.0.1:{gateway}",
        **env,
    }
    made = Processes(data, told, valkey, console, gateway)
    try:
        yield made
    finally:
        made.end()


def wait_for(true: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something is true."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, f"after {seconds} s still not: {what}"
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False
