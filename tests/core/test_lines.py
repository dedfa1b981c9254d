"""A line to PostgreSQL that is cut without a word is given up in time."""

import asyncio
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from hawkops.bench.faults.proxy import Way, Wire
from hawkops.core import live
from hawkops.core.checks import direct
from hawkops.core.lines import answering, hears
from tests import apart
from tests.core.pooler import pooler

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


def test_hears__direct_and_through_a_transaction_pooler__only_the_first_does() -> None:
    assert hears(settings.DATABASE_URL)
    with pooler(settings.DATABASE_URL) as pooled:
        with psycopg.connect(pooled, autocommit=True) as line:  # everything else works there
            assert line.execute("SELECT 1").fetchone() == (1,)
        assert not hears(pooled, 0.3)


def test_listener__through_a_transaction_pooler__says_that_it_is_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARS_SECONDS", 0.2)

    async def listened(dsn: str) -> float | None:
        line = live.Listener(dsn, on_event=lambda _event: None, pulse_seconds=0.1)
        line.start()
        await asyncio.sleep(1.0)
        silent = line.silent_seconds
        assert line.connected  # what it is there for goes on by looking
        await line.stop()
        return silent

    direct = apart.run(listened(settings.DATABASE_URL))
    assert direct is not None and direct < 0.5
    with pooler(settings.DATABASE_URL) as pooled:
        deaf = apart.run(listened(pooled))
    # though it hears itself with every pulse
    assert deaf is not None and deaf > 0.5


def test_check__pooler__is_an_error_that_says_what_to_do(settings: Any) -> None:
    assert direct(databases=["default"]) == [] and direct(databases=None) == []
    with pooler(settings.DATABASE_URL) as settings.DATABASE_URL:
        (found,) = direct(databases=["default"])
    assert found.id == "hawkops.E004" and "direct connection" in str(found.hint)
