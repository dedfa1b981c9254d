"""How many payloads are taken apart before the loop looks up: so the database works on some while others are decoded."""

import asyncio
from collections import deque


class Pace:
    """Lets so many tasks go on in each turn of the event loop; the others in the next ones, first come first served.

    Without it a loop with many ready connections decodes all of them before it commits any, and then waits for the disk
    with nothing to do: everybody goes in step.
    """

    def __init__(self, turn_most: int) -> None:
        self._most = turn_most
        self._left = turn_most
        self._queue: deque[asyncio.Future[None]] = deque()
        self._turning = False

    async def turn(self) -> None:
        """Wait for a turn of the loop that has room."""
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._next)
        if self._left > 0 and not self._queue:
            self._left -= 1
            return
        waiting = asyncio.get_running_loop().create_future()
        self._queue.append(waiting)
        await waiting

    def _next(self) -> None:
        self._left = self._most
        while self._queue and self._left > 0:
            waiting = self._queue.popleft()
            if not waiting.done():
                waiting.set_result(None)
                self._left -= 1
        self._turning = bool(self._queue)
        if self._turning:
            asyncio.get_running_loop().call_soon(self._next)
