"""One round: load, one fault, a kill pressed in it, recovery, audit."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from hawkops.bench.faults.audit import audit
from hawkops.bench.faults.installation import System
from hawkops.bench.faults.ledger import Ledger
from hawkops.bench.faults.load import ENVIRONMENT, KILLED, LEASE_SECONDS, POLL_SECONDS, SAID, Load
from hawkops.bench.faults.table import Result

WARM_SECONDS = 4.0
RECOVERY_SECONDS = 75.0
SETTLE_SECONDS = 45.0
KILL_SECONDS = 60.0
SLACK_SECONDS = 3.0
SCOPES = ("read", "flags:write", "scripts:run", "incidents:write", "oncall:write", "kill")


class Missing(Exception):
    """The fault can't be tried here; the text says why."""


@dataclass
class Bench:
    """What a fault is given."""

    system: System
    load: Load
    result: Result
    began_at: float = 0.0
    pressed_at: float = 0.0
    killed_at: float | None = None

    def wait(self, seconds: float) -> None:
        """Let the fault last."""
        self.system.wait(seconds)

    def kill(self, seconds: float = KILL_SECONDS) -> bool:
        """Press kill until it is acknowledged, as somebody at night does; say whether it was."""
        self.pressed_at = time.monotonic()
        ends = self.pressed_at + seconds
        while time.monotonic() < ends:
            self.system.tend()
            with suppress(httpx.HTTPError):
                self.load.api("POST", "kill", {"reason": "bench faults"}, timeout=7)
                self.killed_at = time.monotonic()
                return True
            self.system.wait(0.3)
        self.result.findings.append(f"kill was not acknowledged within {seconds:.0f} s")
        return False


# What happens within the block is the fault's time; when the block ends, it is over.
Fault = Callable[[Bench], AbstractContextManager[None]]


@dataclass(frozen=True)
class Named:
    """A fault by its name, and how long it lasts."""

    name: str
    title: str
    fault: Fault
    seconds: float = 0.0
    # a device may fall back to its safe values before somebody presses kill
    outlasts_leases: bool = False


def prepared(system: System) -> Load:
    """Start the installation, make what the load needs, and start the load."""
    system.start()
    token = system.command("api_token", ENVIRONMENT, "bench", "--scopes", *SCOPES)
    load = Load(system, token=token, key=(system.data / "device.key").read_text().strip())
    channel = {
        "name": "sink",
        "kind": "webhook",
        "address": load.sink.url,
        "topics": ["incidents", "deployments", "security", "engineering"],
        "severities": ["info", "warning", "critical"],
    }
    load.api("POST", "channels", channel)
    with system.superuser() as line:
        line.execute("UPDATE rollout_flag SET lease_seconds = %s WHERE environment = %s", [LEASE_SECONDS, ENVIRONMENT])
    system.command(
        "shell",
        "-c",
        "from hawkops.history.actors import Actor\n"
        "from hawkops.scripts.schedules import schedule_create\n"
        f"schedule_create(environment={ENVIRONMENT!r}, name='df', arguments={{}}, every='1m', actor=Actor.system('bench'))",
    )
    load.api("PUT", f"flags/{KILLED}/percentage", {"percent": 100, "reason": "bench"})
    load.start()
    return load


def held(system: System, load: Load, named: Named, number: int, say: Callable[[str], None]) -> Result:
    """Hold one round and return what was found."""
    result = Result(named.title, SAID)
    bench = Bench(system, load, result)
    ledger = Ledger(f"r{number}x{int(time.time()) % 100_000}")
    load.round(ledger)
    if not system.wait(30, lambda: all(load.on_now())):
        result.findings.append("devices were not on before the fault")
    system.wait(WARM_SECONDS)
    try:
        bench.began_at = time.monotonic()
        with named.fault(bench):
            system.wait(named.seconds)
            if not bench.pressed_at:
                bench.kill(named.seconds + KILL_SECONDS)
    except Missing as missing:
        result.missing = str(missing)
        load.settle(SETTLE_SECONDS)
        _lifted(bench)
        return result
    over = time.monotonic()
    if system.wait(RECOVERY_SECONDS, lambda: ledger.working_since(over) is not None):
        result.recovered_seconds = (ledger.working_since(over) or over) - over
    else:
        result.findings.append(f"{RECOVERY_SECONDS:.0f} s later still without: {', '.join(ledger.silent(over))}")
    _obeyed(bench, named)
    if not load.settle(SETTLE_SECONDS):
        result.notes.append("not everything was settled in time")
    audit(system, ledger, result)
    _lifted(bench)
    for sentence in (*result.findings, *result.notes):
        say(f"    {sentence}")
    return result


def _obeyed(bench: Bench, named: Named) -> None:
    """Every device keeps what it was told until it is told otherwise, and stops within its lease of a kill."""
    load, result = bench.load, bench.result
    if bench.killed_at is None:
        return
    bound = LEASE_SECONDS + POLL_SECONDS + SLACK_SECONDS
    left = bench.killed_at + bound - time.monotonic()
    bench.system.wait(max(left, 1.0), lambda: not any(load.on_now()))
    seen = list(load.seen)
    offs = [one for one in seen if not one.on]
    early = [one for one in offs if bench.began_at <= one.at < bench.pressed_at]
    if early and not named.outlasts_leases:
        result.findings.append(f"{len(early)} devices fell to safe values with a lease in hand")
    if any(load.on_now()):
        result.findings.append(f"{sum(load.on_now())} devices still run {bound:.0f} s after the kill")
    last = max((one.at for one in offs if one.at >= bench.pressed_at), default=None)
    took = bench.killed_at - bench.pressed_at
    obeyed = f", the last device stopped {max(0.0, last - bench.killed_at):.1f} s after that" if last else ""
    result.notes.append(f"kill acknowledged after {took:.1f} s{obeyed}")


def _lifted(bench: Bench) -> None:
    """Give everything back for the next round."""
    for _ in range(60):
        with suppress(httpx.HTTPError):
            flags = bench.load.api("GET", "flags").json()["flags"]
            keys = [flag["key"] for flag in flags if flag["override"]]
            if not keys:
                return
            bench.load.api("POST", "reenable", {"flags": keys, "reason": "bench"})
            return
        bench.system.wait(0.5)


@contextmanager
def ready(data: Path, say: Callable[[str], None]) -> Iterator[tuple[System, Load]]:
    """Give a running installation under load, ended in any case."""
    system = System(data, say)
    load: Load | None = None
    try:
        load = prepared(system)
        yield system, load
    finally:
        if load is not None:
            load.end()
        system.end()
