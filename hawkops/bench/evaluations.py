"""Bulk evaluations a second, against a bare loop that parses, hashes and encodes the same on the same server.

Twice: with the flags of `demo` as they stand, and with flags at 50 %, rules and a pin, which are put back afterwards.
"""

import asyncio
import itertools
import os
import random
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from hawkops.bench import load
from hawkops.bench.changes import serving
from hawkops.bench.measures import DEVICES, Target, rate, reference
from hawkops.history.actors import Actor
from rollout.domain.targeting import Rule, constraint
from rollout.models import Flag
from rollout.services.flags import flag_percentage_set, flag_rules_set

BULK = "/ofrep/v1/evaluate/flags"
ACTOR = Actor.system("bench")
ENVIRONMENT = "demo"
PROMISED = 0.8
CONNECTIONS = 32
SECONDS = 1.0
ROUNDS = 12
# None requires another that is not on for everybody: each of them divides every device.
HALVED = (
    "litert_adaptive_switching",
    "ai_fallback_to_cloud",
    "litert_max_concurrent_inferences",
    "litert_switching_threshold",
    "litert_switch_cooldown_ms",
)
RULES = {
    "litert_adaptive_switching": (
        Rule("off", constraints=(constraint("device.gpu.driver", "is below", "490"),)),
        Rule("on", group="beta_testers"),
        Rule("on", 80_000, constraints=(constraint("device.soc", "is", "SoC 1, SoC 2"),)),
    ),
    "litert_switching_threshold": (
        Rule(
            "on",
            constraints=(
                constraint("device.memory_mb", "is at least", "16000"),
                constraint("os.api", "is at least", "36"),
            ),
        ),
        Rule("off", constraints=(constraint("device.gpu", "is", "Mali-G57, Adreno 610"),)),
    ),
    "litert_switch_cooldown_ms": (Rule("on", 20_000, constraints=(constraint("app.version", "is below", "1.9"),)),),
}
PINNED = {"litert_adaptive_switching": {"device-00000007": "on"}}


def flags_measure(target: Target, say: Callable[[str], None]) -> None:
    """Measure both. The devices are those whose telemetry is measured too: the census has its work and nobody new."""
    _measure(target, say, "as they stand")
    with _divided():
        _measure(target, say, f"with {len(HALVED)} at 50 %, rules and a pin")


def _measure(target: Target, say: Callable[[str], None], title: str) -> None:
    contexts = [_context(number) for number in range(DEVICES)]
    with serving("hawkops.serve", "gateway", "--port") as (port, gateway):
        url = f"http://127.0.0.1:{port}{BULK}"
        answer = _probed(target, url)
        with reference("evaluate", HAWKOPS_BENCH_ANSWER=answer.text) as (bare, pid):
            ours = _Side(url, _requests(url, contexts, target.auth), gateway.pid)
            theirs = _Side(bare, _requests(bare, contexts, {}), pid)
            ratios = [_turn(ours, theirs, number) for number in range(ROUNDS)]
    flags = answer.json()["flags"]
    divides = sum(flag["reason"] == "SPLIT" for flag in flags)
    say(f"bulk evaluations of {len(flags)} flags {title}, {divides} of them divide this device: {rate(ours.sum)}")
    low, high = min(ratios), max(ratios)
    say(
        f"  bare loop: {rate(theirs.sum)}; ratio {statistics.median(ratios):.2f} (median of {len(ratios)} turns, "
        f"{low:.2f} to {high:.2f}), promised {PROMISED}"
    )
    # what else the machine does moves this far less
    say(
        f"  processor time of an answer: {ours.each_us:.1f} µs, of the bare loop's {theirs.each_us:.1f} µs; "
        f"ratio {theirs.each_us / ours.each_us:.2f}"
    )


@dataclass
class _Side:
    """A server under load, what it answered in all its turns, and the processor time that it took for that."""

    url: str
    request: Callable[[], bytes]
    pid: int
    sum: load.Figures = field(default_factory=load.Figures)
    processor_seconds: float = 0.0

    def turn(self) -> float:
        """Load it for one turn; return answers a second."""
        before = _processor_seconds(self.pid)
        found = asyncio.run(load.run(self.url, self.request, connections=CONNECTIONS, seconds=SECONDS))
        self.processor_seconds += _processor_seconds(self.pid) - before
        self.sum.add(found)
        return found.per_second

    @property
    def each_us(self) -> float:
        """Processor time of one answer in microseconds."""
        return self.processor_seconds / len(self.sum.latencies) * 1e6


def _turn(ours: _Side, theirs: _Side, number: int) -> float:
    """Load both; who is first takes turns too."""
    if number % 2:
        return ours.turn() / theirs.turn()
    bare = theirs.turn()
    return ours.turn() / bare


def _processor_seconds(pid: int) -> float:
    said = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(said[11]) + int(said[12])) / os.sysconf("SC_CLK_TCK")


def _context(number: int) -> dict[str, Any]:
    """What a device says: models and versions as a fleet has them, some six hundred combinations."""
    chance = random.Random(number)  # noqa: S311 - varied, not secret
    model = chance.randrange(12)
    return {
        "targetingKey": f"device-{number:08d}",
        "device.soc": f"SoC {model}",
        "device.model.identifier": f"Model {model * 2 + chance.randrange(2)}",
        "device.gpu": ("Adreno 740", "Adreno 610", "Mali-G57", "Mali-G715")[model % 4],
        "device.gpu.driver": f"{(480, 512, 530)[model % 3]}.{chance.randrange(2)}",
        "device.memory_mb": 4096 * (1 + model % 4),
        "os.api": 34 + chance.randrange(3),
        "app.version": chance.choice(("1.8.2", "2.0.0", "2.0.1", "2.1.0")),
        "hawkops.simulated": True,
    }


def _requests(url: str, contexts: list[dict[str, Any]], auth: dict[str, str]) -> Callable[[], bytes]:
    head = {"Content-Type": "application/json", **auth}
    ready = [
        load.request_bytes("POST", url, headers=head, body=orjson.dumps({"context": context})) for context in contexts
    ]
    return itertools.cycle(ready).__next__


def _probed(target: Target, url: str) -> httpx.Response:
    """Return the answer to a check in which most flags divide: rules and groups decide for some devices."""
    context = _context(0) | {"device.gpu.driver": "512", "device.gpu": "Adreno 740", "app.version": "2.0"}
    answer = httpx.post(
        url, json={"context": {**context, "targetingKey": "hawkops.probe/bench"}}, headers=target.auth, timeout=10
    )
    return answer.raise_for_status()


@contextmanager
def _divided() -> Iterator[None]:
    """Divide devices by flags of `demo` for a while."""
    before = list(Flag.objects.filter(environment=ENVIRONMENT, key__in=HALVED))
    try:
        for flag in before:
            pinned = PINNED.get(flag.key, {})
            _set(flag.key, 50.0, RULES.get(flag.key, ()), pinned)
        yield
    finally:
        for flag in before:
            _set(flag.key, flag.percent, flag.domain().rules, flag.pinned)


def _set(key: str, percent: float, rules: tuple[Rule, ...], pinned: dict[str, str]) -> None:
    given: dict[str, Any] = {"environment": ENVIRONMENT, "key": key, "actor": ACTOR, "reason": "bench"}
    now = Flag.objects.get(environment=ENVIRONMENT, key=key)
    flag_rules_set(rules=rules, pinned=pinned, expected_revision=now.revision, **given)
    flag_percentage_set(percent=percent, **given)
