"""`/metrics`: what HawkOps judges, for Prometheus. The text form, or OpenMetrics where that is asked for."""

import hmac
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

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
from monitoring.domain.alerting import State
from monitoring.domain.criteria import Severity
from monitoring.selectors import alerts, patterns, telemetry
from monitoring.selectors.alerts import Shown
from monitoring.selectors.cardinality import cardinality
from monitoring.selectors.criteria import criteria, evaluate
from monitoring.selectors.health import health

SILENCED, INHIBITED = "silenced", "inhibited"
ALERT_STATES = (State.PENDING.value, State.FIRING.value, State.ACKNOWLEDGED.value, SILENCED, INHIBITED)


class _Judged(Collector):
    """Everything of one environment, read when it is scraped. What people may edit is never a label of a number."""

    def __init__(self, environment: str) -> None:
        self._environment = environment

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        now = clock.now()
        yield from self._criteria(now)
        yield self._alerts()
        yield from self._health(now)
        yield from self._patterns(now)
        devices = (
            (one.name, str(one.simulated).lower(), one.devices)
            for one in telemetry.device_classes(self._environment, now=now)
        )
        yield self._family(
            "devices_reporting", "Devices that reported within the hour", ("device_class", "simulated"), devices
        )
        room = cardinality(self._environment)
        for name, says, many in (
            ("series", "Telemetry series of an environment", room.series),
            ("series_limit", "Telemetry series from which on new ones are folded", room.series_most),
            ("series_folded", "Telemetry series that were folded into others in the last day", room.folded),
        ):
            yield self._family(name, says, (), [(many,)])
        newest = (
            ("telemetry", telemetry.last_data_at(self._environment)),
            ("history", history.last_entry_at()),
            ("evaluation", alerts.looked_at(self._environment)),
        )
        ages = ((what, (now - at).total_seconds()) for what, at in newest if at is not None)
        yield self._family("age_seconds", "Age of the newest of something", ("of",), ages)

    def _criteria(self, now: datetime) -> Iterator[Metric]:
        found = evaluate(self._environment, criteria(), now=now)
        known = [(one.criterion.key, one.reading.value) for one in found if one.reading.value is not None]
        yield self._family("criterion_value", "Reading of a criterion, in its metric's own unit", ("criterion",), known)
        limits = ((one.criterion.key, one.criterion.threshold, one.reading.threshold) for one in found)
        either = ((key, own if own is not None else profile) for key, own, profile in limits)
        thresholds = [(key, limit) for key, limit in either if limit is not None]
        yield self._family(
            "criterion_threshold", "Limit of a criterion, in its metric's own unit", ("criterion",), thresholds
        )
        many = ((one.criterion.key, one.reading.count) for one in found)
        yield self._family("criterion_observations", "On how many observations it rests", ("criterion",), many)
        verdicts = (
            (one.criterion.key, word.value, float(one.judgement.verdict is word)) for one in found for word in Verdict
        )
        yield self._family(
            "criterion_verdict", "1 for the verdict that a criterion has", ("criterion", "verdict"), verdicts
        )
        about = (
            (
                one.criterion.key,
                one.criterion.severity.value,
                one.criterion.purpose.value,
                one.criterion.comparator.value,
                1,
            )
            for one in found
        )
        labels = ("criterion", "severity", "purpose", "comparator")
        yield self._family("criterion_info", "What a criterion is now, to be joined by its key", labels, about)

    def _alerts(self) -> Metric:
        counts = Counter((one.alert.severity, _state(one)) for one in alerts.open_alerts(self._environment))
        rows = ((one.value, state, counts[one.value, state]) for one in Severity for state in ALERT_STATES)
        text = "Open alerts, each in one state: silenced and inhibited ones fire, and nobody is called"
        return self._family("alerts", text, ("severity", "state"), rows)

    def _health(self, now: datetime) -> Iterator[Metric]:
        found = health(self._environment, now=now)
        verdicts = ((one.check.key, word.value, float(one.verdict is word)) for one in found for word in Verdict)
        yield self._family(
            "health_verdict", "1 for the verdict that a health check has", ("check", "verdict"), verdicts
        )
        ages = ((one.check.key, (now - one.last_at).total_seconds()) for one in found if one.last_at is not None)
        yield self._family("health_age_seconds", "Age of the newest result of a health check", ("check",), ages)

    def _patterns(self, now: datetime) -> Iterator[Metric]:
        found = patterns.shown(self._environment, now=now)
        inside = ((one.row.key, one.in_window) for one in found)
        yield self._family(
            "pattern_matches", "Lines that matched within a log pattern's own window", ("pattern",), inside
        )
        limits = ((one.row.key, one.pattern.limit) for one in found if one.pattern.limit is not None)
        yield self._family("pattern_limit", "So many matches alert", ("pattern",), limits)

    def _family(
        self, name: str, text: str, labels: tuple[str, ...], rows: Iterable[tuple[str | float, ...]]
    ) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"hawkops_{name}", text, labels=["environment", *labels])
        for *values, number in rows:
            family.add_metric([self._environment, *map(str, values)], float(number))
        return family


def _state(one: Shown) -> str:
    if one.alert.state == State.FIRING and not one.loud:
        return SILENCED if one.silence is not None else INHIBITED
    return str(one.alert.state)


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
