"""A release's compliance pack: what it holds, that it proves itself anywhere, and that whatever is altered is named."""

import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.test import Client

from hawkops.accounts.models import User
from hawkops.accounts.services.people import roles_set
from hawkops.compliance import gathering
from hawkops.compliance.domain import pack
from hawkops.compliance.exporting import pack_page, pack_text, verifier_program
from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.history import selectors
from hawkops.history.actors import Actor
from hawkops.history.domain.checkpoint import Verifier, note_of, verifier_of
from hawkops.history.models import Checkpoint, HistoryEntry, Personal
from incidents.domain.incidents import Move
from incidents.models import IncidentReview
from incidents.services.incidents import incident_move, incident_open
from incidents.services.reviews import review_draft
from monitoring.domain.criteria import Severity
from rollout.models import PhaseRun, Release
from rollout.services import proposals
from rollout.services.overrides import kill
from tests.history.test_proof import proven
from tests.rollout.test_decision import walked
from tests.rollout.walking import SYSTEM, approve, begin, furnish, healthy, somebody

pytestmark = pytest.mark.django_db
As = Callable[..., Client]
Alter = Callable[[dict[str, Any]], None]

# what is altered is the file, not the database that it came from: one serves every test of a worker
_kept: list[str] = []


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Release:
    """A release in production: phase 1, a signed go into phase 2, a kill, an incident with its review."""
    found, run = walked("production", monkeypatch)
    healthy("production", clock.now(), before=run.started_at, times={"litert.memory.usage": 1.75}, crashes=(1, 2))
    made = proposals.proposal_make(
        kind="phase.start",
        environment="production",
        payload={"release": found.pk, "number": 2, "jump": False, "disagrees": "Memory is known"},
        actor=Actor.person(somebody("mia", Role.RELEASER)),
        reason="Go on",
    )
    people = User.objects.filter(username__in=["engineering", "security", "devops"]).order_by("pk")
    approve(made, *people)
    somebody("root", Role.ADMIN)
    roles_set(user=people[0], roles=[Role.VIEWER], environment="production", actor=SYSTEM)
    kill(environment="production", actor=Actor.person(people[2]), reason="Crashes")
    stands = incident_open(
        environment="production", title="Crashes on one phone", severity=Severity.WARNING, actor=SYSTEM
    )
    incident_move(environment="production", incident_id=stands.pk, move=Move.RESOLVE, actor=SYSTEM, reason="Killed")
    review_draft(environment="production", incident_id=stands.pk, actor=SYSTEM)
    IncidentReview.objects.filter(incident=stands).update(summary="A driver fell over.", lessons="Test that phone.")
    return found


@pytest.fixture
def plain() -> Release:
    """A release in staging that somebody began."""
    furnish()
    return begin("staging", actor=Actor.person(somebody("mia", Role.RELEASER)))


@pytest.fixture
def made(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The pack of that release as a file holds it, a copy for each test."""
    if not _kept:
        _kept[:] = [pack_text(gathering.document(request.getfixturevalue("release")))]
    return pack.read(_kept[0])


def test_document__release_with_everything__holds_it_and_verifies(release: Release) -> None:
    made = gathering.document(release)
    _kept[:] = [pack_text(made)]
    found, sections = pack.verify(pack.read(_kept[0])), made["sections"]

    assert (found.unfit, found.entries) == ("", len(made["entries"]))
    assert [one["phase"] for one in sections["phases"]] == [1, 2]
    assert sections["phases"][0]["ended"]["how"] == "passed"
    assert sections["phases"][1]["steps"][0]["percent"] == PhaseRun.objects.get(number=2).percents[0]
    (decided,) = sections["decisions"]
    assert (decided["decided"], decided["disagrees"]) == ("go", "Memory is known")
    assert [one["teams"] for one in decided["signed"]] == [["engineering"], ["security"], ["devops"]]
    assert sections["release"]["name"] == "HazardHawk"
    assert {"model", "runbook", "decision bundle"} <= {one["what"] for one in sections["artefacts"]}
    assert all(one["entry"] for one in sections["artefacts"] if one["what"] != "runbook")
    go = next(one for one in sections["acts"] if one["subject"] == f"proposal:{decided['proposal']}")
    assert (go["takes"], go["differ"], go["outcome"]) == (2, True, "applied")
    killed = next(one for one in sections["acts"] if one["what"] == "flag.killed")
    assert (killed["takes"], killed["differ"]) == (1, None)
    assert "never waits" in killed["why"]
    assert [one["what"] for one in sections["interventions"] if one["what"] == "flag.killed"] == ["flag.killed"]
    (incident,) = sections["incidents"]
    assert incident["review"]["summary"] == "A driver fell over."
    engineer = User.objects.get(username="engineering")
    held = [one for one in sections["roles"] if one["person"] == f"person:{engineer.pk}" and one["kind"] == "role"]
    assert {(one["name"], one["environment"]) for one in held} == {("approver", "all"), ("viewer", "production")}
    assert {one["id"] for one in sections["controls"]} >= {"CC6.1", "CC8.1", "Art. 17"}
    assert len(sections["boxes"]) > 20
    assert made["people"][f"person:{engineer.pk}"] == "engineering"


def test_document__control_of_the_verified_history__says_what_was_verified_and_when(plain: Release) -> None:
    def control() -> Any:
        return next(one for one in gathering.gathered(plain).sections["controls"] if one["id"] == "CC8.1")

    assert control()["verdict"] == "NO_DATA", "nothing was verified in the last day"
    call_command("history_verify")
    assert "entries verified at" in control()["evidence"][0]["sentence"]


def _altered_entry(made: dict[str, Any]) -> None:
    made["entries"][3]["reason"] = "Another reason"


def _altered_hash(made: dict[str, Any]) -> None:
    made["entries"][-1]["hash"] = "0" * 64


def _other_name(made: dict[str, Any]) -> None:
    made["entries"][0]["personal"]["label"] = "somebody else"


def _left_out(made: dict[str, Any]) -> None:
    del made["entries"][[i for i, one in enumerate(made["entries"]) if one["verb"] == "proposal.approved"][-1]]


def _left_out_quietly(made: dict[str, Any]) -> None:
    del made["entries"][next(i for i, one in enumerate(made["entries"]) if one["verb"] == "incident.opened")]


def _swapped(made: dict[str, Any]) -> None:
    made["entries"][0], made["entries"][1] = made["entries"][1], made["entries"][0]


def _proof(made: dict[str, Any]) -> None:
    made["entries"][0]["proof"][0] = "00" * 32


def _approver(made: dict[str, Any]) -> None:
    made["sections"]["decisions"][0]["signed"].pop()


def _differ(made: dict[str, Any]) -> None:
    made["sections"]["acts"][0]["what"] = "Something else"


def _phase(made: dict[str, Any]) -> None:
    made["sections"]["phases"][1]["steps"][0]["percent"] = 1


def _box(made: dict[str, Any]) -> None:
    made["sections"]["boxes"][0]["verdict"] = "PASS" if made["sections"]["boxes"][0]["verdict"] != "PASS" else "FAIL"


def _control(made: dict[str, Any]) -> None:
    made["sections"]["controls"][0]["verdict"] = "PASS"
    made["sections"]["controls"][0]["sentence"] = "All is well"


def _section(made: dict[str, Any]) -> None:
    del made["sections"]["incidents"]


def _release(made: dict[str, Any]) -> None:
    made["at"] = "2020-01-01T00:00:00+00:00"


def _checkpoint(made: dict[str, Any]) -> None:
    made["checkpoint"] = made["checkpoint"].replace("\n", "\n1", 1)


@pytest.mark.parametrize(
    ("alter", "named"),
    [
        (_altered_entry, "Entry [0-9]+ was altered"),
        (_altered_hash, "Entry [0-9]+ was altered"),
        (_other_name, "The name kept for entry"),
        (_left_out, "The section decisions is not what the entries say: line 1 differs"),
        (_left_out_quietly, "The section incidents names entry [0-9]+, which is not in the pack"),
        (_swapped, "Entry [0-9]+ stands after entry"),
        (_proof, "is not in the history that the checkpoint over"),
        (_approver, "The section decisions is not what the entries say"),
        (_differ, "The section acts is not what the entries say"),
        (_phase, "The section phases is not what the entries say"),
        (_box, "The section boxes is not the one that"),
        (_control, "The section controls is not the one that"),
        (_section, "The section incidents is not the one that"),
        (_release, "The section head is not the one that"),
        (_checkpoint, "The checkpoint proves nothing: the signature of"),
    ],
)
def test_verify__anything_altered__is_named_first(made: dict[str, Any], alter: Alter, named: str) -> None:
    assert pack.verify(made).unfit == ""

    alter(made)

    assert re.search(named, pack.verify(made).unfit)


def test_verify__whole_pack_signed_by_somebody_else__is_found_by_a_key_from_elsewhere(made: dict[str, Any]) -> None:
    trusted = Verifier.parse(made["verifiers"][0])
    forger = Ed25519PrivateKey.generate()
    forged = deepcopy(made)
    forged["sections"]["boxes"] = []
    forged["signature"] = note_of(pack.signed_text(forged), made["origin"], forger)
    forged["verifiers"].append(str(verifier_of(made["origin"], forger)))

    assert pack.verify(forged).unfit == "", "the keys it names itself vouch for nothing"
    assert pack.verify(forged, keys=[trusted]).unfit == "The signature proves nothing: no known key signed it."
    assert pack.verify(made, keys=[trusted]).unfit == ""


def test_verify__names_struck_out__the_rest_holds(made: dict[str, Any]) -> None:
    for one in made["entries"][::2]:
        one.pop("personal", None)
    made["people"] = {}

    found = pack.verify(made)

    assert found.unfit == ""
    assert found.nameless >= len(made["entries"]) // 2
    assert any("name nobody any more" in one for one in pack.sentences(found, made, trusted=False))


def test_document__person_erased__verifies_and_names_nobody(plain: Release) -> None:
    gone = f"person:{User.objects.get(username='mia').pk}"
    assert gathering.document(plain)["people"][gone] == "mia"
    Personal.objects.filter(entry__actor=gone).delete()
    User.objects.filter(username="mia").update(username="erased-1")

    made = gathering.document(plain)

    assert pack.verify(pack.read(pack_text(made))).unfit == ""
    assert made["people"][gone] == "erased-1"
    assert "mia" not in pack_text(made)


def test_document__fresh_entries__are_covered_by_a_checkpoint_of_their_own_and_only_when_needed(plain: Release) -> None:
    gathering.document(plain)
    kill(environment="demo", actor=SYSTEM, reason="An entry of another environment is none of this release")
    gathering.document(plain)
    assert Checkpoint.objects.count() == 1

    kill(environment="staging", actor=SYSTEM, reason="Here")
    assert gathering.gathered(plain).unproven == 1
    gathering.document(plain)
    assert Checkpoint.objects.count() == 2


def test_document__history_that_gives_another_root_or_is_too_long__is_refused(
    plain: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as other:
        other.setattr(selectors, "inclusion", lambda _seqs, *, size: (size.to_bytes(32), {}))
        with pytest.raises(Conflict, match="names the first bad entry"):
            gathering.document(plain)

    monkeypatch.setattr(gathering, "ENTRIES_MOST", 1)
    with pytest.raises(InvalidInput, match="more than 1 entries"):
        gathering.gathered(plain)


def test_program__stand_alone__verifies_without_this_code_and_names_what_is_altered(
    made: dict[str, Any], tmp_path: Path
) -> None:
    program, file = tmp_path / "verify_compliance.pyz", tmp_path / "pack.json"
    program.write_bytes(verifier_program())

    file.write_text(pack_text(made))
    code, said = proven(program, str(file), "--key", made["verifiers"][0])
    assert code == 0, said
    assert "entries give their hashes and stand in the history" in said
    _altered_entry(made)
    file.write_text(pack_text(made))
    code, said = proven(program, str(file))
    assert code == 1
    assert "was altered" in said
    file.write_text("{}")
    assert proven(program, str(file))[0] == 2


def test_command__says_what_holds_and_fails_for_what_does_not(
    made: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pack.json"
    file.write_text(pack_text(made))
    call_command("compliance_verify", str(file), key=[made["verifiers"][0]])
    said = capsys.readouterr().out
    assert "Made again from the entries, and the same: phases, decisions" in said
    assert "The keys are those" not in said

    _phase(made)
    file.write_text(pack_text(made))
    with pytest.raises(CommandError, match="The section phases"):
        call_command("compliance_verify", str(file))
    file.write_text("[1]")
    with pytest.raises(CommandError, match="no JSON object"):
        call_command("compliance_verify", str(file))


def test_page__stands_alone_and_escapes(made: dict[str, Any]) -> None:
    made["sections"]["release"]["name"] = "<script>alert(1)</script>"

    page = pack_page(made)

    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "src=" not in page
    assert made["entries"][0]["hash"] in page


def test_views__page_and_files__as_an_auditor_sees_them(plain: Release, client_as: As) -> None:
    client = client_as(somebody("ana", Role.AUDITOR))

    page = client.get(f"/staging/releases/{plain.pk}/compliance").content.decode()
    file = client.get(f"/staging/releases/{plain.pk}/compliance.json")
    shown = client.get(f"/staging/releases/{plain.pk}/compliance.html")

    assert "No phase has begun." in page
    assert file["Content-Disposition"] == f'attachment; filename="compliance-staging-{plain.pk}.json"'
    assert pack.verify(pack.read(file.content.decode())).unfit == ""
    assert shown.content.startswith(b"<!doctype html>")
    read = HistoryEntry.objects.filter(verb="history.read", subject=f"compliance:{plain.pk}").order_by("seq")
    assert [one.after["read"] for one in read] == ["the compliance pack as JSON", "the compliance pack as HTML"]
    assert client.get("/staging/compliance/verify_compliance.pyz").content[:2] == b"#!"
    assert client.get(f"/production/releases/{plain.pk}/compliance").status_code == 404
    assert f"/staging/releases/{plain.pk}/compliance" in client.get(f"/staging/releases/{plain.pk}").content.decode()
