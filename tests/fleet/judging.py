"""Judges a stepped fleet by the criteria of the file, through the same decoder as the gateway. For the fleet's tests."""

import gzip
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from hawkops.core.verdicts import Verdict
from hawkops.fleet.classes import CLASSES
from hawkops.fleet.orders import Orders
from hawkops.fleet.otlp import METRICS_PATH
from hawkops.fleet.population import SimulatedDevice, population
from hawkops.fleet.stepping import Sent, roll_out
from monitoring.domain import criteria
from monitoring.domain.criteria import Aggregate, Criterion, Reading, Selection
from monitoring.domain.metrics import MEASURED
from monitoring.domain.sketch import Sketch
from monitoring.domain.targets import Profiles, Stage
from monitoring.otlp.decoding import Ref, SeriesKey, decode
from monitoring.thresholds import load_profiles

FILE = Path(__file__).resolve().parents[2] / "monitoring" / "production-thresholds.yaml"
CRITERIA = {
    one.key: one for one in (criteria.criterion(entry) for entry in yaml.safe_load(FILE.read_text())["criteria"])
}
PROFILES = Profiles(load_profiles())
# what is measured by the installation itself is no business of a fleet
ALERTS = [key for key, one in CRITERIA.items() if key.startswith("alert-") and one.over.metric not in MEASURED]
LEAST_DEVICE_SPAN = timedelta(hours=1)


def mixed(devices: int, *, seed: int) -> list[SimulatedDevice]:
    """Make a fleet split over the CPU, GPU, NPU and adaptive switching, each class over all of them, and a control."""
    made = population(devices, seed=seed)
    on = Orders(litert_enabled=True)
    kinds = (
        replace(on, litert_npu_backend=True),
        replace(on, litert_gpu_backend=True),
        on,
        replace(on, litert_npu_backend=True, litert_adaptive_switching=True),
        replace(on, litert_gpu_backend=True, litert_adaptive_switching=True),
        replace(on, litert_adaptive_switching=True),
        Orders(),
    )
    for number, device in enumerate(sorted(made, key=lambda one: one.body.device_class is not CLASSES[0])):
        roll_out([device], kinds[number % len(kinds)])
    return made


def parsed(payload: bytes) -> ExportMetricsServiceRequest:
    return ExportMetricsServiceRequest.FromString(gzip.decompress(payload))


class Judge:
    """What a fleet has sent so far, and what the criteria say of it."""

    def __init__(self) -> None:
        self._series: dict[str, list[tuple[float, SeriesKey, Sketch]]] = defaultdict(list)
        self._devices: list[tuple[float, str]] = []

    def take(self, sent: Sent) -> None:
        if sent.path != METRICS_PATH:
            return
        arrived = datetime.fromtimestamp(sent.moment, UTC)
        found = decode(parsed(sent.payload), environment="demo", now=arrived)
        assert not found.reasons, found.reasons
        assert not found.dropped_attributes
        for (key, _), sketch in found.sketches.items():
            series = key.key if isinstance(key, Ref) else key
            self._series[series.metric].append((sent.moment, series, sketch))
        self._devices.append((sent.moment, sent.device.identity.device_id))

    def merged(self, selection: Selection, now: float, window: timedelta, device_class: str = "") -> Sketch:
        merged = Sketch()
        for at, key, sketch in self._series[selection.metric]:
            chosen = selection.holds(metric=key.metric, backend=key.backend_actual, outcome=key.outcome)
            if chosen and now - window.total_seconds() < at <= now and device_class in ("", key.device_class):
                merged.merge(sketch)
        return merged

    def readings(self, one: Criterion, now: float) -> Iterator[Reading]:
        at = datetime.fromtimestamp(now, UTC)
        if one.threshold is None:
            backends = one.over.backends or ("cpu", "gpu", "npu")
            for name in sorted({key.device_class for _, key, _ in self._series[one.over.metric]}):
                profile = PROFILES.of(name, "demo")
                for backend in backends if profile else ():
                    target = profile.target(Stage.PREFILL, backend) if profile else None
                    sketch = self.merged(Selection(one.over.metric, (backend,)), now, one.window, name)
                    yield Reading(criteria.read(one, sketch), sketch.count, 0, at, target.threshold if target else None)
            return
        sketch = self.merged(one.over, now, one.window)
        whole = self.merged(one.of, now, one.window) if one.of else None
        span = max(one.window, LEAST_DEVICE_SPAN).total_seconds()
        devices = len({device for when, device in self._devices if now - span < when <= now})
        count = round(whole.total) if whole is not None else sketch.count
        if one.aggregate in (Aggregate.COUNT, Aggregate.PER_DEVICE):
            count = max(1, count)
        yield Reading(criteria.read(one, sketch, whole=whole, devices=devices), count, devices, at)

    def failing(self, keys: list[str], now: float) -> dict[str, str]:
        """Return the sentences of those criteria that are broken."""
        at = datetime.fromtimestamp(now, UTC)
        found = {}
        for key in keys:
            for reading in self.readings(CRITERIA[key], now):
                judgement = criteria.judge(CRITERIA[key], reading, now=at)
                if judgement.verdict is Verdict.FAIL:
                    found[key] = judgement.sentence
        return found
