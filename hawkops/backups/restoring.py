"""Proving a backup, and restoring it into an empty system.

The file is proven to its end before anything is written, and the database comes back in one transaction.
"""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import psycopg
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from hawkops.backups import box, server
from hawkops.backups.dumping import files_of, fingerprint
from hawkops.backups.sealed import Damaged
from hawkops.core import clock
from hawkops.core.errors import Conflict, HawkOpsError, InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.services import change, history_verify
from hawkops.history.witnessed import Folder
from rollout.services.revisions import revisions_jump

RESTORED = "system.restored"
ACTOR = Actor.system("restore")
TABLES = """
SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'
   AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
"""


class RestoreFailed(HawkOpsError):
    """The system is not as the backup says."""


@dataclass(frozen=True)
class Proven:
    """What a whole backup says of itself."""

    manifest: dict[str, Any]
    manifest_sha256: str
    parts: list[box.Part]
    sealed: bool

    @property
    def made_at(self) -> datetime:
        """When its snapshot was taken."""
        return datetime.fromisoformat(str(self.manifest["made_at"]))

    @property
    def head(self) -> tuple[int, str]:
        """The head of the history in it."""
        return int(self.manifest["head"]["seq"]), str(self.manifest["head"]["hash"])


@dataclass(frozen=True)
class Restored:
    """A system that stands again."""

    proven: Proven
    files: int
    revisions: dict[str, int]
    seconds: float
    same_secret: bool
    entry: int


def check(path: Path, *, passphrase: str = "") -> Proven:
    """Read a backup to its end and compare every part with the manifest. Raises Damaged or InvalidInput."""
    with box.opened(path, passphrase=passphrase) as found:
        parts = [part for part, _ in found.parts()]
        if box.DATABASE not in {part.name for part in parts}:
            raise Damaged("The database is not in it.")
        proven = Proven(found.manifest, found.manifest_sha256, parts, found.sealed)
    try:
        _ = proven.made_at, proven.head, proven.manifest["versions"]["postgresql"], proven.manifest["migrations"]
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"The manifest lacks {error}.") from error
    return proven


def restore(path: Path, *, passphrase: str = "", say: Callable[[str], None]) -> Restored:
    """Bring a backup back into an empty system. Raises Conflict where it is not empty; nothing is changed then."""
    began = clock.now()
    say("reading the backup to its end")
    proven = check(path, passphrase=passphrase)
    database = server.owner()
    with _reached(database) as line:
        program = _fits(proven, line)
        _empty(line)
    _free(proven, settings.DATA, box.DATA)
    # one that lies elsewhere and outlived the rest saw more than the backup's copy of it
    outlived = Folder(settings.WITNESS_DIR).count() > 0
    with box.opened(path, passphrase=passphrase) as found:
        for part, source in found.parts():
            if part.name == box.DATABASE:
                say(f"restoring the database, {part.bytes / 1e6:.1f} MB")
                _database(program, database, source)
            elif part.name.startswith(box.DATA):
                _file(settings.DATA, part.name.removeprefix(box.DATA), source)
            elif not outlived:
                _file(settings.WITNESS_DIR, part.name.removeprefix(box.WITNESS), source)
    say("migrating and granting")
    for alias in connections:
        connections[alias].close()
    call_command("migrate", interactive=False, verbosity=0)
    say("verifying the history")
    _witness_goes_back(proven)
    found_head = history_verify(requested_by="restore")
    if not found_head.good:
        raise RestoreFailed(f"The restored history does not verify: entry {found_head.bad_seq}, {found_head.why}.")
    if (found_head.head_seq, found_head.head_hash) != proven.head:
        raise RestoreFailed(
            f"The restored history ends at {found_head.head_seq} with {found_head.head_hash[:16]}, "
            f"and the manifest says {proven.head[0]} with {proven.head[1][:16]}."
        )
    return _live_again(proven, began)


def _live_again(proven: Proven, began: datetime) -> Restored:
    """Drop what must not live on, let revisions go on above all that devices can have seen, and write it down."""
    with change(actor=ACTOR, reason="Restored from a backup") as this:
        sessions = Session.objects.all().delete()[0]
        revisions = revisions_jump()
        this.record(
            RESTORED,
            subject="system:backup",
            after={
                "made_at": proven.made_at.isoformat(),
                "head": proven.manifest["head"],
                "manifest_sha256": proven.manifest_sha256,
                "revisions": revisions,
                "sessions_dropped": sessions,
            },
        )
    return Restored(
        proven,
        len(proven.parts) - 1,
        revisions,
        (clock.now() - began).total_seconds(),
        _same_secret(proven),
        this.entries[0].seq,
    )


def _same_secret(proven: Proven) -> bool:
    """Whether the next start has the SECRET_KEY that sealed what is in the database."""
    kept = settings.DATA / "secret.key"
    present = [settings.SECRET_KEY, *([kept.read_text().strip()] if kept.exists() else [])]
    return str(proven.manifest.get("secret_key")) in map(fingerprint, present)


@contextmanager
def _reached(database: Any) -> Iterator[psycopg.Connection[Any]]:
    try:
        with server.connect(database) as line:
            yield line
    except psycopg.OperationalError as error:
        raise RestoreFailed(f"The database can't be reached: {' '.join(str(error).split())[:300]}") from error


def _fits(proven: Proven, line: psycopg.Connection[Any]) -> Path:
    """Return the program that restores. Raises InvalidInput where server or HawkOps are older than the backup."""
    version, made_by = server.major(line), int(proven.manifest["versions"]["postgresql"]) // 10_000
    if version < made_by:
        raise InvalidInput(
            f"The backup is of PostgreSQL {made_by}, and this server is {version}. Use {made_by} or newer."
        )
    known = MigrationLoader(None).disk_migrations
    if unknown := [f"{app} {name}" for app, name in proven.manifest["migrations"] if (app, name) not in known]:
        made = proven.manifest["versions"].get("hawkops", "a newer one")
        raise InvalidInput(
            f"The backup was made by HawkOps {made}, which has migrations unknown here ({unknown[-1]}). "
            "Install that version or a newer one first."
        )
    return server.tool("pg_restore", version)


def _empty(line: psycopg.Connection[Any]) -> None:
    many = cast(tuple[int], line.execute(TABLES).fetchone())[0]
    if many:
        raise Conflict(
            f"The database {line.info.dbname} is not empty ({many} tables). A backup is restored into an empty "
            "one only: make a new database, or with the embedded server name a new folder with --data."
        )


def _free(proven: Proven, folder: Path, prefix: str) -> None:
    """Refuse to write over a file that is there."""
    wanted = [part.name.removeprefix(prefix) for part in proven.parts if part.name.startswith(prefix)]
    if there := [name for name in wanted if (folder / name).exists()]:
        raise Conflict(
            f"{folder / there[0]} is there already, and {len(there) - 1} more. "
            "Move the folder away, or name a new one with HAWKOPS_DATA or --data."
        )
    if folder == settings.DATA and (own := next(files_of(folder), None)) is not None:
        raise Conflict(f"{folder} holds {own.relative_to(folder)}, which the backup has not. Name an empty folder.")


def _witness_goes_back(proven: Proven) -> None:
    """Let the witness go on from the backup's head; what it saw beyond is lost to the database and kept by the witness."""
    folder, (seq, digest) = Folder(settings.WITNESS_DIR), proven.head
    seen = folder.hash_at(seq)
    if seen is not None and seen != digest:
        raise RestoreFailed(f"The witness in {folder.path} saw another entry {seq} than the backup has.")
    folder.go_back(seq, f"restored from the backup of {proven.made_at.isoformat()}", clock.now())


def _database(program: Path, database: Any, source: Any) -> None:
    """Restore in one transaction: it is there whole, or not at all."""
    command = [
        str(program),
        "--single-transaction",
        "--exit-on-error",
        "--no-owner",
        "--no-privileges",
        f"--dbname={database['NAME']}",
    ]
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(
            command, env=server.environment(database), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
        ) as process:
            assert process.stdin is not None
            try:
                while chunk := source.read(box.CHUNK):
                    process.stdin.write(chunk)
                process.stdin.close()
            except BrokenPipeError:
                pass  # it says itself why it ended
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            said.seek(0)
            words = " ".join(said.read().decode(errors="replace").split())
            raise RestoreFailed(f"pg_restore failed, and the database is as it was: {words[-400:]}")


def _file(folder: Path, name: str, source: Any) -> None:
    """Write one file that only its owner may read."""
    path = folder / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        while chunk := source.read(box.CHUNK):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
