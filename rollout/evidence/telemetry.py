"""Telemetry: every metric that applies has young data, outside `demo` from real devices with real models."""

from collections.abc import Set
from datetime import datetime, timedelta

from hawkops.core.verdicts import Verdict
from monitoring.domain import metrics
from monitoring.domain.windows import Window
from monitoring.selectors import telemetry as monitoring
from monitoring.selectors.profiles import profiles
from rollout.domain.gates import Finding, Line
from rollout.evidence.shape import Question
from rollout.selectors import census, flags
from rollout.services.flags import LITERT

# Reported with every inference on a device, so they apply whenever LiteRT is served to anybody.
WHILE_LITERT_RUNS = (metrics.PREFILL, metrics.DECODE, metrics.MEMORY)
BUCKET = timedelta(seconds=10)


def metrics_collection(asked: Question) -> Finding:
    """The box's metrics, and LiteRT's own while it is served, have data younger than the box's limit."""
    environment = asked.release.environment
    litert = flags.flag(environment, LITERT)
    served = litert is not None and litert.override_variant != "off" and litert.domain().may_serve_on
    wanted = (*asked.box.metrics, *(WHILE_LITERT_RUNS if served else ()))
    youngest = timedelta(seconds=asked.box.limit.below or 300)
    window = Window(asked.now - youngest, 1, youngest + BUCKET)
    synthetic = profiles().synthetic_classes
    found = monitoring.lines(
        environment=environment,
        names=wanted,
        window=window,
        group=lambda series: (
            series.metric,
            series.simulated or series.device_class in synthetic,
        ),
    )
    newest = {key: line.last_at for key, line in found.items() if line.last_at is not None}
    newest |= _confirmed(environment, synthetic, since=window.since)
    real = [name for name in wanted if (name, False) in newest]
    any_kind = [name for name in wanted if (name, False) in newest or (name, True) in newest]
    minutes = f"{youngest.total_seconds() / 60:.0f} min"
    if not any_kind:
        return Finding(
            Verdict.FAIL if (last := monitoring.last_data_at(environment)) else Verdict.NO_DATA, _silent(last)
        )
    unreal = len(real) < len(any_kind)
    subject = {"simulated": True, "simulated_what": "simulated or synthetic devices"} if unreal else {}
    lines = tuple(_line(name, newest, asked.now) for name in wanted)
    scope = "" if served else " LiteRT is served to nobody, so its own metrics are not in scope."
    if late := [name for name in wanted if name not in any_kind]:
        sentence = (
            f"{len(any_kind)} of {len(wanted)} metrics have data younger than {minutes}; none: {', '.join(late)}."
        )
        return Finding(Verdict.FAIL, sentence + scope, subject, lines)
    sentence = f"All {len(wanted)} metrics that apply have data younger than {minutes}."
    return Finding(Verdict.PASS, sentence + scope, subject, lines)


def _confirmed(environment: str, synthetic: Set[str], *, since: datetime) -> dict[tuple[str, bool], datetime]:
    """Return when devices, real and unreal ones, last confirmed a revision: the door hands that to the census alone."""
    newest: dict[tuple[str, bool], datetime] = {}
    for device_class, simulated, at in census.confirmed_last(environment):
        key = (metrics.REVISION, simulated or device_class in synthetic)
        if at >= since:
            newest[key] = max(at, newest.get(key, at))
    return newest


def _silent(last: datetime | None) -> str:
    return f"No data since {last:%d %b, %H:%M} UTC." if last else "No device has reported anything yet."


def _line(name: str, newest: dict[tuple[str, bool], datetime], now: datetime) -> Line:
    at = newest.get((name, False)) or newest.get((name, True))
    if at is None:
        return Line(name, Verdict.FAIL, "no data")
    return Line(name, Verdict.PASS, f"{max(0, int((now - at).total_seconds()))} s old")
