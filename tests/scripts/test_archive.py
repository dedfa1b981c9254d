"""Archives of evidence: proven away from the installation, and every way of altering one is found."""

import argparse
import gzip
import io
import json
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command

from hawkops.core import clock
from hawkops.history.actors import Actor
from hawkops.history.services import change, heartbeat_record
from hawkops.scripts.checks import archive, evidence, security
from hawkops.scripts.probes.findings import Finding
from hawkops.scripts.probes.measuring import Exit

pytestmark = pytest.mark.django_db
Files = dict[str, bytes]


@pytest.fixture
def collected(settings: Any, tmp_path: Path) -> Path:
    """An archive over a history that began before it, with hidden entries between the others."""
    settings.DATA = tmp_path
    with time_machine.travel(clock.now() - timedelta(days=9), tick=False):
        heartbeat_record()
        heartbeat_record()
    list(security.stack_deploy(argparse.Namespace()))
    heartbeat_record()
    with change(actor=Actor.rule("test"), environment="demo", reason="Ünï") as this:
        this.record("flag.killed", subject="flag:litert_enabled", before={"a": 1}, after={"a": None})
    heartbeat_record()
    list(evidence.evidence_collect(argparse.Namespace(incident="INC-7")))
    (found,) = (tmp_path / "evidence").glob("*.tar.gz")
    return found


def outcomes(path: Path, key: bytes | None = None) -> dict[str, Finding]:
    """What is said of an archive, by line."""
    return {line.title: line for line in archive.verify(path, public_key=key)}


def altered(path: Path, change_files: Callable[[Files], None]) -> Path:
    """A copy with other files in it."""
    with tarfile.open(path) as source:
        files = {m.name: source.extractfile(m).read() for m in source.getmembers()}  # type: ignore[union-attr]
    change_files(files)
    target = path.with_name("altered.tar.gz")
    with tarfile.open(target, "w:gz") as copy:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            copy.addfile(member, io.BytesIO(data))
    return target


def test_verify__as_it_was_made__every_line_is_proven(collected: Path) -> None:
    key = (collected.parent.parent / "signing/evidence.pub.pem").read_bytes()
    found = outcomes(collected, key)
    assert {title: line.outcome for title, line in found.items()} == dict.fromkeys(
        ("Signature", "Files", "History"), Exit.PASSED
    )
    assert "entries 3 to" in found["History"].sentence, "what is older than a week is not in it"
    assert outcomes(collected)["Signature"].outcome is Exit.UNMEASURED, "its own key proves nothing alone"


def _entry(files: Files, **values: Any) -> None:
    lines = files["history.jsonl"].splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), **values}).encode()
    files["history.jsonl"] = b"\n".join(lines)


def _cut(files: Files) -> None:
    files["history.jsonl"] = files["history.jsonl"].rstrip(b"\n").rpartition(b"\n")[0]


@pytest.mark.parametrize(
    ("change_files", "title", "words"),
    [
        (lambda f: f.update({"runs.jsonl": b"{}\n"}), "Files", "runs.jsonl was altered"),
        (lambda f: f.pop("model.json"), "Files", "differ in model.json"),
        (lambda f: f.update({"more.txt": b""}), "Files", "differ in more.txt"),
        (lambda f: f.update({"manifest.json": f["manifest.json"] + b" "}), "Signature", "altered after it"),
        (lambda f: f.update({"manifest.sig": b"AAAA"}), "Signature", "altered after it"),
        (lambda f: _entry(f, reason="Another"), "History", "was altered"),
        (lambda f: _entry(f, commitment="0" * 64), "History", "was altered"),
        (_cut, "History", "missing at the end"),
        (lambda f: f.update({"history.jsonl": b"{}"}), "History", "can't be read"),
    ],
)
def test_verify__altered__is_found(
    collected: Path, change_files: Callable[[Files], None], title: str, words: str
) -> None:
    key = (collected.parent.parent / "signing/evidence.pub.pem").read_bytes()
    found = outcomes(altered(collected, change_files), key)[title]
    assert (found.outcome, words in found.sentence) == (Exit.FAILED, True), found


def test_verify__what_is_no_archive__is_said(tmp_path: Path) -> None:
    for name, data in (("text", b"hello"), ("empty", gzip.compress(b""))):
        (tmp_path / name).write_bytes(data)
        assert outcomes(tmp_path / name)["Archive"].outcome is Exit.UNMEASURED
    assert "No such file" in outcomes(tmp_path / "nope")["Archive"].sentence


def test_command__trusts_the_key_that_is_named(collected: Path, tmp_path: Path, settings: Any) -> None:
    call_command("evidence_verify", str(collected))
    settings.DATA = tmp_path / "elsewhere"
    with pytest.raises(CommandError, match="not proven") as refusal:
        call_command("evidence_verify", str(collected))
    assert refusal.value.returncode == Exit.UNMEASURED.value
    call_command("evidence_verify", str(collected), key=tmp_path / "signing/evidence.pub.pem")
    with pytest.raises(CommandError, match="can't be read"):
        call_command("evidence_verify", str(collected), key=tmp_path / "nope.pem")
