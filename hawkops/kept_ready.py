"""Threads with connections of their own, made before they are needed: when PostgreSQL takes no more, a kill has one."""

import threading
from concurrent.futures import Executor
from contextlib import suppress

from django.db import connection

EVERY_SECONDS = 30.0
TOGETHER_SECONDS = 5.0


def keep_ready(pool: Executor, threads: int) -> None:
    """Let each thread of a pool have a connection that works. Raises django.db.Error where there is none to be had."""
    together = threading.Barrier(threads)
    for done in [pool.submit(_connected, together) for _ in range(threads)]:
        done.result()


def _connected(together: threading.Barrier) -> None:
    try:
        if connection.connection is not None and not connection.is_usable():
            connection.close()
        connection.ensure_connection()
        # it is kept until it breaks: a fresh one may not be had when it matters
        connection.close_at = None
    finally:
        # whoever is done waits for the others, so that no thread is asked twice; one that serves a page is left out
        with suppress(threading.BrokenBarrierError):
            together.wait(TOGETHER_SECONDS)
