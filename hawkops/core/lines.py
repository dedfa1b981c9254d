"""Connections that stay open: how long one may be silent. A line that is cut without a word answers nobody, ever."""

import asyncio
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

# more than any statement may take (their timeouts are the server's, which a line that is cut off does not hear of)
ANSWER_SECONDS = 10.0
# a notification takes milliseconds
HEARS_SECONDS = 2.0


@contextmanager
def answering(line: psycopg.AsyncConnection[Any], seconds: float = ANSWER_SECONDS) -> Iterator[None]:
    """Within the block a line that is silent for so long is ended: whoever waits for it gets OperationalError.

    Cancelling would not do: psycopg then asks the server to cancel, and waits for an answer that never comes.
    """
    ending = asyncio.get_running_loop().call_later(seconds, _end, line)
    try:
        yield
    finally:
        ending.cancel()


def _end(line: psycopg.AsyncConnection[Any]) -> None:
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(line.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)


def hears(dsn: str, seconds: float = HEARS_SECONDS) -> bool:
    """Say whether a line to this address hears what another announces, which it does not through a transaction pooler.

    It must wait without asking anything: a pooler hands on what comes while a statement runs. Raises psycopg.Error.
    """
    channel, own = "hawkops_hears", secrets.token_hex(8)
    with (
        psycopg.connect(dsn, autocommit=True, connect_timeout=5) as ear,
        psycopg.connect(dsn, autocommit=True, connect_timeout=5) as mouth,
    ):
        ear.execute(f"LISTEN {channel}")
        mouth.execute("SELECT pg_notify(%s, %s)", [channel, own])
        # others may be asking the same just now
        return any(said.payload == own for said in ear.notifies(timeout=seconds, stop_after=1)) or any(
            said.payload == own for said in ear.notifies(timeout=0.2)
        )
