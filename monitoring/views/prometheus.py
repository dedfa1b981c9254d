"""`/metrics`: what HawkOps judges, for Prometheus. The text form, or OpenMetrics where that is asked for."""

import hmac
from collections.abc import Iterator

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.verdicts import Verdict
from hawkops.history import selectors as history
from monitoring.selectors import alerts, telemetry
from monitoring.selectors.cardinality import cardinality
from monitoring.selectors.criteria import criteria, evaluate


class _Judged(Collector):
    """Everything of one environment, read when it is scraped."""

    def __init__(self, environment: str) -> None:
        self._environment = environment

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        here, now = self._environment, clock.now()
        value = GaugeMetricFamily(
            "hawkops_criterion_value",
            "Reading of a criterion, in its metric's own unit",
            labels=["environment", "criterion", "severity"],
        )
        verdict = GaugeMetricFamily(
            "hawkops_criterion_verdict",
            "1 for the verdict that a criterion has",
            labels=["environment", "criterion", "verdict"],
        )
        for one in evaluate(here, criteria(), now=now):
            key = one.criterion.key
            if one.reading.value is not None:
                value.add_metric([here, key, one.criterion.severity.value], one.reading.value)
            for word in Verdict:
                verdict.add_metric([here, key, word.value], float(one.judgement.verdict is word))
        yield value
        yield verdict
        firing = GaugeMetricFamily(
            "hawkops_alerts_firing", "Alerts that fire or are acknowledged", labels=["environment", "severity"]
        )
        for severity, many in alerts.firing_by_severity(here).items():
            firing.add_metric([here, severity], many)
        yield firing
        devices = GaugeMetricFamily(
            "hawkops_devices_reporting",
            "Devices that reported within the hour",
            labels=["environment", "device_class", "simulated"],
        )
        for found in telemetry.device_classes(here, now=now):
            devices.add_metric([here, found.name, str(found.simulated).lower()], found.devices)
        yield devices
        room = cardinality(here)
        for name, says, number in (
            ("hawkops_series", "Telemetry series of an environment", room.series),
            ("hawkops_series_limit", "Telemetry series from which on new ones are folded", room.series_most),
            ("hawkops_series_folded", "Telemetry series that were folded into others in the last day", room.folded),
        ):
            gauge = GaugeMetricFamily(name, says, labels=["environment"])
            gauge.add_metric([here], number)
            yield gauge
        ages = GaugeMetricFamily("hawkops_age_seconds", "Age of the newest of something", labels=["environment", "of"])
        newest = {
            "telemetry": telemetry.last_data_at(here),
            "history": history.last_entry_at(),
            "evaluation": alerts.looked_at(here),
        }
        for what, at in newest.items():
            if at is not None:
                ages.add_metric([here, what], (now - at).total_seconds())
        yield ages


@login_not_required
@require_safe
def metrics(request: HttpRequest, environment: str) -> HttpResponse:
    """Answer a scrape that carries METRICS_TOKEN as bearer."""
    wanted = settings.METRICS_TOKEN
    if not wanted or environment not in list(Environment):
        raise Http404
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        return HttpResponse("The token is missing or wrong. Send Authorization: Bearer …\n", status=401)
    registry = CollectorRegistry()
    registry.register(_Judged(environment))
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    answer = HttpResponse(encode(registry), content_type=content_type)
    answer["Cache-Control"] = "no-store"
    return answer
