"""uvicorn's HTTP with one extension: an answer that was written down before is sent at once, in one piece.

ASGI's two messages cost a check of every header and two writes. Here is all that knows uvicorn's inside.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from hawkops.core.asgi import WHOLE, Headers, Whole


class WholeAnswers(HttpToolsProtocol):
    """Offers the extension to every request."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # the same for all: one that held its own request would leave a circle to the garbage collector each time
        cycle.scope["extensions"] = EXTENSIONS
        super()._start_asgi_task(cycle, app)


def _answer(send: Any, whole: Whole) -> bool:
    """Send as the request's own `send` does; False for what only that one can: waiting, or ending the connection."""
    cycle: RequestResponseCycle = send.__self__
    if cycle.disconnected:
        return True
    if cycle.flow.write_paused or cycle.response_started or cycle.access_log or not cycle.keep_alive:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(STATUS_LINE[whole.status] + _servers_own(cycle.default_headers) + whole.written)
    cycle.message_event.set()
    cycle.on_response()
    return True


EXTENSIONS: dict[str, Any] = {WHOLE: _answer}
_known: tuple[Headers | None, bytes] = (None, b"")


def _servers_own(headers: Headers) -> bytes:
    """Return the server's headers as sent; it makes a new list when the date changes."""
    global _known
    if _known[0] is not headers:
        _known = (headers, b"".join(b"%b: %b\r\n" % pair for pair in headers))
    return _known[1]
