"""The four dashboards: which charts and which criteria each shows."""

import re
from dataclasses import dataclass

from monitoring.charts import drawing
from monitoring.charts.asked import Drawer
from monitoring.charts.drawing import levels, percentiles, ratio
from monitoring.charts.rolled import gaps, per_device_hour, running
from monitoring.domain import metrics

BACKENDS = ("cpu", "gpu", "npu")
DECLARED_MOST = 12


@dataclass(frozen=True)
class Panel:
    """A chart's place on a page. Its limits are said from the criteria of its drawer; `link` names a page for more."""

    name: str
    title: str
    caption: str
    drawer: Drawer
    backend: str = ""
    link: str = ""


@dataclass(frozen=True)
class Board:
    """A dashboard: its charts, the criteria of its tiles, and those of its table by device class."""

    key: str
    title: str
    panels: tuple[Panel, ...]
    tiles: tuple[str, ...]
    columns: tuple[str, ...]
    litert: bool = False
    declared: bool = False


SESSIONS, CRASHES, SESSION_DURATION = "app.sessions", "app.crashes", "app.session.duration"
STARTED, COMPLETED = "app.tasks.started", "app.tasks.completed"
SATISFACTION, TICKETS, ENGAGEMENT = "app.user.satisfaction", "app.support_tickets", "app.engagement.events"
API, PARITY = "http.client.request.duration", "litert.parity.checks"
FLOOR = "p5: 95 % of inferences are faster."

crashes = Panel(
    "crashes", "Crash rate", "Crashes as a share of sessions.",
    ratio(CRASHES, SESSIONS, title="Crash rate", keys=("alert-crash-rate", "validation-crash-rate")),
)  # fmt: skip
errors = Panel(
    "errors", "Error rate", "Inferences that did not end well, as a share of all.",
    ratio(metrics.INFERENCES, metrics.INFERENCES, title="Error rate", failed=True,
          keys=("alert-error-rate", "validation-error-rate")),
)  # fmt: skip
fallback = Panel(
    "fallback", "Cloud fallback", "From the failed local attempt to the cloud's answer.",
    percentiles(metrics.FALLBACK, keys=("alert-fallback", "gate-fallback")),
)  # fmt: skip
memory = (
    Panel("memory", "Memory in use", "Mean of what devices report.",
          levels(metrics.MEMORY, keys=("validation-memory-average",))),
    Panel("memory-peak", "Memory, highest", "The highest peak of any device; the alert looks at the highest in use.",
          levels(metrics.MEMORY_PEAK, highs=True, keys=("alert-memory", "gate-memory-peak"))),
)  # fmt: skip

LITERT = Board(
    "litert",
    "LiteRT performance",
    (
        *(
            Panel(
                f"prefill-{backend}", f"{backend.upper()} prefill, tok/s", FLOOR,
                percentiles(metrics.PREFILL, backend=backend, keys=(f"alert-{backend}-throughput",),
                            did=f"ran prefill on the {backend.upper()}"),
                backend,
            )
            for backend in BACKENDS
        ),
        *(
            Panel(f"burst-{backend}", f"{backend.upper()}, burst and sustained",
                  "Prefill in the first 60 s of work, and what a warm device keeps up.",
                  drawing.burst_and_sustained(backend), backend)
            for backend in BACKENDS
        ),
        Panel("decode", "Decode, tok/s", "p5 by the backend that really ran.",
              percentiles(metrics.DECODE, by="backend", did="reported decode throughput")),
        Panel("latency", "Inference latency", "p95 by where it really ran; the cloud is not judged.",
              percentiles(metrics.OPERATION, by="backend", keys=("validation-latency", "alert-latency"),
                          did="reported an inference")),
        Panel("improvement", "Improvement over the cloud", "Median duration of control ÷ treatment.",
              drawing.quotient(metrics.OPERATION, keys=("phase-3x",))),
        Panel("first-token", "Time to first token", "p95 by where it ran.", percentiles(metrics.FIRST_TOKEN, by="backend")),
        *memory,
        Panel("switches", "Switches an hour, per device", "In the hour before each moment.",
              per_device_hour(metrics.SWITCHES, title="Switches", keys=("alert-switches",))),
        Panel("switch-time", "Switch time", "Mean of the switches in each step.",
              levels(metrics.SWITCH_DURATION, keys=("gate-switch-time",))),
        fallback,
        Panel("parity", "Wrong results", "Answers that differ from the reference, as a share of those compared.",
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
        Panel("latency", "Inference latency", "Treatment as it ran on the device; control in the cloud.",
              percentiles(metrics.OPERATION, keys=("validation-latency", "alert-latency"), did="reported an inference")),
        Panel("api", "API response", "Requests of the app to its own services.",
              percentiles(API, keys=("validation-api",))),
        fallback,
        Panel("load", "Inferences a minute", "What the fleet does.", drawing.rates(metrics.INFERENCES, title="Inferences")),
        Panel("cpu", "CPU utilisation", "Share of the device's processor.",
              percentiles("process.cpu.utilization", keys=("validation-processor",))),
        *memory,
        Panel("battery", "Battery drain", "As the device reports it.",
              percentiles("device.battery.drain", keys=("validation-battery",))),
        Panel("thermal", "Thermal status", "0 cool, 1 light, 2 moderate, 3 severe and above.",
              percentiles("device.thermal.status", keys=("validation-thermal",))),
        Panel("storage", "Free storage", "p5: 95 % of devices have more.",
              percentiles("device.storage.free", keys=("validation-storage",))),
    ),
    tiles=("alert-error-rate", "alert-crash-rate", "alert-latency", "validation-api", "alert-fallback", "alert-memory"),
    columns=("alert-error-rate", "alert-crash-rate", "alert-latency", "validation-api", "alert-memory"),
)  # fmt: skip

ANALYTICS = Board(
    "analytics",
    "User analytics",
    (
        Panel("tasks", "Task completion", "Completed as a share of started; all, where more ended in a step than began.",
              ratio(COMPLETED, STARTED, title="Task completion", keys=("validation-task-completion",))),
        Panel("sessions", "Sessions a minute", "By side of the comparison.", drawing.rates(SESSIONS, title="Sessions")),
        Panel("session-duration", "Session duration", "Stable or longer than in control.",
              percentiles(SESSION_DURATION, keys=("validation-session-duration",))),
        crashes,
        Panel("satisfaction", "User satisfaction", "Mean of 1 to 5, where asked.",
              levels(SATISFACTION, keys=("validation-satisfaction",))),
        Panel("engagement", "Engagement", "Events per device in the hour before each moment.",
              per_device_hour(ENGAGEMENT, title="Engagement", keys=("phase-engagement",))),
        Panel("tickets", "Support tickets", "Per device in the hour before each moment.",
              per_device_hour(TICKETS, title="Tickets", keys=("validation-tickets",))),
    ),
    tiles=("validation-task-completion", "validation-satisfaction", "validation-crash-rate", "validation-error-rate"),
    columns=("validation-task-completion", "validation-satisfaction", "validation-crash-rate"),
    declared=True,
)  # fmt: skip

SECURITY = Board(
    "security",
    "Security",
    (
        Panel("validations", "Failed model validations", "In the criterion's window before each moment.",
              running("litert.model.validations", title="Failed model validations", key="security-model-validations")),
        Panel("encryption", "Encryption failures", "In the criterion's window before each moment.",
              running("security.encryption.failures", title="Encryption failures", key="security-encryption")),
        Panel("audit", "Audit log gaps", "The longest time without an entry; the history writes one each half minute.",
              gaps(key="security-audit-gaps")),
        Panel("suspicious", "Suspicious processing patterns",
              "Each event that a device reports as security.suspicious_events counts as one.",
              running("security.suspicious_events", title="Suspicious processing patterns", key="security-suspicious"),
              link="patterns"),
        Panel("suspicious-kinds", "Suspicious events by pattern", "In each step, by the pattern that the device names.",
              drawing.counts("security.suspicious_events")),
        Panel("parity", "Results that differ from the reference", "Wrong answers can mean a model that was tampered with.",
              drawing.counts(PARITY, bad_only=True)),
    ),
    tiles=("security-model-validations", "security-encryption", "security-audit-gaps", "security-suspicious"),
    columns=("security-model-validations", "security-encryption", "security-suspicious"),
)  # fmt: skip

BOARDS = {board.key: board for board in (PRODUCTION, LITERT, ANALYTICS, SECURITY)}

# the overview's chart: every backend in one
OVERVIEW = Panel("prefill", "Prefill, tok/s", FLOOR, percentiles(metrics.PREFILL, by="backend"))


def declared(names: list[str]) -> tuple[Panel, ...]:
    """Return a panel for each business metric that a team declared by reporting it, the first so many by name."""
    made = []
    for place, name in enumerate(sorted(names)[:DECLARED_MOST], start=1):
        slug = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
        title = metrics.declared(name).title
        made.append(Panel(f"{slug}-{place}", title, f"{name}, as the app reports it.", levels(name)))
    return tuple(made)
