"""How well a client speaks: what the door understood of it and what the census knows, graded line by line with a remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from monitoring.domain.metrics import CATALOGUE, REVISION, Kind

# an installation's own name; service.instance.id is another one after each start
LASTING = ("device.id", "app.installation.id")
# whoever has not asked for flags for so long has let its lease run out
LEASE = timedelta(seconds=900)
SCALE_LEAST = 3
DELTA = "delta"
BACKENDS = ("litert.backend.requested", "litert.backend.actual")
VARIANT = "feature_flag.result.variant"


class Shape(NamedTuple):
    """How one metric came: `temporality` is empty for levels, `scale` None for all but exponential histograms."""

    name: str
    kind: str
    temporality: str
    unit: str
    scale: int | None
    points: int


@dataclass(frozen=True)
class Told:
    """What the census knows of the device."""

    told_revision: int
    obeyed_revision: int
    obeyed_at: datetime | None
    last_seen_at: datetime


# reasons cut the name they begin with
NAME_MOST = 80


@dataclass(frozen=True)
class Heard:
    """What is known of a device: the details of its note on metrics, when it was written, and its place in the census."""

    now: datetime
    metrics: Mapping[str, Any] | None
    census: Told | None
    received_at: datetime | None = None
    shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class Graded:
    """One line: what was asked, whether it passed, what was found, and how to mend it; no remedy where none is needed."""

    sentence: str
    passed: bool
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Sent:
    """How many points of a metric, or log records of an event, a payload held, and how many of them were taken."""

    name: str
    count: int
    taken: int


def sent(details: Mapping[str, Any]) -> list[Sent]:
    """Return what a payload held by name, most first. A reason begins with the name of what it refused."""
    names = {str(name): int(count) for name, count in details.get("names") or []}
    refused = dict.fromkeys(names, 0)
    for why, count in details.get("reasons") or []:
        own = [name for name in names if why.startswith((f"{name[:NAME_MOST]}: ", f"{name[:NAME_MOST]} "))]
        if own:
            refused[max(own, key=len)] += int(count)
    return [Sent(name, count, max(0, count - refused[name])) for name, count in names.items()]


def grade(heard: Heard) -> list[Graded]:
    """Grade a real client by what it sent."""
    return [*_of_telemetry(heard), *_of_flags(heard)]


def _of_telemetry(heard: Heard) -> Iterator[Graded]:
    said = heard.metrics
    if said is None:
        yield Graded(
            "Its metrics were understood",
            False,
            "no payload of metrics was noted under this id",
            "send to /v1/metrics with a key of this environment, and name the device in the resource",
        )
        return
    yield Graded("Its metrics were understood", True, f"last looked into {_ago(heard.now, heard.received_at)} ago")
    named = str(said.get("identified_by", ""))
    yield Graded(
        "It has a lasting id",
        named in LASTING,
        f"named by {named or 'nothing'}",
        "put app.installation.id (a UUID kept by the installation) or device.id into the resource",
    )
    version = str(said.get("app_version", ""))
    yield Graded(
        "It says its class and version",
        bool(version and said.get("device_class") not in (None, "", "unknown")),
        f"class {said.get('device_class') or 'not said'}, version {version or 'not said'}",
        "put device.soc or device.model.identifier, and service.version, into the resource",
    )
    reasons = [*(said.get("reasons") or []), *(said.get("not_counted") or [])]
    yield Graded(
        "Every point was taken and counted",
        not reasons,
        "; ".join(f"{count} × {why}" for why, count in reasons) or "none was refused",
        "send what the page “Connect a device” lists, or name it business.…",
    )
    yield from _of_shapes(heard.shapes)
    for sentence, attributes, remedy in (
        ("It tells the requested backend from the one that ran", BACKENDS, "put both on every litert.… point"),
        ("It tells treatment from control", (VARIANT,), "put what the flag answered on every point"),
    ):
        taken = dict(said.get("taken") or [])
        missing = [name for name in attributes if not taken.get(name)]
        yield Graded(sentence, not missing, f"without {', '.join(missing)}" if missing else "said", remedy)
    moved = int(said.get("moved_to_arrival") or 0)
    yield Graded(
        "Its clock is believed",
        not moved,
        f"{moved} points counted at their arrival" if moved else "every time was believed",
        "send within five minutes, and with the time of the device set by the network",
    )
    reported = any(shape.name == REVISION for shape in heard.shapes)
    yield Graded(
        "It reports the flags it obeys",
        reported,
        f"{REVISION} {'came' if reported else 'did not come'}",
        f"send the gauge {REVISION} with the header HawkOps-Revision of the last answer",
    )


def _of_shapes(shapes: tuple[Shape, ...]) -> Iterator[Graded]:
    known = [(shape, CATALOGUE[shape.name]) for shape in shapes if shape.name in CATALOGUE]
    unsaid = [shape.name for shape, metric in known if not shape.unit and metric.wire_unit != "1"]
    yield Graded(
        "Its metrics say their units",
        not unsaid,
        f"without a unit: {', '.join(unsaid)}" if unsaid else "each one does",
        "set the unit of the instrument; a number without one may be in ms as well as in s",
    )
    running = [shape.name for shape in shapes if shape.temporality not in ("", DELTA)]
    yield Graded(
        "It sends deltas",
        not running,
        f"cumulative: {', '.join(running)}" if running else "all of them",
        "prefer delta temporality in the exporter; cumulative streams cost a lock each",
    )
    coarse = [
        f"{shape.name} ({'explicit bounds' if shape.scale is None else f'scale {shape.scale}'})"
        for shape, metric in known
        if metric.kind is Kind.DISTRIBUTION and "histogram" in shape.kind
        if shape.scale is None or shape.scale < SCALE_LEAST
    ]
    yield Graded(
        "Its histograms are fine enough",
        not coarse,
        ", ".join(coarse) if coarse else f"exponential, scale {SCALE_LEAST} or more",
        "aggregate histograms as exponential ones of scale 5 with 160 buckets",
    )


def _of_flags(heard: Heard) -> Iterator[Graded]:
    census = heard.census
    if census is None:
        yield Graded(
            "It asks for its flags",
            False,
            "the census does not know it",
            "ask /ofrep/v1/evaluate/flags with the same id as targetingKey",
        )
        return
    yield Graded(
        "It asks for its flags",
        census.told_revision > 0,
        f"told revision {census.told_revision}",
        "ask /ofrep/v1/evaluate/flags with the same id as targetingKey",
    )
    yield Graded(
        "It keeps its lease",
        heard.now - census.last_seen_at <= LEASE,
        f"heard {_ago(heard.now, census.last_seen_at)} ago",
        "ask again after a third of HawkOps-Lease-Seconds, with If-None-Match",
    )
    obeys = census.obeyed_at is not None and census.obeyed_revision >= census.told_revision
    yield Graded(
        "It proves that it obeys, by a 304 or its revision gauge",
        obeys,
        f"obeys revision {census.obeyed_revision} of {census.told_revision}",
        f"send the ETag back in If-None-Match, or report {REVISION}",
    )


def _ago(now: datetime, at: datetime | None) -> str:
    return "some time" if at is None else f"{max(0.0, (now - at).total_seconds()):.0f} s"
