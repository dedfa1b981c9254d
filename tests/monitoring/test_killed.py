"""A stock OpenTelemetry SDK under load while the gateway is really killed and started again: nothing acknowledged is
lost, nothing is counted twice."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

from hawkops.accounts.services import device_key_create
from hawkops.history.actors import Actor
from monitoring.models import RollupPartial
from rollout.services.flags import flags_seed

DEVICES = 12
KILLS = 2


class Counting(OTLPMetricExporter):
    """The stock exporter; notes how much of what it sent was acknowledged."""

    acknowledged = 0.0
    failed = 0.0

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **rest: object
    ) -> MetricExportResult:
        """Send, and add up the points by how it ended."""
        result = super().export(metrics_data, timeout_millis, **rest)
        sent = sum(
            float(point.value)  # type: ignore[union-attr, misc]
            for resource in metrics_data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        )
        if result is MetricExportResult.SUCCESS:
            self.acknowledged += sent
        else:
            self.failed += sent
        return result


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
    exporters: list[Counting] = []
    added = [0] * DEVICES

    def device(number: int) -> None:
        exporter = Counting(
            endpoint=f"http://127.0.0.1:{port}/v1/metrics",
            headers={"Authorization": f"Bearer {key}"},
            compression=Compression.Gzip,
            preferred_temporality={Counter: AggregationTemporality.DELTA},
            timeout=30,
        )
        exporters.append(exporter)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
        resource = Resource.create({"device.id": f"d{number}", "device.soc": "test"})
        provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        counter = provider.get_meter("test").create_counter("litert.inferences", "{inference}")
        while not ended.is_set():
            counter.add(1)
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
        stored = sum(row.total for row in RollupPartial.objects.filter(series__metric="litert.inferences"))
    acknowledged = sum(exporter.acknowledged for exporter in exporters)
    failed = sum(exporter.failed for exporter in exporters)
    assert acknowledged > 100
    assert acknowledged + failed == sum(added)
    # what the exporter gave up on may have been counted; what it was told is stored must be there once
    assert acknowledged <= stored <= acknowledged + failed
