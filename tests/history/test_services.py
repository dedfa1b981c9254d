"""Appending: in the change's own transaction, refused to be altered, announced on commit."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import psycopg
import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from hawkops.accounts.models import User
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry, Personal
from hawkops.history.services import change, heartbeat_record, history_verify

SYSTEM = Actor.system("test")

FROZEN_WORKER = """
import django, os, signal
django.setup()
from hawkops.history.actors import Actor
from hawkops.history.services import change, _append
with change(actor=Actor.system("frozen")) as this:
    this.record("test.frozen", subject="test:1")
    _append(this.drafts)
    print("holds the head", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.django_db
def test_change__several_services_in_one__appends_all_in_order_with_one_transaction() -> None:
    start = Head.objects.get().seq
    with change(actor=SYSTEM, environment="demo", reason="outer") as outer:
        outer.record("test.first", subject="test:1", before={"a": 1}, after={"a": 2})
        with change(actor=Actor.rule("inner")) as inner:
            inner.record("test.second", subject="test:2")
    seqs = [entry.seq for entry in outer.entries]
    assert seqs == [start + 1, start + 2]
    second = HistoryEntry.objects.get(pk=start + 2)
    assert (second.actor, second.environment, second.reason) == ("rule:inner", "demo", "outer")
    assert history_verify(requested_by="test").good


@pytest.mark.django_db
def test_change__raises__leaves_no_entry() -> None:
    start = Head.objects.get().seq
    with pytest.raises(RuntimeError), change(actor=SYSTEM) as this:
        this.record("test.first", subject="test:1")
        raise RuntimeError("refused")
    assert Head.objects.get().seq == start


ALTERATIONS = (
    "UPDATE history_historyentry SET reason = 'x'",
    "DELETE FROM history_historyentry",
    "TRUNCATE history_historyentry CASCADE",
)


@pytest.mark.django_db
@pytest.mark.parametrize("statement", ALTERATIONS)
def test_entry__altered_by_the_application__is_refused(statement: str) -> None:
    heartbeat_record()
    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.fresh_database
@pytest.mark.parametrize("statement", ALTERATIONS)
def test_entry__altered_by_the_owner__is_refused_by_the_trigger(statement: str) -> None:
    heartbeat_record()
    owner = psycopg.connect(os.environ["DATABASE_OWNER_URL"], dbname=connection.settings_dict["NAME"])
    with owner, pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        owner.execute(statement)
    assert history_verify(requested_by="test").good


@pytest.mark.django_db
def test_personal__erased__keeps_the_proof() -> None:
    User.objects.create(username="somebody")
    entry = heartbeat_record()
    Personal.objects.filter(entry=entry).delete()
    assert history_verify(requested_by="test").good
    assert HistoryEntry.objects.get(pk=entry.pk).actor_label == "heartbeat"


@pytest.mark.fresh_database
def test_change__commit__announces_the_entry_and_a_heartbeat_does_not() -> None:
    line = psycopg.connect(settings.DATABASE_URL, autocommit=True)
    line.execute("LISTEN hawkops_live")
    heartbeat_record()
    with change(actor=SYSTEM, environment="demo") as this:
        this.record("flag.override_set", subject="flag:litert_enabled")
    heard = [json.loads(notify.payload) for notify in line.notifies(timeout=2, stop_after=1)]
    line.close()
    assert heard == [
        {
            "topic": "history",
            "environment": "demo",
            "seq": this.entries[0].seq,
            "verb": "flag.override_set",
            "subject": "flag:litert_enabled",
        }
    ]


@pytest.mark.fresh_database
def test_change__worker_frozen_inside_its_transaction__delays_the_next_by_at_most_5_s() -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": settings.DATABASE_URL,
        "DJANGO_SETTINGS_MODULE": "hawkops.settings",
    }
    frozen = subprocess.Popen([sys.executable, "-c", FROZEN_WORKER], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert frozen.stdout is not None
        assert frozen.stdout.readline().strip() == "holds the head"
        started = time.monotonic()
        with change(actor=SYSTEM, environment="demo") as this:
            this.record("flag.killed", subject="flag:litert_enabled")
        delay = timedelta(seconds=time.monotonic() - started)
    finally:
        frozen.send_signal(signal.SIGCONT)
        frozen.kill()
        frozen.wait()
    assert delay <= timedelta(seconds=5)
    assert not HistoryEntry.objects.filter(verb="test.frozen").exists()
    assert history_verify(requested_by="test").good
