"""Tiers: every observation stands in each of them once, however it is rolled up, killed or read meanwhile."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, connections, transaction

from hawkops.core import clock
from monitoring.domain import metrics
from monitoring.domain.copying import GATE
from monitoring.domain.tiers import FINEST, HOUR, MINUTE, TEN_MINUTES, TIERS, finer, tier_for, tier_of_span
from monitoring.models import RolledUp, RollupPartial
from monitoring.selectors import rollups as selectors
from monitoring.services import rollups as services
from tests.monitoring.rows import stored

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)


def read(step: timedelta, *, since: datetime, until: datetime = NOW) -> tuple[int, float]:
    """Return how many observations a reader of that resolution finds, and their sum."""
    series = set(RollupPartial.objects.values_list("series_id", flat=True))
    rows = selectors.rows(selectors.steps_of(series, since=since, until=until, step=step, now=NOW)).values()
    return sum(int(row.summary[0].sum()) for row in rows), sum(float(row.summary[1].sum()) for row in rows)


def test_the_tier_fits_the_step_and_reaches_back() -> None:
    def chosen(step: int, **ago: float) -> int:
        return tier_for(step=timedelta(seconds=step), since=NOW - timedelta(**ago), now=NOW).width

    assert chosen(10, minutes=15) == 10
    assert chosen(30, hours=1) == 10
    assert chosen(180, hours=6) == 60
    assert chosen(600, hours=48) == 600
    assert chosen(3_600, days=7) == 3_600
    assert chosen(10, hours=6) == 60  # ten-second rows are gone by then
    assert chosen(10, days=900) == 3_600
    assert tier_of_span(timedelta(minutes=5), since=NOW - timedelta(minutes=5), now=NOW) is FINEST
    assert tier_of_span(timedelta(hours=1), since=NOW - timedelta(hours=1), now=NOW) is MINUTE
    assert tier_of_span(timedelta(hours=48), since=NOW - timedelta(hours=48), now=NOW) is HOUR
    assert finer(TEN_MINUTES) == (MINUTE, FINEST)


@pytest.mark.django_db
def test_every_tier_holds_everything_once_and_in_fewer_rows() -> None:
    for step in range(360):
        moment = NOW - timedelta(seconds=10 * step + 5)
        stored(metrics.PREFILL, [200.0 + step], moment)
        stored(metrics.PREFILL, [7.0], moment)  # as another process saw it
        stored(metrics.PREFILL, [300.0], moment, actual="gpu")
    wanted = (1_080, sum(200.0 + step for step in range(360)) + 360 * 307.0)
    since = NOW - timedelta(hours=2)
    spans = [tier.step for tier in TIERS]
    assert [read(span, since=since) for span in spans] == [wanted] * 4
    assert services.rollups_move_up() > 0
    assert [read(span, since=since) for span in spans] == [wanted] * 4
    counts = {tier.width: RollupPartial.objects.filter(width_seconds=tier.width).count() for tier in TIERS}
    assert counts == {10: 720, 60: 120, 600: 12, 3_600: 4}
    assert services.rollups_move_up() == 0
    # late ones too, of a minute that was rolled up long ago
    stored(metrics.PREFILL, [5.0], NOW - timedelta(minutes=40))
    later = (wanted[0] + 1, wanted[1] + 5.0)
    assert [read(span, since=since) for span in spans] == [later] * 4
    services.rollups_move_up(widest=MINUTE)
    assert [read(span, since=since) for span in spans] == [later] * 4
    services.rollups_move_up()
    assert [read(span, since=since) for span in spans] == [later] * 4


@pytest.mark.django_db
def test_a_large_backlog_moves_in_bounded_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "ROWS_AT_ONCE", 7)
    for step in range(40):
        stored(metrics.PREFILL, [1.0, 2.0], NOW - timedelta(seconds=10 * step + 5))
    services.rollups_move_up()
    for tier in TIERS:
        assert read(tier.step, since=NOW - timedelta(hours=2)) == (80, 120.0)


@pytest.mark.fresh_database
@pytest.mark.parametrize("quick_tries", [0, 1, selectors.QUICK_TRIES])
def test_rolling_up_by_several_workers_and_reading_meanwhile_counts_once(
    quick_tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "QUICK_TRIES", quick_tries)
    for step in range(300):
        stored(metrics.PREFILL, [1.0], NOW - timedelta(seconds=10 * step + 5))
    failures: list[str] = []
    done = threading.Event()

    def work() -> None:
        try:
            while services.rollups_move_up():
                pass
        finally:
            connections.close_all()

    def look() -> None:
        try:
            while not done.is_set():
                for tier in TIERS:
                    found = read(tier.step, since=NOW - timedelta(hours=2))
                    if found != (300, 300.0):
                        failures.append(f"{tier.width}: {found}")
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must say it
            failures.append(repr(error))
        finally:
            connections.close_all()

    looking = threading.Thread(target=look)
    workers = [threading.Thread(target=work) for _ in range(3)]
    for thread in (looking, *workers):
        thread.start()
    for worker in workers:
        worker.join()
    done.set()
    looking.join()
    assert not failures
    assert read(HOUR.step, since=NOW - timedelta(hours=2)) == (300, 300.0)


@pytest.mark.fresh_database
def test_a_writer_under_way_is_waited_for_and_not_skipped() -> None:
    """An id handed out before the rollup looked, committed after it: it must not fall behind the mark."""
    stored(metrics.PREFILL, [1.0], NOW - timedelta(seconds=25))
    ready, go = threading.Event(), threading.Event()

    def write_slowly() -> None:
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [GATE])
                stored(metrics.PREFILL, [1.0], NOW - timedelta(seconds=15))
                ready.set()
                go.wait(5)
        finally:
            connections.close_all()

    writer = threading.Thread(target=write_slowly)
    writer.start()
    ready.wait(5)

    def roll_up() -> None:
        try:
            services.rollups_move_up()
        finally:
            connections.close_all()

    roller = threading.Thread(target=roll_up)
    roller.start()
    roller.join(0.3)
    assert roller.is_alive()
    go.set()
    writer.join()
    roller.join()
    for tier in TIERS:
        assert read(tier.step, since=NOW - timedelta(hours=2)) == (2, 2.0)
    assert RolledUp.objects.get(pk=60).rolled_id > 0


@pytest.mark.django_db
def test_partitions_are_made_ahead_and_dropped_by_age_once_rolled_up() -> None:
    now = clock.now()

    def parts(width: int) -> list[int]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
                "WHERE i.inhparent = %s::regclass AND c.relname ~ '_[0-9]+$'",
                [f"monitoring_rollup_{width}"],
            )
            return sorted(int(row[0].rpartition("_")[2]) for row in cursor.fetchall())

    services.partitions_keep(now=now)
    hour = int(now.timestamp()) // 3_600 * 3_600
    assert {hour, hour + 3_600, hour + 7_200} <= set(parts(10))
    early = stored(metrics.PREFILL, [1.0], now + timedelta(hours=5))  # no partition yet: it waits in the last one
    services.partitions_keep(now=now + timedelta(hours=5))
    assert RollupPartial.objects.filter(pk=early.pk).exists()
    # not rolled up, so nothing of it may go
    later = now + timedelta(hours=20)
    services.partitions_keep(now=later)
    assert RollupPartial.objects.filter(pk=early.pk).exists()
    services.rollups_move_up()
    services.partitions_keep(now=later)
    assert not RollupPartial.objects.filter(pk=early.pk, width_seconds=10).exists()
    assert RollupPartial.objects.filter(width_seconds=60).exists()
    assert hour not in parts(10)
