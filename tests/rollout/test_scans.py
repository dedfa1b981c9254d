"""Security scans: what is read from scanners' files, what is kept, what the box says, and every way in."""

import json
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client

from hawkops.accounts.models import User
from hawkops.accounts.services.credentials import api_token_create
from hawkops.core import clock
from hawkops.core.access import Scope
from hawkops.core.errors import InvalidInput
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from rollout.domain import scans
from rollout.domain.gates import Standing
from rollout.evidence import refreshing
from rollout.models import Release, ScanUpload
from rollout.selectors.releases import checklist
from rollout.services.scans import scan_upload
from tests.rollout.walking import begin, furnish

SYSTEM = Actor.system("test")


def sarif(*results: Any, tool: str = "Semgrep", rules: Any = (), **run: Any) -> bytes:
    """A SARIF file of one run."""
    driver = {"name": tool, "rules": list(rules)}
    whole = {"tool": {"driver": driver}, "results": list(results), **run}
    return json.dumps({"version": "2.1.0", "runs": [whole]}).encode()


def cyclonedx(*vulnerabilities: Any, **more: Any) -> bytes:
    """A CycloneDX file."""
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "vulnerabilities": list(vulnerabilities)}
    return json.dumps({**document, **more}).encode()


def rule(key: str, score: Any = None, **more: Any) -> dict[str, Any]:
    """A rule, with its score where it has one."""
    return {"id": key, **({"properties": {"security-severity": score}} if score is not None else {}), **more}


def rated(*severities: str) -> dict[str, Any]:
    """A vulnerability with these ratings."""
    return {"id": "CVE-1", "ratings": [{"severity": one} for one in severities]}


CRITICAL = sarif({"ruleId": "a"}, rules=[rule("a", "9.0")])
CLEAN = sarif({"ruleId": "a"}, rules=[rule("a", "8.9")])


# ---- what is read ----


@pytest.mark.parametrize(
    ("content", "counts"),
    [
        (sarif(), {}),
        (CRITICAL, {"critical": 1}),
        (CLEAN, {"high": 1}),
        (sarif({"ruleIndex": 1}, rules=[rule("a", "9.8"), rule("b", 4)]), {"medium": 1}),
        (sarif({"ruleId": "a/1", "level": "error"}, rules=[rule("a", "0.1")]), {"low": 1}),
        (sarif({"ruleId": "a", "properties": {"security-severity": "9.9"}}), {"critical": 1}),
        (sarif({"level": "error"}, {"level": "warning"}, {}, {"level": "none"}), {"critical": 1, "medium": 2}),
        (sarif({"ruleId": "a"}, rules=[rule("a", defaultConfiguration={"level": "error"})]), {"critical": 1}),
        (sarif({"ruleId": "a", "level": "error"}, rules=[rule("a", "NaN")]), {"critical": 1}),
        (sarif({"level": "error", "kind": "pass"}, {"level": "error", "baselineState": "absent"}), {}),
        (sarif({"level": "error", "suppressions": [{"kind": "inSource"}]}), {"critical": 1}),
        (sarif({"ruleIndex": 99, "rule": 7, "level": "note"}, 7), {"medium": 1, "low": 1}),
        (cyclonedx(), {}),
        (cyclonedx(rated("medium", "critical"), rated("high"), rated("info")), {"critical": 1, "high": 1, "low": 1}),
        (cyclonedx({"id": "x"}, {"ratings": "?"}, 7), {"unknown": 3}),
        (cyclonedx({"ratings": [{"score": 9.8, "method": "CVSSv31"}]}), {"critical": 1}),
        (cyclonedx({**rated("critical"), "analysis": {"state": "resolved"}}), {}),
        (cyclonedx({**rated("critical"), "analysis": {"state": "false_positive"}}), {"critical": 1}),
    ],
)
def test_read__each_finding__counts_by_how_grave_it_is(content: bytes, counts: dict[str, int]) -> None:
    assert scans.read(content).counts == counts
    assert scans.read(b"\xef\xbb\xbf" + content).counts == counts


def test_read__rules_of_an_extension__are_found_by_id_and_by_place() -> None:
    tool = {"driver": {"name": "CodeQL"}, "extensions": [{"name": "java", "rules": [rule("sql", "9.1")]}]}
    by_place = {"rule": {"index": 0, "toolComponent": {"index": 0}}}
    run = {"tool": tool, "results": [{"ruleId": "sql"}, by_place]}
    found = scans.read(json.dumps({"version": "2.1.0", "runs": [run]}).encode())
    assert (found.tool, found.counts) == ("CodeQL", {"critical": 2})


@pytest.mark.parametrize(
    ("metadata", "tool"),
    [
        ({"tools": [{"vendor": "Aqua", "name": "Trivy"}]}, "Trivy"),
        ({"tools": {"components": [{"name": "Grype\x00"}, {"name": "Syft"}]}}, "Grype, Syft"),
        ({"tools": 7}, "CycloneDX"),
        ([], "CycloneDX"),
    ],
)
def test_read__cyclonedx__names_its_tools(metadata: Any, tool: str) -> None:
    assert scans.read(cyclonedx(metadata=metadata)).tool == tool


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no JSON"),
        (b"<xml/>", "no JSON"),
        (b"[" * 100 + b"]" * 100, "nested deeper"),
        (b"[]", "neither SARIF"),
        (b'{"runs": {}}', "neither SARIF"),
        (b'{"bomFormat": "SPDX"}', "neither SARIF"),
        (b'{"version": "2.0.0", "runs": []}', "of version 2.1.0, not 2.0.0"),
        (b'{"version": "2.1.0", "runs": []}', "holds no run"),
        (b'{"version": "2.1.0", "runs": [7]}', "must name its tool"),
        (sarif(tool=" "), "must name its tool"),
        (sarif(results=None), "its scan did not end"),
        (sarif(invocations=[{"executionSuccessful": False}]), "says of itself that its scan failed"),
        (b'{"bomFormat": "CycloneDX", "components": []}', "so it is no scan"),
        (b" " * 5_000_001, "more than 5 MB"),
    ],
)
def test_read__no_scan__is_refused_in_words(content: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        scans.read(content)


# ---- what is kept, and what the box says ----


@pytest.fixture
def release() -> Release:
    """A release in production."""
    furnish()
    return begin()


def box(release: Release) -> Standing:
    """Let the sweep ask, and say where the box stands then."""
    refreshing.release_refresh(release=release)
    rows = (row for group in checklist(release) for row in group.rows)
    return next(row.standing for row in rows if row.box.key == "security_scan")


@pytest.mark.django_db
def test_scan_upload__keeps_counts_and_digest_with_one_entry__and_nothing_of_what_is_no_scan(release: Release) -> None:
    seq = Head.objects.get().seq
    made = scan_upload(release=release, content=CRITICAL, actor=SYSTEM)
    assert (made.tool, made.format, made.counts, made.version_code) == ("Semgrep", "SARIF", {"critical": 1}, 2407)
    assert made.digest == f"sha256:{sha256(CRITICAL).hexdigest()}"
    entry = HistoryEntry.objects.get(seq__gt=seq)
    assert (entry.verb, entry.subject) == ("scan.uploaded", f"release:{release.pk}")
    assert (entry.after["findings"], entry.after["digest"]) == ({"critical": 1}, made.digest)
    for content, code in ((b"{}", None), (CLEAN, 0), (CLEAN, 10**10)):
        with pytest.raises(InvalidInput):
            scan_upload(release=release, content=content, version_code=code, actor=SYSTEM)
    assert (ScanUpload.objects.count(), Head.objects.get().seq) == (1, seq + 1)


@pytest.mark.django_db
def test_security_scan__newest_of_each_tool_decides__for_a_week(release: Release) -> None:
    assert box(release).verdict is Verdict.NO_DATA
    scan_upload(release=release, content=CRITICAL, actor=SYSTEM)
    found = box(release)
    assert (found.verdict, found.sentence) == (Verdict.FAIL, "1 critical finding by Semgrep.")
    scan_upload(release=release, content=cyclonedx(), actor=SYSTEM)
    assert box(release).verdict is Verdict.FAIL, "another tool's file does not hide it"
    scan_upload(release=release, content=CLEAN, actor=SYSTEM)
    found = box(release)
    assert (found.verdict, found.sentence) == (Verdict.PASS, "No critical findings by Semgrep, CycloneDX.")
    with time_machine.travel(clock.now() + timedelta(days=7), tick=False):
        assert box(release).verdict is Verdict.STALE
        scan_upload(release=release, content=cyclonedx(), actor=SYSTEM)
        found = box(release)
        assert (found.verdict, found.sentence) == (Verdict.PASS, "No critical findings by CycloneDX.")


@pytest.mark.django_db
def test_security_scan__of_another_build_or_release__says_nothing(release: Release) -> None:
    scan_upload(release=release, content=CLEAN, version_code=2406, actor=SYSTEM)
    scan_upload(release=begin("staging"), content=CLEAN, actor=SYSTEM)
    found = box(release)
    assert found.verdict is Verdict.NO_DATA
    assert found.sentence == "The newest scan is of version code 2406, the release has 2407."
    scan_upload(release=release, content=CRITICAL, version_code=2406, actor=SYSTEM)
    scan_upload(release=release, content=CLEAN, actor=SYSTEM)
    assert box(release).verdict is Verdict.PASS


# ---- the ways in ----


@pytest.mark.django_db
def test_form__uploads_and_says_what_is_wrong(
    release: Release, releaser: User, viewer: User, client_as: Callable[[object], Client]
) -> None:
    place = f"/production/releases/{release.pk}"
    client = client_as(releaser)
    assert f'action="{place}/scans"' in client.get(f"{place}/checklist").content.decode()
    answer = client.post(f"{place}/scans", {"file": SimpleUploadedFile("s.sarif", CRITICAL)})
    assert (answer.status_code, answer["Location"]) == (303, f"{place}/checklist#security_scan")
    made = ScanUpload.objects.get()
    assert (made.release, made.uploaded_by) == (release, releaser.username)
    box(release)
    page = client.get(f"{place}/checklist").content.decode()
    assert "Semgrep: 1 finding." in page
    assert "1 critical; SARIF uploaded by releaser" in page
    for given in ({}, {"file": SimpleUploadedFile("s.sarif", b"{}")}):
        refused = client.post(f"{place}/scans", given, follow=True).content.decode()
        assert ("Choose a file" in refused) or ("neither SARIF" in refused)
    reader = client_as(viewer)
    assert "/scans" not in reader.get(f"{place}/checklist").content.decode()
    assert reader.post(f"{place}/scans", {"file": SimpleUploadedFile("s", CLEAN)}).status_code == 403
    assert client.post(f"/staging/releases/{release.pk}/scans").status_code == 404
    assert ScanUpload.objects.count() == 1


@pytest.mark.django_db
def test_api__takes_the_file_as_it_is(release: Release) -> None:
    _, secret = api_token_create(environment="production", name="ci", scopes=[Scope.EVIDENCE_WRITE], actor=SYSTEM)

    def post(content: bytes, query: str = "", pk: int = release.pk) -> Any:
        where = f"/api/v1/production/releases/{pk}/scans{query}"
        headers = {"Authorization": f"Bearer {secret}"}
        return Client().generic("POST", where, content, "application/sarif+json", headers=headers)

    said = post(CRITICAL)
    assert said.status_code == 201, said.content
    made = ScanUpload.objects.get()
    assert {one: said.json()[one] for one in ("scan", "findings", "digest", "uploaded_by")} == {
        "scan": made.pk,
        "findings": {"critical": 1},
        "digest": made.digest,
        "uploaded_by": "ci",
    }
    # larger than a form may be
    large = sarif({"message": {"text": "x" * 4_000_000}})
    assert post(large, "?version_code=2406").json()["version_code"] == 2406
    for content, query, status in (
        (b"", "", 422),
        (b"{}", "", 400),
        (CLEAN, "?version_code=x", 422),
        (b" " * 5_000_001, "", 413),
    ):
        answer = post(content, query)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert post(CLEAN, pk=release.pk + 1).status_code == 404
    assert ScanUpload.objects.count() == 2


@pytest.mark.django_db
def test_command__for_the_running_release(release: Release, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "scan.json"
    file.write_bytes(cyclonedx(rated("critical")))
    call_command("evidence_upload", "production", str(file))
    assert "CycloneDX on version code 2407: 1 critical" in capsys.readouterr().out
    made = ScanUpload.objects.get()
    assert (made.release, HistoryEntry.objects.get(verb="scan.uploaded").actor) == (release, "system:evidence_upload")
    file.write_bytes(b"{}")
    for where, what, words in (
        ("production", str(file), "neither SARIF"),
        ("production", str(tmp_path / "none"), "can't be read"),
        ("staging", str(file), "No release is under way"),
    ):
        with pytest.raises(CommandError, match=words) as refused:
            call_command("evidence_upload", where, what)
        assert refused.value.returncode == 2
    assert ScanUpload.objects.count() == 1
