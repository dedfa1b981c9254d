"""Tiers: every observation stands in each of them once, however it is rolled up, killed or read meanwhile."""

import logging
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction

from hawkops.core import clock
from monitoring.domain import metrics
from monitoring.domain.copying import GATE
from monitoring.domain.merging import COUNT_MOST
from monitoring.domain.tiers import FINEST, HOUR, MINUTE, TEN_MINUTES, TIERS, finer, tier_for, tier_of_span
from monitoring.models import RolledUp, RollupPartial
from monitoring.selectors import rollups as selectors
from monitoring.services import pruning
from monitoring.services import rollups as services
from tests.monitoring.conftest import Running
from tests.monitoring.payloads import DEVICE, Payload
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


def tampered(metric: str, at: datetime, **fields: object) -> RollupPartial:
    """Store a row as no process of ours can write it."""
    row = stored(metric, [1.0], at)
    RollupPartial.objects.filter(pk=row.pk).update(**fields)
    return row


@pytest.mark.django_db
def test_rows_that_can_not_be_true_stop_no_tier_and_are_named(caplog: pytest.LogCaptureFixture) -> None:
    moment = NOW - timedelta(minutes=20)
    wrong = [tampered(metrics.PREFILL, moment, count=2**61) for _ in range(4)]
    wrong.append(tampered(metrics.PREFILL, moment, total=float("nan")))
    wrong.append(tampered(metrics.PREFILL, moment, squares=float("inf")))
    wrong.append(tampered(metrics.PREFILL, moment, low=float("nan"), high=float("nan")))
    wrong.append(tampered(metrics.PREFILL, moment, buckets=b"\x01not a sketch"))
    # more zeros than fit where they are written, once there are two of them
    full = struct.pack("<BQHH", 1, 2**64 - 1, 0, 0)
    wrong += [tampered(metrics.PREFILL, moment, buckets=full) for _ in range(2)]
    alone = tampered(metrics.DECODE, moment, buckets=b"")
    good = [stored(metrics.PREFILL, [5.0, 6.0], moment) for _ in range(2)]
    stored(metrics.INFERENCES, [3.0], moment)
    with caplog.at_level(logging.ERROR):
        services.rollups_move_up()
    for tier in TIERS[1:]:
        rows = RollupPartial.objects.filter(width_seconds=tier.width)
        assert {(row.series.metric, row.count, row.total) for row in rows} == {
            (metrics.PREFILL, 4, 22.0),
            (metrics.INFERENCES, 1, 3.0),
        }
        assert RolledUp.objects.get(pk=tier.width).rolled_id >= max(row.pk for row in (*wrong, *good))
    left = RollupPartial.objects.filter(width_seconds=10).values_list("pk", flat=True)
    assert set(left) >= {row.pk for row in (*wrong, alone)}
    assert len(left) == len(wrong) + 3  # the good pieces are one row
    said = [record.getMessage() for record in caplog.records if "rollups.set_aside" in record.message]
    assert len(said) == 1
    assert all(f"row {row.pk} of series" in said[0] for row in (*wrong, alone))


@pytest.mark.django_db
def test_what_comes_to_too_much_together_moves_up_once_and_no_further() -> None:
    moment = NOW - timedelta(minutes=20)
    for _ in range(3):
        tampered(metrics.PREFILL, moment, count=COUNT_MOST)
    services.rollups_move_up()
    counts = {row.width_seconds: row.count for row in RollupPartial.objects.all()}
    assert counts == {10: 3 * COUNT_MOST, 60: 3 * COUNT_MOST}


@pytest.mark.django_db
def test_sums_of_what_can_not_be_true_are_cut_and_do_not_fail() -> None:
    moment = NOW - timedelta(minutes=20)
    rows = [tampered(metrics.PREFILL, moment, count=2**62, total=1e308, squares=1e308) for _ in range(3)]
    span = selectors.window_of({rows[0].series_id}, since=moment - timedelta(minutes=5), until=NOW, now=NOW)
    assert [sketch.count for sketch in selectors.sums(span).values()] == [2**62]


@pytest.mark.django_db
def test_a_batch_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "BYTES_AT_ONCE", 1)
    for step in range(20):
        stored(metrics.PREFILL, [1.0, 2.0], NOW - timedelta(seconds=10 * step + 5))
    assert services.rollups_move_up(widest=MINUTE) == 20
    for tier in TIERS:
        assert read(tier.step, since=NOW - timedelta(hours=2)) == (40, 60.0)


@pytest.mark.django_db
def test_an_hour_stands_in_one_row_however_often_it_is_added_to() -> None:
    hour = NOW.replace(minute=0)
    for _ in range(2):  # pieces of former times
        stored(metrics.PREFILL, [1.0], hour, width=3_600)
    for minute in (2, 12, 22):
        stored(metrics.PREFILL, [7.0], hour + timedelta(minutes=minute))
        stored(metrics.DECODE, [7.0], hour + timedelta(minutes=minute))
        services.rollups_move_up()
    rows = RollupPartial.objects.filter(width_seconds=3_600)
    assert {(row.series.metric, row.count, row.total) for row in rows} == {
        (metrics.PREFILL, 5, 23.0),
        (metrics.DECODE, 3, 21.0),
    }
    assert rows.count() == 2


@pytest.mark.django_db
def test_a_batch_is_read_along_the_index_however_much_waits() -> None:
    """A table filled in a hurry has no statistics: sorted whole for each batch, a backlog would never be read in time."""
    stored(metrics.PREFILL, [1.0], NOW)
    plans: list[str] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "octet_length" in sql:
            with context["connection"].cursor() as cursor:
                execute_plain = cursor.cursor.execute
                execute_plain(f"EXPLAIN {sql}", params)
                plans.append("\n".join(row[0] for row in cursor.cursor.fetchall()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        services.rollups_move_up(widest=MINUTE)
    assert len(plans) == 1
    assert "Index Scan" in plans[0]
    assert "Seq Scan" not in plans[0]
    assert "Sort" not in plans[0].replace("Sort Key", "")


class Elsewhere:
    """A transaction of another connection, held open until it is told to end."""

    def __init__(self, *statements: str) -> None:
        self._statements = statements
        self._ready, self._go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold)

    def __enter__(self) -> "Elsewhere":
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._go.set()
        self._thread.join()

    def _hold(self) -> None:
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    for statement in self._statements:
                        cursor.execute(statement)
                self._ready.set()
                self._go.wait(5)
        finally:
            connections.close_all()


HELD = f"SELECT pg_advisory_xact_lock_shared({GATE})"


@pytest.mark.fresh_database
def test_a_roller_that_waits_for_one_writer_keeps_no_other_from_writing() -> None:
    stored(metrics.PREFILL, [1.0], NOW - timedelta(seconds=25))

    def roll_up() -> None:
        try:
            services.rollups_move_up()
        finally:
            connections.close_all()

    with Elsewhere(HELD):
        roller = threading.Thread(target=roll_up)
        roller.start()
        roller.join(0.3)
        assert roller.is_alive()
        with Elsewhere("SET LOCAL lock_timeout = '100ms'", HELD):
            assert roller.is_alive()
    roller.join()
    assert RolledUp.objects.get(pk=60).rolled_id > 0


@pytest.mark.fresh_database
def test_what_comes_in_while_rollers_run_stands_in_every_tier_once(door: Running) -> None:
    posted, rollers, ended = 120, 2, threading.Event()

    def roll_up() -> None:
        try:
            while not ended.is_set():
                services.rollups_move_up()
        finally:
            connections.close_all()

    rolling = [threading.Thread(target=roll_up) for _ in range(rollers)]
    for thread in rolling:
        thread.start()
    bodies = [Payload({**DEVICE, "device.id": f"d{n}"}).sum("litert.inferences", 1).body for n in range(posted)]
    with ThreadPoolExecutor(8) as pool:
        assert {answer.status_code for answer in pool.map(door.post, bodies)} == {200}
    ended.set()
    for thread in rolling:
        thread.join()
    services.rollups_move_up()
    for tier in TIERS:
        assert sum(RollupPartial.objects.filter(width_seconds=tier.width).values_list("count", flat=True)) == posted


@pytest.mark.fresh_database
def test_a_writer_that_does_not_end_leaves_everything_to_the_next_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(services, "SETTLE_SECONDS", 0.05)
    stored(metrics.PREFILL, [1.0], NOW - timedelta(seconds=25))
    with Elsewhere(HELD):
        assert services.rollups_move_up(widest=MINUTE) == 0
    assert "rollups.not_settled" in caplog.text
    assert not RolledUp.objects.filter(rolled_id__gt=0).exists()
    assert services.rollups_move_up(widest=MINUTE) == 1


@pytest.mark.fresh_database
def test_a_second_roller_leaves_a_tier_to_the_first() -> None:
    stored(metrics.PREFILL, [1.0], NOW - timedelta(seconds=25))
    services.rollups_move_up()
    stored(metrics.PREFILL, [1.0], NOW - timedelta(seconds=15))
    with Elsewhere("SELECT 1 FROM monitoring_rolledup WHERE width_seconds = 60 FOR UPDATE"):
        assert services.rollups_move_up() == 0
    assert services.rollups_move_up() > 0
    assert read(HOUR.step, since=NOW - timedelta(hours=2)) == (2, 2.0)


def parts(width: int) -> list[int]:
    """Return where a tier's partitions begin."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = %s::regclass AND c.relname ~ '_[0-9]+$'",
            [f"monitoring_rollup_{width}"],
        )
        return sorted(int(row[0].rpartition("_")[2]) for row in cursor.fetchall())


def hour_of(moment: datetime) -> int:
    return int(moment.timestamp()) // 3_600 * 3_600


@pytest.mark.django_db
def test_partitions_are_made_ahead_and_dropped_by_age_once_rolled_up() -> None:
    now = clock.now()
    services.partitions_keep(now=now)
    hour = hour_of(now)
    assert {hour + step * 3_600 for step in range(13)} <= set(parts(10))
    late = now + timedelta(hours=15)
    early = stored(metrics.PREFILL, [1.0], late)  # no partition yet: it stands beside them
    assert hour_of(late) not in parts(10)
    services.partitions_keep(now=late)
    assert hour_of(late) in parts(10)
    assert RollupPartial.objects.filter(pk=early.pk).exists()
    # not rolled up, so nothing of it may go
    later = now + timedelta(hours=40)
    services.partitions_keep(now=later)
    assert RollupPartial.objects.filter(pk=early.pk).exists()
    services.rollups_move_up()
    services.partitions_keep(now=later)
    assert not RollupPartial.objects.filter(pk=early.pk, width_seconds=10).exists()
    assert RollupPartial.objects.filter(width_seconds=60).exists()
    assert hour not in parts(10)


@pytest.mark.django_db
def test_rows_too_many_to_move_stay_beside_and_hold_up_no_other_partition(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(services, "MOVED_MOST", 3)
    monkeypatch.setattr(pruning, "ROWS_AT_ONCE", 2)
    now = clock.now() + timedelta(hours=50)  # after an outage longer than any partition was made ahead for
    rows = [stored(metrics.PREFILL, [1.0], now) for _ in range(5)]
    hour = hour_of(now)
    services.partitions_keep(now=now)
    assert hour not in parts(10)
    assert {hour + step * 3_600 for step in range(1, 13)} <= set(parts(10))
    assert f"partitions.crowded: monitoring_rollup_10_{hour}" in caplog.text
    assert RollupPartial.objects.filter(pk__in=[row.pk for row in rows]).count() == 5
    services.rollups_move_up(widest=MINUTE)
    later = now + timedelta(hours=5)
    stored(metrics.PREFILL, [1.0], now)  # not rolled up yet
    services.partitions_keep(now=later)
    assert RollupPartial.objects.filter(width_seconds=10).count() == 1
    assert RollupPartial.objects.filter(width_seconds=60).count() == 1


@pytest.mark.fresh_database
def test_a_partition_that_is_busy_is_named_and_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    now = clock.now()
    hour = hour_of(now)
    services.partitions_keep(now=now)
    later = now + timedelta(hours=6)
    with Elsewhere(f"LOCK TABLE monitoring_rollup_10_{hour} IN ACCESS SHARE MODE"):
        services.partitions_keep(now=later)
    gone = {place for place in (hour, hour + 3_600) if place not in parts(10)}
    assert gone == {hour + 3_600}
    assert f"partitions.not_kept: monitoring_rollup_10_{hour}:" in caplog.text
    services.partitions_keep(now=later)
    assert hour not in parts(10)


@pytest.mark.fresh_database
def test_a_row_that_comes_while_a_partition_is_about_to_go_is_not_dropped_with_it() -> None:
    now = clock.now()
    services.partitions_keep(now=now)
    kept: list[tuple[int, int]] = []

    def keep() -> None:
        try:
            kept.append(services.partitions_keep(now=now + timedelta(hours=5)))
        finally:
            connections.close_all()

    row = stored(metrics.PREFILL, [1.0], now)
    services.rollups_move_up(widest=MINUTE)
    copy = (
        "INSERT INTO monitoring_rolluppartial (series_id, bucket_at, width_seconds, count, total, squares, low, high, "
        "buckets) SELECT series_id, bucket_at, width_seconds, count, total, squares, low, high, buckets "
        f"FROM monitoring_rolluppartial WHERE width_seconds = 10 AND id = {row.pk}"
    )
    with Elsewhere(copy):
        keeper = threading.Thread(target=keep)
        keeper.start()
        keeper.join(0.5)  # it looked before that row was committed, and waits for its partition
    keeper.join()
    assert RollupPartial.objects.filter(width_seconds=10).count() == 2


@pytest.mark.fresh_database
def test_workers_that_keep_partitions_at_once_do_not_fail() -> None:
    now = clock.now() + timedelta(days=3)
    made: list[tuple[int, int]] = []

    def keep() -> None:
        try:
            made.append(services.partitions_keep(now=now))
        finally:
            connections.close_all()

    keepers = [threading.Thread(target=keep) for _ in range(3)]
    for keeper in keepers:
        keeper.start()
    for keeper in keepers:
        keeper.join()
    assert len(made) == 3
    assert sum(dropped for _, dropped in made) > 0
    assert {hour_of(now) + step * 3_600 for step in range(13)} <= set(parts(10))
