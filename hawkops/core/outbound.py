"""The one client for calls to other machines: bounded in time and size, no redirects, no private networks.

`OUTBOUND_PRIVATE=1` allows private addresses (an installation inside a company's network); loopback counts as private.
"""

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from hawkops.core import env
from hawkops.core.errors import InvalidInput

SECONDS = 10.0
ANSWER_BYTES_MOST = 64 * 1024


@dataclass(frozen=True)
class Receipt:
    """What the other side answered: proof that it was told."""

    status: int
    text: str

    @property
    def accepted(self) -> bool:
        """Whether it said yes."""
        return 200 <= self.status < 300


class Undelivered(Exception):
    """Nobody answered; the message says why."""


def address(url: str) -> str:
    """Check an address before anything is sent there. Raises InvalidInput."""
    split = urlsplit(url)
    if split.scheme not in ("http", "https") or not split.hostname:
        raise InvalidInput(f"{url[:80]!r} is no web address; write https://…")
    private = env.flag("OUTBOUND_PRIVATE")
    if split.scheme == "http" and not private:
        raise InvalidInput("Plain http is refused: what is sent could be read on the way. Use https.")
    if not private:
        for found in _resolved(split.hostname, split.port or 443):
            if not found.is_global:
                raise InvalidInput(f"{split.hostname} is on a private network; OUTBOUND_PRIVATE=1 allows that.")
    return url


def _resolved(host: str, port: int) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InvalidInput(f"{host} has no address: {error.strerror or error}.") from error
    return [ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in rows]


def post(url: str, *, json: object, headers: Mapping[str, str] | None = None) -> Receipt:
    """Send JSON. Raises InvalidInput for an address that may not be called, Undelivered when nobody answers."""
    address(url)
    status, body = _answered(url, json, headers)
    return Receipt(status, body.decode(errors="replace")[:500])


def ask(url: str, *, json: object) -> bytes:
    """Send JSON to an address that the operator set, a private one too, and return the answer. Raises Undelivered."""
    status, body = _answered(url, json, None)
    if status != httpx.codes.OK:
        raise Undelivered(f"{urlsplit(url).hostname} answered {status}")
    if len(body) >= ANSWER_BYTES_MOST:
        raise Undelivered(f"{urlsplit(url).hostname} answered more than {ANSWER_BYTES_MOST // 1024} kB")
    return body


def fetch(url: str, target: Path, *, bytes_most: int) -> int:
    """Write what an address holds into a file and return its size. Raises InvalidInput, Undelivered, OSError."""
    address(url)
    host, size = urlsplit(url).hostname, 0
    try:
        with (
            httpx.stream("GET", url, timeout=SECONDS, follow_redirects=False, trust_env=False) as answer,
            target.open("wb") as file,
        ):
            if answer.status_code != httpx.codes.OK:
                raise Undelivered(f"{host} answered {answer.status_code}")
            for chunk in answer.iter_bytes():
                size += len(chunk)
                if size > bytes_most:
                    raise Undelivered(f"{host} sends more than {bytes_most / 1e9:.0f} GB")
                file.write(chunk)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Undelivered(f"{host}: {error or type(error).__name__}") from error
    return size


def _answered(url: str, json: object, headers: Mapping[str, str] | None) -> tuple[int, bytes]:
    try:
        with httpx.stream(
            "POST",
            url,
            json=json,
            headers=dict(headers or {}),
            timeout=SECONDS,
            follow_redirects=False,
            trust_env=False,
        ) as answer:
            body = b""
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) >= ANSWER_BYTES_MOST:
                    break
            return answer.status_code, body
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Undelivered(f"{urlsplit(url).hostname}: {error or type(error).__name__}") from error
