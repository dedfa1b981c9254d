"""Processes that die by SIGKILL at every boundary that they come to: before and after each commit and each send.

A boundary is named by the functions of services that lead to it. In each piece of work it kills twice, and the process that
comes to it then goes on.
"""

import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from incidents.services import sending

OURS = ("/incidents/services/", "/monitoring/services/", "/rollout/services/", "/hawkops/scripts/services")
BEFORE, AFTER = 0, 1


@dataclass
class Deaths:
    """At what how many died. Kept by whoever starts the processes."""

    died: Counter[str] = field(default_factory=Counter)

    def until_done(
        self, work: Callable[[], object], *, after_a_death: Callable[[], object] | None = None, most: int = 200
    ) -> None:
        """Do one piece of work, by as many processes as it takes; one that fails by itself fails the test."""
        here: Counter[str] = Counter()
        for _ in range(most):
            died = _one_process(work, here)
            if not died:
                for label, times in here.items():
                    self.died[label.partition(" of message")[0]] += times
                return
            here[died] += 1
            if after_a_death is not None:
                after_a_death()
        raise AssertionError(f"never done: {here.most_common(5)}")


def _one_process(work: Callable[[], object], died: Counter[str]) -> str:
    """Let one process try; return the boundary at which it died, empty when it lived."""
    connections.close_all()
    reads, writes = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reads)
        _child(work, writes, died)
    os.close(writes)
    with os.fdopen(reads) as said:
        words = said.read()
    status = os.waitpid(pid, 0)[1]
    if not status:
        return ""
    assert os.WIFSIGNALED(status), words
    assert os.WTERMSIG(status) == signal.SIGKILL, words
    return words


def _child(work: Callable[[], object], writes: int, died: Counter[str]) -> None:
    """Work, dying where it is due. Never returns."""
    try:
        _deadly(writes, died)
        work()
        connections.close_all()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - whatever it is, the parent is told, and pytest's own ends run there alone
        os.write(writes, traceback.format_exc().encode())
        os._exit(1)


def _deadly(writes: int, died: Counter[str]) -> None:
    """Let this process die at each boundary, unless others have died there twice."""
    commit, claimed, sent = BaseDatabaseWrapper.commit, sending._claimed, sending._sent
    # which message is in hand: each has boundaries of its own
    hand = ""

    def at(label: str, moment: int) -> None:
        if died[label] == moment:
            os.write(writes, label.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def committed(self: BaseDatabaseWrapper) -> None:
        label = f"commit in {_ours()}{hand}"
        at(label, BEFORE)
        commit(self)
        at(label, AFTER)

    def taken(*args: Any) -> Any:
        nonlocal hand
        hand = f" of message {args[0].pk}"
        return claimed(*args)

    def told(*args: Any) -> Any:
        label = f"send to {args[0].channel.name}{hand}"
        at(label, BEFORE)
        answer = sent(*args)
        at(label, AFTER)
        return answer

    BaseDatabaseWrapper.commit = committed  # type: ignore[method-assign]
    sending._claimed, sending._sent = taken, told  # type: ignore[assignment]


def _ours() -> str:
    """Name the functions of services that lead here, outermost first."""
    frame, names = sys._getframe(2), list[str]()
    while frame is not None:
        code = frame.f_code
        if any(part in code.co_filename for part in OURS) and not code.co_name.startswith("<"):
            names.append(code.co_name)
        frame = frame.f_back  # type: ignore[assignment]
    return " > ".join(reversed(names)) or "somewhere else"
