"""Clocks that are set: the whole host's, and one worker's. The wrong time stays until everything works by it."""

from collections.abc import Iterator
from contextlib import contextmanager

from hawkops.bench.faults.rounds import Bench, Fault, Missing, Named

JUMP_SECONDS = 2 * 3600
AHEAD_SECONDS = 300
WRONG_SECONDS = 15.0


def jumped(seconds: int) -> Fault:
    """Set the host's clock; it stays so."""

    @contextmanager
    def fault(bench: Bench) -> Iterator[None]:
        _able(bench)
        bench.system.clock_set("host", seconds)
        yield

    return fault


@contextmanager
def ahead(bench: Bench) -> Iterator[None]:
    """One worker is ahead of everybody else for a while."""
    _able(bench)
    bench.system.clock_set("alerts", AHEAD_SECONDS)
    try:
        since = len(bench.load.ledger.at["alerts"])
        bench.wait(WRONG_SECONDS)
        if len(bench.load.ledger.at["alerts"]) == since:
            bench.result.findings.append("alerts were not evaluated while one worker's clock was ahead")
        yield
    finally:
        bench.system.clock_set("alerts", 0)


def _able(bench: Bench) -> None:
    if bench.system.shim is None:
        raise Missing("no C compiler to build the clock with")


FAULTS = (
    Named("clock-ahead", "one worker's clock 5 min ahead", ahead),
    Named("clock-forwards", "the host's clock 2 h forwards", jumped(JUMP_SECONDS)),
    Named("clock-backwards", "the host's clock 2 h backwards", jumped(0)),
)
