"""Programs that are killed, and one that is frozen."""

from collections.abc import Iterator
from contextlib import contextmanager

from hawkops.bench.faults.rounds import Bench, Fault, Named

FROZEN_SECONDS = 60.0


def killed(name: str) -> Fault:
    """`kill -9`."""

    @contextmanager
    def fault(bench: Bench) -> Iterator[None]:
        bench.system.kill(name)
        yield

    return fault


def frozen(name: str) -> Fault:
    """SIGSTOP, and SIGCONT when it is over."""

    @contextmanager
    def fault(bench: Bench) -> Iterator[None]:
        bench.system.freeze(name)
        try:
            bench.kill()
            yield
        finally:
            bench.system.thaw(name)

    return fault


FAULTS = (
    Named("console", "kill -9 of the console, the courier's host", killed("console")),
    Named("gateway", "kill -9 of the gateway", killed("gateway")),
    Named("critical", "kill -9 of the worker critical", killed("critical")),
    Named("alerts", "kill -9 of the worker alerts", killed("alerts")),
    Named("scripts", "kill -9 of the worker scripts", killed("scripts")),
    Named("health", "kill -9 of the worker health", killed("health")),
    Named("beat", "kill -9 of beat", killed("beat")),
    Named("second-path", "kill -9 of the second path", killed("second-path")),
    Named("frozen", "the worker alerts frozen for a minute", frozen("alerts"), FROZEN_SECONDS),
)
