"""The one catalogue of metrics: name on the wire, unit, direction, and the line of the runbook it serves."""

from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """Which way is better; it decides the percentile that a target guarantees."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


class Kind(StrEnum):
    """How observations add up."""

    DISTRIBUTION = "distribution"
    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True)
class Metric:
    """One metric. `guaranteed` is the quantile that "95th percentile" of the runbook means for it.

    `part_of` names the metric that each of its events belongs to one event of: the task that was started before.
    """

    name: str
    title: str
    unit: str
    kind: Kind
    direction: Direction
    serves: str
    part_of: str = ""

    @property
    def wire_unit(self) -> str:
        """The unit as OTLP writes it."""
        return "{token}/s" if self.unit == "tok/s" else self.unit

    @property
    def is_share(self) -> bool:
        """Whether it is a part of something, 0 to 1, which pages write in percent."""
        return self.name in ("process.cpu.utilization", "device.battery.drain", SERIES_USED)

    @property
    def guaranteed(self) -> float:
        """0.05 where a floor must be reached by 95 % of observations, else 0.95."""
        return 0.05 if self.direction is Direction.HIGHER else 0.95

    @property
    def guaranteed_label(self) -> str:
        """How pages name it."""
        return "p5, 95 % reach it" if self.direction is Direction.HIGHER else "p95, 95 % stay below it"


PREFILL = "litert.prefill.throughput"
DECODE = "litert.decode.throughput"
OPERATION = "gen_ai.client.operation.duration"
FIRST_TOKEN = "gen_ai.server.time_to_first_token"  # noqa: S105 - a metric, not a password
MEMORY = "litert.memory.usage"
MEMORY_PEAK = "litert.memory.peak"
SWITCHES = "litert.backend.switches"
SWITCH_DURATION = "litert.backend.switch.duration"
FALLBACK = "litert.fallback.duration"
INFERENCES = "litert.inferences"
COMMANDS = "litert.device.commands"
REVISION = "hawkops.flags.revision"
# measured here, not reported by devices
HISTORY_GAP = "hawkops.history.gap"
SERIES_USED = "telemetry.series.used"
MEASURED = frozenset((HISTORY_GAP, SERIES_USED))
BUSINESS_PREFIX = "business."

D, C, G = Kind.DISTRIBUTION, Kind.COUNTER, Kind.GAUGE
UP, DOWN, ANY = Direction.HIGHER, Direction.LOWER, Direction.NEITHER

CATALOGUE: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(PREFILL, "Prefill throughput", "tok/s", D, UP, "tokens per second"),
        Metric(DECODE, "Decode throughput", "tok/s", D, UP, "tokens per second"),
        Metric(OPERATION, "Inference latency", "s", D, DOWN, "inference latency"),
        Metric(FIRST_TOKEN, "Time to first token", "s", D, DOWN, "inference latency"),
        Metric(MEMORY, "Memory", "By", D, DOWN, "memory usage"),
        Metric(MEMORY_PEAK, "Peak memory", "By", D, DOWN, "memory usage"),
        Metric(SWITCHES, "Backend switches", "{switch}", C, DOWN, "backend switch frequency"),
        Metric(SWITCH_DURATION, "Switch time", "s", D, DOWN, "backend switch time"),
        Metric(FALLBACK, "Cloud fallback", "s", D, DOWN, "fallback latency"),
        Metric(INFERENCES, "Inferences", "{inference}", C, ANY, "error rate"),
        Metric("litert.parity.checks", "Parity checks", "{check}", C, ANY, "wrong results"),
        Metric("litert.model.validations", "Model validations", "{validation}", C, ANY, "failed model validations"),
        Metric(
            COMMANDS, "Device commands", "{command}", C, ANY, "troubleshooting: models fetched anew, caches cleared"
        ),
        Metric("security.encryption.failures", "Encryption failures", "{failure}", C, DOWN, "encryption failures"),
        Metric("security.suspicious_events", "Suspicious events", "{event}", C, DOWN, "suspicious processing patterns"),
        Metric("app.sessions", "Sessions", "{session}", C, ANY, "crash rate"),
        Metric("app.crashes", "Crashes", "{crash}", C, DOWN, "crash rate", part_of="app.sessions"),
        Metric("app.session.duration", "Session duration", "s", D, UP, "session duration"),
        Metric("app.tasks.started", "Tasks started", "{task}", C, ANY, "task completion"),
        Metric(
            "app.tasks.completed", "Tasks completed", "{task}", C, ANY, "task completion", part_of="app.tasks.started"
        ),
        Metric("app.user.satisfaction", "User satisfaction", "1", D, UP, "user satisfaction"),
        Metric("app.support_tickets", "Support tickets", "{ticket}", C, DOWN, "support tickets"),
        Metric("http.client.request.duration", "API response", "s", D, DOWN, "API response time"),
        Metric("process.cpu.utilization", "CPU utilisation", "1", G, DOWN, "resource utilisation"),
        Metric("device.battery.drain", "Battery drain", "1", G, DOWN, "resource utilisation"),
        Metric("device.storage.free", "Free storage", "By", G, UP, "resource utilisation"),
        Metric("device.thermal.status", "Thermal status", "1", G, DOWN, "resource utilisation"),
        Metric("app.engagement.events", "Engagement", "{event}", C, UP, "user engagement"),
        Metric(HISTORY_GAP, "Silence of the history", "s", G, DOWN, "audit log gaps"),
        Metric(SERIES_USED, "Telemetry series in use", "1", G, DOWN, "telemetry's own limits"),
        Metric(REVISION, "Flag revision", "1", G, ANY, "census"),
    )
}


def known(name: str) -> bool:
    """Say whether a metric is accepted; a team declares its own under `business.`."""
    return (name in CATALOGUE and name not in MEASURED) or (name.startswith(BUSINESS_PREFIX) and len(name) <= 80)


def share(part: str, whole: str, amount: float, of: float) -> float | None:
    """Return what share an amount of one metric is of an amount of another; None where there is nothing to be a share of.

    What ended within a window may have begun before it: a part of the whole is all of it then, and never more.
    """
    if of <= 0:
        return None
    metric = CATALOGUE.get(part)
    return min(1.0, amount / of) if metric is not None and metric.part_of == whole else amount / of


def declared(name: str) -> Metric:
    """Describe a metric that a team declared: its name says what there is to say."""
    title = name.removeprefix(BUSINESS_PREFIX).replace("_", " ").replace(".", " ").capitalize()
    return Metric(name, title, "", D, ANY, "business metrics")
