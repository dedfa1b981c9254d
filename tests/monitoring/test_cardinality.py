"""Series stay bounded whatever devices say, the comparison stays visible longest, and pages tell what was folded."""

import os
import random
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.test import Client
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.history.actors import Actor
from monitoring.domain import cardinality
from monitoring.domain.criteria import criterion
from monitoring.domain.metrics import CATALOGUE, SERIES_USED, known
from monitoring.models import FoldedSeries, RollupPartial, Series
from monitoring.otlp.decoding import BACKENDS, SeriesKey
from monitoring.otlp.room import Room
from monitoring.selectors import telemetry
from monitoring.selectors.criteria import evaluate
from monitoring.services.criteria import criteria_seed
from monitoring.services.telemetry import folded_prune
from tests.monitoring.conftest import Running, serving
from tests.monitoring.payloads import ON_CPU, Payload

Make = Callable[..., User]
As = Callable[[User], Client]


def key(metric: str = "litert.inferences", **said: Any) -> SeriesKey:
    plain = SeriesKey("demo", metric, "gpu", "gpu", "tensor-g4", "2.4.0", "gemma", "on", "", False)
    return plain._replace(**said)


def stored_as(wanted: SeriesKey, series: int) -> SeriesKey:
    room = Room()
    for _ in range(series):
        room.take(wanted)
    return room.place(wanted)


def test_new_series_lose_first_what_matters_least_and_the_side_last() -> None:
    failed = key(outcome="TimeoutError")
    assert stored_as(failed, 4_999) == failed
    assert stored_as(failed, 5_000) == failed._replace(device_class="other")
    coarse = failed._replace(device_class="other", app_version="other", model="other")
    assert stored_as(failed, 5_500) == coarse
    assert stored_as(failed, 6_000) == coarse._replace(outcome="other")
    assert stored_as(failed, 7_499) == coarse._replace(outcome="other")
    assert stored_as(failed, 7_500) == coarse._replace(outcome="other", variant="other")
    assert stored_as(key(variant="made-up"), 6_500).variant == "other"
    # what criteria tell apart stays apart, and a success never becomes an error
    for metric, outcome in (("litert.parity.checks", "mismatch"), ("litert.inferences", "ok"), ("app.sessions", "")):
        assert stored_as(key(metric, outcome=outcome), 9_999).outcome == outcome
    assert stored_as(key("app.crashes"), 6_500).app_version == "2.4.0"
    business = stored_as(key("business.carts"), 9_999)
    assert (business.backend_requested, business.backend_actual) == ("", "")
    assert stored_as(key(variant="control"), 7_499).variant == "control"


def test_growth_ends_whatever_devices_say() -> None:
    """A crowd of 50 types of errors, 50 business metrics and 200 classes, and then others as many again."""
    chance = random.Random(1)
    room, stored = Room(), set[SeriesKey]()

    def flood(run: int) -> int:
        before = len(stored)
        names = ("litert.inferences", "app.crashes", *(f"business.{number}" for number in range(50)))
        for _ in range(25_000):
            metric, error, place = chance.choice(names), chance.randrange(50), chance.randrange(200)
            arm = ("on", "off", f"made-up-{error}")[place % 3]
            place_at = room.place(
                key(metric, outcome=f"Error{run}-{error}", device_class=f"soc-{run}-{place}", variant=arm,
                    app_version=f"{run}.{place % 7}", model=f"m{run}-{place % 5}")
            )  # fmt: skip
            if place_at not in stored:
                stored.add(place_at)
                room.take(place_at)
        return len(stored) - before

    flood(1)
    assert len(stored) <= cardinality.SERIES_HARD_MOST + 52
    assert sum(flood(run) for run in (2, 3)) <= 52
    # whatever else may come: closed lists only
    closed = set()
    for metric, requested, actual, simulated in product(CATALOGUE, ("", *BACKENDS), ("", *BACKENDS), (False, True)):
        for outcome in ("", "AnyError", *cardinality.OUTCOMES.get(metric, ())):
            said = key(metric, backend_requested=requested, backend_actual=actual, outcome=outcome)
            closed.add(room.place(said._replace(simulated=simulated)))
    assert len(closed) < 5_000


def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cardinality, "SERIES_MOST", 100)
    steps = zip((100, 120, 140, 160), (dimensions for _, dimensions in cardinality.STEPS), strict=True)
    monkeypatch.setattr(cardinality, "STEPS", tuple(steps))
    monkeypatch.setattr(cardinality, "SERIES_HARD_MOST", 200)


def total(metric: str) -> float:
    return sum(row.total for row in RollupPartial.objects.filter(series__metric=metric))


def send(door: Running, number: int, **said: str) -> Any:
    attributes = {**ON_CPU, **{name.replace("__", "."): value for name, value in said.items()}}
    device = {"device.id": f"d{number}", "device.soc": f"soc-{number}"}
    return door.post(Payload(device).sum("litert.inferences", 1, attributes).body)


@pytest.mark.fresh_database
def test_the_door_folds_counts_and_tells(
    door: Running, monkeypatch: pytest.MonkeyPatch, person: Make, client_as: As, settings: Any
) -> None:
    small_limits(monkeypatch)
    criteria_seed(actor=Actor.system("test"))
    for number in range(200):
        said = {"feature_flag__result__variant": ("on", "off")[number % 2]}
        if number % 4 == 0:
            said["error__type"] = f"Error{number}"
        assert send(door, number, **said).status_code == 200
    assert total("litert.inferences") == 200
    count = Series.objects.count()
    assert 100 < count < 160
    folded = FoldedSeries.objects.count()
    assert folded == 100
    page = client_as(person("author", Role.VIEWER)).get("/demo/monitoring/understood").content.decode()
    assert f"{count} of 5" in page
    assert "100 folded into “other”" in page
    settings.METRICS_TOKEN = "m" * 30
    scrape = Client().get("/demo/metrics", headers={"Authorization": f"Bearer {'m' * 30}"}).text
    assert f'hawkops_series{{environment="demo"}} {float(count)}' in scrape
    assert 'hawkops_series_folded{environment="demo"} 100.0' in scrape
    classes = {one.name: one.devices for one in telemetry.device_classes("demo")}
    assert classes.pop("other") == 100
    assert set(classes.values()) == {1}
    assert len(classes) == 100
    board = client_as(person("viewer", Role.VIEWER)).get("/demo/monitoring/litert").content.decode()
    assert "“other” holds classes that were folded" in board


@pytest.mark.fresh_database
def test_further_business_metrics_are_refused_and_the_device_is_told(
    door: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cardinality, "BUSINESS_MOST", 20)
    sent = Payload()
    for number in range(50):
        sent.sum(f"business.metric-{number}", 1, {})
    answer = door.post(sent.body)
    assert answer.status_code == 200
    told = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert told.rejected_data_points == 30
    assert "business metrics already" in told.error_message
    assert Series.objects.filter(metric__startswith="business.").count() == 20
    again = door.post(Payload().sum("business.metric-3", 2, {}).body)
    assert (again.status_code, again.content) == (200, b"")
    assert total("business.metric-3") == 3
    with serving(os.environ["DATABASE_URL"]) as restarted:
        answer = restarted.post(Payload().sum("business.metric-99", 1, {}).body)
        assert ExportMetricsServiceResponse.FromString(answer.content).partial_success.rejected_data_points == 1


@pytest.mark.fresh_database
def test_gateways_agree_on_what_is_stored_and_find_the_room_that_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    small_limits(monkeypatch)
    monkeypatch.setattr("monitoring.otlp.writing.RECOUNT_SECONDS", 0.05)
    monkeypatch.setattr("monitoring.otlp.writing.RETRY_SECONDS", 0.0)
    with serving(os.environ["DATABASE_URL"]) as one, serving(os.environ["DATABASE_URL"]) as other:
        assert send(other, 1_000).status_code == 200
        for number in range(120):
            assert send(one, number).status_code == 200
        time.sleep(0.5)  # both have counted again
        assert send(other, 1_001).status_code == 200
        assert not Series.objects.filter(device_class="soc-1001").exists()
        RollupPartial.objects.all().delete()
        Series.objects.filter(device_class__in=[f"soc-{number}" for number in range(50)]).delete()
        time.sleep(0.5)
        assert send(other, 1_001, outcome="ok").status_code == 200
        assert Series.objects.filter(device_class="soc-1001").exists()


@pytest.mark.django_db
def test_a_criterion_can_watch_the_share_in_use() -> None:
    assert not known(SERIES_USED)
    Series.objects.bulk_create(
        Series(environment="demo", metric="litert.inferences", model=f"m{number}") for number in range(4_600)
    )
    alert = criterion(
        {
            "key": "alert-series-used", "title": "Telemetry series in use", "purpose": "alert", "metric": SERIES_USED,
            "aggregate": "max", "window": "5m", "comparator": "<", "threshold": "90 %", "severity": "warning",
            "for": "5m", "samples": 1, "serves": "Telemetry's own limits",
        }
    )  # fmt: skip
    (found,) = evaluate("demo", [alert])
    assert found.reading.value == pytest.approx(0.92)
    assert found.judgement.verdict == "FAIL"
    (found,) = evaluate("staging", [alert])
    assert (found.reading.value, found.judgement.verdict) == (0, "PASS")


@pytest.mark.django_db
def test_folded_series_are_forgotten_after_a_day() -> None:
    FoldedSeries.objects.create(environment="demo", digest=b"a" * 16, seen_at=clock.now() - timedelta(hours=25))
    FoldedSeries.objects.create(environment="demo", digest=b"b" * 16, seen_at=clock.now())
    assert folded_prune() == 1
    assert FoldedSeries.objects.get().digest == b"b" * 16
