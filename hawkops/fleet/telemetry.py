"""What the local device reports, through the stock OpenTelemetry SDK: OTLP/HTTP protobuf, gzip, delta, every 2 s.

The names, units and attributes are the contract for device authors; nothing else is sent, and never a prompt or a text.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource

from hawkops.fleet.identity import Identity
from hawkops.fleet.inference import Inference

EXPORT_SECONDS = 2.0
REPEAT_SECONDS = 60.0
BURST_SECONDS = 60.0
SKETCH_SCALE = 5  # relative error of at most 1.1 %
TICKS = os.sysconf("SC_CLK_TCK")
DELTA: dict[type, AggregationTemporality] = dict.fromkeys(
    (Counter, Histogram, ObservableCounter), AggregationTemporality.DELTA
)


class Seldom(logging.Filter):
    """Lets the same complaint of the exporter through once a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is news."""
        now = time.monotonic()
        if now - self._said_at.get(record.msg, float("-inf")) < REPEAT_SECONDS:
            return False
        self._said_at[record.msg] = now
        return True


def complain_seldom() -> None:
    """Let the exporter's errors through now and then, and its retries not at all."""
    sdk = logging.getLogger("opentelemetry")
    if any(isinstance(known, Seldom) for handler in sdk.handlers for known in handler.filters):
        return
    handler = logging.StreamHandler()
    handler.setLevel(logging.ERROR)
    handler.addFilter(Seldom())
    sdk.addHandler(handler)
    sdk.propagate = False


class ProcessorTime:
    """The share of one core that this process and its LiteRT child use, between two looks."""

    def __init__(self, child_pid: Callable[[], int | None]) -> None:
        self._child_pid = child_pid
        self._spent: dict[int, float] = {}
        self._looked_at = time.monotonic()

    def look(self) -> float:
        """Return the share since the last look."""
        now = time.monotonic()
        pids = [pid for pid in (os.getpid(), self._child_pid()) if pid]
        spent = {pid: _cpu_seconds(pid) for pid in pids}
        used = sum(max(0.0, seconds - self._spent.get(pid, 0.0)) for pid, seconds in spent.items())
        share = used / max(0.001, now - self._looked_at)
        self._spent, self._looked_at = spent, now
        return share


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


class Telemetry:
    """One device's instruments."""

    def __init__(
        self,
        gateway: str,
        key: str,
        identity: Identity,
        *,
        model: str,
        revision: Callable[[], int | None],
        variant: Callable[[], str],
        child_pid: Callable[[], int | None],
        storage: Path,
    ) -> None:
        complain_seldom()
        exporter = OTLPMetricExporter(
            endpoint=f"{gateway.rstrip('/')}/v1/metrics",
            headers={"Authorization": f"Bearer {key}"},
            timeout=5,
            compression=Compression.Gzip,
            preferred_temporality=DELTA,
            preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation(max_scale=SKETCH_SCALE)},
        )
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=EXPORT_SECONDS * 1000)
        self._provider = MeterProvider([reader], Resource.create(dict(identity.resource())), shutdown_on_exit=False)
        self._model, self._variant = model, variant
        self._working_since = 0.0
        self._worked_at: float | None = None
        meter = self._provider.get_meter("hawkops.fleet")
        processor = ProcessorTime(child_pid)
        self._prefill = meter.create_histogram("litert.prefill.throughput", "{token}/s")
        self._decode = meter.create_histogram("litert.decode.throughput", "{token}/s")
        self._duration = meter.create_histogram("gen_ai.client.operation.duration", "s")
        self._first_token = meter.create_histogram("gen_ai.server.time_to_first_token", "s")
        self._memory = meter.create_histogram("litert.memory.usage", "By")
        self._peak = meter.create_histogram("litert.memory.peak", "By")
        self._switches = meter.create_counter("litert.backend.switches", "{switch}")
        self._switch_duration = meter.create_histogram("litert.backend.switch.duration", "s")
        self._fallback = meter.create_histogram("litert.fallback.duration", "s")
        self._inferences = meter.create_counter("litert.inferences", "{inference}")
        self._parity = meter.create_counter("litert.parity.checks", "{check}")
        self._validations = meter.create_counter("litert.model.validations", "{validation}")
        self._commands = meter.create_counter("litert.device.commands", "{command}")
        self._tasks_started = meter.create_counter("app.tasks.started", "{task}")
        self._tasks_completed = meter.create_counter("app.tasks.completed", "{task}")
        self._requests = meter.create_histogram("http.client.request.duration", "s")

        def obeyed(_: CallbackOptions) -> Iterable[Observation]:
            number = revision()
            return [] if number is None else [Observation(number)]

        def used(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(processor.look(), self._arm())]

        def free(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(shutil.disk_usage(storage).free, self._arm())]

        meter.create_observable_gauge("hawkops.flags.revision", [obeyed])
        meter.create_observable_gauge("process.cpu.utilization", [used], "1")
        meter.create_observable_gauge("device.storage.free", [free], "By")

    def _arm(self) -> dict[str, str]:
        """Say which side of the comparison the device is on; it stands on everything that the device reports."""
        return {"feature_flag.result.variant": self._variant()}

    def _attributes(self, requested: str, actual: str) -> dict[str, str]:
        return {
            "litert.backend.requested": requested,
            "litert.backend.actual": actual,
            "gen_ai.request.model": self._model,
            **self._arm(),
        }

    def inferred(self, requested: str, result: Inference, *, duration_seconds: float) -> None:
        """Report one local inference; `duration_seconds` is what the app's user waited."""
        attributes = self._attributes(requested, result.backend)
        self._inferences.add(1, attributes)
        loaded = {**attributes, "litert.load": self._load(time.monotonic())}
        self._prefill.record(result.prefill_tokens_per_second, loaded)
        self._decode.record(result.decode_tokens_per_second, loaded)
        self._duration.record(duration_seconds, attributes)
        self._first_token.record(result.first_token_seconds, attributes)
        self._memory.record(result.memory_bytes, attributes)
        self._peak.record(result.peak_bytes, attributes)

    def _load(self, now: float) -> str:
        """Say whether this is the first minute of work after a rest of a minute."""
        if self._worked_at is None or now - self._worked_at > BURST_SECONDS:
            self._working_since = now
        self._worked_at = now
        return "burst" if now - self._working_since < BURST_SECONDS else "sustained"

    def failed(self, requested: str, actual: str, error: str) -> None:
        """Report an inference that gave no result."""
        self._inferences.add(1, {**self._attributes(requested, actual), "error.type": error})

    def fell_back(self, requested: str, *, fallback_seconds: float, duration_seconds: float) -> None:
        """Report an answer from the cloud; the fallback is counted from when local AI was known to be off."""
        attributes = self._attributes(requested, "cloud")
        self._inferences.add(1, attributes)
        self._fallback.record(fallback_seconds, attributes)
        self._duration.record(duration_seconds, attributes)
        self._requests.record(fallback_seconds, attributes)

    def switched(self, requested: str, actual: str, seconds: float) -> None:
        """Report a change of configuration while running."""
        attributes = self._attributes(requested, actual)
        self._switches.add(1, attributes)
        self._switch_duration.record(seconds, attributes)

    def compared(self, requested: str, actual: str, *, same: bool) -> None:
        """Report whether a known prompt gave the known text."""
        outcome = "match" if same else "mismatch"
        self._parity.add(1, {**self._attributes(requested, actual), "outcome": outcome})

    def validated(self, *, intact: bool) -> None:
        """Report whether the model file was what it should be before it was loaded."""
        outcome = "ok" if intact else "failed"
        self._validations.add(1, {"gen_ai.request.model": self._model, **self._arm(), "outcome": outcome})

    def commanded(self, outcome: str) -> None:
        """Report a command that was carried out once, and whether it worked: `cache_clear_done`."""
        self._commands.add(1, {"gen_ai.request.model": self._model, **self._arm(), "outcome": outcome})

    def task(self, *, completed: bool) -> None:
        """Report a task of the app: once when it starts, once more when it got its answer."""
        (self._tasks_completed if completed else self._tasks_started).add(1, self._arm())

    def close(self) -> None:
        """Send what is left and stop."""
        self._provider.shutdown(timeout_millis=5000)
