"""A backup of a filled system comes back into an empty one: everything, proven, and with nothing that must not live on."""

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import Error, connection, transaction
from django.test import Client
from psycopg import sql

from hawkops.accounts.models import User
from hawkops.accounts.services.people import person_create
from hawkops.backups import box, dumping, planned, restoring, server
from hawkops.backups.dumping import BACKED_UP, backup
from hawkops.backups.restoring import RESTORED, restore
from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.embedded.postgres import wheel_binaries
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from hawkops.history.services import history_verify
from monitoring.models import RollupPartial
from rollout.models import EnvironmentFlags, Flag
from rollout.services.flags import LITERT, flags_seed
from rollout.services.overrides import kill
from rollout.services.revisions import MARGIN
from tests import conftest
from tests.rollout.walking import SYSTEM

pytestmark = pytest.mark.fresh_database


@pytest.fixture
def data(tmp_path: Path, settings: Any) -> Path:
    """A data folder with keys, kept files, and what can be made anew."""
    folder = tmp_path / "data"
    for name, content in {
        "secret.key": "k" * 50,
        "signing/evidence.pem": "private",
        "evidence/INC-1.tar.gz": "kept",
        "static/app.css": "made anew",
        "log/console.log": "made anew",
        "postgres.passwords": "of this server",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    settings.DATA = folder
    return folder


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder that others may not enter."""
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def empty(tmp_path: Path, settings: Any) -> Iterator[Any]:
    """Call it to stand before an empty system: a database without tables, a data folder that is not there."""
    filled = str(settings.DATABASES["default"]["NAME"])
    name = f"empty_{os.environ['HAWKOPS_TEST_WORKER']}"

    def stand() -> None:
        with psycopg.connect(os.environ["HAWKOPS_TEST_OWNER_URL"], autocommit=True) as owner:
            owner.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        conftest._use(name)
        settings.DATA = tmp_path / "restored"

    yield stand
    conftest._use(filled)
    conftest._drop(name)


def filled() -> User:
    flags_seed(actor=SYSTEM)
    admin = person_create(username="admin", actor=SYSTEM, roles=[Role.ADMIN])
    kill(environment="production", actor=SYSTEM, reason="heat")
    Client().force_login(admin)
    return admin


def test_restore__everything_is_back_and_proven(data: Path, closed: Path, empty: Any) -> None:
    filled()
    before = {row.environment: row.revision for row in EnvironmentFlags.objects.all()}
    head = Head.objects.get()
    made = backup(closed, actor=SYSTEM)
    assert HistoryEntry.objects.get(verb=BACKED_UP).after["head"] == {"seq": head.seq, "hash": head.hash}
    empty()

    done = restore(made.path, say=lambda _: None)

    assert done.proven.head == (head.seq, head.hash)
    assert history_verify(requested_by="test").good
    # the chain goes on from the manifest's head: the entry of the backup itself is not in it
    assert HistoryEntry.objects.get(seq=head.seq + 1).verb == RESTORED
    assert {row.environment: row.revision for row in EnvironmentFlags.objects.all()} == {
        name: number + MARGIN for name, number in before.items()
    }
    assert Flag.objects.get(environment="production", key=LITERT).override_variant == "off"
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_session")
        assert cursor.fetchone()[0] == 0


def test_restore__rights_and_sequences_are_right(data: Path, closed: Path, empty: Any) -> None:
    admin = filled()
    made = backup(closed, actor=SYSTEM)
    empty()

    restore(made.path, say=lambda _: None)

    assert person_create(username="next", actor=SYSTEM).pk > admin.pk
    assert RollupPartial.objects.count() == 0
    for statement in ("UPDATE history_historyentry SET reason = 'x'", "DELETE FROM history_historyentry"):
        with pytest.raises(Error), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    # an entry is refused to the tables' owner too, by the trigger that came back
    with pytest.raises(psycopg.Error), server.connect(server.owner()) as line:
        line.execute("UPDATE history_historyentry SET reason = 'x'")


def test_restore__files_are_back_and_only_their_owners(data: Path, closed: Path, empty: Any, settings: Any) -> None:
    filled()
    made = backup(closed, actor=SYSTEM)
    empty()

    done = restore(made.path, say=lambda _: None)

    back = {path.relative_to(settings.DATA).as_posix() for path in settings.DATA.rglob("*") if path.is_file()}
    # the last is made where none came back: the chain is verified with it
    assert back == {"secret.key", "signing/evidence.pem", "evidence/INC-1.tar.gz", "history.key"}
    assert all(not path.stat().st_mode & 0o077 for path in settings.DATA.rglob("*"))
    assert done.files == 3
    assert done.same_secret


def test_restore__sealed_by_commands(data: Path, closed: Path, empty: Any, tmp_path: Path) -> None:
    filled()
    word = tmp_path / "word"
    word.write_text("a long passphrase\n")
    with pytest.raises(CommandError, match="chmod 600"):
        word.chmod(0o644)
        call_command("backup", str(closed), "--passphrase-file", str(word))
    word.chmod(0o600)
    said = StringIO()
    call_command("backup", str(closed), "--passphrase-file", str(word), "--json", stdout=said)
    made = json.loads(said.getvalue())
    call_command(
        "backup", "--check", made["file"], "--passphrase-file", str(word), "--json", stdout=(said := StringIO())
    )
    assert json.loads(said.getvalue())["head"] == made["head"]
    empty()

    call_command("restore", made["file"], "--passphrase-file", str(word), "--killed", stdout=(said := StringIO()))

    assert f"history up to entry {made['head']['seq']}" in said.getvalue()
    killed = Flag.objects.filter(key=LITERT).values_list("override_variant", flat=True)
    assert list(killed) == ["off"] * 3


def test_restore__into_what_is_not_empty__is_refused_and_changes_nothing(data: Path, closed: Path) -> None:
    filled()
    made = backup(closed, actor=SYSTEM)
    head = Head.objects.get()

    with pytest.raises(Conflict, match="is not empty"):
        restore(made.path, say=lambda _: None)

    assert (Head.objects.get().seq, Head.objects.get().hash) == (head.seq, head.hash)


def test_restore__data_folder_in_use__is_refused_before_the_database(
    data: Path, closed: Path, empty: Any, settings: Any
) -> None:
    filled()
    made = backup(closed, actor=SYSTEM)
    empty()
    settings.DATA = data

    with pytest.raises(Conflict, match=r"secret\.key|evidence|signing"):
        restore(made.path, say=lambda _: None)

    with server.connect(server.owner()) as line:
        assert line.execute(restoring.TABLES).fetchone() == (0,)


def test_restore__altered_part__leaves_an_empty_system_empty(
    data: Path, closed: Path, empty: Any, settings: Any
) -> None:
    filled()
    made = backup(closed, actor=SYSTEM)
    whole = bytearray(made.path.read_bytes())
    whole[len(whole) // 2] ^= 1
    made.path.write_bytes(whole)
    empty()

    with pytest.raises(InvalidInput, match="SHA-256 differs"):
        restore(made.path, say=lambda _: None)

    assert not settings.DATA.exists()
    with server.connect(server.owner()) as line:
        assert line.execute(restoring.TABLES).fetchone() == (0,)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"migrations": [["rollout", "9999_from_the_future"]]}, "9999_from_the_future"),
        ({"versions": {"hawkops": "9", "postgresql": 990_000}}, "PostgreSQL 99"),
    ],
)
def test_restore__made_by_what_is_newer__is_refused(
    data: Path, closed: Path, empty: Any, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], says: str
) -> None:
    filled()
    usual = box.manifest_bytes
    monkeypatch.setattr(box, "manifest_bytes", lambda about, parts: usual({**about, **change}, parts))
    made = backup(closed, actor=SYSTEM)
    empty()

    with pytest.raises(InvalidInput, match=says):
        restore(made.path, say=lambda _: None)


def test_backup__server_without_its_pg_dump__says_what_to_install(
    data: Path, closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "major", lambda _line: 16)
    monkeypatch.setattr(server, "_candidates", lambda _name: iter([wheel_binaries() / "pg_dump"]))

    with pytest.raises(InvalidInput, match="postgresql-client-16"):
        backup(closed, actor=SYSTEM)

    assert list(closed.iterdir()) == []


def test_backup__telemetry_and_changes_of_the_meantime__are_not_in_it(
    data: Path, closed: Path, empty: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot's head is the manifest's, whatever is committed while the dump is under way."""
    filled()
    head = Head.objects.get()
    find = server.tool

    def while_it_runs(name: str, version: int) -> Path:
        person_create(username="meanwhile", actor=SYSTEM)
        return find(name, version)

    monkeypatch.setattr(server, "tool", while_it_runs)
    made = backup(closed, actor=SYSTEM)
    monkeypatch.setattr(server, "tool", find)
    empty()

    done = restore(made.path, say=lambda _: None)

    assert done.proven.head == (head.seq, head.hash)
    assert not User.objects.filter(username="meanwhile").exists()


def test_backup__folder_that_everybody_may_enter(data: Path, closed: Path) -> None:
    closed.chmod(0o755)

    with pytest.raises(InvalidInput, match="chmod o-rwx"):
        backup(closed, actor=SYSTEM)

    assert backup(closed, actor=SYSTEM, passphrase="a long passphrase").path.exists()


def test_backup__keep__deletes_older_ones_of_ours_only(data: Path, closed: Path) -> None:
    for name in ("hawkops-20260101T000000Z", "hawkops-20260102T000000Z", "mine"):
        (closed / f"{name}{box.ENDING}").write_text("older")

    made = backup(closed, actor=SYSTEM, keep=2)

    assert {path.name for path in closed.iterdir()} == {
        made.path.name,
        f"hawkops-20260102T000000Z{box.ENDING}",
        f"mine{box.ENDING}",
    }


def test_planned__once_a_day_and_a_failure_is_told(
    data: Path, closed: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not planned.backup_due()
    settings.BACKUP_DIR = str(closed)
    closed.chmod(0o755)
    assert not planned.backup_due()
    assert not planned.backup_due()
    assert "chmod o-rwx" in HistoryEntry.objects.get(verb=planned.FAILED).reason
    closed.chmod(0o700)
    later = clock.now() + timedelta(hours=2)
    monkeypatch.setattr(clock, "now", lambda: later)

    assert planned.backup_due()
    assert not planned.backup_due()

    assert [path.name for path in closed.iterdir()] == [f"hawkops-{later:%Y%m%dT%H%M%SZ}{box.ENDING}"]
    assert HistoryEntry.objects.filter(verb=BACKED_UP).count() == 1


def test_kept__a_new_folder_is_backed_up_without_a_line_of_ours(data: Path) -> None:
    (data / "witness").mkdir()
    (data / "witness" / "head").write_text("1")
    (data / "link").symlink_to("/etc/passwd")

    names = {path.relative_to(data).as_posix() for path in dumping.files_of(data)}

    assert names == {"secret.key", "signing/evidence.pem", "evidence/INC-1.tar.gz", "witness/head"}


def test_actor__says_who_ran_the_command(data: Path, closed: Path) -> None:
    call_command("backup", str(closed), stdout=StringIO())

    assert HistoryEntry.objects.get(verb=BACKED_UP).actor.startswith("system:backup by ")
    assert Actor.system("x").reference == "system:x"
