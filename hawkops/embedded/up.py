"""`manage.py up`: everything on one machine, step by step, and all of it ended again. Runs before Django is configured."""

import argparse
import fcntl
import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import IO

import psycopg
import redis

from hawkops.embedded import processes, servers
from hawkops.embedded.errors import StartRefused

ROOT = Path(__file__).resolve().parents[2]
HEALTH_SECONDS = 60
STOP_SECONDS = 8
# Programs behind an address, in the order they start; the last to start is the first to end.
PIDS = "processes.json"


@dataclass
class Child:
    """One program that `up` watches."""

    name: str
    process: "subprocess.Popen[bytes]"
    first_signal: signal.Signals = signal.SIGTERM
    command: tuple[str, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)


@dataclass
class Installation:
    """A running installation: its folder, its environment, and what was started."""

    data: Path
    env: dict[str, str]
    children: list[Child] = field(default_factory=list)
    # by program: what it alone is told
    told: dict[str, dict[str, str]] = field(default_factory=dict)
    embedded: servers.Servers | None = None
    stopping: threading.Event = field(default_factory=threading.Event)


def main(arguments: Sequence[str]) -> int:
    """Run the installation until it is told to end; return the exit status."""
    options = options_read(arguments)
    data = (options.data or Path(os.environ.get("HAWKOPS_DATA") or ROOT / ".hawkops")).resolve()
    env = {
        **os.environ,
        "HAWKOPS_DATA": str(data),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "hawkops.settings",
    }
    installation = Installation(data, env)

    def end(_number: int, _frame: FrameType | None) -> None:
        installation.stopping.set()

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
    lock: IO[str] | None = None
    try:
        lock = folder_lock(data)
        orphans_end(data)
        _ports_free(options.port, options.gateway_port)
        start(installation, options)
        failed = _watch(installation)
    except StartRefused as refusal:
        say(f"HawkOps did not start. {refusal}")
        failed = True
    except KeyboardInterrupt:
        failed = False
    finally:
        if lock is not None:  # without it everything here belongs to somebody else
            stop(installation)
            lock.close()
    return 1 if failed else 0


def say(line: str) -> None:
    """Print one line at once."""
    print(line, flush=True)


def options_read(arguments: Sequence[str]) -> argparse.Namespace:
    """Read what `up` is told."""
    parser = argparse.ArgumentParser(prog="manage.py up", description="Start everything HawkOps needs on this machine.")
    parser.add_argument("--port", type=_port, default=8000, help="the console's port (8000)")
    parser.add_argument("--gateway-port", type=_port, default=4318, help="the devices' port (4318)")
    parser.add_argument("--no-device", action="store_true", help="start no local device")
    parser.add_argument("--fleet", type=int, default=0, metavar="N", help="N simulated devices")
    parser.add_argument("--data", type=Path, help="the folder for all data (.hawkops)")
    options = parser.parse_args(arguments)
    if not 0 <= options.fleet <= 10_000:
        parser.error("--fleet takes 0 to 10000 simulated devices")
    if options.port == options.gateway_port:
        parser.error("--port and --gateway-port must differ")
    return options


def _port(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 65_535:
        raise argparse.ArgumentTypeError(f"{number} is not a port; use 1 to 65535")
    return number


def folder_lock(data: Path) -> IO[str]:
    """Take the folder for this start alone. The lock ends with the process that holds it."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (data / "lock").open("a+")
    except OSError as error:
        raise StartRefused(f"The data folder {data} can't be written: {error.strerror}. Use --data DIR.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise StartRefused(
            f"Another `manage.py up` already runs on {data}. Stop it first, or use --data DIR."
        ) from error
    return lock


def orphans_end(data: Path) -> None:
    """End what a killed start left behind, last started first; a process id that was reused is left alone."""
    path = data / PIDS
    if not path.exists():
        return
    try:
        left = json.loads(path.read_text())
    except ValueError:
        left = []
    for name, pid, start in reversed(left):
        first = signal.SIGINT if name == "postgres" else signal.SIGTERM
        if processes.orphan_end(pid, start, first=first):
            say(f"  ended {name}, left over from a start that was killed")
    path.unlink(missing_ok=True)


def _ports_free(*ports: int) -> None:
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                flag = "--port" if port == ports[0] else "--gateway-port"
                raise StartRefused(f"Port {port} is taken ({error.strerror}). Choose another with {flag} N.") from error


def start(installation: Installation, options: argparse.Namespace) -> None:
    """Start everything. Raises StartRefused; whoever calls stops what runs by then."""
    env, data = installation.env, installation.data
    say(f"HawkOps, data in {data}")
    _databases(installation)
    if not given(env, "SECRET_KEY"):
        env["SECRET_KEY"] = _kept_secret(data / "secret.key")
    env.setdefault("CONSOLE_URL", f"http://localhost:{options.port}")
    env["GATEWAY_URL"] = f"http://127.0.0.1:{options.gateway_port}"
    cloud_port = 0
    if not env.get("CLOUD_AI_URL"):
        cloud_port = free_port()
        env["CLOUD_AI_URL"] = f"http://127.0.0.1:{cloud_port}"
    _write_env(installation)

    say("  migrating")
    _command(installation, "migrate", "--no-input", "--verbosity", "0")
    _collect_static(installation)
    say("  importing the runbook, flags and the first administrator")
    seeded = json.loads(_command(installation, "seed", "--json").strip().splitlines()[-1])

    python = sys.executable
    if cloud_port:
        _spawn(installation, "cloud", python, "-m", "hawkops.fleet.cloud", "--port", str(cloud_port))
    _spawn(installation, "gateway", python, "-m", "hawkops.serve", "gateway", "--port", str(options.gateway_port))
    _spawn(installation, "console", python, "-m", "hawkops.serve", "console", "--port", str(options.port))
    celery = (python, "-m", "celery", "-A", "hawkops")
    quiet = ("--without-gossip", "--without-mingle", "--loglevel", "warning")
    _spawn(installation, "critical", *celery, "worker", "-Q", "critical", "-n", "critical@%h", "-c", "1", *quiet)
    # alone: an evaluation behind a long sweep would be late
    _spawn(installation, "alerts", *celery, "worker", "-Q", "alerts", "-n", "alerts@%h", "-c", "1", *quiet)
    # several: who collects evidence does not wait for an hour's benchmark, and what measures has a key that keeps it alone
    _spawn(installation, "scripts", *celery, "worker", "-Q", "scripts", "-n", "scripts@%h", "-c", "4", *quiet)
    # threads: a check that hangs holds up no other, and each runs its program in a process of its own anyway
    health = ("-Q", "health", "-n", "health@%h", "-P", "threads", "-c", "4")
    _spawn(installation, "health", *celery, "worker", *health, *quiet)
    schedule = str(data / "beat")
    _spawn(installation, "beat", *celery, "beat", "-s", schedule, "--pidfile=", "--loglevel", "warning")
    # by itself: it pages when whatever stands above did not
    _spawn(installation, "second-path", python, "-m", "hawkops.second_path")
    # by itself too: it writes down what the history was, whatever becomes of the rest
    _spawn(installation, "witness", python, "-m", "hawkops.witness")
    _healthy(installation, "gateway", f"{env['GATEWAY_URL']}/readyz")
    _healthy(installation, "console", f"http://127.0.0.1:{options.port}/readyz")
    fleet = {"HAWKOPS_GATEWAY": env["GATEWAY_URL"], "HAWKOPS_DEVICE_KEY": seeded["device_key"]}
    if not options.no_device:
        # the generated model comes from the stand-in, so that a device can be told to fetch its model anew
        own = not env.get("MODEL_URL") and not env.get("LITERT_MODEL") and cloud_port
        source = {"MODEL_URL": f"{env['CLOUD_AI_URL']}/v1/model"} if own else {}
        _spawn(installation, "device", python, "-m", "hawkops.fleet.device", extra=fleet | source)
    if options.fleet:
        _spawn(
            installation, "fleet", python, "-m", "hawkops.fleet.simulate", "--devices", str(options.fleet), extra=fleet
        )
    say("")
    say(f"  Console   {env['CONSOLE_URL']}")
    say(f"  Gateway   {env['GATEWAY_URL']}   (devices: OFREP and OTLP)")
    if seeded.get("login_url"):
        say(f"  Sign in   {env['CONSOLE_URL']}{seeded['login_url']}   (once, within an hour)")
    say("")
    say("Ctrl-C ends everything.")


def given(env: dict[str, str], name: str) -> bool:
    return bool(env.get(name) or env.get(f"{name}_FILE"))


def _value(env: dict[str, str], name: str) -> str:
    if env.get(name):
        return env[name]
    try:
        return Path(env[f"{name}_FILE"]).read_text().strip()
    except OSError as error:
        raise StartRefused(f"{name}_FILE points to {env[f'{name}_FILE']}: {error.strerror}.") from error


def _databases(installation: Installation) -> None:
    """Check the servers that were given, then start the embedded ones in place of those that were not."""
    env = installation.env
    own_database, own_redis = not given(env, "DATABASE_URL"), not given(env, "REDIS_URL")
    if not own_database:
        _database_answers(_value(env, "DATABASE_URL"))
    if not own_redis:
        _redis_answers(_value(env, "REDIS_URL"))
    if not (own_database or own_redis):
        return
    say("  starting " + " and ".join(n for n, o in (("PostgreSQL", own_database), ("Valkey", own_redis)) if o))
    installation.embedded = servers.start(installation.data, postgres=own_database, valkey=own_redis)
    if installation.embedded.postgres is not None:
        env["DATABASE_URL"] = installation.embedded.database_url
        env["DATABASE_OWNER_URL"] = installation.embedded.owner_url
        _watch_server(installation, "postgres", installation.embedded.postgres.process, signal.SIGINT)
    if installation.embedded.valkey is not None:
        env["REDIS_URL"] = installation.embedded.redis_url
        _watch_server(installation, "valkey", installation.embedded.valkey.process, signal.SIGTERM)


def _database_answers(url: str) -> None:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.Error as error:
        raise StartRefused(f"The database of DATABASE_URL can't be reached: {_one_line(error)}") from error


def _redis_answers(url: str) -> None:
    try:
        client = redis.Redis.from_url(url, socket_connect_timeout=5)
        client.ping()
        client.close()
    except (redis.RedisError, ValueError) as error:
        raise StartRefused(f"The server of REDIS_URL can't be reached: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _watch_server(
    installation: Installation, name: str, process: "subprocess.Popen[bytes] | None", first: signal.Signals
) -> None:
    if process is not None:
        installation.children.append(Child(name, process, first))
        _note(installation)


def _kept_secret(path: Path) -> str:
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
    return path.read_text().strip()


def _write_env(installation: Installation) -> None:
    """Leave the addresses where `manage.py` in another shell finds them; only the owner may read them."""
    names = (
        "DATABASE_URL",
        "DATABASE_OWNER_URL",
        "REDIS_URL",
        "SECRET_KEY",
        "CONSOLE_URL",
        "GATEWAY_URL",
        "CLOUD_AI_URL",
    )
    text = "".join(f"{name}={installation.env[name]}\n" for name in names if installation.env.get(name))
    path = installation.data / "env"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _command(installation: Installation, *arguments: str) -> str:
    """Run one command of manage.py to its end and return what it printed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env=installation.env,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=processes.child_setup(),
    )
    if installation.stopping.is_set():
        raise KeyboardInterrupt
    if done.returncode:
        tail = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise StartRefused(f"`manage.py {arguments[0]}` failed: {' / '.join(tail)}")
    return done.stdout


def _collect_static(installation: Installation) -> None:
    """Hash and compress the static files, unless they are those of the last start."""
    stats = ((path, path.stat()) for path in sorted((ROOT / "static").rglob("*")))
    seen = [f"django {version('django')}", *(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in stats)]
    note = installation.data / "static.collected"
    digest = hashlib.sha256("\n".join(seen).encode()).hexdigest()
    if note.exists() and note.read_text() == digest and (installation.data / "static").exists():
        return
    note.unlink(missing_ok=True)
    _command(installation, "collectstatic", "--no-input", "--clear", "--verbosity", "0")
    note.write_text(digest)


def _spawn(installation: Installation, name: str, *command: str, extra: dict[str, str] | None = None) -> None:
    say(f"  starting {name}")
    extra = {**installation.told.get(name, {}), **(extra or {})}
    process = _process(installation, name, command, extra)
    installation.children.append(Child(name, process, command=command, extra=extra))
    _note(installation)


def restart(installation: Installation, child: Child) -> None:
    """Start a program that has ended once more."""
    child.process = _process(installation, child.name, child.command, child.extra)
    _note(installation)


def _process(
    installation: Installation, name: str, command: Sequence[str], extra: dict[str, str]
) -> "subprocess.Popen[bytes]":
    folder = installation.data / "log"
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.log").open("ab") as log:
        return processes.spawn(command, env={**installation.env, **extra}, output=log, cwd=ROOT)


def _note(installation: Installation) -> None:
    """Write down what runs, with the start time that tells a process from a later one with its id."""
    rows = [(c.name, c.process.pid, processes.started_at(c.process.pid)) for c in installation.children]
    path = installation.data / PIDS
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(rows))
    fresh.replace(path)


def _crashed(installation: Installation) -> Child | None:
    return next((child for child in installation.children if child.process.poll() is not None), None)


def _crash_sentence(installation: Installation, child: Child) -> str:
    code = child.process.returncode
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    log = installation.data / "log" / f"{child.name}.log"
    tail = ""
    if log.exists():
        lines = [line for line in log.read_text(errors="replace").strip().splitlines() if line.strip()]
        tail = f" Last line: {lines[-1][-300:]}" if lines else ""
    return f"{child.name} {how}.{tail} (log: {log})"


def _healthy(installation: Installation, name: str, url: str) -> None:
    end = time.monotonic() + HEALTH_SECONDS
    while time.monotonic() < end:
        if installation.stopping.is_set():
            raise KeyboardInterrupt
        if child := _crashed(installation):
            raise StartRefused(_crash_sentence(installation, child))
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise StartRefused(f"{name} does not answer at {url} within {HEALTH_SECONDS} s.")


def _watch(installation: Installation) -> bool:
    """Wait for the end; a child that ends by itself ends everything. Says whether one did."""
    while not installation.stopping.wait(0.5):
        if child := _crashed(installation):
            say(f"Stopping: {_crash_sentence(installation, child)}")
            return True
    return False


def stop(installation: Installation) -> None:
    """End every process, clients first, servers last."""
    if installation.children:
        say("Ending every process.")
    started = [c for c in installation.children if c.name not in ("postgres", "valkey")]
    for child in reversed(started):
        if child.process.poll() is None:
            child.process.send_signal(child.first_signal)
    for child in reversed(started):
        processes.group_end(child.process, first=child.first_signal, wait_seconds=STOP_SECONDS)
    if installation.embedded is not None:
        installation.embedded.stop()
    (installation.data / PIDS).unlink(missing_ok=True)
