"""The file of a backup: a tar with `manifest.json` first, which names each part with its size and SHA-256."""

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from hawkops.backups.sealed import MAGIC, Damaged, Opening, Sealing
from hawkops.core.errors import InvalidInput

FORM = "hawkops.backup/1"
MANIFEST = "manifest.json"
MANIFEST_MOST = 16 * 2**20
DATABASE = "database.dump"
DATA, WITNESS = "data/", "witness/"
CHUNK = 2**20
ENDING = ".hawkops-backup"


@dataclass(frozen=True)
class Part:
    """One part as the manifest names it."""

    name: str
    bytes: int
    sha256: str


class Spool:
    """Parts that wait to be written, in a file without a name: whatever happens, nothing of it stays on the disk."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by whoever made the spool
        self._places: dict[str, int] = {}
        self.parts: list[Part] = []

    def add(self, name: str, source: IO[bytes]) -> Part:
        """Take a part to its end."""
        self._places[name] = self._file.seek(0, os.SEEK_END)
        digest, size = hashlib.sha256(), 0
        while chunk := source.read(CHUNK):
            self._file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        part = Part(name, size, digest.hexdigest())
        self.parts.append(part)
        return part

    def write(self, target: IO[bytes], manifest: bytes) -> None:
        """Write manifest and parts as a tar."""
        with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(_entry(MANIFEST, len(manifest)), io.BytesIO(manifest))
            for part in self.parts:
                self._file.seek(self._places[part.name])
                tar.addfile(_entry(part.name, part.bytes), self._file)

    def close(self) -> None:
        """Let go of it."""
        self._file.close()


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry


def manifest_bytes(about: dict[str, Any], parts: list[Part]) -> bytes:
    """Return the manifest's text."""
    listed = [{"name": part.name, "bytes": part.bytes, "sha256": part.sha256} for part in parts]
    return json.dumps({"form": FORM, **about, "parts": listed}, indent=1, sort_keys=True).encode()


@contextmanager
def fresh_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file that only its owner may read and that has its name only once it is whole and on the disk."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    file = os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    try:
        with file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise InvalidInput(
                    f"{path.parent} keeps no rights, so others could read the backup. Choose another disk."
                )
            yield file
            file.flush()
            os.fsync(file.fileno())
        # never over a backup that is there
        os.link(unfinished, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError as error:
        raise InvalidInput(f"{path} is there already; name another file.") from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def seal_into(target: BinaryIO, spool: Spool, manifest: bytes, *, passphrase: str) -> None:
    """Write the backup, under a passphrase where there is one."""
    if not passphrase:
        spool.write(target, manifest)
        return
    sealing = Sealing(target, passphrase)
    spool.write(cast(IO[bytes], sealing), manifest)
    sealing.close()


@dataclass
class Box:
    """A backup that is being read: the manifest first, then its parts one after another, each proven at its end."""

    manifest: dict[str, Any]
    manifest_sha256: str
    sealed: bool
    _tar: tarfile.TarFile
    _parts: list[Part] = field(default_factory=list)

    def parts(self) -> Iterator[tuple[Part, IO[bytes]]]:
        """Give each part with its bytes. Raises Damaged for a part that is not as the manifest says, once it was read."""
        for part in self._parts:
            entry = self._next()
            if entry is None or entry.name != part.name or not entry.isreg() or entry.size != part.bytes:
                raise Damaged(f"{part.name} is missing or not as the manifest says: the file is cut or altered.")
            source = self._tar.extractfile(entry)
            assert source is not None
            proven = _Proven(source, part)
            yield part, cast(IO[bytes], proven)
            proven.finish()
        if (entry := self._next()) is not None:
            raise Damaged(f"{entry.name[:80]} is in the file and not in its manifest.")

    def _next(self) -> tarfile.TarInfo | None:
        try:
            return self._tar.next()
        except (tarfile.TarError, OSError) as error:
            raise Damaged(f"The file is cut or altered: {error}.") from error


class _Proven:
    """Bytes of one part, hashed as they go by."""

    def __init__(self, source: IO[bytes], part: Part) -> None:
        self._source, self._part = source, part
        self._digest, self._read = hashlib.sha256(), 0

    def read(self, size: int = CHUNK) -> bytes:
        try:
            chunk = self._source.read(size if size >= 0 else CHUNK)
        except (tarfile.TarError, OSError) as error:
            raise Damaged(f"{self._part.name} ends too early: the file is cut.") from error
        self._digest.update(chunk)
        self._read += len(chunk)
        return chunk

    def finish(self) -> None:
        while self.read():
            pass
        if self._read != self._part.bytes or self._digest.hexdigest() != self._part.sha256:
            raise Damaged(f"{self._part.name} is not what the manifest says: its SHA-256 differs.")


@contextmanager
def opened(path: Path, *, passphrase: str) -> Iterator[Box]:
    """Open a backup. Raises Damaged for what is none, InvalidInput without the passphrase that it takes."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}.") from error
    with file:
        sealed = file.read(len(MAGIC)) == MAGIC
        file.seek(0)
        if sealed and not passphrase:
            raise InvalidInput(f"{path.name} is sealed; name the file with its passphrase by --passphrase-file.")
        source = cast(IO[bytes], Opening(file, passphrase)) if sealed else file
        try:
            tar = tarfile.open(fileobj=source, mode="r|")  # noqa: SIM115 - nothing of it outlives the file
            first = tar.next()
        except (tarfile.TarError, OSError) as error:
            raise Damaged(f"{path.name} is no backup of HawkOps, or it is cut.") from error
        if first is None or first.name != MANIFEST or first.size > MANIFEST_MOST:
            raise Damaged(f"{path.name} is no backup of HawkOps: it does not begin with its manifest.")
        try:
            text = cast(IO[bytes], tar.extractfile(first)).read()
            manifest = json.loads(text)
            parts = [Part(str(one["name"]), int(one["bytes"]), str(one["sha256"])) for one in manifest["parts"]]
        except (tarfile.TarError, OSError, ValueError, KeyError, TypeError) as error:
            raise Damaged(f"The manifest of {path.name} can't be read.") from error
        if manifest.get("form") != FORM:
            raise InvalidInput(
                f"{path.name} has the form {str(manifest.get('form'))[:40]!r}, and this HawkOps reads {FORM}. "
                "Restore it with the HawkOps that made it."
            )
        if bad := next((part.name for part in parts if not _plain(part.name)), None):
            raise Damaged(f"The manifest names {bad[:80]!r}, which is no part of a backup.")
        yield Box(manifest, hashlib.sha256(text).hexdigest(), sealed, tar, parts)


def _plain(name: str) -> bool:
    """Whether it is the database, or a file under one of the folders."""
    path = PurePosixPath(name)
    inside = name.startswith((DATA, WITNESS)) and len(path.parts) > 1
    return "\x00" not in name and str(path) == name and ".." not in path.parts and (name == DATABASE or inside)
