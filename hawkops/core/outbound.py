"""The one client for calls to other machines: bounded in time and size, no redirects, no private networks.

`OUTBOUND_PRIVATE=1` allows private addresses (an installation inside a company's network); loopback counts as private.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from hawkops.core import env
from hawkops.core.addresses import Address, is_public
from hawkops.core.errors import InvalidInput

SECONDS = 10.0
ANSWER_BYTES_MOST = 64 * 1024


@dataclass(frozen=True)
class Receipt:
    """What the other side answered: proof that it was told."""

    status: int
    text: str
    # the header, as it was sent
    retry_after: str = ""

    @property
    def accepted(self) -> bool:
        """Whether it said yes."""
        return 200 <= self.status < 300


class Undelivered(Exception):
    """Nobody answered; the message says why."""


class NoAddress(InvalidInput):
    """The name can't be looked up now: it is wrong, or the network is down."""


def address(url: str) -> str:
    """Check an address before anything is sent there. Raises InvalidInput, NoAddress when its name is not found."""
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as error:
        raise InvalidInput(f"That is no web address: {error}.") from error
    if split.scheme not in ("http", "https") or not split.hostname:
        raise InvalidInput(f"{url[:80]!r} is no web address; write https://…")
    private = env.flag("OUTBOUND_PRIVATE")
    if split.scheme == "http" and not private:
        raise InvalidInput("Plain http is refused: what is sent could be read on the way. Use https.")
    if not private:
        for found in _resolved(split.hostname, port or 443):
            if not is_public(found):
                raise InvalidInput(f"{split.hostname} is on a private network; OUTBOUND_PRIVATE=1 allows that.")
    return url


def _resolved(host: str, port: int) -> list[Address]:
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NoAddress(f"{host} has no address: {error.strerror or error}.") from error
    return [ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in rows]


def post(
    url: str, *, json: object = None, content: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Receipt:
    """Send JSON, or bytes as they are (what is signed must not be written anew).

    Raises InvalidInput for an address that may not be called, Undelivered when nobody answers.
    """
    refused: Undelivered | None = None
    for target, extensions in _targets(address(url)):
        try:
            status, body, retry_after = _answered(target, json, _named(url, headers), content, extensions)
        except _Unconnected as error:  # perhaps its other address can be reached
            refused = error
            continue
        return Receipt(status, body.decode(errors="replace")[:500], retry_after)
    raise refused or Undelivered(f"{urlsplit(url).hostname} has no address")


class _Unconnected(Undelivered):
    """Nothing was sent, so that another address may be tried."""


def _targets(url: str) -> list[tuple[str, dict[str, object]]]:
    """Return the addresses to connect to: those that were checked, so that a name can't point elsewhere meanwhile."""
    if env.flag("OUTBOUND_PRIVATE"):
        return [(url, {})]
    split = urlsplit(url)
    host, port = split.hostname or "", split.port or 443
    found: list[tuple[str, dict[str, object]]] = []
    for checked in _resolved(host, port):
        if not is_public(checked):
            raise InvalidInput(f"{host} is on a private network; OUTBOUND_PRIVATE=1 allows that.")
        literal = f"[{checked}]" if checked.version == 6 else str(checked)
        found.append((split._replace(netloc=f"{literal}:{port}").geturl(), {"sni_hostname": host}))
    return found


def _named(url: str, headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers with the name that was asked for, whatever address is connected to."""
    split = urlsplit(url)
    host = split.hostname or ""
    name = f"[{host}]" if ":" in host else host
    return {"Host": f"{name}:{split.port}" if split.port else name, **(headers or {})}


def ask(url: str, *, json: object) -> bytes:
    """Send JSON to an address that the operator set, a private one too, and return the answer. Raises Undelivered."""
    status, body, _ = _answered(url, json, None)
    if status != httpx.codes.OK:
        raise Undelivered(f"{urlsplit(url).hostname} answered {status}")
    if len(body) >= ANSWER_BYTES_MOST:
        raise Undelivered(f"{urlsplit(url).hostname} answered more than {ANSWER_BYTES_MOST // 1024} kB")
    return body


def fetch(url: str, target: Path, *, bytes_most: int) -> int:
    """Write what an address holds into a file and return its size. Raises InvalidInput, Undelivered, OSError."""
    refused: Undelivered | None = None
    for there, extensions in _targets(address(url)):
        try:
            return _fetched(url, there, extensions, target, bytes_most)
        except _Unconnected as error:  # perhaps its other address can be reached
            refused = error
    raise refused or Undelivered(f"{urlsplit(url).hostname} has no address")


def _fetched(url: str, there: str, extensions: dict[str, object], target: Path, bytes_most: int) -> int:
    host, size = urlsplit(url).hostname, 0
    try:
        with (
            httpx.Client(verify=_authorities(), timeout=SECONDS, follow_redirects=False, trust_env=False) as client,
            client.stream("GET", there, headers=_named(url, None), extensions=extensions) as answer,
            target.open("wb") as file,
        ):
            if answer.status_code != httpx.codes.OK:
                raise Undelivered(f"{host} answered {answer.status_code}")
            for chunk in answer.iter_bytes():
                size += len(chunk)
                if size > bytes_most:
                    raise Undelivered(f"{host} sends more than {bytes_most / 1e9:.0f} GB")
                file.write(chunk)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise _Unconnected(f"{host}: {error or type(error).__name__}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Undelivered(f"{host}: {error or type(error).__name__}") from error
    return size


@lru_cache(maxsize=1)
def _authorities() -> ssl.SSLContext:
    """Whom to believe, read once: reading it takes 20 ms of a processor, more than the rest of a message."""
    return httpx.create_ssl_context(trust_env=False)


def _answered(
    url: str,
    json: object,
    headers: Mapping[str, str] | None,
    content: bytes | None = None,
    extensions: dict[str, object] | None = None,
) -> tuple[int, bytes, str]:
    # a timeout of httpx is one of each read: a drip of bytes must not hold a sender for ever
    until = time.monotonic() + 2 * SECONDS
    named = (headers or {}).get("Host") or urlsplit(url).hostname
    try:
        with (
            httpx.Client(verify=_authorities(), timeout=SECONDS, follow_redirects=False, trust_env=False) as client,
            client.stream(
                "POST",
                url,
                json=json if content is None else None,
                content=content,
                headers=dict(headers or {}),
                extensions=extensions or {},
            ) as answer,
        ):
            body = b""
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) >= ANSWER_BYTES_MOST:
                    break
                if time.monotonic() > until:
                    raise Undelivered(f"{named}: its answer did not end within {2 * SECONDS:.0f} s")
            return answer.status_code, body, answer.headers.get("Retry-After", "")
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise _Unconnected(f"{named}: {error or type(error).__name__}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Undelivered(f"{named}: {error or type(error).__name__}") from error
