"""Wires between programs and their servers: cut, and silent."""

from collections.abc import Iterator
from contextlib import contextmanager

from hawkops.bench.faults.load import LEASE_SECONDS
from hawkops.bench.faults.proxy import Way
from hawkops.bench.faults.rounds import Bench, Fault, Named

SECONDS = 12.0


def wire(name: str, way: Way) -> Fault:
    """Cut a wire, or make it silent."""

    @contextmanager
    def fault(bench: Bench) -> Iterator[None]:
        found = bench.system.wires[name]
        found.be(way)
        try:
            yield
        finally:
            found.be(Way.OPEN, forgets=way is Way.SILENT)

    return fault


@contextmanager
def leases_end(bench: Bench) -> Iterator[None]:
    """Cut the gateway off, press kill, and wait: nobody can tell the devices, so their leases must."""
    found = bench.system.wires["gateway"]
    found.be(Way.CUT)
    try:
        bench.kill()
        bench.system.wait(LEASE_SECONDS + 4, lambda: not any(bench.load.on_now()))
        if any(bench.load.on_now()):
            bench.result.findings.append("devices ran on when their lease was over")
        yield
    finally:
        found.be(Way.OPEN)


def away(name: str, way: Way, *, forgets: bool = False) -> Fault:
    """A wire that is back before anybody presses kill."""

    @contextmanager
    def fault(bench: Bench) -> Iterator[None]:
        found = bench.system.wires[name]
        found.be(way)
        try:
            bench.wait(SECONDS)
        finally:
            found.be(Way.OPEN, forgets=forgets)
        yield

    return fault


FAULTS = (
    Named("gateway-cut", "gateway cut off from PostgreSQL, kill pressed", leases_end),
    Named(
        "gateway-silent",
        "gateway ↔ PostgreSQL silent, its connections forgotten",
        away("gateway", Way.SILENT, forgets=True),
        outlasts_leases=True,
    ),
    Named("console-cut", "console cut off from PostgreSQL", away("console", Way.CUT)),
    # one that is forgotten ends by TCP's own timeout, which a wire on this machine does not know
    Named("console-silent", "console ↔ PostgreSQL silent", away("console", Way.SILENT)),
    Named("workers-cut", "workers cut off from PostgreSQL", wire("workers", Way.CUT), SECONDS),
    Named("broker-cut", "workers cut off from Valkey", wire("broker", Way.CUT), SECONDS),
    Named("broker-silent", "workers ↔ Valkey silent, its connections forgotten", wire("broker", Way.SILENT), SECONDS),
)
