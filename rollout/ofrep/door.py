"""OFREP as the protocol says, and as its stock clients need it: each rule here was broken by one of them."""

import hashlib
import re
from typing import Any

import orjson

from hawkops.core.asgi import (
    CORS,
    JSON,
    PREFLIGHT,
    Headers,
    answer,
    answer_json,
    bearer,
    header,
    matches,
    read_body,
)
from hawkops.core.bounded import Malformed, TooLarge, json_loads
from hawkops.core.errors import HawkOpsError
from rollout.domain import targeting
from rollout.domain.bucketing import PROBE_PREFIX, bucket
from rollout.domain.evaluation import Evaluation, KeyMissing, UnknownFlag, evaluate, evaluate_all, safe
from rollout.domain.flags import ON, Snapshot
from rollout.domain.targeting import TARGETING_KEY_CHARACTERS, Context
from rollout.ofrep.census import CensusRecorder
from rollout.ofrep.store import KeyInfo, SnapshotStore
from rollout.ofrep.streams import Streams, change_event

PREFIX = "/ofrep/v1/"
BULK = "/ofrep/v1/evaluate/flags"
STREAM = "/ofrep/v1/stream"
BODY_BYTES = 64 * 1024
KEY = re.compile(r"[A-Za-z0-9._-]{1,80}")
CLASS_ATTRIBUTES = ("device.soc", "device_class")
EVENT_STREAM_IDLE_SECONDS = 120


class OfrepDoor:
    """An ASGI application for everything under `/ofrep/v1/`."""

    def __init__(self, store: SnapshotStore, census: CensusRecorder, streams: Streams) -> None:
        self._store = store
        self._census = census
        self._streams = streams

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = re.sub(r"/{2,}", "/", scope["path"])  # a base URL with a trailing slash doubles it
        method = scope["method"]
        if method == "OPTIONS":
            await answer(send, 204, b"", PREFLIGHT)
        elif path == STREAM and method == "GET":
            await self._stream(scope, receive, send)
        elif path == BULK and method == "POST":
            await self._guarded(self._bulk, scope, receive, send, key="")
        elif path.startswith(BULK + "/") and method == "POST":
            await self._guarded(self._single, scope, receive, send, key=path[len(BULK) + 1 :])
        elif path in (BULK, STREAM) or path.startswith(BULK + "/"):
            await _refuse(send, 405, "GENERAL", f"{method} is not understood here.")
        else:
            await _refuse(send, 404, "GENERAL", "There is nothing here; OFREP stands under /ofrep/v1/evaluate/flags.")

    async def _guarded(self, handle: Any, scope: dict[str, Any], receive: Any, send: Any, *, key: str) -> None:
        """Authenticate and read the body; whatever is wrong gets the protocol's own answer."""
        named = {"key": key} if key else {}
        info = self._store.key(bearer(scope))
        if info is None:
            sentence = "The device key is missing, unknown, revoked or expired. Send Authorization: Bearer hk_…"
            await _refuse(send, 401, "GENERAL", sentence, extra=named)
            return
        snapshot = self._store.snapshot(info.environment)
        if snapshot is None:
            await _refuse(send, 503, "GENERAL", "The flags are not loaded yet.", extra=named, headers=[_retry(5)])
            return
        try:
            if "json" not in header(scope, b"content-type").lower():
                raise _WrongType("Send Content-Type: application/json.")
            body = await read_body(scope, receive, limit_bytes=BODY_BYTES)
            context = _context(body)
        except ConnectionResetError:
            return
        except (TooLarge, _WrongType) as error:
            await _refuse(send, error.status, "GENERAL", error.message, extra=named)
            return
        except _InvalidContext as error:
            await _refuse(send, 400, "INVALID_CONTEXT", error.message, extra=named)
            return
        except Malformed as error:
            await _refuse(send, 400, "PARSE_ERROR", error.message, extra=named)
            return
        await handle(scope, send, info, snapshot, context, key)

    async def _single(
        self, _scope: Any, send: Any, info: KeyInfo, snapshot: Snapshot, context: dict[str, Any], key: str
    ) -> None:
        seen = _seen(context)
        targeting_key = seen.targeting_key
        headers = self._headers(snapshot)
        try:
            if not KEY.fullmatch(key):
                raise UnknownFlag(key)
            found = evaluate(snapshot, key, seen)
        except UnknownFlag:
            await _refuse(
                send,
                404,
                "FLAG_NOT_FOUND",
                f"There is no flag {key[:80]!r} in {info.environment}.",
                extra={"key": key[:200]},
                headers=headers,
            )
            return
        except KeyMissing:
            await _refuse(
                send,
                400,
                "TARGETING_KEY_MISSING",
                f"{key} divides devices by their targeting key; send context.targetingKey.",
                extra={"key": key},
                headers=headers,
            )
            return
        if self._cut_off:
            found = safe(snapshot.flags[key])
        if targeting_key:
            # A single-flag client asks whenever it needs the value: told counts as obeyed.
            self._note(info, targeting_key, context, told=snapshot.revision, obeyed=snapshot.revision, served=None)
        item = self._item(found, snapshot)
        if targeting_key and targeting_key.startswith(PROBE_PREFIX):  # a check that compares with the published vectors
            item["metadata"]["bucket"] = bucket(snapshot.flags[found.key].salt, targeting_key)
        await answer(send, 200, orjson.dumps(item), [JSON, *headers])

    async def _bulk(
        self, scope: Any, send: Any, info: KeyInfo, snapshot: Snapshot, context: dict[str, Any], _key: str
    ) -> None:
        seen = _seen(context)
        targeting_key = seen.targeting_key
        answers = [safe(flag) for flag in snapshot.flags.values()] if self._cut_off else evaluate_all(snapshot, seen)
        # Android's client decodes strictly and knows neither member: leave out what it would choke on.
        plain = header(scope, b"user-agent").lower().startswith("ktor-client")
        streams = [] if plain else [self._event_stream(scope, info)]
        # The tag covers the evaluated answer and the streams, not revision and lease: they travel beside it.
        tag = '"' + hashlib.sha256(orjson.dumps([[_essence(a) for a in answers], streams])).hexdigest()[:32] + '"'
        headers = [*self._headers(snapshot), (b"etag", tag.encode())]
        same = matches(header(scope, b"if-none-match"), tag)
        if targeting_key and not self._cut_off:
            served = [a.key for a in answers if a.variant == ON]
            obeyed = snapshot.revision if same else _number(context.get("hawkops.revision"))
            self._note(
                info,
                targeting_key,
                context,
                told=snapshot.revision,
                obeyed=min(obeyed, snapshot.revision),
                served=served,
            )
        if same:
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        body: dict[str, Any] = {"flags": [self._item(a, snapshot) for a in answers]}
        if not plain:
            body["metadata"] = {"revision": snapshot.revision, "lease_seconds": self._store.lease_seconds()}
            body["eventStreams"] = streams
        await answer(send, 200, orjson.dumps(body), [JSON, *headers])

    async def _stream(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Open the stream. Unless the client proves that it holds the current revision it is told to ask at once."""
        token = ""
        for part in scope["query_string"].decode("latin-1").split("&"):
            name, _, value = part.partition("=")
            if name == "token":
                token = value
        info = self._store.stream_key(token)
        snapshot = self._store.snapshot(info.environment) if info else None
        if info is None or snapshot is None:
            await _refuse(send, 401, "GENERAL", "This stream address is not valid any more; ask for the flags again.")
            return
        current = header(scope, b"last-event-id") == str(snapshot.revision)
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), *CORS]
        first = None if current else change_event(snapshot.revision)
        await self._streams.serve(info.environment, first, receive, send, headers)

    @property
    def _cut_off(self) -> bool:
        return self._store.lease_seconds() <= 0

    def _headers(self, snapshot: Snapshot) -> Headers:
        lease = self._store.lease_seconds()
        return [
            *CORS,
            (b"cache-control", b"no-store"),
            (b"hawkops-revision", str(snapshot.revision).encode()),
            (b"hawkops-lease-seconds", str(lease).encode()),
        ]

    def _item(self, found: Evaluation, snapshot: Snapshot) -> dict[str, Any]:
        lease = self._store.lease_seconds(snapshot.flags[found.key].lease_seconds)
        return {
            "key": found.key,
            "value": found.value,
            "variant": found.variant,
            "reason": found.reason,
            "metadata": {"revision": snapshot.revision, "lease_seconds": lease},
        }

    def _event_stream(self, scope: dict[str, Any], info: KeyInfo) -> dict[str, Any]:
        path = f"{scope.get('root_path', '')}{STREAM}?token={info.stream_token}"
        return {
            "type": "sse",
            "endpoint": {"requestUri": path},
            "inactivityDelaySec": EVENT_STREAM_IDLE_SECONDS,
        }

    def _note(
        self,
        info: KeyInfo,
        targeting_key: str,
        context: dict[str, Any],
        *,
        told: int,
        obeyed: int,
        served: list[str] | None,
    ) -> None:
        if targeting_key.startswith(PROBE_PREFIX):
            return
        device_class = next((str(context[name])[:80] for name in CLASS_ATTRIBUTES if context.get(name)), "")
        simulated = context.get("hawkops.simulated") is True
        self._census.note(
            info.environment,
            targeting_key,
            device_class=device_class.replace("\x00", ""),
            simulated=simulated,
            attributes=targeting.kept(context),
            told=told,
            obeyed=obeyed,
            served_on=served,
        )


class _InvalidContext(HawkOpsError):
    pass


class _WrongType(HawkOpsError):
    status = 415


def _context(body: bytes) -> dict[str, Any]:
    """Return the evaluation context; real clients send `{"context": {}}` and even `{}`."""
    document = json_loads(body)
    context = document.get("context", {}) if isinstance(document, dict) else None
    if not isinstance(context, dict):
        raise _InvalidContext('Send {"context": {"targetingKey": "…"}}.')
    key = context.get("targetingKey", "")
    if key is not None and not isinstance(key, str):
        raise _InvalidContext("context.targetingKey must be a string.")
    if key and (len(key) > TARGETING_KEY_CHARACTERS or any(ord(character) < 32 for character in key)):
        raise _InvalidContext(
            f"context.targetingKey has more than {TARGETING_KEY_CHARACTERS} or unprintable characters."
        )
    try:
        (key or "").encode()
    except UnicodeEncodeError as error:
        raise _InvalidContext("context.targetingKey is not valid Unicode.") from error
    return context


def _seen(context: dict[str, Any]) -> Context:
    return Context(context.get("targetingKey") or "", context)


def _essence(found: Evaluation) -> list[Any]:
    return [found.key, found.variant, found.value, found.reason]


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62 else 0


def _retry(seconds: int) -> tuple[bytes, bytes]:
    return (b"retry-after", str(seconds).encode())  # whole seconds: Python's client refuses anything else


async def _refuse(
    send: Any,
    status: int,
    code: str,
    sentence: str,
    *,
    extra: dict[str, Any] | None = None,
    headers: Headers | None = None,
) -> None:
    """Answer an error as an object with every member a client reads; Java's needs `metadata` even here."""
    body = {**(extra or {}), "errorCode": code, "errorDetails": sentence, "metadata": {}}
    await answer_json(send, status, body, headers or CORS)
