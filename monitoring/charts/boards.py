"""The four dashboards: which charts and which criteria each shows."""

from dataclasses import dataclass

from monitoring.charts import drawing
from monitoring.charts.drawing import Drawer, percentiles, ratio
from monitoring.domain import metrics


@dataclass(frozen=True)
class Panel:
    """A chart's place on a page."""

    name: str
    title: str
    caption: str
    drawer: Drawer
    backend: str = ""


@dataclass(frozen=True)
class Board:
    """A dashboard: its charts, the criteria of its tiles, and those of its table by device class."""

    key: str
    title: str
    panels: tuple[Panel, ...]
    tiles: tuple[str, ...]
    columns: tuple[str, ...]
    litert: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        """Every metric that its charts read together."""
        return tuple(sorted({name for panel in self.panels for name in panel.drawer.names}))

    def panel(self, name: str) -> Panel | None:
        """Return a panel by name."""
        return next((one for one in self.panels if one.name == name), None)


SESSIONS, CRASHES, SESSION_DURATION = "app.sessions", "app.crashes", "app.session.duration"
STARTED, COMPLETED = "app.tasks.started", "app.tasks.completed"
SATISFACTION, TICKETS, ENGAGEMENT = "app.user.satisfaction", "app.support_tickets", "app.engagement.events"
API, PARITY = "http.client.request.duration", "litert.parity.checks"
FLOOR = "p5: 95 % of inferences are faster"

crashes = Panel(
    "crashes", "Crash rate", "Crashes as a share of sessions. Target below 0.1 %",
    ratio(CRASHES, SESSIONS, title="Crash rate", keys=("validation-crash-rate",)),
)  # fmt: skip
errors = Panel(
    "errors", "Error rate", "Inferences that did not end well, as a share of all. Below 1 %",
    ratio(metrics.INFERENCES, metrics.INFERENCES, title="Error rate", failed=True, keys=("validation-error-rate",)),
)  # fmt: skip

LITERT = Board(
    "litert",
    "LiteRT performance",
    (
        *(
            Panel(
                f"prefill-{backend}", f"{backend.upper()} prefill, tok/s", FLOOR,
                percentiles(
                    metrics.PREFILL, by="backend", backend=backend, keys=(f"alert-{backend}-throughput",),
                    did=f"ran prefill on the {backend.upper()}",
                ),
                backend,
            )
            for backend in ("cpu", "gpu", "npu")
        ),
        Panel("burst", "Burst and sustained", "The first 60 s of work, and what a warm device keeps up",
              drawing.burst_and_sustained()),
        Panel("decode", "Decode, tok/s", "p5 by the backend that really ran",
              percentiles(metrics.DECODE, by="backend", did="reported decode throughput")),
        Panel("latency", "Inference latency", "By where it really ran. Gate 3 s, alert 5 s at p95",
              percentiles(metrics.OPERATION, by="backend", keys=("validation-latency", "alert-latency"),
                          did="reported an inference")),
        Panel("first-token", "Time to first token", "p95 by where it ran", percentiles(metrics.FIRST_TOKEN, by="backend")),
        Panel("memory", "Memory", "Limits: 2 GB peak, 1.8 GB average", drawing.MEMORY),
        Panel("switches", "Switches an hour, per device", "In the hour before each moment. Limit 10",
              drawing.per_device_hour(metrics.SWITCHES, title="Switches", keys=("alert-switches",))),
        Panel("switch-time", "Switch time", "Mean below 500 ms",
              drawing.means(metrics.SWITCH_DURATION, keys=("gate-switch-time",))),
        Panel("fallback", "Cloud fallback", "From the failed local attempt to the cloud's answer. p95 below 2 s",
              percentiles(metrics.FALLBACK, keys=("gate-fallback",))),
        Panel("parity", "Wrong results", "Answers that differ from the reference, as a share of those compared",
              ratio(PARITY, PARITY, title="Wrong results", failed=True, keys=("alert-wrong-results",))),
    ),
    tiles=("alert-cpu-throughput", "alert-gpu-throughput", "alert-npu-throughput", "validation-latency",
           "gate-memory-peak", "gate-switch-time", "alert-switches"),
    columns=("alert-cpu-throughput", "alert-gpu-throughput", "alert-npu-throughput", "alert-latency", "alert-memory",
             "alert-switches", "alert-wrong-results"),
    litert=True,
)  # fmt: skip

PRODUCTION = Board(
    "production",
    "Production",
    (
        errors,
        crashes,
        Panel("latency", "Inference latency", "Treatment runs on the device, control in the cloud. p95 below 3 s",
              percentiles(metrics.OPERATION, keys=("validation-latency", "alert-latency"), did="reported an inference")),
        Panel("api", "API response", "p95 below 2 s", percentiles(API, keys=("validation-api",))),
        Panel("fallback", "Cloud fallback", "p95 below 2 s", percentiles(metrics.FALLBACK, keys=("gate-fallback",))),
        Panel("load", "Inferences a minute", "What the fleet does", drawing.rates(metrics.INFERENCES, title="Inferences")),
        Panel("cpu", "CPU utilisation", "Share of the device's processor", percentiles("process.cpu.utilization")),
        Panel("memory", "Memory", "Limits: 2 GB peak, 1.8 GB average", drawing.MEMORY),
        Panel("battery", "Battery drain", "As the device reports it", percentiles("device.battery.drain")),
        Panel("thermal", "Thermal status", "0 cool, 1 light, 2 moderate, 3 severe and above",
              percentiles("device.thermal.status")),
        Panel("storage", "Free storage", "p5: 95 % of devices have more", percentiles("device.storage.free")),
    ),
    tiles=("alert-error-rate", "alert-crash-rate", "alert-latency", "validation-api", "alert-fallback", "alert-memory"),
    columns=("alert-error-rate", "alert-crash-rate", "alert-latency", "validation-api", "alert-memory"),
)  # fmt: skip

ANALYTICS = Board(
    "analytics",
    "User analytics",
    (
        Panel("tasks", "Task completion", "Completed as a share of started. 95 % or more",
              ratio(COMPLETED, STARTED, title="Task completion", keys=("validation-task-completion",))),
        Panel("sessions", "Sessions a minute", "By side of the comparison", drawing.rates(SESSIONS, title="Sessions")),
        Panel("session-duration", "Session duration", "Stable or longer than in control", percentiles(SESSION_DURATION)),
        crashes,
        Panel("satisfaction", "User satisfaction", "Mean of 1 to 5; 4.5 or more, where asked",
              drawing.means(SATISFACTION, keys=("validation-satisfaction",))),
        Panel("engagement", "Engagement", "Events per device in the hour before each moment",
              drawing.per_device_hour(ENGAGEMENT, title="Engagement")),
        Panel("tickets", "Support tickets", "Per device in the hour before each moment",
              drawing.per_device_hour(TICKETS, title="Tickets")),
    ),
    tiles=("validation-task-completion", "validation-satisfaction", "validation-crash-rate", "validation-error-rate"),
    columns=("validation-task-completion", "validation-satisfaction", "validation-crash-rate"),
)  # fmt: skip

SECURITY = Board(
    "security",
    "Security",
    (
        Panel("validations", "Failed model validations", "5 in an hour tell the security team",
              drawing.counts("litert.model.validations", bad_only=True)),
        Panel("encryption", "Encryption failures", "One in a day is investigated at once",
              drawing.counts("security.encryption.failures")),
        Panel("suspicious", "Suspicious processing patterns", "One is reviewed. By pattern",
              drawing.counts("security.suspicious_events")),
        Panel("parity", "Results that differ from the reference", "Wrong answers can mean a model that was tampered with",
              drawing.counts(PARITY, bad_only=True)),
    ),
    tiles=("security-model-validations", "security-encryption", "security-suspicious"),
    columns=("security-model-validations", "security-encryption", "security-suspicious"),
)  # fmt: skip

BOARDS = {board.key: board for board in (PRODUCTION, LITERT, ANALYTICS, SECURITY)}

# the overview's chart: every backend in one
OVERVIEW = Panel("prefill", "Prefill, tok/s", FLOOR, percentiles(metrics.PREFILL, by="backend"))
