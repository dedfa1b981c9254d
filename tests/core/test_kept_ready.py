"""Each thread of the emergency pages has a connection, also after PostgreSQL ended it."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections

from hawkops.kept_ready import keep_ready


@pytest.mark.fresh_database
def test_keep_ready__every_thread_has_a_connection__and_a_new_one_when_it_broke() -> None:
    def number() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])

    with ThreadPoolExecutor(2) as pool:
        keep_ready(pool, 2)
        assert pool.submit(lambda: connection.close_at).result() is None
        first = pool.submit(number).result()
        with psycopg.connect(settings.DATABASE_URL, autocommit=True) as line:
            line.execute("SELECT pg_terminate_backend(%s, 2000)", [first])
        keep_ready(pool, 2)
        found = {one.result() for one in [pool.submit(number) for _ in range(8)]}
        assert first not in found
        for one in [pool.submit(connections.close_all) for _ in range(8)]:
            one.result()
