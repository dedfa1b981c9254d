"""What a program leaves in the folder of its run's files: what is kept, what is not, who may fetch it, and its proof."""

import hashlib
from pathlib import Path

import pytest
from django.test import Client

from hawkops.core.access import Role
from hawkops.history.models import HistoryEntry
from hawkops.scripts import kept, services
from hawkops.scripts.exports import run_document
from hawkops.scripts.kept import Kept
from hawkops.scripts.models import Run, RunFile, State
from tests.rollout.walking import somebody
from tests.scripts.running import started
from tests.scripts.test_runner import run

PAGE = Kept("report.html", b"<!doctype html><script>alert(1)</script>")


def ended(*files: Kept) -> Run:
    """A run in demo that left files."""
    taken = started()
    services.run_finish(run=taken, state=State.PASSED, exit_code=0, summary="Done.", results=[], files=files)
    return Run.objects.get(pk=taken.pk)


def test_program__leaves_texts__they_are_kept_with_secrets_masked(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, 'cd "$HAWKOPS_FILES"; echo "<p>s3cret-value</p>" > a.html; echo "{}" > b.json')

    assert {one.name: one.content.decode() for one in outcome.files} == {"a.html": "<p>•••</p>\n", "b.json": "{}\n"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ln -s /etc/passwd a.txt", "a.txt|loop|symbolic"),
        ("mkfifo a.txt", "no plain file"),
        ("mkdir a.txt", "directory|no plain file"),
        ("echo x > 'a b.html'", "a name is letters"),
        ("echo x > .hidden.html", "a name is letters"),
        ("echo x > run.sh", "ends in"),
        ("printf '\\377\\376' > a.txt", "no UTF-8"),
        ("head -c 4000001 /dev/zero > a.txt", "longer than 4 MB"),
    ],
)
def test_program__leaves_what_can_not_be_kept__it_is_left_out_and_said(tmp_path: Path, text: str, says: str) -> None:
    outcome, lines = run(tmp_path, f'cd "$HAWKOPS_FILES"; {text}; echo fine > b.txt')

    assert [one.name for one in outcome.files] == ["b.txt"]
    assert outcome.state is State.PASSED
    (said,) = [line for _, _, _, line in lines if "Not every file is kept" in line]
    assert any(word in said for word in says.split("|")), said


def test_program__leaves_too_many_or_removes_the_folder__the_run_ends_all_the_same(tmp_path: Path) -> None:
    many, _ = run(tmp_path, 'for n in 1 2 3 4 5 6 7 8 9; do echo $n > "$HAWKOPS_FILES/$n.txt"; done')
    none, _ = run(tmp_path, 'rm -r "$HAWKOPS_FILES"')

    assert len(many.files) == kept.FILES_MOST
    assert (none.state, none.files) == (State.PASSED, [])


@pytest.mark.django_db
def test_run_finish__with_files__their_digests_stand_in_the_history_and_in_the_document() -> None:
    found = ended(PAGE)
    digest = hashlib.sha256(PAGE.content).hexdigest()
    entry = HistoryEntry.objects.get(verb="run.finished")

    assert entry.after is not None
    assert entry.after["files"] == {"report.html": f"sha256:{digest}"}
    assert run_document(found)["files"] == [{"name": "report.html", "bytes": len(PAGE.content), "sha256": digest}]


@pytest.mark.django_db
def test_file__of_two_runs__neither_takes_the_others_place(client: Client) -> None:
    client.force_login(somebody("viewer-1", Role.VIEWER))
    runs = [ended(Kept("report.html", text)) for text in (b"first", b"second")]

    assert [client.get(f"/demo/runs/{one.pk}/files/report.html").content for one in runs] == [b"first", b"second"]
    assert RunFile.objects.count() == 2


@pytest.mark.django_db
def test_file__fetched__is_saved_and_can_do_nothing(client: Client) -> None:
    client.force_login(somebody("viewer-1", Role.VIEWER))
    answer = client.get(f"/demo/runs/{ended(PAGE).pk}/files/report.html")

    assert answer.content == PAGE.content
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="report.html"'
    assert answer["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert answer["X-Content-Type-Options"] == "nosniff"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path",
    ["report.json", "../result.json", "..%2Fresult.json", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "report.html%00", ""],
)
def test_file__another_name__is_not_there(client: Client, path: str) -> None:
    client.force_login(somebody("viewer-1", Role.VIEWER))
    pk = ended(PAGE).pk

    assert PAGE.content not in client.get(f"/demo/runs/{pk}/files/{path}").content
    assert client.get(f"/demo/runs/{pk}/files/report.json").status_code == 404


@pytest.mark.django_db
def test_file__of_another_environment_or_for_a_stranger__is_not_there(client: Client) -> None:
    pk = ended(PAGE).pk

    assert client.get(f"/demo/runs/{pk}/files/report.html").status_code == 302
    client.force_login(somebody("viewer-1", Role.VIEWER))
    assert client.get(f"/production/runs/{pk}/files/report.html").status_code == 404


@pytest.mark.django_db
def test_run_page__with_files__links_each_with_its_digest(client: Client) -> None:
    client.force_login(somebody("viewer-1", Role.VIEWER))
    pk = ended(PAGE).pk
    page = client.get(f"/demo/runs/{pk}").content.decode()

    assert f'href="/demo/runs/{pk}/files/report.html"' in page
    assert hashlib.sha256(PAGE.content).hexdigest() in page
