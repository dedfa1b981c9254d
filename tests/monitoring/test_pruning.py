"""What is too old goes in bounded statements, however much it is, and one prune that fails stops no other."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from hawkops.celery import app
from hawkops.core import clock
from hawkops.history.actors import Actor
from monitoring import tasks
from monitoring.domain import metrics
from monitoring.models import (
    CumulativeStream,
    DeviceHour,
    HealthResult,
    LogLine,
    PanelHour,
    PatternCount,
    PayloadDigest,
    RollupPartial,
    Series,
    StoredPattern,
)
from monitoring.services import health, logs, patterns, pruning
from monitoring.services import telemetry as services
from tests.monitoring.conftest import Running
from tests.monitoring.payloads import Payload
from tests.monitoring.rows import seen, stored

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)


def digests(many: int, at: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO monitoring_payloaddigest SELECT sha256(format('%%s %%s', %s::text, n)::bytea),"
            " %s - n * '1ms'::interval FROM generate_series(1, %s) AS n",
            [at, at, many],
        )


def line(at: datetime, environment: str = "demo") -> LogLine:
    return LogLine.objects.create(environment=environment, at=at, received_at=at, severity=9, body="x")


@pytest.mark.django_db
def test_far_more_than_one_statement_could_delete_goes_in_batches() -> None:
    digests(2 * pruning.ROWS_AT_ONCE + 7, NOW - timedelta(hours=2))
    digests(10, NOW)
    with CaptureQueriesContext(connection) as statements:
        assert services.digests_prune(now=NOW) == 2 * pruning.ROWS_AT_ONCE + 7
    assert sum("DELETE" in statement["sql"] for statement in statements) == 3
    assert PayloadDigest.objects.count() == 10


@pytest.mark.django_db
def test_batches_go_on_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "ROWS_AT_ONCE", 3)
    digests(7, NOW - timedelta(hours=2))
    for number in range(7):
        # all of one moment, and another environment in between
        seen(f"a{number}", NOW - timedelta(days=9))
        seen(f"b{number}", NOW - timedelta(days=9), environment="staging")
        seen(f"c{number}", NOW)
    assert services.digests_prune(now=NOW) == 7
    assert services.device_hours_prune(now=NOW) == 14
    assert DeviceHour.objects.count() == 7


@pytest.mark.django_db
def test_what_the_budget_leaves_over_goes_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(pruning, "BUDGET_SECONDS", -1.0)
    digests(7, NOW - timedelta(hours=2))
    prune = partial(services.digests_prune, now=NOW)
    assert [prune(), prune(), prune(), prune()] == [3, 3, 1, 0]


@pytest.mark.django_db
def test_of_too_many_lines_the_oldest_go_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "ROWS_AT_ONCE", 2)
    lines = [line(NOW) for _ in range(9)]
    others = [line(NOW, "staging") for _ in range(2)]
    assert logs.lines_prune(now=NOW, most=3) == 6
    assert set(LogLine.objects.values_list("pk", flat=True)) == {row.pk for row in (*lines[6:], *others)}
    assert logs.lines_prune(now=NOW, most=3) == 0


@pytest.mark.fresh_database
def test_a_row_touched_meanwhile_stays() -> None:
    digest = b"s" * 16
    CumulativeStream.objects.create(digest=digest, state=b"", seen_at=clock.now() - timedelta(hours=50))
    ready, go = threading.Event(), threading.Event()
    pruned: list[int] = []

    def elsewhere(work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            connections.close_all()

    def touch() -> None:
        with transaction.atomic():
            CumulativeStream.objects.filter(digest=digest).update(seen_at=clock.now())
            ready.set()
            go.wait(5)

    toucher = threading.Thread(target=elsewhere, args=[touch])
    toucher.start()
    assert ready.wait(5)
    pruner = threading.Thread(target=elsewhere, args=[lambda: pruned.append(services.streams_prune())])
    pruner.start()
    pruner.join(0.3)  # it waits for the row
    go.set()
    toucher.join()
    pruner.join()
    assert pruned == [0]
    assert CumulativeStream.objects.count() == 1


@pytest.mark.fresh_database
def test_a_prune_that_fails_is_named_and_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    old = clock.now() - timedelta(days=30)
    digests(1, old)
    line(old)
    PanelHour.objects.create(
        environment="demo", hour_at=old, device_id="d", device_class="x", simulated=False, metric="app.sessions",
        count=1, total=1.0, low=1.0, high=1.0,
    )  # fmt: skip
    ready, go = threading.Event(), threading.Event()

    def lock() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("LOCK TABLE monitoring_panelhour")
                ready.set()
                go.wait(5)
        finally:
            connections.close_all()

    locker = threading.Thread(target=lock)
    locker.start()
    assert ready.wait(5)
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")
    tasks.digests_prune()
    go.set()
    locker.join()
    assert (PayloadDigest.objects.count(), PanelHour.objects.count(), LogLine.objects.count()) == (0, 1, 0)
    assert "prune.failed: panel_prune" in caplog.text


@pytest.mark.django_db
def test_series_go_when_no_tier_holds_a_row_of_them_and_they_are_not_new() -> None:
    rows = {
        width: stored(metrics.PREFILL, [1.0], NOW, variant=f"in {width}", width=width) for width in (10, 60, 600, 3_600)
    }
    for variant in ("gone", "new"):
        stored(metrics.PREFILL, [1.0], NOW, variant=variant).delete()
    Series.objects.exclude(variant="new").update(made_at=NOW - timedelta(days=3))
    Series.objects.filter(variant="new").update(made_at=NOW - timedelta(days=1))
    assert services.series_prune(now=NOW) == 1
    assert set(Series.objects.values_list("variant", flat=True)) == {"new", *(f"in {width}" for width in rows)}


@pytest.mark.fresh_database
def test_a_gateway_that_still_knows_a_series_that_went_makes_it_again(door: Running) -> None:
    assert door.post(Payload().sum("litert.inferences", 1).body).status_code == 200
    before = set(Series.objects.values_list("pk", flat=True))
    RollupPartial.objects.all().delete()
    Series.objects.update(made_at=clock.now() - timedelta(days=3))
    assert services.series_prune() == len(before) == 1
    assert door.post(Payload().sum("litert.inferences", 2).body).status_code == 200
    assert RollupPartial.objects.get().total == 2.0
    assert Series.objects.get().pk not in before


@pytest.mark.fresh_database
def test_a_series_that_is_being_written_stays() -> None:
    row = stored(metrics.PREFILL, [1.0], clock.now())
    series = row.series
    row.delete()
    Series.objects.update(made_at=clock.now() - timedelta(days=3))
    ready, go = threading.Event(), threading.Event()

    def write() -> None:
        try:
            with transaction.atomic():
                row.pk = None
                row.save(force_insert=True)
                ready.set()
                go.wait(5)
        finally:
            connections.close_all()

    writer = threading.Thread(target=write)
    writer.start()
    assert ready.wait(5)
    assert services.series_prune() == 0
    go.set()
    writer.join()
    assert RollupPartial.objects.get().series_id == series.pk


def test_every_prune_is_on_the_schedule() -> None:
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert {tasks.digests_prune.name, tasks.series_prune.name, tasks.partitions_keep.name} <= scheduled


@pytest.mark.django_db
def test_results_of_health_checks_and_counts_of_patterns_go_by_age() -> None:
    now = clock.now()
    for days in (1, 8):
        HealthResult.objects.create(
            check_key="x", environment="demo", due_at=now - timedelta(days=days), started_at=now - timedelta(days=days)
        )
    patterns.patterns_seed(actor=Actor.system("test"))
    pattern = StoredPattern.objects.all()[0]
    for days in (1, 31):
        PatternCount.objects.create(
            pattern=pattern, environment="demo", minute_at=now - timedelta(days=days), count=1
        )  # fmt: skip
    assert (health.health_prune(), patterns.counts_prune()) == (1, 1)
    assert (HealthResult.objects.count(), PatternCount.objects.count()) == (1, 1)
