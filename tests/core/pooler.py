"""A transaction pooler, as PgBouncer is one: its clients share one connection to PostgreSQL, each for one transaction.

What the server says while nobody has the connection is dropped, as PgBouncer drops it.
"""

import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

_TOLD = {"server_version": "16.0", "client_encoding": "UTF8", "standard_conforming_strings": "on", "TimeZone": "UTC"}


class _Server:
    """The shared connection; psycopg signs in, then its socket is spoken to directly."""

    def __init__(self, dsn: str) -> None:
        self._line = psycopg.connect(dsn, autocommit=True)
        self._socket = socket.socket(fileno=os.dup(self._line.fileno()))
        self._socket.setblocking(True)
        self._lock = threading.Lock()
        self._held_by = 0

    def take(self) -> None:
        """Wait for it, unless this client's transaction has it."""
        if self._held_by != threading.get_ident():
            self._lock.acquire()
            self._held_by = threading.get_ident()

    def give_back(self) -> None:
        """Let others have it."""
        self._held_by = 0
        self._lock.release()

    def asked(self, said: bytes) -> tuple[bytes, bytes]:
        """Send one round and return the answer with the transaction's state after it: `I` when it is over."""
        while select.select([self._socket], [], [], 0)[0]:
            self._socket.recv(65536)  # a notification for whoever had LISTENed
        self._socket.sendall(said)
        answer = b""
        while True:
            kind, body = _message(self._socket)
            answer += kind + struct.pack("!I", len(body) + 4) + body
            if kind == b"Z":
                return answer, body

    def close(self) -> None:
        self._socket.close()
        self._line.close()


def _exactly(line: socket.socket, many: int) -> bytes:
    found = b""
    while len(found) < many:
        piece = line.recv(many - len(found))
        if not piece:
            raise ConnectionError
        found += piece
    return found


def _message(line: socket.socket) -> tuple[bytes, bytes]:
    kind = _exactly(line, 1)
    return kind, _exactly(line, struct.unpack("!I", _exactly(line, 4))[0] - 4)


def _greeted(client: socket.socket) -> None:
    while True:
        length, code = struct.unpack("!II", _exactly(client, 8))
        _exactly(client, length - 8)
        if code == 196608:  # protocol 3.0; else it asks for TLS or GSS
            break
        client.sendall(b"N")
    hello = b"R" + struct.pack("!II", 8, 0)
    for name, value in _TOLD.items():
        pair = f"{name}\0{value}\0".encode()
        hello += b"S" + struct.pack("!I", len(pair) + 4) + pair
    client.sendall(hello + b"K" + struct.pack("!III", 12, 1, 1) + b"Z" + struct.pack("!I", 5) + b"I")


def _serve(client: socket.socket, server: _Server) -> None:
    with client, suppress(OSError):
        _greeted(client)
        said = b""
        while True:
            kind, body = _message(client)
            if kind == b"X":
                return
            said += kind + struct.pack("!I", len(body) + 4) + body
            if kind not in (b"Q", b"S"):
                continue
            server.take()
            answer, state = server.asked(said)
            said = b""
            if state == b"I":
                server.give_back()
            client.sendall(answer)


@contextmanager
def pooler(dsn: str) -> Iterator[str]:
    """Serve on this machine; yields the address that leads through it."""
    server = _Server(dsn)
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=_serve, args=(client, server), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"postgresql://anybody@127.0.0.1:{listening.getsockname()[1]}/pooled?sslmode=disable&gssencmode=disable"
    finally:
        listening.close()
        server.close()
