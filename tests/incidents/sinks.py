"""The other side of every channel, on this machine: it keeps what it got and answers what the test wants."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

from tests.installation import free_ports


@dataclass
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body read as JSON."""
        return json.loads(self.body)


@dataclass
class Sink:
    """An HTTP server. `answers` are given in turn, the last one again and again: status, body, headers."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answers: list[tuple[int, str, dict[str, str]]] = field(default_factory=lambda: [(200, "ok", {})])
    # while it is clear, requests hang
    going: threading.Event = field(default_factory=threading.Event)

    def answer(self, *answers: tuple[int, str] | tuple[int, str, dict[str, str]]) -> None:
        """Say what comes next."""
        self.answers = [(one[0], one[1], one[2] if len(one) == 3 else {}) for one in answers]

    def take(self) -> tuple[int, str, dict[str, str]]:
        """Return the next answer."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def http_sink() -> Iterator[Sink]:
    """Serve until the block ends."""
    sink = Sink()
    sink.going.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sink.got.append(Got(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            sink.going.wait(30)
            status, text, headers = sink.take()
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())
            except OSError:  # who asked was killed
                return

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test's output free of requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sink.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield sink
    finally:
        sink.going.set()
        server.shutdown()
        server.server_close()


@dataclass
class Mail:
    """A mail server: what it took, and what it says to the next message."""

    port: int
    took: list[str] = field(default_factory=list)
    answer: str = "250 taken"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Take a message, or not."""
        if self.answer.startswith("250"):
            self.took.append(envelope.content.decode())
        return self.answer


@contextmanager
def mail_sink() -> Iterator[Mail]:
    """Take mail until the block ends."""
    mail = Mail(free_ports(1)[0])
    controller = Controller(mail, hostname="127.0.0.1", port=mail.port)
    controller.start()
    try:
        yield mail
    finally:
        controller.stop()
