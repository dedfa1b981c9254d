"""A deploy in the middle: the version before the newest migration runs beside ours, on the database as it is now."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from hawkops.bench.faults.rounds import Bench, Missing, Named
from hawkops.embedded import up

BESIDE_SECONDS = 20.0
START_SECONDS = 60.0


@contextmanager
def deploying(bench: Bench) -> Iterator[None]:
    """Both versions take telemetry, changes, questions and jobs; then the old one goes."""
    load = bench.load
    revision = _git("log", "-1", "--format=%H", "--diff-filter=A", "--", "*/migrations/0*.py")
    with tempfile.TemporaryDirectory(prefix="hawkops-before-") as folder:
        tree = Path(folder)
        packed = subprocess.run(
            ["git", "archive", "--format=tar", f"{revision}^"], cwd=up.ROOT, capture_output=True, check=False
        )
        if packed.returncode:
            raise Missing("there is no history of versions here")
        subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
        console, gateway = up.free_port(), up.free_port()
        serve = (sys.executable, "-m", "hawkops.serve")
        worker = (sys.executable, "-m", "celery", "-A", "hawkops", "worker", "--without-gossip", "--without-mingle")
        bench.system.beside(tree, "console", *serve, "console", "--port", str(console))
        bench.system.beside(tree, "gateway", *serve, "gateway", "--port", str(gateway))
        for queue in ("critical", "alerts", "scripts"):
            bench.system.beside(
                tree, queue, *worker, "-Q", queue, "-n", f"before-{queue}@%h", "-c", "1", "-l", "warning"
            )
        addresses = (f"http://127.0.0.1:{console}", f"http://127.0.0.1:{gateway}")
        if not bench.system.wait(START_SECONDS, lambda: all(_answers(one) for one in addresses)):
            bench.result.findings.append("the version before does not start on the new database")
        load.consoles.append(addresses[0])
        load.gateways.append(addresses[1])
        try:
            bench.wait(BESIDE_SECONDS)
            bench.kill()
            yield
        finally:
            load.consoles, load.gateways = load.consoles[:1], load.gateways[:1]
            bench.system.beside_end()
    bench.result.notes.append(f"beside {revision[:8]}^")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=up.ROOT, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout.strip():
        raise Missing("there is no history of versions here")
    return done.stdout.strip()


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


FAULTS = (Named("deploy", "a deploy: two versions at once", deploying),)
