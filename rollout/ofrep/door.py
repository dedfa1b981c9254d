"""OFREP as the protocol says, and as its stock clients need it: each rule here was broken by one of them."""

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
    header,
    headers_of,
    matches,
    read_body,
)
from hawkops.core.bounded import Malformed, TooLarge, json_loads
from hawkops.core.errors import HawkOpsError
from hawkops.core.whole import Whole
from rollout.domain.bucketing import PROBE_PREFIX, bucket
from rollout.domain.evaluation import KeyMissing, UnknownFlag, safe
from rollout.domain.targeting import TARGETING_KEY_CHARACTERS, Context
from rollout.ofrep.answers import STREAM, Answers, Profile, in_arms, item
from rollout.ofrep.census import CensusRecorder
from rollout.ofrep.store import KeyInfo, SnapshotStore
from rollout.ofrep.streams import Streams, change_event

PREFIX = "/ofrep/v1/"
BULK = "/ofrep/v1/evaluate/flags"
SINGLE = f"{BULK}/"
BODY_BYTES = 64 * 1024
KEY = re.compile(r"[A-Za-z0-9._-]{1,80}")
CONTROL = re.compile(r"[\x00-\x1f]")


class OfrepDoor:
    """An ASGI application for everything under `/ofrep/v1/`."""

    def __init__(self, store: SnapshotStore, census: CensusRecorder, streams: Streams) -> None:
        self._store = store
        self._census = census
        self._streams = streams

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one flag or all; whatever is wrong gets the protocol's own answer."""
        path = scope["path"]
        if "//" in path:
            path = re.sub(r"/{2,}", "/", path)  # a base URL with a trailing slash doubles it
        if scope["method"] != "POST" or not (path == BULK or path.startswith(SINGLE)):
            await self._beside(path, scope, receive, send)
            return
        key = None if path == BULK else path[len(SINGLE) :]
        named = {"key": key} if key else {}
        headers = headers_of(scope)
        info = self._store.key(_presented(headers))
        if info is None:
            sentence = "The device key is missing, unknown, revoked or expired. Send Authorization: Bearer hk_…"
            await _refuse(send, 401, "GENERAL", sentence, extra=named)
            return
        answers = self._store.answers(info.environment)
        if answers is None:
            await _refuse(send, 503, "GENERAL", "The flags are not loaded yet.", extra=named, headers=[_retry(5)])
            return
        try:
            if b"json" not in headers.get(b"content-type", b"").lower():
                raise _WrongType("Send Content-Type: application/json.")
            context = _context(await read_body(scope, receive, limit_bytes=BODY_BYTES, headers=headers))
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
        if key is None:
            whole = self._bulk(headers, info, answers, context, scope.get("root_path", ""))
            scope["hawkops.status"] = whole.status
            if not whole.sent(send):
                await whole.send_by(send)
        else:
            await self._single(send, info, answers, context, key)

    async def _beside(self, path: str, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer what asks for no flag."""
        method = scope["method"]
        if method == "OPTIONS":
            await answer(send, 204, b"", PREFLIGHT)
        elif path == STREAM and method == "GET":
            await self._stream(scope, receive, send)
        elif path in (BULK, STREAM) or path.startswith(SINGLE):
            await _refuse(send, 405, "GENERAL", f"{method} is not understood here.")
        else:
            await _refuse(send, 404, "GENERAL", "There is nothing here; OFREP stands under /ofrep/v1/evaluate/flags.")

    async def _single(self, send: Any, info: KeyInfo, answers: Answers, context: dict[str, Any], key: str) -> None:
        seen = _seen(context)
        snapshot = answers.snapshot
        targeting_key = seen.targeting_key
        headers = answers.headers(answers.lease(*self._store.lease()))
        try:
            if not KEY.fullmatch(key):
                raise UnknownFlag(key)
            found = answers.compiled.evaluate(key, seen)
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
            profile = answers.profile(context)
            self._note(
                info,
                targeting_key,
                profile,
                told=snapshot.revision,
                obeyed=snapshot.revision,
                served=None,
                arms=in_arms(found, snapshot),
            )
        more = {}
        if targeting_key and targeting_key.startswith(PROBE_PREFIX):  # a check that compares with the published vectors
            more["bucket"] = bucket(snapshot.flags[found.key].salt, targeting_key)
        lease = self._store.lease_seconds(snapshot.flags[found.key].lease_seconds)
        await answer(send, 200, orjson.dumps(item(found, snapshot.revision, lease, **more)), [JSON, *headers])

    def _bulk(
        self, headers: dict[bytes, bytes], info: KeyInfo, answers: Answers, context: dict[str, Any], root: str
    ) -> Whole:
        key = context.get("targetingKey") or ""
        lease, spent = self._store.lease()
        profile = answers.profile(context)
        bulk = answers.bulk(key, profile, context) if lease else answers.safe
        plain = headers.get(b"user-agent", b"")[:11].lower() == b"ktor-client"
        written = bulk.written(answers, lease, spent, root, "" if plain else info.stream_token)
        asked = headers.get(b"if-none-match")
        same = asked is not None and matches(asked.decode("latin-1"), written.tag)
        if key and lease:
            revision = answers.snapshot.revision
            said = context.get("hawkops.revision")
            obeyed = revision if same else min(_number(said), revision) if said else 0
            self._note(info, key, profile, told=revision, obeyed=obeyed, served=bulk.served_on, arms=bulk.arms)
        return written.unchanged if same else written.whole

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

    def _note(
        self,
        info: KeyInfo,
        targeting_key: str,
        profile: Profile,
        *,
        told: int,
        obeyed: int,
        served: tuple[str, ...] | None,
        arms: tuple[tuple[str, str], ...],
    ) -> None:
        if not targeting_key.startswith(PROBE_PREFIX):
            self._census.note(
                info.environment,
                targeting_key,
                device_class=profile.device_class,
                simulated=profile.simulated,
                attributes=profile.attributes,
                told=told,
                obeyed=obeyed,
                served_on=served,
                arms=arms,
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
    if key and (len(key) > TARGETING_KEY_CHARACTERS or (not key.isprintable() and CONTROL.search(key))):
        raise _InvalidContext(
            f"context.targetingKey has more than {TARGETING_KEY_CHARACTERS} or unprintable characters."
        )
    return context


def _seen(context: dict[str, Any]) -> Context:
    return Context(context.get("targetingKey") or "", context)


def _presented(headers: dict[bytes, bytes]) -> str:
    """Return the presented key: `Authorization: Bearer …` or `X-API-Key`."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    found = token if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")
    return found.decode("latin-1").strip()


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
