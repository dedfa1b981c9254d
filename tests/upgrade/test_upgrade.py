"""An installation of the last release, with one of everything in it, becomes one of today: nothing is lost, pages open.

`before.sql.gz` is what pg_dump wrote of it. Its rows were made by that release's own services, sealed with the tests' key.
"""

import gzip
import os
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from psycopg import sql

from hawkops.core.sealing import unseal
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from hawkops.history.services import history_verify
from incidents.models import Channel, Incident
from rollout.models import Flag, Proposal, Release
from rollout.services.overrides import kill
from tests.pages.test_access import PAGES

# what Django itself adds to
DJANGOS = {"django_migrations", "django_content_type", "auth_permission"}
pytestmark = pytest.mark.fresh_database
DUMP = Path(__file__).with_name("before.sql.gz")
# parts of pages, and addresses that name a row by its number, are on these pages
PLAIN = [f"/demo/{page}" for page in PAGES if not set("{?") & set(page)]


def _counts(owner: Any) -> dict[str, int]:
    """How many rows each table of the release held."""
    tables = owner.execute("SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'public'").fetchall()
    count = sql.SQL("SELECT count(*) FROM {}")
    return {name: owner.execute(count.format(sql.Identifier(name))).fetchone()[0] for (name,) in tables}


def _install() -> dict[str, int]:
    """Put the old installation in the place of the test's own database, and say what it holds."""
    connection.close()
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("DROP SCHEMA public CASCADE")
        owner.execute("CREATE SCHEMA public")
        owner.execute(gzip.decompress(DUMP.read_bytes()))
        owner.execute("SET search_path = public")
        return _counts(owner)


def test_upgrade__from_the_last_release__keeps_every_row_and_the_chain() -> None:
    before = _install()
    call_command("migrate", verbosity=0)
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        after = _counts(owner)
    kept = {name: rows for name, rows in before.items() if name not in DJANGOS}
    assert {name: after.get(name) for name in kept} == kept
    assert before["history_historyentry"] > 50 and before["rollout_release"] and before["incidents_incident"]

    found = history_verify(requested_by="test")
    assert (found.good, Head.objects.get().seq) == (True, before["history_historyentry"]), vars(found)
    assert HistoryEntry.objects.get(verb="flag.killed", environment="staging").reason == "Before the upgrade"
    assert unseal(Channel.objects.get(name="pager").signing_secret) == "sealed before"
    assert Flag.objects.get(environment="staging", key="litert_enabled").override_variant == "off"
    assert (
        Release.objects.exists() and Incident.objects.filter(title="Furnished").exists() and Proposal.objects.exists()
    )

    client = Client()
    assert client.login(username="mia", password="a long enough password")
    assert {page: code for page in PLAIN if (code := client.get(page).status_code) != 200} == {}
    kill(environment="demo", actor=Actor.system("test"), reason="After the upgrade")
    again = history_verify(requested_by="test")
    assert again.good and Head.objects.get().seq > before["history_historyentry"], again
