"""The decision bundle: it is recomputed to the same, and whatever is altered in it is named."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.history.models import HistoryEntry
from monitoring.models import StoredCriterion
from rollout.domain import bundle
from rollout.exports import bundle_text
from rollout.models import PhaseDecision, PhaseRun
from rollout.selectors import decision as decisions
from rollout.services import proposals
from tests.rollout.test_decision import walked
from tests.rollout.walking import SYSTEM, approve, healthy

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).parents[2]
Alter = Callable[[dict[str, Any]], None]


# what is altered is the file, not the database that it came from: one serves every test of a worker
_kept: list[str] = []


@pytest.fixture
def proven(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The bundle of a go in production, a copy for each test."""
    if not _kept:
        request.getfixturevalue("handed_out")
    found = json.loads(_kept[0])
    assert isinstance(found, dict)
    return found


@pytest.fixture
def handed_out(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The bundle of a go in production, signed by each team, as it is handed out, with its database behind it."""
    release, run = walked("production", monkeypatch)
    healthy("production", clock.now(), before=run.started_at, times={"litert.memory.usage": 1.75}, crashes=(1, 2))
    broken = StoredCriterion.objects.get(key="decision-api")
    broken.document = {**broken.document, "threshold": "3 apples"}
    broken.save()
    made = proposals.proposal_make(
        kind="phase.start",
        environment="production",
        payload={"release": release.pk, "number": 2, "jump": False, "disagrees": "Memory is known"},
        actor=SYSTEM,
        reason="Go on",
    )
    people = User.objects.filter(username__in=["engineering", "security", "devops"]).order_by("pk")
    assert approve(made, *people).state == "applied"
    assert PhaseRun.objects.count() == 2
    _kept[:] = [bundle_text(decisions.bundle_proven(PhaseDecision.objects.get()))]
    found = json.loads(_kept[0])
    assert isinstance(found, dict)
    return found


def resealed(found: dict[str, Any]) -> dict[str, Any]:
    """Digest every section anew, as somebody who covers his tracks would."""
    found["digests"] = {name: bundle.digest(found[name]) for name in bundle.SECTIONS}
    return found


def named(found: dict[str, Any]) -> list[str]:
    """Where differences are found."""
    return [one.where for one in bundle.verify(found)]


def test_bundle__as_handed_out__holds_and_is_complete(handed_out: dict[str, Any]) -> None:
    assert bundle.verify(handed_out) == []
    assert set(handed_out) == {"schema", "digests", "proof", *bundle.SECTIONS}
    assert handed_out["recommended"]["recommendation"] == "HOLD"
    assert handed_out["decision"]["disagrees"] == "Memory is known"
    assert len(handed_out["signatures"]) == 3
    assert handed_out["code"]["judging"]
    assert handed_out["flags"]["revision"] > 0
    assert handed_out["evidence"]["boxes"]
    latency = handed_out["numbers"]["decision-latency"]["all"]["own"]["observed"]
    assert sum(count for _column, count in latency["buckets"]) == latency["count"] == 400
    assert {part["label"] for part in handed_out["numbers"]["decision-throughput"]["parts"]} == {
        "snapdragon-8-elite cpu",
        "snapdragon-8-elite gpu",
    }
    judged = {one["key"]: one["verdict"] for one in handed_out["lines"]}
    assert judged["decision-api"] == "ERROR", "a criterion that can't be read is kept as such"
    entry = HistoryEntry.objects.get(verb="decision.made")
    assert entry.after["digest"] == bundle.whole(handed_out)
    exported = [{"seq": one.seq, "hash": one.hash} for one in HistoryEntry.objects.all()]
    assert bundle.verify(handed_out, entries=exported) == []


def _numbers(found: dict[str, Any]) -> None:
    found["numbers"]["decision-memory-average"]["all"]["own"]["panel"]["values"] *= 0.9


def _buckets(found: dict[str, Any]) -> None:
    for one in found["numbers"]["decision-latency"]["all"]["own"]["observed"]["buckets"]:
        one[0] += 120
    found["numbers"]["decision-latency"]["all"]["own"]["observed"]["high"] *= 20


def _devices(found: dict[str, Any]) -> None:
    found["numbers"]["decision-memory-average"]["all"]["own"]["panel"]["devices"] = 12


def _no_panel(found: dict[str, Any]) -> None:
    del found["numbers"]["decision-memory-average"]["all"]["own"]["panel"]


def _spread(found: dict[str, Any]) -> None:
    found["numbers"]["decision-memory-average"]["all"]["own"]["panel"]["values_squared"] *= 2


def _threshold(found: dict[str, Any]) -> None:
    next(one for one in found["thresholds"]["criteria"] if one["key"] == "decision-memory-average")["threshold"] = (
        "2 GB"
    )


def _missed_most(found: dict[str, Any]) -> None:
    found["thresholds"]["missed_most"] = 0.05


def _verdict(found: dict[str, Any]) -> None:
    next(one for one in found["lines"] if one["key"] == "decision-memory-average")["verdict"] = "PASS"


def _line(found: dict[str, Any]) -> None:
    found["lines"] = [one for one in found["lines"] if one["key"] != "decision-memory-average"]


def _recommendation(found: dict[str, Any]) -> None:
    found["recommended"]["recommendation"] = "PROCEED"


def _reasons(found: dict[str, Any]) -> None:
    found["recommended"]["reasons"].pop(0)


def _disagrees(found: dict[str, Any]) -> None:
    found["decision"]["disagrees"] = ""


def _decided(found: dict[str, Any]) -> None:
    found["decision"]["decided"] = "no-go"


def _incident(found: dict[str, Any]) -> None:
    found["facts"]["incidents"].append(
        {"title": "X", "opened_at": found["facts"]["at"], "ended_at": None, "address": ""}
    )


def _table(found: dict[str, Any]) -> None:
    found["table"][0]["follows"] = "PROCEED"


def _teams(found: dict[str, Any]) -> None:
    found["signatures"][0]["teams"] = ["security"]


def _saw(found: dict[str, Any]) -> None:
    found["signatures"][0]["saw"] = "PROCEED"


def _unsigned(found: dict[str, Any]) -> None:
    found["signatures"].pop()


def _forged(found: dict[str, Any]) -> None:
    found["signatures"].append({**found["signatures"][0], "by": "ghost", "entry": 1})


@pytest.mark.parametrize(
    ("alter", "where"),
    [
        (_numbers, "lines: decision-memory-average"),
        (_buckets, "lines: decision-latency"),
        (_devices, "lines: decision-memory-average"),
        (_no_panel, "lines: decision-memory-average"),
        (_spread, "lines: decision-memory-average"),
        (_threshold, "lines: decision-memory-average"),
        (_missed_most, "lines: decision-memory-average"),
        (_verdict, "lines: decision-memory-average"),
        (_line, "lines: decision-memory-average"),
        (_recommendation, "recommended"),
        (_reasons, "recommended"),
        (_disagrees, "decision"),
        (_decided, "decision"),
        (_incident, "lines: incidents"),
        (_table, "table"),
        (_teams, "signatures: engineering"),
        (_saw, "signatures: engineering"),
        (_unsigned, "signatures"),
        (_forged, "signatures: ghost"),
    ],
)
def test_altered__any_part__is_named_even_where_its_digest_was_made_anew(
    proven: dict[str, Any], alter: Alter, where: str
) -> None:
    altered = deepcopy(proven)
    alter(altered)
    plain = named(altered)
    assert where in plain, plain
    assert any(name in bundle.SECTIONS for name in plain), "its digest no longer fits"
    seq = next(one["seq"] for one in altered["proof"]["entries"] if one["verb"] == bundle.MADE)
    sealed = bundle.verify(resealed(altered))
    assert where in [one.where for one in sealed]
    assert f"entry {seq} of the history proves another bundle" in " ".join(map(str, sealed))


@pytest.mark.parametrize("section", bundle.SECTIONS)
def test_altered__each_section__is_named_by_its_digest(proven: dict[str, Any], section: str) -> None:
    altered = deepcopy(proven)
    if isinstance(altered[section], dict):
        altered[section]["added"] = 1
    else:
        altered[section].append({**altered[section][0], "key": "added", "entry": 1})
    assert section in named(altered)
    del altered[section]
    assert named(altered) == [section]


def test_proof__an_entry_or_the_head_altered__is_named(handed_out: dict[str, Any]) -> None:
    for name, value in (("reason", "Other"), ("actor", "user:9"), ("after", "{}")):
        altered = deepcopy(handed_out)
        altered["proof"]["entries"][-1][name] = value
        assert any(where.startswith("proof") for where in named(altered)), name
    altered = deepcopy(handed_out)
    altered["proof"]["head"]["seq"] = 1
    assert "proof" in named(altered)
    altered = deepcopy(handed_out)
    altered["proof"]["entries"].pop()
    assert "proof" in named(altered)
    altered = deepcopy(handed_out)
    del altered["proof"]
    assert named(altered) == ["proof"]
    others = [{"seq": one.seq, "hash": "0" * 64} for one in HistoryEntry.objects.all()]
    assert {one.why for one in bundle.verify(handed_out, entries=others)} == {
        "the export of the history has another one in its place"
    }
    assert {one.why for one in bundle.verify(handed_out, entries=others[-1:])} >= {
        "it is not in the export of the history"
    }


def test_other_version__its_words_may_differ_and_nothing_else(proven: dict[str, Any]) -> None:
    altered = deepcopy(proven)
    for one in altered["lines"]:
        one["sentence"] = "said otherwise"
    altered["table"][0]["when"] = "said otherwise"
    assert {one.where for one in bundle.verify(resealed(altered), words=False)} == {"proof"}
    _verdict(altered)
    assert "lines: decision-memory-average" in [one.where for one in bundle.verify(altered, words=False)]
    _table(altered)
    assert "table" in [one.where for one in bundle.verify(altered, words=False)]


def test_bundle_of_before_devices_counted__is_recomputed_as_it_was_judged_then(tmp_path: Path) -> None:
    """Each observation counted as one of its own; kept on 30 November by the code of that day."""
    before = Path(__file__).with_name("decision-1.json")
    found = json.loads(before.read_text())
    assert found["schema"] == bundle.BEFORE
    assert "panel" not in found["numbers"]["decision-latency"]["all"]["own"]
    assert bundle.verify(found, words=False) == []
    altered = deepcopy(found)
    _verdict(altered)
    _buckets(altered)
    where = [one.where for one in bundle.verify(resealed(altered), words=False)]
    assert {"lines: decision-memory-average", "lines: decision-latency"} <= set(where)
    assert run(str(before)).returncode == 0
    relabelled = {**found, "schema": bundle.SCHEMA}
    assert bundle.verify(relabelled, words=False), "without devices nothing is known"


@pytest.mark.parametrize("garbage", [None, [], 7, "text", {}, {"schema": "hawkops.decision/3"}])
def test_garbage__is_no_bundle(garbage: Any) -> None:
    assert [one.where for one in bundle.verify(garbage)] == ["schema"]


@pytest.mark.parametrize(
    "section", ["facts", "thresholds", "numbers", "lines", "recommended", "decision", "signatures"]
)
def test_garbage__in_a_section__is_named_and_never_breaks(proven: dict[str, Any], section: str) -> None:
    for value in ({}, [], None, 7, "text", [7], {"a": None}):
        assert named(resealed({**deepcopy(proven), section: value}))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command on another machine: no database answers there."""
    settings = {
        "SECRET_KEY": "elsewhere",
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, "manage.py", "decision_verify", *arguments]
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=120)


def test_command__without_a_database__says_that_it_holds_or_names_what_does_not(
    handed_out: dict[str, Any], tmp_path: Path
) -> None:
    file, history = tmp_path / "decision.json", tmp_path / "history.jsonl"
    file.write_text(bundle_text(handed_out))
    history.write_text(
        "".join(json.dumps({"seq": one.seq, "hash": one.hash}) + "\n" for one in HistoryEntry.objects.all())
    )
    good = run(str(file), "--history", str(history))
    assert (good.returncode, "The bundle holds" in good.stdout) == (0, True), good.stderr
    assert "HOLD recommended, go decided by" in good.stdout
    altered = deepcopy(handed_out)
    _verdict(altered)
    file.write_text(bundle_text(resealed(altered)))
    bad = run(str(file))
    assert bad.returncode == 1
    assert "lines: decision-memory-average: verdict is 'PASS'; its numbers and threshold give 'FAIL'" in bad.stdout
    for text in ("{", "[" * 200_000, "\x00"):
        file.write_text(text)
        assert run(str(file)).returncode == 1
    assert run(str(tmp_path / "none.json")).returncode == 1
