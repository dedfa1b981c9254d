"""Calls in a thread of their own: a worker that also drives a browser has an event loop under way in its main one."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import connections

Result = TypeVar("Result")


def run(story: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end."""
    return call(lambda: asyncio.run(story))


def call(function: Callable[[], Result]) -> Result:
    """Call a function that runs an event loop, with database connections of its own."""

    def alone() -> Result:
        try:
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(alone).result()
