"""Answers that are written down once and sent again and again, by uvicorn in one piece.

ASGI's two messages cost a check of every header and two writes each time. Here is all that knows uvicorn's inside.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from hawkops.core.asgi import Headers


class Whole:
    """An answer with its head and body written down."""

    __slots__ = ("body", "headers", "status", "written")

    def __init__(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.status = status
        self.headers = [*headers, (b"content-length", b"%d" % len(body))] if body else headers
        self.body = body
        lines = [b"%b: %b\r\n" % pair for pair in self.headers]
        if any(line.count(b"\r") + line.count(b"\n") != 2 for line in lines):
            raise ValueError("A header has more than one line.")
        # all that follows the status line and the server's own headers
        self.written = b"".join((*lines, b"\r\n", body))

    def sent(self, send: Any) -> bool:
        """Send it at once if `send` is uvicorn's own and needn't wait or end its connection; say whether that was done.

        Where it was not, `send_by` must.
        """
        cycle = getattr(send, "__self__", None)
        if type(cycle) is not RequestResponseCycle:
            return False
        if cycle.disconnected:
            return True
        if cycle.flow.write_paused or cycle.response_started or cycle.access_log or not cycle.keep_alive:
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"".join((STATUS_LINE[self.status], _servers_own(cycle.default_headers), self.written)))
        cycle.message_event.set()
        cycle.on_response()
        return True

    async def send_by(self, send: Any) -> None:
        """Send it in ASGI's two messages."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


_known: tuple[Headers | None, bytes] = (None, b"")


def _servers_own(headers: Headers) -> bytes:
    """Return the server's headers as sent; it makes a new list when the date changes."""
    global _known
    if _known[0] is not headers:
        _known = (headers, b"".join(b"%b: %b\r\n" % pair for pair in headers))
    return _known[1]
