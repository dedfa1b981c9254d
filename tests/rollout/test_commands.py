"""Commands as a pipeline or a person on the host types them: real processes, their statuses, stdout apart from stderr."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import pytest

from hawkops.core import clock
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from rollout.domain.gates import Finding
from rollout.models import CensusDevice, GroupMember, Release, TargetGroup
from rollout.selectors.advance import may_advance
from rollout.selectors.releases import runbook
from rollout.services.flags import flags_seed
from rollout.services.groups import groups_seed
from rollout.services.releases import check_tick, evidence_record, release_seed, runbook_import
from tests.rollout.walking import procedure_behind

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = Actor.system("test")

pytestmark = pytest.mark.fresh_database


def typed(*words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Type it on a shell."""
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environ},
    )


def device(key: str, **more: Any) -> None:
    """An active device of demo."""
    now = clock.now()
    CensusDevice.objects.create(environment="demo", device_id=key, first_seen_at=now, last_seen_at=now, **more)


def test_kill__without_broker_or_web__says_revision_entry_and_devices_until_they_obey() -> None:
    flags_seed(actor=SYSTEM)
    device("dev-1", served_on=["litert_enabled"])
    device("dev-2", obeyed_revision=10**6)
    nobody = "redis://127.0.0.1:1/0"

    first = typed("kill", "demo", "--reason", "Heat", "--watch", "1", REDIS_URL=nobody)
    assert first.returncode == 1, first.stderr
    entry = HistoryEntry.objects.get(verb="flag.killed")
    assert (entry.actor, entry.reason) == ("system:kill", "Heat")
    revision = entry.after["litert_enabled"]["revision"]
    assert f"revision {revision}, entry {entry.seq}." in first.stdout
    assert f"1 of 2 active devices obey revision {revision}, 1 pending, 0 unreachable." in first.stdout

    CensusDevice.objects.update(obeyed_revision=revision)
    again = typed("kill", "demo", "--watch", "--json", REDIS_URL=nobody)
    assert again.returncode == 0, again.stderr
    said = json.loads(again.stdout)
    assert (said["changed"], said["entry"], said["revision"], said["obeyed"]) == (False, None, revision, 2)
    assert HistoryEntry.objects.filter(verb="flag.killed").count() == 1


def test_kill__no_flags_or_no_database__ends_with_2_and_a_sentence() -> None:
    bare = typed("kill", "demo")
    assert (bare.returncode, bare.stdout) == (2, "")
    assert "manage.py seed" in bare.stderr
    gone = typed("kill", "demo", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert (gone.returncode, gone.stdout) == (2, "")
    assert "The database did not do it" in gone.stderr
    assert "Traceback" not in gone.stderr


def test_lockdown__without_broker_or_web__stands_and_says_so_twice() -> None:
    flags_seed(actor=SYSTEM)
    nobody = "redis://127.0.0.1:1/0"
    first = typed("lockdown", "demo", "--reason", "Forged model", "--severity", "critical", REDIS_URL=nobody)
    assert first.returncode == 0, first.stderr
    entry = HistoryEntry.objects.get(verb="lockdown.started")
    assert (entry.actor, entry.reason, entry.after["severity"]) == ("system:lockdown", "Forged model", "critical")
    assert first.stdout.strip().endswith(f"nothing is raised. Entry {entry.seq}.")
    again = typed("lockdown", "demo", "--json", REDIS_URL=nobody)
    said = json.loads(again.stdout)
    assert (again.returncode, said["changed"], said["entry"], said["severity"]) == (0, False, entry.seq, "critical")
    assert HistoryEntry.objects.filter(verb="flag.killed").count() == 1


def test_flags__show_what_devices_get__in_words_and_as_json() -> None:
    flags_seed(actor=SYSTEM)
    typed("kill", "demo", "--reason", "Heat")
    words = typed("flags", "demo")
    assert words.returncode == 0, words.stderr
    line = next(line for line in words.stdout.splitlines() if line.startswith("litert_enabled "))
    assert "forced off by" in line
    assert "Heat" in line
    said = json.loads(typed("flags", "demo", "--json").stdout)
    assert said["flags"][0]["override"]["variant"] == "off"
    assert typed("flags", "moon").returncode == 2


def create(*more: str) -> "subprocess.CompletedProcess[str]":
    """Begin a release in production."""
    known = ("--name", "HazardHawk", "--app-version", "2.4.0", "--version-code", "2407", "--model-name", "gemma3-1b")
    return typed("release_create", "production", *known, "--backends", "cpu", "gpu", *more)


def test_release_create__from_a_pipeline__pins_the_files_digest_and_refuses_a_second(tmp_path: Path) -> None:
    flags_seed(actor=SYSTEM)
    runbook_import(actor=SYSTEM)
    model = tmp_path / "model.litertlm"
    model.write_bytes(b"weights")

    made = create("--model-file", str(model), "--json")
    assert made.returncode == 0, made.stderr
    said = json.loads(made.stdout)
    release = Release.objects.get()
    assert (said["release"], said["environment"]) == (release.pk, "production")
    assert release.model_digest == f"sha256:{sha256(b'weights').hexdigest()}"
    assert HistoryEntry.objects.get(verb="release.created").actor == "system:release_create"

    seq = Head.objects.get().seq
    second = create("--model-file", str(model))
    assert (second.returncode, second.stdout) == (1, "")
    assert "under way" in second.stderr
    unfit = create("--model-digest", "abc", "--supersede")
    assert (unfit.returncode, unfit.stdout) == (2, "")
    assert "64 hexadecimal digits" in unfit.stderr
    assert create("--model-file", str(tmp_path / "none")).returncode == 2
    assert Head.objects.get().seq == seq

    over = create("--model-file", str(model), "--supersede", "--reason", "Hotfix")
    assert over.returncode == 0, over.stderr
    assert Release.objects.get(running=True).pk != release.pk


def test_may_advance__says_what_blocks__and_0_only_when_every_line_passes(tmp_path: Path) -> None:
    flags_seed(actor=SYSTEM)
    groups_seed(actor=SYSTEM)
    runbook_import(actor=SYSTEM)
    none = typed("may_advance", "demo")
    assert (none.returncode, none.stdout) == (2, "")
    assert "No release is under way in demo." in none.stderr

    release_seed(actor=SYSTEM)
    release = Release.objects.get()
    boxes = [box for group in runbook(release).checklist for box in group.boxes]
    failed = next(box for box in boxes if box.automatic)
    evidence_record(release=release, box=failed, finding=Finding(Verdict.FAIL, "3 of 5 ran <slow>."))
    file = tmp_path / "gate.xml"
    blocked = typed("may_advance", "demo", "--json", "--junit", str(file))
    assert blocked.returncode == 1, blocked.stderr
    said = json.loads(blocked.stdout)
    total = len(boxes) + len({"order", "procedure", "audience", "flag", "lockdown", "freeze"})
    assert (said["verdict"], said["may_advance"], len(said["lines"])) == ("FAIL", False, total)
    suite = xml.parse(file).getroot()[0]
    assert len(suite.findall("testcase")) == int(suite.get("tests", "0")) == total
    assert int(suite.get("failures", "0")) + int(suite.get("errors", "0")) == len(boxes) + 2, (
        "nobody in the audience, no step done"
    )
    reasons = {case.get("name"): case[0] for case in suite.findall("testcase") if len(case)}
    assert (reasons[failed.title].get("type"), reasons[failed.title].get("message")) == ("FAIL", "3 of 5 ran <slow>.")
    assert {one.get("type") for one in reasons.values()} == {"FAIL", "NO_DATA"}

    for box in boxes:
        if box.automatic:
            evidence_record(release=release, box=box, finding=Finding(Verdict.PASS, "Seen."))
        else:
            check_tick(release=release, box=box.key, ticked=True, note="Seen.", link="", actor=SYSTEM)
    procedure_behind(release)
    key = "internal-1"
    now = clock.now()
    CensusDevice.objects.create(environment="demo", device_id=key, first_seen_at=now, last_seen_at=now)
    GroupMember.objects.create(
        group=TargetGroup.objects.get(environment="demo", key="internal_testers"), targeting_key=key
    )
    assert may_advance("demo").verdict is Verdict.PASS
    green = typed("may_advance", "demo")
    assert green.returncode == 0, green.stderr
    assert green.stdout.strip().endswith(f"may go on: all {total} lines pass.")
    alone = typed("may_advance", "demo", "--junit", "-")
    assert xml.fromstring(alone.stdout)[0].get("failures") == "0"
