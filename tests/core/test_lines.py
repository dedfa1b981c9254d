"""A line to PostgreSQL that is cut without a word is given up in time."""

import asyncio
import time
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from hawkops.bench.faults.proxy import Way, Wire
from hawkops.core.lines import answering
from tests import apart

pytestmark = pytest.mark.django_db


@pytest.fixture
def wire() -> Wire:
    """A wire to the test's PostgreSQL."""
    return Wire(Path(str(conninfo_to_dict(settings.DATABASE_URL)["host"])) / ".s.PGSQL.5432")


def test_answering__silent_line__ends_with_an_error_and_the_next_line_works(wire: Wire) -> None:
    dsn = make_conninfo(settings.DATABASE_URL, host="127.0.0.1", port=wire.port)

    async def ask() -> float:
        line = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
        with answering(line, 0.3):
            await line.execute("SELECT 1")
        await asyncio.to_thread(wire.be, Way.SILENT)
        began = time.monotonic()
        with pytest.raises(psycopg.OperationalError), answering(line, 0.3):
            await line.execute("SELECT 1")
        took = time.monotonic() - began
        await line.close()
        await asyncio.to_thread(wire.be, Way.OPEN, forgets=True)
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as fresh:
            with answering(fresh, 5):
                await fresh.execute("SELECT 1")
        return took

    try:
        assert 0.2 < apart.run(ask()) < 5
    finally:
        wire.end()


def test_answering__an_answer_in_time__ends_nothing(wire: Wire) -> None:
    async def ask() -> object:
        async with await psycopg.AsyncConnection.connect(settings.DATABASE_URL, autocommit=True) as line:
            with answering(line, 0.2):
                await line.execute("SELECT 1")
            await asyncio.sleep(0.4)
            return await (await line.execute("SELECT 2")).fetchone()

    assert apart.run(ask()) == (2,)
    wire.end()
