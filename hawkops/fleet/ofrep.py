"""Flags over the OpenFeature Remote Evaluation Protocol: the bulk answer, its ETag, and the event stream beside it.

Speaks HTTP and nothing else; what to do with an answer is the keeper's affair. Stream addresses hold a token and are
never printed.
"""

import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit

from hawkops.fleet.http import Answer, Client, HttpError

DEFAULT_LEASE_SECONDS = 900.0
QUIET_STREAM_SECONDS = 75.0  # the gateway sends a comment every 15–30 s; longer silence is a dead connection
MOST_STREAMS = 4


class FlagsUnavailable(Exception):
    """The gateway gave no usable answer. `retry_after_seconds` is what it asked for, if it did."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True)
class Told:
    """One answer. `flags` is None when nothing changed for this device (304)."""

    sent_at: float
    flags: list[dict[str, Any]] | None
    revision: int | None
    lease_seconds: float
    streams: tuple[str, ...] | None


@dataclass(frozen=True)
class Event:
    """One message of the stream; `opened` is the connection itself."""

    kind: str
    hints: Mapping[str, str] = field(default_factory=dict)


def clock() -> float:
    """Read seconds that also pass while the machine sleeps, so that a lease ends in a pocket too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _whole(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def _metadata(flags: list[dict[str, Any]], name: str) -> list[float]:
    values = [(flag.get("metadata") or {}).get(name) for flag in flags]
    return [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]


def stream_addresses(base_url: str, entries: object) -> tuple[str, ...]:
    """Read the addresses out of `eventStreams`; unknown kinds and malformed entries are ignored."""
    parts = urlsplit(base_url)
    own_origin = f"{parts.scheme}://{parts.netloc}"
    found: list[str] = []
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("type") != "sse":
            continue
        endpoint = entry.get("endpoint")
        if isinstance(entry.get("url"), str):
            found.append(entry["url"])
        elif isinstance(endpoint, dict) and isinstance(endpoint.get("requestUri"), str):
            found.append((endpoint.get("origin") or own_origin) + endpoint["requestUri"])
    return tuple(found[:MOST_STREAMS])


class FlagClient:
    """Asks one gateway for one device's flags. Several devices may share the HTTP client."""

    def __init__(
        self,
        base_url: str,
        key: str,
        context: Mapping[str, Any],
        *,
        http: Client,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.context = dict(context)
        self._headers = {"Authorization": f"Bearer {key}"}
        self._http = http
        self._etag: str | None = None

    async def fetch(self, hints: Mapping[str, str] | None = None) -> Told:
        """Ask for all flags, conditionally once an answer is in hand. Raises FlagsUnavailable."""
        headers = {**self._headers, **({"If-None-Match": self._etag} if self._etag else {})}
        query = f"?{urlencode(hints)}" if hints else ""
        sent_at = clock()
        try:
            answer = await self._http.post_json(
                f"{self.base_url}/ofrep/v1/evaluate/flags{query}", {"context": self.context}, headers
            )
        except HttpError as error:
            raise FlagsUnavailable(f"the gateway is not reached ({error})") from error
        if answer.status == HTTPStatus.NOT_MODIFIED:
            return self._told(sent_at, answer, None, None)
        if answer.status != HTTPStatus.OK:
            raise FlagsUnavailable(*_refusal(answer))
        try:
            body = answer.json()
            flags = [flag for flag in body["flags"] if isinstance(flag, dict)]
        except (ValueError, KeyError, TypeError) as error:
            raise FlagsUnavailable("the gateway's answer can't be read") from error
        self._etag = answer.headers.get("etag")
        return self._told(sent_at, answer, flags, stream_addresses(self.base_url, body.get("eventStreams")))

    def forget(self) -> None:
        """Make the next fetch unconditional."""
        self._etag = None

    async def listen(self, address: str, last_event_id: str = "") -> AsyncIterator[tuple[str, Event]]:
        """Yield (event id, event) from a stream until it ends. Raises HttpError."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        opened = False
        data: list[str] = []
        event_id = ""
        async for line in self._http.lines(address, headers, quiet_seconds=QUIET_STREAM_SECONDS):
            name, _, value = line.partition(":")
            if not opened:
                opened = True
                yield "", Event("opened")
            elif name == "data":
                data.append(value.removeprefix(" "))
            elif name == "id":
                event_id = value.strip()
            elif not line and data:
                yield event_id, _event("\n".join(data))
                data = []

    def _told(
        self,
        sent_at: float,
        answer: Answer,
        flags: list[dict[str, Any]] | None,
        streams: tuple[str, ...] | None,
    ) -> Told:
        lease = _whole(answer.headers.get("hawkops-lease-seconds"))
        revision = _whole(answer.headers.get("hawkops-revision"))
        if lease is None:
            lease_seconds = min(_metadata(flags or [], "lease_seconds"), default=DEFAULT_LEASE_SECONDS)
        else:
            lease_seconds = float(lease)
        if revision is None:
            revision = next((int(value) for value in _metadata(flags or [], "revision")), None)
        return Told(sent_at, flags, revision, lease_seconds, streams)


def _refusal(answer: Answer) -> tuple[str, float | None]:
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "the gateway refuses the device key; set HAWKOPS_DEVICE_KEY to a valid one", 30.0
    after = _whole(answer.headers.get("retry-after"))
    return f"the gateway answers {answer.status}", float(after) if after is not None else None


def _event(data: str) -> Event:
    try:
        body = json.loads(data)
    except ValueError:
        return Event("unknown")
    if not isinstance(body, dict) or body.get("type") != "refetchEvaluation":
        return Event("unknown")
    names = {"etag": "flagConfigEtag", "lastModified": "flagConfigLastModified"}
    return Event("refetch", {names[name]: str(body[name]) for name in names if body.get(name) is not None})
