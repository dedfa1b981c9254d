"""Clocks that are set: the whole host's, and one worker's. The wrong time stays until everything works by it."""

from collections.abc import Iterator
from contextlib import contextmanager

from hawkops.bench.faults.rounds import Bench, Fault, Missing, Named

JUMP_SECONDS = 2 * 3600
AHEAD_SECONDS = 300
# alerts are late after a minute, and the watch looks every ten seconds
TOLD_SECONDS = 100.0
WATCH = "SELECT 1 FROM monitoring_alert WHERE source = 'watch' AND resolved_at IS NULL"


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
        if bench.system.wait(TOLD_SECONDS, lambda: _told(bench)):
            bench.result.notes.append("messages were too old for it; the console's watch told that alerts stand still")
        else:
            bench.result.findings.append("nobody told that alerts are not evaluated")
        yield
    finally:
        bench.system.clock_set("alerts", 0)


def _told(bench: Bench) -> bool:
    with bench.system.superuser() as line:
        return line.execute(WATCH).fetchone() is not None


def _able(bench: Bench) -> None:
    if bench.system.shim is None:
        raise Missing("no C compiler to build the clock with")


FAULTS = (
    Named("clock-ahead", "one worker's clock 5 min ahead", ahead),
    Named("clock-forwards", "the host's clock 2 h forwards", jumped(JUMP_SECONDS)),
    Named("clock-backwards", "the host's clock 2 h backwards", jumped(0)),
)
