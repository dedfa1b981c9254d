"""Proof outside the database: checkpoints, the witness, the verifier that holds the chain against both, the export."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings as present
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client

from hawkops.bench.tampering import furnished, put, tamper
from hawkops.core import clock
from hawkops.core.errors import InvalidInput
from hawkops.history import downloads, exported, selectors
from hawkops.history.actors import Actor
from hawkops.history.domain.checkpoint import opened
from hawkops.history.exporting import export_lines, verifier_program
from hawkops.history.keys import verifiers
from hawkops.history.models import Checkpoint, HistoryEntry, Personal
from hawkops.history.services import change, checkpoint_write, history_verify
from hawkops.history.witnessed import HASH_BYTES, Folder
from hawkops.history.witnessing import checkpoint_look, witness_look
from tests.installation import ROOT
from tests.stories.processes import wait_for

SYSTEM = Actor.system("test")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Where a witness writes."""
    return Folder(tmp_path / "witness")


def written(count: int) -> None:
    """Add entries, each in a transaction of its own."""
    for number in range(count):
        with change(actor=SYSTEM, environment="demo") as this:
            this.record("test.done", subject=f"test:{number}", after={"number": number})


def superuser() -> "psycopg.Connection[tuple[object, ...]]":
    """Somebody for whom no rule of the database holds, in this test's database."""
    split = urlsplit(os.environ["HAWKOPS_TEST_SUPERUSER_URL"])
    name = present.DATABASES["default"]["NAME"]
    return psycopg.connect(urlunsplit(split._replace(path=f"/{name}")), autocommit=True)


@pytest.mark.fresh_database
def test_tampering__by_the_superuser__is_found_and_located_wherever_it_was_witnessed(folder: Folder) -> None:
    original = furnished(folder, 60)
    with superuser() as line:
        outcome = tamper(line, folder, original, random.Random(7), 120)
    assert not outcome.missed
    assert sum(outcome.found.values()) == 120 and len(outcome.tried) >= 8


@pytest.mark.django_db
def test_checkpoint__installation_moved_to_another_address__still_verifies_by_the_same_key(
    settings: Any, folder: Folder
) -> None:
    written(2)
    assert checkpoint_write() is not None
    settings.CONSOLE_URL = "https://hawkops.example.com"
    assert history_verify(requested_by="test", witness=folder).good
    settings.HISTORY_SIGNING_KEY = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    ).decode()  # fmt: skip
    assert "no known key signed it" in history_verify(requested_by="test", witness=folder).why


@pytest.mark.fresh_database
def test_tampering__of_what_nobody_witnessed__is_the_limit_that_is_stated(folder: Folder) -> None:
    original = furnished(folder, 10)
    written(3)
    seen = history_verify(requested_by="test", witness=folder)
    assert seen.good and seen.witnessed_seq == len(original) and seen.head_seq == len(original) + 3
    assert f"up to {len(original)}" in seen.limit and "stand on the chain alone" in seen.limit
    with superuser() as line:
        put(line, original)  # the three are gone, and nothing outside ever saw them
    seen = history_verify(requested_by="test", witness=folder)
    assert seen.good and "All of it stands" in seen.limit
    assert "No witness" in history_verify(requested_by="test", witness=Folder(folder.path / "none")).limit


@pytest.mark.fresh_database
def test_tampering__without_a_witness__is_still_found_where_a_checkpoint_was_signed(folder: Folder) -> None:
    original = furnished(folder, 60)
    points = sorted(Checkpoint.objects.values_list("size", flat=True))
    with superuser() as line:
        outcome = tamper(line, Folder(folder.path / "none"), original, random.Random(3), 40)
    assert points[-1] == len(original)
    for missed in outcome.missed:
        kind, _, rest = missed.partition(" at ")
        first, _, found = rest.partition(": ")
        # located between two checkpoints, since nothing finer is known
        assert "anew" in kind, missed
        assert int(found.split()[0]) == max([0, *[size for size in points if size < int(first)]]) + 1, missed


@pytest.mark.django_db
def test_witness__looks__writes_each_entry_once_and_goes_on_after_a_torn_end(folder: Folder) -> None:
    written(3)
    first = witness_look(folder)
    assert first.is_new and folder.last() == (first.seq, first.hash) and not witness_look(folder).is_new
    with (folder.path / "hashes").open("ab") as file:
        file.write(b"torn")
    with next(folder.path.glob("heads-*.jsonl")).open("ab") as file:
        file.write(b'{"at": "2026')
    written(2)
    second = witness_look(folder)
    assert second.seq == first.seq + 2
    assert (folder.path / "hashes").stat().st_size == second.seq * HASH_BYTES
    assert [folder.hash_at(seq) for seq in range(1, second.seq + 1)] == list(selectors.hashes(after_seq=0))
    assert folder.last_head_at() is not None
    assert history_verify(requested_by="test", witness=folder).witnessed_seq == second.seq


@pytest.mark.fresh_database
def test_witness__history_rewritten__says_so_once_and_overwrites_nothing(folder: Folder) -> None:
    original = furnished(folder, 8)
    kept = (folder.path / "hashes").read_bytes()
    with superuser() as line:
        put(line, original[:5])
    look = witness_look(folder)
    assert "cut" in look.amiss and not look.is_new
    written(6)  # longer again than what was witnessed
    look = witness_look(folder)
    assert "rewritten" in look.amiss
    witness_look(folder)
    assert (folder.path / "hashes").read_bytes() == kept
    assert [alarm["why"] for alarm in folder.alarms()] == [
        f"the history has no entry {len(original)} any more, which was witnessed: it was cut",
        f"entry {len(original)} is not the one that was witnessed: the history was rewritten",
    ]
    assert history_verify(requested_by="test", witness=folder).bad_seq == 6


@pytest.mark.fresh_database
def test_witness__history_restored_to_an_earlier_point__goes_on_once_somebody_accepts_it(
    folder: Folder, settings: Any
) -> None:
    settings.WITNESS_DIR = folder.path
    original = furnished(folder, 8)
    checkpoint_look(folder)
    seen = len(original)
    with pytest.raises(CommandError, match="nothing to accept"):
        call_command("witness_accept", reason="nothing")
    with superuser() as line:
        put(line, original[:5])
        line.execute("ALTER TABLE history_checkpoint DISABLE TRIGGER ALL; DELETE FROM history_checkpoint")
    assert witness_look(folder).amiss and selectors.proof().amiss
    call_command("witness_accept", reason="Restored after a broken disk")
    look = witness_look(folder)
    assert not look.amiss and look.seq == 6 and not selectors.proof().amiss
    assert HistoryEntry.objects.get(pk=6).verb == "history.fork_accepted"
    assert history_verify(requested_by="test", witness=folder).witnessed_seq == 6
    (kept,) = (folder.path / "forks").iterdir()
    assert (kept / "hashes").stat().st_size == (seen - 5) * HASH_BYTES and list((kept / "checkpoints").iterdir())


@pytest.mark.django_db
def test_checkpoint__hourly__signs_all_there_is_and_the_database_keeps_it(folder: Folder) -> None:
    written(2)
    made = checkpoint_write()
    assert made is not None and checkpoint_write() is None  # younger than an hour
    written(1)
    assert checkpoint_write() is None
    later = checkpoint_write(after=timedelta())
    assert later is not None and later.size == made.size + 1
    assert checkpoint_write(after=timedelta()) is None  # nothing new to sign
    point, signer = opened(later.note, verifiers())
    assert (point.size, point.origin) == (later.size, signer.name)
    checkpoint_look(folder)
    assert dict(folder.checkpoints()) == {one.size: one.note for one in Checkpoint.objects.all()}
    seen = history_verify(requested_by="test", witness=folder)
    assert seen.good and (seen.checkpoints, seen.checkpoint_size) == (2, later.size)
    for statement in ("UPDATE history_checkpoint SET note = ''", "DELETE FROM history_checkpoint"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


@pytest.mark.django_db
def test_key__rotated__old_checkpoints_still_hold_and_a_strangers_do_not(folder: Folder, settings: Any) -> None:
    written(2)
    checkpoint_write(after=timedelta())
    checkpoint_look(folder)
    settings.HISTORY_SIGNING_KEY = (
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    )
    written(1)
    checkpoint_write(after=timedelta())
    # the witness learnt of the first key, and knows both from now on
    checkpoint_look(folder)
    assert len(folder.signers()) == 2
    assert history_verify(requested_by="test", witness=folder).checkpoints == 2
    # without the witness the first key must be named
    bare = Folder(folder.path / "none")
    assert "no known key" in history_verify(requested_by="test", witness=bare).why
    settings.HISTORY_VERIFIERS = folder.signers()[:1]
    assert history_verify(requested_by="test", witness=bare).good
    settings.HISTORY_SIGNING_KEY = "not a key"
    with pytest.raises(InvalidInput, match="PEM"):
        checkpoint_write(after=timedelta())


@pytest.mark.django_db
def test_names__exchanged_or_erased__the_first_is_found_the_second_is_fine(folder: Folder) -> None:
    written(3)
    end = selectors.head().seq
    Personal.objects.filter(entry=end).delete()
    assert history_verify(requested_by="test", witness=folder).good
    Personal.objects.filter(entry=end - 1).update(label="somebody else")
    seen = history_verify(requested_by="test", witness=folder)
    assert seen.bad_seq == end - 1 and "the name kept" in seen.why


WITHOUT_US = """
import sys, runpy
for name in ("django", "celery", "psycopg", "hawkops.core", "hawkops.settings"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def proven(program: Path, *arguments: str) -> tuple[int, str]:
    """Run the stand-alone verifier where nothing of ours can be imported."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_US, str(program), *arguments],
        capture_output=True, text=True, cwd=program.parent, env={"PATH": os.environ["PATH"]}, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.django_db
def test_export__proven_by_itself__names_what_was_altered(folder: Folder, tmp_path: Path, settings: Any) -> None:
    settings.WITNESS_DIR = folder.path
    written(5)
    checkpoint_write(after=timedelta())
    checkpoint_look(folder)
    witness_look(folder)
    written(1)
    call_command("history_export", tmp_path / "out")
    program, file = tmp_path / "out" / "verify_history.pyz", tmp_path / "out" / "history.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    head = selectors.head().seq
    code, said = proven(program, str(file), "--key", folder.signers()[0], "--witness", str(folder.path))
    assert code == 0, said
    assert f"All {head} entries" in said and "1 checkpoints" in said and f"Witnessed up to entry {head - 1}" in said
    code, said = proven(program, str(file))
    assert code == 0 and "Give --witness" in said and "give --key" in said

    lines = file.read_text().splitlines(keepends=True)
    entry = json.loads(lines[-3])
    file.write_text("".join([*lines[:-3], json.dumps({**entry, "reason": "otherwise"}) + "\n", *lines[-2:]]))
    code, said = proven(program, str(file))
    assert code == 1 and said.startswith(f"Entry {entry['seq']}: entry {entry['seq']} was altered")
    file.write_text("".join(lines[:-1]))
    assert f"entry {head} to {head} are missing" in proven(program, str(file))[1]
    for broken in ("", "no json\n", lines[0] + '{"kind":"entry"}\n', lines[0] + "[]\n"):
        file.write_text(broken)
        assert proven(program, str(file))[0] == 2
    assert proven(program, str(file), "--key", "x")[0] == 2


@pytest.mark.django_db
def test_export__read_back__holds_the_very_rows() -> None:
    written(2)
    found, about = exported.verify(export_lines())
    assert found.broken is None and found.seq == selectors.head().seq == about["head"]["seq"]


@pytest.mark.django_db
def test_append__clock_behind_its_neighbour__moments_rise_unless_it_jumped(monkeypatch: pytest.MonkeyPatch) -> None:
    start = clock.now()
    moments = []
    for offset in (0.0, -2.0, 1.0, -3_600.0):
        monkeypatch.setattr(clock, "now", lambda offset=offset: start + timedelta(seconds=offset))
        with change(actor=SYSTEM) as this:
            this.record("test.done", subject="test:1")
        moments.append((this.entries[0].at - start).total_seconds())
        assert HistoryEntry.objects.get(pk=this.entries[0].pk).at == this.entries[0].at
    assert moments == [0.0, 0.0, 1.0, -3_600.0]
    assert history_verify(requested_by="test").good


@pytest.mark.fresh_database
def test_process__killed_again_and_again__misses_nothing_and_ends_when_told(folder: Folder) -> None:
    def started() -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "hawkops.witness", "--folder", str(folder.path), "--every", "0.05"]
        return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "DJANGO_SETTINGS_MODULE": "hawkops.settings"})

    process = started()
    written(5)
    wait_for(lambda: folder.count() > 0, 60, "the witness begins")
    process.send_signal(signal.SIGKILL)
    process.wait()
    written(3)
    process = started()
    try:
        wait_for(lambda: folder.count() == selectors.head().seq, 60, "the witness catches up")
        began = time.monotonic()
        written(1)
        wait_for(lambda: folder.count() == selectors.head().seq, 20, "the witness writes")
        assert time.monotonic() - began < 10
        wait_for(lambda: list(folder.checkpoints()), 20, "a checkpoint is signed")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    seen = history_verify(requested_by="test", witness=folder)
    assert seen.good and seen.witnessed_seq == seen.head_seq and seen.checkpoints == 1


@pytest.mark.django_db
def test_part__proven_by_itself__names_what_was_altered(
    folder: Folder, tmp_path: Path, settings: Any, client: Client, viewer: Any
) -> None:
    settings.WITNESS_DIR = folder.path
    client.force_login(viewer)
    written(6)
    answer = client.get("/demo/history.proven.jsonl", {"q": "subject:test:3,test:5"})
    lines = b"".join(answer.streaming_content).decode().splitlines(keepends=True)  # type: ignore[attr-defined]
    assert len(lines) == 3
    program, file = tmp_path / "verify_history.pyz", tmp_path / "part.jsonl"
    program.write_bytes(verifier_program())

    file.write_text("".join(lines))
    code, said = proven(program, str(file), "--key", json.loads(lines[0])["verifiers"][0])
    assert code == 0, said
    assert "Each of the 2 entries stands in the history of" in said

    entry = json.loads(lines[1])
    for altered, why in (
        ({"reason": "otherwise"}, "was altered"),
        ({"proof": entry["proof"][1:]}, "is not in the history that the checkpoint"),
        ({"personal": {"salt": "00", "label": "eve"}}, "the name kept for entry"),
    ):
        file.write_text("".join([lines[0], json.dumps({**entry, **altered}) + "\n", lines[2]]))
        code, said = proven(program, str(file))
        assert (code, said.startswith(f"Entry {entry['seq']}: ")) == (1, True)
        assert why in said
    del entry["personal"]
    file.write_text("".join([lines[0], json.dumps(entry) + "\n", lines[2]]))
    assert proven(program, str(file))[0] == 0, "an erased name leaves the proof"
    file.write_text(lines[0] + "{}\n")
    assert proven(program, str(file))[0] == 2
    file.write_text(lines[0].replace("checkpoint", "chickpoint"))
    assert proven(program, str(file))[0] == 2


@pytest.mark.django_db
def test_part__more_than_it_takes__is_refused_and_not_recorded_as_read(
    client: Client, viewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(viewer)
    written(3)
    monkeypatch.setattr(downloads, "PROVEN_MOST", 2)

    answer = client.get("/demo/history.proven.jsonl", {"q": "verb:test."})

    assert (answer.status_code, answer.content) == (
        422,
        b"More than 2 entries are found. Ask for fewer, or take manage.py history_export.\n",
    )
    assert not HistoryEntry.objects.filter(verb="history.read").exists()
