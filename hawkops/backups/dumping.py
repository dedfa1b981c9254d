"""Making a backup: one snapshot of the database, and every file of the data folder that can't be made anew.

Everything goes on meanwhile. The snapshot's head of the history stands in the manifest.
"""

import hashlib
import hmac
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

import psycopg
from django.conf import settings

from hawkops.backups import box, server
from hawkops.core import clock
from hawkops.core.errors import HawkOpsError, InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.services import change
from hawkops.versions import versions

BACKED_UP = "system.backed_up"
# made anew by `up`, or belonging to servers and processes that run: everything else of the data folder is kept
DERIVED = (
    "postgres",
    "postgres.home",
    "postgres.passwords",
    "valkey",
    "run",
    "static",
    "static.collected",
    "log",
    "lock",
    "env",
    "processes.json",
    "beat",
    "beat.*",
    "backups",
    "*.new",
)
HEAD = "SELECT seq, hash FROM history_head WHERE id = 1"
MIGRATIONS = "SELECT app, name FROM django_migrations ORDER BY app, name"
REVISIONS = "SELECT environment, revision FROM rollout_environmentflags ORDER BY environment"


class BackupFailed(HawkOpsError):
    """No backup was made, and nothing is left of it."""


@dataclass(frozen=True)
class Made:
    """A backup that stands."""

    path: Path
    bytes: int
    manifest: dict[str, Any]
    manifest_sha256: str
    entry: int


def backup(target: Path, *, actor: Actor, passphrase: str = "", keep: int = 0) -> Made:
    """Write a backup to a file, or under a name with its time into a folder; `keep` deletes older ones there.

    Raises InvalidInput where it may not stand, BackupFailed when it could not be made.
    """
    now = clock.now()
    path = _place(target, now, sealed=bool(passphrase))
    spool = box.Spool(path.parent)
    try:
        about = _database(spool, now)
        for name, file in _kept(path.parent):
            spool.add(name, file)
        manifest = box.manifest_bytes(about, spool.parts)
        with box.fresh_file(path) as file:
            box.seal_into(file, spool, manifest, passphrase=passphrase)
    except psycopg.Error as error:
        raise BackupFailed(f"The database can't be read: {' '.join(str(error).split())[:300]}") from error
    except OSError as error:
        raise BackupFailed(f"The backup can't be written to {path.parent}: {error.strerror or error}.") from error
    finally:
        spool.close()
    size, digest = path.stat().st_size, hashlib.sha256(manifest).hexdigest()
    dropped = _older_dropped(path, keep) if keep else []
    with change(actor=actor) as this:
        this.record(
            BACKED_UP,
            subject="system:backup",
            after={
                "file": path.name,
                "bytes": size,
                "sealed": bool(passphrase),
                "head": about["head"],
                "manifest_sha256": digest,
                "older_dropped": dropped,
            },
        )
    return Made(path, size, about, digest, this.entries[0].seq)


def _place(target: Path, now: datetime, *, sealed: bool) -> Path:
    """Return the file to write. Without a passphrase others may not enter its folder: the secrets are in it."""
    target = target.expanduser().absolute()
    if target.suffix == box.ENDING:
        folder, path = target.parent, target
    else:
        folder, path = target, target / f"hawkops-{now:%Y%m%dT%H%M%SZ}{box.ENDING}"
        if folder.exists() and not folder.is_dir():
            raise InvalidInput(f"{folder} is a file; name a folder, or a file that ends with {box.ENDING}.")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(f"The folder {folder} can't be made: {error.strerror}.") from error
    if not folder.is_dir():
        raise InvalidInput(f"There is no folder {folder}.")
    if path.exists():
        raise InvalidInput(f"{path} is there already; name another file.")
    if not sealed and folder.stat().st_mode & 0o007:
        raise InvalidInput(
            f"Everybody may enter {folder}, and the backup holds SECRET_KEY and signing keys. "
            f"Seal it with --passphrase-file, or close the folder: chmod o-rwx {folder}"
        )
    return path


def _database(spool: box.Spool, now: datetime) -> dict[str, Any]:
    """Dump one snapshot, and say what stands in it."""
    database = server.owner()
    with server.connect(database) as line:
        line.isolation_level, line.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
        snapshot = cast(tuple[str], line.execute("SELECT pg_export_snapshot()").fetchone())[0]
        seq, digest = cast(tuple[int, str], line.execute(HEAD).fetchone())
        about = {
            "made_at": now.isoformat(),
            "head": {"seq": seq, "hash": digest},
            "migrations": [list(row) for row in line.execute(MIGRATIONS)],
            "revisions": dict(line.execute(REVISIONS).fetchall()),
            "versions": {**versions(), "postgresql": line.info.server_version},
            "secret_key": fingerprint(settings.SECRET_KEY),
        }
        program = server.tool("pg_dump", server.major(line))
        command = [str(program), "--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}"]
        with tempfile.TemporaryFile() as said:
            with subprocess.Popen(
                command, env=server.environment(database), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
            ) as dump:
                assert dump.stdout is not None
                try:
                    spool.add(box.DATABASE, dump.stdout)
                except BaseException:
                    dump.kill()
                    raise
            if dump.returncode:
                said.seek(0)
                words = " ".join(said.read().decode(errors="replace").split())
                raise BackupFailed(f"pg_dump failed: {words[-400:]}")
    return about


def fingerprint(secret: str) -> str:
    """Tell one SECRET_KEY from another without giving it away."""
    return hmac.new(secret.encode(), b"hawkops.backup", hashlib.sha256).hexdigest()[:16]


def _kept(target: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Give every file that is kept: of the data folder, and of a witness folder that lies elsewhere."""
    witness = str(getattr(settings, "WITNESS_DIR", "") or "")
    folders = [(box.DATA, settings.DATA)]
    if witness and not Path(witness).resolve().is_relative_to(settings.DATA):
        folders.append((box.WITNESS, Path(witness).resolve()))
    for prefix, folder in folders:
        for path in files_of(folder, leave_out=target):
            with path.open("rb") as file:
                yield prefix + path.relative_to(folder).as_posix(), file


def files_of(folder: Path, *, leave_out: Path | None = None) -> Iterator[Path]:
    """Give the files of the data folder that can't be made anew, links and sockets left out."""
    for here, folders, names in os.walk(folder):
        place = Path(here)
        top = place == folder
        folders[:] = sorted(
            name for name in folders if not (top and _derived(name)) and (place / name).resolve() != leave_out
        )
        for name in sorted(names):
            path = place / name
            if (top and _derived(name)) or path.is_symlink() or not path.is_file():
                continue
            yield path


def _derived(name: str) -> bool:
    return any(Path(name).match(pattern) for pattern in DERIVED)


def _older_dropped(newest: Path, keep: int) -> list[str]:
    """Delete all but the newest backups beside one; only what carries a name of ours with a time."""
    named = sorted(newest.parent.glob(f"hawkops-{'[0-9]' * 8}T{'[0-9]' * 6}Z{box.ENDING}"), reverse=True)
    for path in (older := named[keep:]):
        path.unlink(missing_ok=True)
    return [path.name for path in older]
