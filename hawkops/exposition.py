"""`/metrics` of a process: its own requests and memory, and what the vital signs read. For whoever has METRICS_TOKEN."""

import hmac
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connections
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hawkops.core import clock
from hawkops.core.asgi import answer, bearer, header
from hawkops.core.metering import Meter
from hawkops.core.verdicts import Verdict
from hawkops.history import selectors as history
from hawkops.vitals.readings import process_memory_bytes
from hawkops.vitals.registry import vitals
from incidents.selectors import notifications

PLAIN = [(b"content-type", b"text/plain; charset=utf-8")]


class _Process(Collector):
    def collect(self) -> Iterator[Metric]:
        yield _gauge("process_resident_memory_bytes", "Memory of this process", process_memory_bytes())


class _Installation(Collector):
    """Vital signs and the head of the history, read when it is scraped."""

    def collect(self) -> Iterator[Metric]:
        try:
            found = vitals()
            seq = history.head().seq
            waiting, _, failed = notifications.backlog(clock.now())
        except DatabaseError:
            yield _gauge("hawkops_database_up", "Whether the database can be read", 0)
            return
        finally:
            connections.close_all()
        yield _gauge("hawkops_database_up", "Whether the database can be read", 1)
        yield _gauge("hawkops_history_head", "The last entry of the change history", seq)
        yield _gauge("hawkops_deliveries_pending", "Deliveries that wait", waiting)
        yield _gauge("hawkops_deliveries_failed", "Deliveries that failed within a day", failed)
        value = GaugeMetricFamily("hawkops_vital", "A sign of HawkOps' own life, in its unit", labels=["vital", "unit"])
        limit = GaugeMetricFamily("hawkops_vital_limit", "Its limit", labels=["vital", "unit"])
        verdict = GaugeMetricFamily("hawkops_vital_verdict", "1 for the verdict it has", labels=["vital", "verdict"])
        for one in found:
            if one.value is not None:
                value.add_metric([one.key, one.unit], one.value)
            if one.limit is not None:
                limit.add_metric([one.key, one.unit], one.limit)
            for word in Verdict:
                verdict.add_metric([one.key, word.value], float(one.verdict is word))
        yield from (value, limit, verdict)


def _gauge(name: str, text: str, number: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(number))


def refused(scope: dict[str, Any]) -> tuple[int, bytes] | None:
    """Return why a scrape is not answered: nothing is served without METRICS_TOKEN."""
    if not settings.METRICS_TOKEN:
        return 404, b"Not served: METRICS_TOKEN is not set.\n"
    if not hmac.compare_digest(bearer(scope).encode(), settings.METRICS_TOKEN.encode()):
        return 401, b"The token is missing or wrong. Send Authorization: Bearer ...\n"
    return None


def exposition(meter: Meter, accept: str) -> tuple[bytes, str]:
    """Return everything in the form that is asked for. Reads the database; run it in a thread."""
    registry = CollectorRegistry()
    for one in (meter, _Process(), _Installation()):
        registry.register(one)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


async def served(scope: dict[str, Any], send: Any, meter: Meter, threaded: Any) -> None:
    """Answer a scrape."""
    if (why := refused(scope)) is not None:
        await answer(send, why[0], why[1], PLAIN)
        return
    body, content_type = await threaded(exposition, meter, header(scope, b"accept"))
    await answer(send, 200, body, [(b"content-type", content_type.encode()), (b"cache-control", b"no-store")])
