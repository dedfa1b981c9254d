"""Versions of the runbook: imported as drafts, approved by three teams, adopted, exported; and the commands for it."""

import importlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from hawkops.accounts.models import User
from hawkops.accounts.services.people import teams_set
from hawkops.core.access import Role
from hawkops.core.errors import Conflict, InvalidInput, NotAllowed
from hawkops.core.teams import Team
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from rollout.models import Release, RunbookApproval, RunbookVersion
from rollout.runbook.loading import CURRENT
from rollout.selectors import releases as release_selectors
from rollout.selectors import runbooks as selectors
from rollout.services import releases
from rollout.services.flags import flags_seed
from rollout.services.runbooks import NEW, version_approve, version_import

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("test")
BUNDLED = CURRENT.read_text(encoding="utf-8")
Make = Callable[..., User]
As = Callable[[User], Client]


def text_of(version: str = "1.0.1", **changes: str) -> bytes:
    """The bundled runbook under another number, with lines of its head or elsewhere replaced."""
    text = BUNDLED.replace("  version: 1.0.0\n", f"  version: {version}\n", 1)
    text = text.replace("  next_review: 2025-02-09", "  next_review: 2099-02-09")
    for old, new in changes.items():
        assert f"  {old}: " in text
        text = re.sub(rf"(?m)^  {old}: .*$", f"  {old}: {new}", text, count=1)
    return text.encode()


@pytest.fixture
def bundled() -> RunbookVersion:
    """The bundled runbook, and the flags."""
    flags_seed(actor=SYSTEM)
    return releases.runbook_import(actor=SYSTEM)


@pytest.fixture
def author(person: Make) -> User:
    """Somebody who imports, and who would sign for every team."""
    user = person("author", Role.APPROVER)
    teams_set(user=user, teams=list(Team), actor=SYSTEM)
    return user


@pytest.fixture
def draft(bundled: RunbookVersion, author: User) -> RunbookVersion:
    """A draft 1.0.1 of the author."""
    return bring(text_of(), author)


@pytest.fixture
def signers(person: Make) -> dict[Team, User]:
    """One approver of each team."""
    found = {team: person(f"{team}-lead", Role.APPROVER) for team in Team}
    for team, user in found.items():
        teams_set(user=user, teams=[team], actor=SYSTEM)
    return found


def bring(text: bytes, user: User, *, expected: str = NEW) -> RunbookVersion:
    """Import a text in somebody's name."""
    return version_import(text=text, name="mine.yaml", expected_digest=expected, actor=Actor.person(user))


def sign(version: RunbookVersion, user: User, team: str) -> RunbookVersion:
    """Approve a version as it stands."""
    return version_approve(version=version.version, digest=version.digest, team=team, signer=user)


def release(environment: str) -> Release:
    """Begin a release."""
    return releases.release_create(
        environment=environment,
        name="HazardHawk",
        app_version="2.4.0",
        version_code="2407",
        model_name="gemma3-1b",
        model_digest="ab" * 32,
        backends=["cpu"],
        actor=SYSTEM,
    )


def entries(verb: str) -> list[HistoryEntry]:
    """The entries of one verb, oldest first."""
    return list(HistoryEntry.objects.filter(verb=verb).order_by("seq"))


def test_runbook_import__at_installation__is_adopted_and_keeps_its_bytes(bundled: RunbookVersion) -> None:
    assert (bundled.state, bundled.adopted_at is not None) == ("adopted", True)
    assert selectors.text_of(selectors.version_row("1.0.0")) == CURRENT.read_bytes()


def test_runbook_import__beside_versions_of_people__begins_as_a_draft(bundled: RunbookVersion) -> None:
    """A newer HawkOps brings a runbook along: it does not go past the three teams."""
    RunbookVersion.objects.update(version="0.9.0")
    assert releases.runbook_import(actor=SYSTEM).state == "draft"
    assert release_selectors.runbook_latest() == bundled


def test_runbook_import__text_that_people_wrote_or_adopted__is_left_alone(
    bundled: RunbookVersion, signers: dict[Team, User]
) -> None:
    RunbookVersion.objects.update(version="0.9.0")
    brought = releases.runbook_import(actor=SYSTEM)
    for team, user in signers.items():
        sign(brought, user, team)
    RunbookVersion.objects.filter(pk=brought.pk).update(digest="what they signed")
    assert releases.runbook_import(actor=SYSTEM).digest == "what they signed"
    RunbookApproval.objects.all().delete()
    assert releases.runbook_import(actor=SYSTEM).digest == brought.digest, "nobody stands for it: corrected"
    RunbookVersion.objects.filter(pk=brought.pk).update(digest="theirs", makers=["person:1"])
    assert releases.runbook_import(actor=SYSTEM).digest == "theirs"


def test_runbook_import__installed_before_texts_were_kept__takes_the_text_along(bundled: RunbookVersion) -> None:
    RunbookVersion.objects.update(text=b"")
    releases.runbook_import(actor=SYSTEM)
    assert selectors.text_of(selectors.version_row("1.0.0")) == CURRENT.read_bytes()


def test_migration__versions_that_are_there__are_adopted_since_their_import(bundled: RunbookVersion) -> None:
    RunbookVersion.objects.update(state="draft", adopted_at=None)
    migration = importlib.import_module("rollout.migrations.0006_runbook_versions")
    migration.adopt(apps, SimpleNamespace(connection=connection))
    found = RunbookVersion.objects.get()
    assert (found.state, found.adopted_at) == ("adopted", found.imported_at)


def test_version_import__new__is_a_draft_that_no_release_pins(draft: RunbookVersion, author: User) -> None:
    assert (draft.state, draft.makers, draft.made_by) == ("draft", [f"person:{author.pk}"], "author")
    assert [entry.after["state"] for entry in entries("runbook.imported")] == ["adopted", "draft"]
    assert release("production").runbook.version == "1.0.0"


def test_version_approve__three_teams__adopts_it_for_new_releases_only(
    draft: RunbookVersion, signers: dict[Team, User]
) -> None:
    running = release("production")
    for team in (Team.DEVOPS, Team.ENGINEERING):
        assert not sign(draft, signers[team], team).adopted
    assert release("staging").runbook.version == "1.0.0"
    seq = Head.objects.get().seq
    assert sign(draft, signers[Team.SECURITY], Team.SECURITY).adopted
    assert Head.objects.get().seq == seq + 2, "the approval and the adoption"
    (adopted,) = entries("runbook.adopted")
    assert adopted.after["approved_by"] == {team.value: f"person:{user.pk}" for team, user in signers.items()}
    assert [entry.after["team"] for entry in entries("runbook.approved")] == ["devops", "engineering", "security"]
    assert release("demo").runbook.version == "1.0.1"
    running.refresh_from_db()
    assert running.runbook.version == "1.0.0"


def test_version_approve__its_maker__is_refused_with_a_sentence(draft: RunbookVersion, author: User) -> None:
    seq = Head.objects.get().seq
    with pytest.raises(NotAllowed, match="You imported or edited this version"):
        sign(draft, author, Team.SECURITY)
    assert (Head.objects.get().seq, RunbookApproval.objects.count()) == (seq, 0)


def test_version_approve__one_person_of_two_teams__counts_for_one(draft: RunbookVersion, person: Make) -> None:
    both = person("both", Role.ADMIN)
    teams_set(user=both, teams=[Team.ENGINEERING, Team.DEVOPS], actor=SYSTEM)
    sign(draft, both, Team.DEVOPS)
    with pytest.raises(NotAllowed, match="for devops already: one person counts for one team"):
        sign(draft, both, Team.ENGINEERING)
    assert [one.team for one in RunbookApproval.objects.all()] == ["devops"]


@pytest.mark.parametrize(
    "roles,environment,teams,words",
    [
        ([Role.ADMIN], "", [], "You sign for no team, not for security"),
        ([Role.APPROVER], "", [Team.DEVOPS], "You sign for devops, not for security"),
        ([Role.RELEASER], "", [Team.SECURITY], "needs the role approver"),
        ([Role.APPROVER], "demo", [Team.SECURITY], "approver in each"),
    ],
)
def test_version_approve__without_team_or_role__is_refused(
    draft: RunbookVersion, person: Make, roles: list[Role], environment: str, teams: list[Team], words: str
) -> None:
    user = person("other", *roles, environment=environment)
    teams_set(user=user, teams=teams, actor=SYSTEM)
    with pytest.raises(NotAllowed, match=words):
        sign(draft, user, Team.SECURITY)
    assert not RunbookApproval.objects.exists()


def test_version_approve__second_of_a_team_and_after_adoption__is_refused(
    draft: RunbookVersion, signers: dict[Team, User], person: Make
) -> None:
    late = person("late", Role.APPROVER)
    teams_set(user=late, teams=[Team.SECURITY], actor=SYSTEM)
    sign(draft, signers[Team.SECURITY], Team.SECURITY)
    with pytest.raises(NotAllowed, match="approved this version for security already"):
        sign(draft, late, Team.SECURITY)
    for team in (Team.DEVOPS, Team.ENGINEERING):
        sign(draft, signers[team], team)
    with pytest.raises(Conflict, match="is adopted already"):
        sign(draft, late, Team.SECURITY)


def test_version_import__draft_edited__its_approvals_fall_and_both_makers_are_kept_from_signing(
    draft: RunbookVersion, author: User, signers: dict[Team, User], person: Make
) -> None:
    read = draft.digest
    sign(draft, signers[Team.SECURITY], Team.SECURITY)
    edited = bring(text_of(changes="More"), signers[Team.DEVOPS], expected=read)
    assert (edited.pk, edited.made_by, RunbookApproval.objects.count()) == (draft.pk, "devops-lead", 0)
    (entry,) = entries("runbook.edited")
    assert entry.before["approved_for"] == ["security"]
    assert entry.after["approvals_fallen"] == 1
    with pytest.raises(Conflict, match="was edited after you read it"):
        version_approve(version="1.0.1", digest=read, team=Team.SECURITY, signer=signers[Team.SECURITY])
    for user, team in ((author, Team.SECURITY), (signers[Team.DEVOPS], Team.DEVOPS)):
        with pytest.raises(NotAllowed, match="nobody signs for his own words"):
            sign(edited, user, team)
    sign(edited, signers[Team.SECURITY], Team.SECURITY)


def test_version_import__draft_edited_meanwhile_or_imported_anew__is_a_conflict(
    draft: RunbookVersion, author: User
) -> None:
    bring(text_of(changes="First"), author, expected=draft.digest)
    seq = Head.objects.get().seq
    with pytest.raises(Conflict, match=r"author edited 1\.0\.1 meanwhile"):
        bring(text_of(changes="Second"), author, expected=draft.digest)
    with pytest.raises(Conflict, match=r"There is a draft 1\.0\.1 already"):
        bring(text_of(changes="Second"), author)
    assert Head.objects.get().seq == seq
    assert selectors.version("demo", "1.0.1").runbook.changes == "First"


@pytest.mark.parametrize(
    "text,words",
    [
        (BUNDLED.encode(), "This is version 1.0.0 as it stands"),
        (text_of("1.0.0", changes="Other"), "Version 1.0.0 is adopted, and releases rely on its text"),
        (BUNDLED.replace("  version: 1.0.0\n", "  version: 1.0.2\n").encode(), "says the same as version 1.0.0"),
        (text_of("../1"), r"mine.yaml, line 12: '../1' is not a version"),
        (text_of("1.0.2").replace(b"  owner:", b"  ovner:"), r"mine.yaml, line \d+: "),
        (text_of("1.0.2").replace(b"at_least: 243}", b"at_least: .nan}"), r"mine.yaml, line \d+: at_least must be"),
        (text_of("1.0.2").replace(b"at_least: 243}", b"at_least: 1" + b"0" * 400 + b"}"), "at_least must be"),
        (b"[" * 5_000, "nested"),
        (b"#" * 1_000_001, "has 1000001 bytes"),
        (b"\xff\xfe\x00", "mine.yaml"),
    ],
)
def test_version_import__unfit__is_refused_and_nothing_changes(
    bundled: RunbookVersion, author: User, text: bytes, words: str
) -> None:
    seq = Head.objects.get().seq
    with pytest.raises(InvalidInput, match=words):
        bring(text, author)
    assert (Head.objects.get().seq, RunbookVersion.objects.count()) == (seq, 1)


def test_pages__import_by_file_read_approve_export__without_javascript(
    bundled: RunbookVersion, author: User, signers: dict[Team, User], client_as: As
) -> None:
    text = text_of(changes="Näher am Gerät").replace(b"\n", b"\r\n")
    writer = client_as(author)
    answer = writer.post("/demo/runbook/import", {"file": SimpleUploadedFile("a.yaml", text)})
    assert (answer.status_code, answer["Location"]) == (303, "/demo/runbook/1.0.1")
    own = writer.get("/demo/runbook/1.0.1").content.decode()
    assert "is a draft that lacks 3 approvals" in own
    assert "nobody signs for his own words" in own
    assert "/approve" not in own
    assert writer.get("/demo/runbook/1.0.1.yaml").content == text
    for team, user in signers.items():
        client = client_as(user)
        page = client.get("/demo/runbook/1.0.1").content.decode()
        assert f"Approve for {team}" in page
        form = {"digest": RunbookVersion.objects.get(version="1.0.1").digest, "team": team.value}
        assert client.post("/demo/runbook/1.0.1/approve", form).status_code == 303
    listed = writer.get("/demo/runbook").content.decode()
    assert "New releases walk through runbook 1.0.1" in listed
    assert "Approved by security-lead" in writer.get("/demo/runbook/1.0.1").content.decode()
    assert "It pins runbook 1.0.1" in client_as(_releaser()).get("/demo/releases").content.decode()


def _releaser() -> User:
    from hawkops.accounts.services.people import person_create

    return person_create(username="releaser", actor=SYSTEM, roles=[Role.RELEASER])


def test_pages__refused_text__comes_back_as_it_was_given_with_its_line(draft: RunbookVersion, author: User) -> None:
    client = Client()
    client.force_login(author)
    broken = text_of("1.0.2").decode().replace("kind: criterion", "kind: hope", 1)
    page = client.post("/demo/runbook/import", {"text": broken.replace("\n", "\r\n")})
    assert page.status_code == 422
    assert "text.yaml, line " in page.content.decode()
    assert "kind: hope" in page.content.decode()
    stale = {"edited": "1.0.1", "digest": "old", "text": text_of(changes="Mine").decode()}
    page = client.post("/demo/runbook/import", stale)
    assert (page.status_code, "edited 1.0.1 meanwhile" in page.content.decode()) == (422, True)
    assert 'value="old"' in page.content.decode(), "pressing again must not go past the conflict"
    saved = {**stale, "digest": draft.digest}
    assert client.post("/demo/runbook/import", saved).status_code == 303
    assert selectors.text_of(selectors.version_row("1.0.1")) == text_of(changes="Mine")


def test_pages__review_overdue__is_said_with_its_day_until_a_new_version(
    draft: RunbookVersion, author: User, signers: dict[Team, User], client_as: As
) -> None:
    running = release("demo")
    client = client_as(author)
    paths = ("/demo/runbook/1.0.0", "/demo/releases", f"/demo/releases/{running.pk}/checklist", "/demo/runbook")
    for path in paths:
        assert "verdue since 9 Feb 2025" in client.get(path).content.decode(), path
    table = client.get("/demo/runbook").content.decode()
    assert "Draft that awaits the feedback of the first deployment" in table
    for team, user in signers.items():
        sign(draft, user, team)
    assert "verdue" not in client.get("/demo/runbook/1.0.1").content.decode()
    assert "verdue" not in client.get("/demo/releases").content.decode()
    assert "verdue since 9 Feb 2025" in client.get(paths[2]).content.decode(), "a running release keeps its own"


def test_pages__diff__says_before_and_after(bundled: RunbookVersion, author: User, client_as: As) -> None:
    text = text_of().decode().replace("    to_percent: 5\n", "    to_percent: 10\n", 1)
    bring(text.replace("    from_percent: 5\n", "    from_percent: 10\n", 1).encode(), author)
    client = client_as(author)
    answer = client.get("/demo/runbook/1.0.0/diff", {"with": "1.0.1"})
    page = client.get(answer["Location"]).content.decode()
    assert re.search(r"2\. Limited beta.*<del>5\u202f%</del> → <ins>10\u202f%</ins>", page, re.DOTALL)
    assert '<li class="add">    to_percent: 10</li>' in page
    assert client.get("/demo/runbook/1.0.0/diff/9.9.9").status_code == 404
    assert client.get("/demo/runbook/9.9.9").status_code == 404


def test_commands__export_and_import__give_the_same_bytes_back(
    bundled: RunbookVersion, author: User, tmp_path: Path
) -> None:
    def run(name: str, *words: Any, **more: Any) -> str:
        said = io.StringIO()
        call_command(name, *words, stdout=said, **more)
        return said.getvalue()

    file = tmp_path / "next.yaml"
    file.write_bytes(text_of())
    assert "Runbook 1.0.1 is a draft" in run("runbook_import", file, by="author")
    assert RunbookVersion.objects.get(version="1.0.1").makers == [f"person:{author.pk}"]
    assert run("runbook_export", "1.0.1").encode() == file.read_bytes()
    run("runbook_export", "1.0.1", output=tmp_path / "again.yaml")
    assert (tmp_path / "again.yaml").read_bytes() == file.read_bytes()
    with pytest.raises(CommandError, match="can't be written"):
        run("runbook_export", "1.0.1", output=tmp_path / "again.yaml")
    with pytest.raises(CommandError, match=r"no version 7\.0"):
        run("runbook_export", "7.0")
    with pytest.raises(CommandError, match="as it stands"):
        run("runbook_import", file, by="author")
    with pytest.raises(CommandError, match="no active person named nobody"):
        run("runbook_import", file, by="nobody")
    draft = RunbookVersion.objects.get(version="1.0.1")
    file.write_bytes(text_of(changes="Edited"))
    run("runbook_import", file, by="author", edits=draft.digest)
    assert selectors.version("demo", "1.0.1").runbook.changes == "Edited"
