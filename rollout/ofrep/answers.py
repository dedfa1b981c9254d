"""A snapshot's answers as bytes: each is encoded once, and a request only puts them together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from hawkops.core.asgi import CORS, JSON, Headers
from hawkops.core.whole import Whole
from rollout.domain.compiled import SAFE, Compiled, Settled
from rollout.domain.evaluation import Evaluation
from rollout.domain.flags import ON, Snapshot
from rollout.domain.targeting import ATTRIBUTES, kept

# Fleets get few different answers in bulk; one that gets more has them encoded anew.
BULKS_MOST = 4_096
TAGS_MOST = 64
WRITTEN_MOST = 4
# Devices of one model and version say the same of themselves; what is longer than this is read anew each time.
PROFILES_MOST = 4_096
PROFILE_BYTES_MOST = 1_024
CLASS_ATTRIBUTES = ("device.soc", "device_class")
STREAM = "/ofrep/v1/stream"
EVENT_STREAM_IDLE_SECONDS = 120


class Profile:
    """What devices that say the same of themselves have in common."""

    __slots__ = ("attributes", "device_class", "settled", "simulated")

    def __init__(self, context: Mapping[str, Any], settled: Settled) -> None:
        self.settled = settled
        said = next((said for name in CLASS_ATTRIBUTES if (said := context.get(name))), "")
        self.device_class = str(said)[:80].replace("\x00", "")
        self.simulated = context.get("hawkops.simulated") is True
        self.attributes = kept(context)


@dataclass(frozen=True, slots=True)
class Written:
    """A bulk answer as it is sent to those who listen to one event stream, while so much of every lease is spent."""

    tag: str
    unchanged: Whole
    whole: Whole


class Bulk:
    """The answers of all flags that some devices get together."""

    def __init__(self, found: list[tuple[Evaluation, int]], snapshot: Snapshot) -> None:
        revision = snapshot.revision
        self.served_on = tuple(answer.key for answer, _ in found if answer.variant == ON)
        self.arms = tuple(one for answer, _ in found for one in in_arms(answer, snapshot))
        self._revision = revision
        self._essences = [[one.key, one.told, one.value, one.reason] for one, _ in found]
        self._heads = [(_head(answer, revision), lease_seconds) for answer, lease_seconds in found]
        self._tags: dict[str, str] = {}
        # the last few: most devices of an environment share a key, and what is spent goes up and down by a second or two
        self._written: dict[tuple[int, str, str], Written] = {}

    def written(self, answers: Answers, lease_seconds: int, spent_seconds: int, root: str, token: str) -> Written:
        """Return the whole answer for readers of one event stream: the server's root and the stream's token.

        Those without a token are told of no stream. All leases are shorter by what is spent.
        """
        lease_seconds = answers.lease(lease_seconds, spent_seconds)
        which = (spent_seconds, root, token)
        found = self._written.get(which)
        if found is None:
            if len(self._written) >= WRITTEN_MOST:
                self._written.clear()
            stream = f"{root}{STREAM}?token={token}" if token else ""
            found = self._written[which] = self._write(
                answers.headers(lease_seconds), lease_seconds, spent_seconds, stream
            )
        return found

    def _write(self, headers: Headers, lease_seconds: int, spent_seconds: int, stream: str) -> Written:
        streams = [_event_stream(stream)] if stream else []
        parts = [b"%b%d}}" % (head, max(0, lease - spent_seconds)) for head, lease in self._heads]
        body = b'{"flags":[' + b",".join(parts) + b"]"
        # Android's client decodes strictly and knows neither member: leave out what it would choke on.
        if stream:
            metadata = {"revision": self._revision, "lease_seconds": lease_seconds}
            body += b"," + orjson.dumps({"metadata": metadata, "eventStreams": streams})[1:]
        else:
            body += b"}"
        tag = self._tag(streams, stream)
        told = [*headers, (b"etag", tag.encode())]
        return Written(tag, Whole(304, told), Whole(200, [JSON, *told], body))

    def _tag(self, streams: list[dict[str, Any]], stream: str) -> str:
        """Return the entity tag; it covers the answers and the streams, not revision and lease beside them."""
        found = self._tags.get(stream)
        if found is None:
            if len(self._tags) >= TAGS_MOST:
                self._tags.clear()
            essence = orjson.dumps([self._essences, streams])
            found = self._tags[stream] = '"' + hashlib.sha256(essence).hexdigest()[:32] + '"'
        return found


class Answers:
    """One snapshot, ready to be asked."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._leases = [flag.lease_seconds for flag in snapshot.flags.values()]
        self._shortest = min(self._leases, default=0)
        self._bulks: dict[tuple[int, ...], Bulk] = {}
        self._profiles: dict[bytes, Profile] = {}
        self._headers: tuple[int, Headers] = (-1, [])

    def lease(self, seconds: int, spent_seconds: int) -> int:
        """Return how long a whole answer holds: no longer than any flag in it."""
        return min(seconds, max(0, self._shortest - spent_seconds)) if self._leases else seconds

    # made when first asked: what can't be compiled fails a request, not the following of changes
    @cached_property
    def compiled(self) -> Compiled:
        """The flags, compiled."""
        return Compiled(self.snapshot)

    @cached_property
    def safe(self) -> Bulk:
        """The safe values, for a gateway that was cut off."""
        return self._made([SAFE] * len(self._leases))

    @cached_property
    def _asked(self) -> tuple[str, ...]:
        """Every attribute that anything here reads: no two devices that agree in these are told apart by more."""
        return tuple({*self.compiled.attributes, *ATTRIBUTES, *CLASS_ATTRIBUTES})

    def profile(self, context: Mapping[str, Any]) -> Profile:
        """Return what a device has in common with those that say the same. `context` came as JSON."""
        said = orjson.dumps([*map(context.get, self._asked)])
        found = self._profiles.get(said)
        if found is None:
            found = Profile(context, self.compiled.settled(context))
            if len(self._profiles) >= PROFILES_MOST:
                self._profiles.clear()
            if len(said) <= PROFILE_BYTES_MOST:
                self._profiles[said] = found
        return found

    def bulk(self, targeting_key: str, profile: Profile, context: Mapping[str, Any]) -> Bulk:
        """Return what a device gets for all flags."""
        places = profile.settled.places(targeting_key, context)
        which = tuple(places)
        found = self._bulks.get(which)
        if found is None:
            if len(self._bulks) >= BULKS_MOST:
                self._bulks.clear()
            found = self._bulks[which] = self._made(places)
        return found

    def headers(self, lease_seconds: int) -> Headers:
        """Return the headers of every answer from this snapshot."""
        at, made = self._headers
        if at != lease_seconds:
            made = [
                *CORS,
                (b"cache-control", b"no-store"),
                (b"hawkops-revision", b"%d" % self.snapshot.revision),
                (b"hawkops-lease-seconds", b"%d" % lease_seconds),
            ]
            self._headers = (lease_seconds, made)
        return made

    def _made(self, places: list[int]) -> Bulk:
        answers = [one.all[place] for one, place in zip(self.compiled.answers, places, strict=True)]
        return Bulk(list(zip(answers, self._leases, strict=True)), self.snapshot)


def in_arms(answer: Evaluation, snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    """Return the (A/B test, arm) that an answer exposes a device to, if it does."""
    running = snapshot.flags[answer.key].experiment
    return ((running.key, answer.arm),) if running is not None and answer.arm else ()


def item(answer: Evaluation, revision: int, lease_seconds: int, **more: Any) -> dict[str, Any]:
    """Return one flag's answer as the protocol writes it."""
    return {
        "key": answer.key,
        "value": answer.value,
        "variant": answer.told,
        "reason": answer.reason,
        "metadata": {**more, "revision": revision, "lease_seconds": lease_seconds},
    }


def _event_stream(path: str) -> dict[str, Any]:
    return {"type": "sse", "endpoint": {"requestUri": path}, "inactivityDelaySec": EVENT_STREAM_IDLE_SECONDS}


def _head(answer: Evaluation, revision: int) -> bytes:
    """Return an answer up to its lease, which is left to be written."""
    return orjson.dumps(item(answer, revision, 0)).removesuffix(b"0}}")
