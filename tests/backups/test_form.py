"""The file of a backup: what is cut, altered, added or renamed in it is found before anything is restored."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from hawkops.backups import box, sealed
from hawkops.backups.sealed import Damaged
from hawkops.core.errors import InvalidInput

PASSPHRASE = "correct horse battery"
ABOUT = {"made_at": "2026-12-01T00:00:00+00:00"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "WORK", 4)


def written(folder: Path, *, passphrase: str = "", size: int = 200_000) -> Path:
    path = folder / f"one{box.ENDING}"
    spool = box.Spool(folder)
    spool.add(box.DATABASE, io.BytesIO(bytes(range(256)) * (size // 256)))
    spool.add("data/signing/evidence.pem", io.BytesIO(b"a key"))
    spool.add("data/empty", io.BytesIO(b""))
    with box.fresh_file(path) as file:
        box.seal_into(file, spool, box.manifest_bytes(ABOUT, spool.parts), passphrase=passphrase)
    spool.close()
    return path


def read(path: Path, *, passphrase: str = "") -> dict[str, bytes]:
    with box.opened(path, passphrase=passphrase) as opened:
        found = {}
        for part, source in opened.parts():
            found[part.name] = b""
            while chunk := source.read(70_000):
                found[part.name] += chunk
        return found


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
@pytest.mark.parametrize("size", [0, 65_536 * 4, 200_000])
def test_written__is_read_again(tmp_path: Path, passphrase: str, size: int) -> None:
    path = written(tmp_path, passphrase=passphrase, size=size)

    found = read(path, passphrase=passphrase)

    assert list(found) == [box.DATABASE, "data/signing/evidence.pem", "data/empty"]
    assert found[box.DATABASE] == bytes(range(256)) * (size // 256)
    assert found["data/signing/evidence.pem"] == b"a key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert (b"a key" in path.read_bytes()) == (not passphrase)


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
def test_cut__anywhere_is_found(tmp_path: Path, passphrase: str) -> None:
    path = written(tmp_path, passphrase=passphrase)
    whole = path.read_bytes()
    ends = len(whole) if passphrase else whole.rindex(b"data/empty") + 512
    cut = tmp_path / "cut"

    for length in [*range(0, ends - 1, 7_919), ends - 1 - 511 * (not passphrase)]:
        cut.write_bytes(whole[:length])
        with pytest.raises(InvalidInput):
            read(cut, passphrase=passphrase)


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
def test_altered__any_byte_of_a_part_is_found(tmp_path: Path, passphrase: str) -> None:
    path = written(tmp_path, passphrase=passphrase)
    whole = path.read_bytes()
    begins = whole.index(bytes(range(256))) if not passphrase else 0
    ends = begins + 199_000 if not passphrase else len(whole)
    altered = tmp_path / "altered"

    for place in range(begins, ends, 9_973):
        altered.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InvalidInput):
            read(altered, passphrase=passphrase)


def test_sealed__pieces_in_another_order_are_found(tmp_path: Path) -> None:
    path = written(tmp_path, passphrase=PASSPHRASE)
    whole = path.read_bytes()
    begins = whole.index(b"\n", len(sealed.MAGIC)) + 1
    size = sealed.PIECE + sealed.TAG
    first, second = whole[begins : begins + size], whole[begins + size : begins + 2 * size]
    path.write_bytes(whole[:begins] + second + first + whole[begins + 2 * size :])

    with pytest.raises(Damaged):
        read(path, passphrase=PASSPHRASE)


def test_sealed__another_passphrase_and_none(tmp_path: Path) -> None:
    path = written(tmp_path, passphrase=PASSPHRASE)

    with pytest.raises(Damaged, match="passphrase is another one"):
        read(path, passphrase="another passphrase")
    with pytest.raises(InvalidInput, match="--passphrase-file"):
        read(path)


def test_sealed__asks_for_more_work_than_a_backup_needs(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(sealed.MAGIC + json.dumps({"kdf": "scrypt", "work": 40, "salt": "00"}).encode() + b"\n")

    with pytest.raises(Damaged, match="no backup needs"):
        read(path, passphrase=PASSPHRASE)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "data/../../etc/passwd", "data/", "other/file", "data//x", "data/./x", "witness/../data/x"]
)
def test_manifest__names_outside_its_folders_are_refused(tmp_path: Path, name: str) -> None:
    path = _tar(tmp_path, {name: b"x"})

    with pytest.raises(Damaged):
        read(path)


def test_file_beside_the_manifest_is_found(tmp_path: Path) -> None:
    path = _tar(tmp_path, {"data/a": b"x"}, beside={"data/b": b"y"})

    with pytest.raises(Damaged, match="not in its manifest"):
        read(path)


def test_link_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "link"
    manifest = box.manifest_bytes(ABOUT, [box.Part("data/a", 0, "0" * 64)])
    with tarfile.open(path, "w") as tar:
        tar.addfile(_entry(box.MANIFEST, len(manifest)), io.BytesIO(manifest))
        link = tarfile.TarInfo("data/a")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    with pytest.raises(Damaged, match="data/a"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"no backup", b"\x00" * 4_096])
def test_no_backup(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "none"
    path.write_bytes(content)

    with pytest.raises(Damaged):
        read(path)


def test_another_form__says_who_can_read_it(tmp_path: Path) -> None:
    path = _tar(tmp_path, {"data/a": b"x"}, form="hawkops.backup/9")

    with pytest.raises(InvalidInput, match=r"hawkops\.backup/9"):
        read(path)


def _tar(
    folder: Path, parts: dict[str, bytes], *, beside: dict[str, bytes] | None = None, form: str = box.FORM
) -> Path:
    path = folder / "made"
    spool = box.Spool(folder)
    for name, content in parts.items():
        spool.add(name, io.BytesIO(content))
    manifest = json.loads(box.manifest_bytes(ABOUT, spool.parts)) | {"form": form}
    text = json.dumps(manifest).encode()
    with tarfile.open(path, "w") as tar:
        tar.addfile(_entry(box.MANIFEST, len(text)), io.BytesIO(text))
        for name, content in {**parts, **(beside or {})}.items():
            tar.addfile(_entry(name, len(content)), io.BytesIO(content))
    spool.close()
    return path


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry
