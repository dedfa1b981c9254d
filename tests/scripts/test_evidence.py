"""An archive of evidence proves itself again by its file alone, and whatever was altered in it is named."""

import argparse
import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.management import CommandError, call_command

from hawkops.history.actors import Actor
from hawkops.history.domain import chain
from hawkops.history.services import change, heartbeat_record
from hawkops.scripts.checks import evidence, security
from hawkops.scripts.checks.evidence_proof import evidence_verify
from hawkops.scripts.probes import findings
from hawkops.scripts.probes.findings import Finding
from hawkops.scripts.probes.measuring import Exit
from tests.scripts.test_checks import data, titled

__all__ = ["data"]
pytestmark = pytest.mark.django_db
Files = dict[str, bytes]


@pytest.fixture
def archive(data: Path) -> Path:
    """An archive of a short history: a change with a state, and a heartbeat."""
    list(security.stack_deploy(argparse.Namespace()))
    with change(actor=Actor("person:7", "Ada"), environment="demo", request_id="r-1", reason="Zu heiß") as this:
        this.record("flag.killed", subject="flag:litert_enabled", before={"b": 1.50, "a": "ü"}, after={"on": False})
    heartbeat_record()
    return collected(data)


def collected(data: Path) -> Path:
    found = list(evidence.evidence_collect(argparse.Namespace(incident="INC-7")))
    assert titled(found)["Archive"].outcome is Exit.PASSED
    return max((data / "evidence").glob("INC-7-*.tar.gz"))


def trusted(data: Path) -> Path:
    return data / "signing/evidence.pub.pem"


def opened(path: Path) -> Files:
    with tarfile.open(path) as found:
        return {member.name: found.extractfile(member).read() for member in found}  # type: ignore[union-attr]


def packed(path: Path, files: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as target:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    return path


def verified(path: Path, key: Path | None) -> dict[str, Finding]:
    return titled(list(evidence_verify(path, trusted=key)))


def test_archive__as_collected__is_proven_and_its_chain_recomputed(archive: Path, data: Path) -> None:
    found = verified(archive, trusted(data))

    assert {title: one.outcome for title, one in found.items()} == dict.fromkeys(
        ("Signature", "Files", "Chain"), Exit.PASSED
    )
    lines = [json.loads(line) for line in opened(archive)["history.jsonl"].splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert "history.heartbeat" in {line["verb"] for line in lines}
    # by hand, as somebody without HawkOps would: SHA-256 of the hash before and the row as compact JSON
    names = [
        "seq", "at", "environment", "actor", "verb", "subject", "before", "after", "reason", "request_id", "cause",
        "hidden", "commitment",
    ]  # fmt: skip
    for line in lines:
        row = json.dumps([line[name] for name in names], separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256((line["previous_hash"] + row).encode()).hexdigest() == line["hash"]


def test_archive__names_of_people__are_not_in_it(archive: Path) -> None:
    assert b"Ada" not in opened(archive)["history.jsonl"]


def test_archive__no_key_is_trusted__is_not_proven_to_be_anybodys(archive: Path) -> None:
    found = verified(archive, None)

    assert found["Signature"].outcome is Exit.UNMEASURED
    assert (found["Files"].outcome, found["Chain"].outcome) == (Exit.PASSED, Exit.PASSED)


def edit(files: Files, number: int, /, **fields: Any) -> None:
    rows = [json.loads(line) for line in files["history.jsonl"].splitlines()]
    rows[number - 1] |= fields
    files["history.jsonl"] = b"".join(json.dumps(row, sort_keys=True).encode() + b"\n" for row in rows)


def without_line(files: Files, number: int) -> None:
    lines = files["history.jsonl"].splitlines(keepends=True)
    del lines[number]
    files["history.jsonl"] = b"".join(lines)


def rehashed(files: Files, number: int, /, **fields: Any) -> None:
    """Alter an entry and build the whole chain after it anew: only the recorded head can tell."""
    edit(files, number, **fields)
    rows, last = [], chain.GENESIS
    for line in files["history.jsonl"].splitlines():
        row, _, _ = chain.imported(json.loads(line))
        rows.append(chain.exported(row, last, chain.row_hash(last, row)))
        last = rows[-1]["hash"]
    files["history.jsonl"] = b"".join(json.dumps(row, sort_keys=True).encode() + b"\n" for row in rows)


def set_manifest(files: Files, /, **fields: Any) -> None:
    files["manifest.json"] = json.dumps({**json.loads(files["manifest.json"]), **fields}).encode()


def described_anew(files: Files) -> None:
    """Write the hashes of what lies there now into the manifest, as a forger would."""
    names = [name for name in files if name not in ("manifest.json", "manifest.sig", "evidence.pub.pem")]
    about = {name: {"sha256": hashlib.sha256(files[name]).hexdigest(), "bytes": len(files[name])} for name in names}
    set_manifest(files, files=about)


def signed_anew(files: Files) -> None:
    """Sign the manifest with a key of one's own and put that one in."""
    key = ec.generate_private_key(ec.SECP256R1())
    files["manifest.sig"] = base64.b64encode(key.sign(files["manifest.json"], ec.ECDSA(hashes.SHA256())))
    files["evidence.pub.pem"] = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def both(*steps: Callable[[Files], object]) -> Callable[[Files], object]:
    def tamper(files: Files) -> None:
        for step in steps:
            step(files)

    return tamper


TAMPERED: list[tuple[Callable[[Files], object], dict[str, str]]] = [
    (lambda files: edit(files, 2, reason="nobody"),
     {"Files": "history.jsonl was altered", "Chain": "entry 2 was altered"}),
    (lambda files: without_line(files, 1), {"Files": "history.jsonl was altered", "Chain": "entry 2 is missing"}),
    (lambda files: without_line(files, -1), {"Chain": "are missing at the end"}),
    (lambda files: rehashed(files, 1, actor="person:8"), {"Chain": "is not the head that was recorded"}),
    (lambda files: edit(files, 1, seq="1"), {"Chain": "line 1 of history.jsonl is no exported entry"}),
    (lambda files: edit(files, 1, reason="\ud800"), {"Chain": "surrogates not allowed"}),
    (lambda files: files.update({"history.jsonl": b"[" * 100_000}), {"Chain": "line 1 of history.jsonl"}),
    (lambda files: files.pop("history.jsonl"), {"Files": "is missing", "Chain": "no chain to verify"}),
    (lambda files: files.update({"runs.jsonl": b"{}\n"}), {"Files": "runs.jsonl was altered"}),
    (lambda files: files.update({"extra": b""}), {"Files": "extra is not in manifest.json"}),
    (lambda files: set_manifest(files, incident="INC-8"), {"Signature": "manifest.json was altered"}),
    (both(lambda files: files.update({"runs.jsonl": b""}), described_anew), {"Signature": "manifest.json was altered"}),
    (both(lambda files: files.update({"runs.jsonl": b""}), described_anew, signed_anew),
     {"Signature": "made with another key"}),
    (signed_anew, {"Signature": "made with another key"}),
    (lambda files: files.update({"manifest.sig": b"?"}), {"Signature": "manifest.json was altered"}),
    (lambda files: files.update({"evidence.pub.pem": b"?"}), {"Signature": "can't be verified"}),
    (lambda files: files.pop("manifest.sig"), {"Archive": "lacks manifest.sig"}),
    (lambda files: files.update({"manifest.json": b"{}"}), {"Archive": "can't be read"}),
    (lambda files: set_manifest(files, files=["x"]), {"Archive": "can't be read"}),
    (lambda files: set_manifest(files, history_head={"seq": "1", "hash": ""}), {"Archive": "says other things"}),
]  # fmt: skip


@pytest.mark.parametrize(("tamper", "named"), TAMPERED)
def test_archive__tampered_with__fails_and_is_named(
    archive: Path, data: Path, tamper: Callable[[Files], object], named: dict[str, str]
) -> None:
    files = opened(archive)
    tamper(files)
    found = verified(packed(archive, list(files.items())), trusted(data))

    assert findings.together(one.outcome for one in found.values()) is Exit.FAILED
    for title, words in named.items():
        assert (found[title].outcome, words in found[title].sentence) == (Exit.FAILED, True), found[title].sentence


def test_archive__that_is_none_or_hides_a_second_file__is_refused(archive: Path, data: Path) -> None:
    files = opened(archive)
    packed(archive, [*files.items(), ("runs.jsonl", b"the one that unpacking would leave")])
    assert "holds 'runs.jsonl' twice" in verified(archive, trusted(data))["Archive"].sentence

    whole = archive.read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2]):
        archive.write_bytes(content)
        assert "can't be read as an archive" in verified(archive, trusted(data))["Archive"].sentence
    with tarfile.open(archive, "w:gz") as target:
        link = tarfile.TarInfo("manifest.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        target.addfile(link)
    assert "no plain file" in verified(archive, trusted(data))["Archive"].sentence


def test_command__says_line_by_line_and_ends_accordingly(
    archive: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(*words: str) -> int:
        with pytest.raises(SystemExit) as ended:
            call_command("evidence_verify", *words)
        return int(str(ended.value.code))

    assert ends(str(archive)) == 0
    assert "✅ Chain: " in capsys.readouterr().out
    key = trusted(data).rename(tmp_path / "kept-elsewhere.pem")
    assert ends(str(archive)) == 77
    assert ends(str(archive), f"--key={key}") == 0
    assert ends(str(archive), "--key=/no/such/key.pem") == 1
    archive.write_bytes(archive.read_bytes()[:-100])
    assert ends(str(archive), f"--key={key}") == 1
    with pytest.raises(CommandError, match="There is no file"):
        call_command("evidence_verify", "/no/such/archive.tar.gz")
