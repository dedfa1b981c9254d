"""Connections that stay open: how long one may be silent. A line that is cut without a word answers nobody, ever."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

# more than any statement may take (their timeouts are the server's, which a line that is cut off does not hear of)
ANSWER_SECONDS = 10.0


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
