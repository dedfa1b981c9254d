"""A stock OpenTelemetry SDK under load while the gateway is really killed and started again: nothing acknowledged is
lost, nothing is counted twice."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter as CounterInstrument
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

from hawkops.accounts.services.credentials import device_key_create
from hawkops.history.actors import Actor
from monitoring.domain.sketch import BUCKETS, Sketch, bucket_index, bucket_middle
from monitoring.models import RollupPartial
from rollout.services.flags import flags_seed

DEVICES = 12
# the middle of the lowest bucket counts as zero
PLACES = BUCKETS[1:]
KILLS = 2


class Counting(OTLPMetricExporter):
    """The stock exporter; notes which of the device's values were acknowledged and which it gave up on.

    Every value is the middle of a bucket of its own, so that what is stored tells how often each was counted.
    """

    def __init__(self, **said: Any) -> None:
        super().__init__(**said)
        self.acknowledged: Counter[int] = Counter()
        self.failed: Counter[int] = Counter()

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **rest: Any
    ) -> MetricExportResult:
        """Send, and note the values by how it ended."""
        result = super().export(metrics_data, timeout_millis, **rest)
        ended = self.acknowledged if result is MetricExportResult.SUCCESS else self.failed
        ended.update(
            bucket_index(float(getattr(point, "value", 0.0)))
            for resource in metrics_data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        )
        return result


def counted() -> dict[str, Counter[int]]:
    """How often each value of each device is stored."""
    found: dict[str, Counter[int]] = {}
    for row in RollupPartial.objects.filter(series__metric="litert.inferences").select_related("series"):
        sketch = Sketch()
        sketch.merge_row(row.count, row.total, row.squares, row.low, row.high, row.buckets)
        found.setdefault(row.series.device_class, Counter()).update(sketch.positive)
    return found


@contextmanager
def gateway(port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "hawkops.serve", "gateway", "--port", str(port)], env={**os.environ}
    )
    try:
        for _ in range(200):
            try:
                if httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.fresh_database
def test_killed_gateways_lose_nothing_acknowledged_and_count_nothing_twice() -> None:
    flags_seed(actor=Actor.system("test"))
    _, key = device_key_create(environment="demo", name="test", actor=Actor.system("test"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ended = threading.Event()
    exporters: dict[int, Counting] = {}
    added = [0] * DEVICES

    def device(number: int) -> None:
        exporter = Counting(
            endpoint=f"http://127.0.0.1:{port}/v1/metrics",
            headers={"Authorization": f"Bearer {key}"},
            compression=Compression.Gzip,
            preferred_temporality={CounterInstrument: AggregationTemporality.DELTA},
            timeout=30,
        )
        exporters[number] = exporter
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
        resource = Resource.create({"device.id": f"d{number}", "device.soc": f"soc-{number}"})
        provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        counter = provider.get_meter("test").create_counter("litert.inferences", "{inference}")
        while not ended.is_set() and added[number] < len(PLACES):
            counter.add(bucket_middle(PLACES[added[number]]))
            added[number] += 1
            provider.force_flush(30_000)
        provider.shutdown(30_000)

    threads = [threading.Thread(target=device, args=(number,)) for number in range(DEVICES)]
    with gateway(port):
        for thread in threads:
            thread.start()
        time.sleep(1.0)
    for number in range(KILLS):
        with gateway(port) as process:
            time.sleep(0.7 + 0.13 * number)
            os.kill(process.pid, signal.SIGKILL)  # in the middle of whatever it did
    with gateway(port):
        ended.set()
        for thread in threads:
            thread.join(60)
        stored = counted()
    assert sum(exporter.acknowledged.total() for exporter in exporters.values()) > 100
    for number, exporter in exporters.items():
        own = stored.get(f"soc-{number}", Counter())
        sent = Counter(PLACES[: added[number]])
        assert exporter.acknowledged + exporter.failed == sent
        assert not own - sent, "a value was counted twice"
        # what the exporter gave up on may have been counted; what it was told is stored must be there
        assert not exporter.acknowledged - own, "an acknowledged value is lost"
