"""A team's own scripts: read from their heads, refused with file and line, run as all others are."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from hawkops.core.access import Role
from hawkops.core.errors import InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.scripts import own, services, tasks
from hawkops.scripts.models import Run, RunOutput, State

ME = Actor("person:1", "releaser-1")
CAMERA = """#!/bin/sh
# Ours.
# hawkops:
#   title: Camera
#   means: Labels a picture.
#   timeout: 10m
#   memory: 500
#   arguments:
#     - name: labels
#       type: integer
#       help: how many labels
#       required: true
#     - name: place
#       type: choice
#       choices: [inside, outside]
#       help: where it is
#   measures:
#     - name: camera.labels
#       title: Labels found
#       unit: labels
echo '{"name": "camera.labels", "value": 7}' >> "$HAWKOPS_RESULT"
echo "$@" "${SECRET_KEY:-no key}"
"""


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    """A folder of a team's own, with one script."""
    settings.SCRIPTS_DIR = tmp_path / "ours"
    keep(settings.SCRIPTS_DIR / "checks/camera.sh", CAMERA)
    return Path(settings.SCRIPTS_DIR)


def keep(path: Path, text: str, mode: int = 0o755) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@pytest.mark.django_db
def test_own__runs_with_its_arguments_and_limits_and_without_our_keys(folder: Path) -> None:
    entry = own.script("checks/camera.sh")
    assert (entry.timeout_seconds, entry.memory_bytes, entry.group) == (600, 500_000_000, "Own scripts")
    for given in ({}, {"labels": "x"}, {"labels": "3", "place": "moon"}):
        with pytest.raises(InvalidInput):
            services.run_request(environment="demo", name=entry.name, arguments=given, actor=ME)
    run = services.run_request(
        environment="demo", name=entry.name, arguments={"labels": "3", "place": "inside"}, actor=ME, send=False
    )
    tasks.run(run.pk)
    run = Run.objects.get(pk=run.pk)
    assert (run.state, run.results) == (State.PASSED, [{"name": "camera.labels", "value": 7}])
    assert RunOutput.objects.get(run=run).text == "--labels=3 --place=inside no key"


def test_own__the_runbooks_scripts_stay__and_may_be_replaced(folder: Path) -> None:
    assert own.script("scripts/verify-core-ai.sh").path.is_file()
    keep(folder / "scripts/verify-core-ai.sh", "#!/bin/sh\nexit 0\n")
    assert own.script("scripts/verify-core-ai.sh").path == folder / "scripts/verify-core-ai.sh"
    with pytest.raises(NotFound):
        own.script("../etc/passwd")


@pytest.mark.parametrize(
    ("line", "becomes", "said"),
    [
        ("#   timeout: 10m", "#   timeout: soon", "checks/camera.sh, line 6: 'soon' is not a duration"),
        ("#   title: Camera", "#   titel: Camera", "checks/camera.sh, line 4: there is no 'titel' here"),
        ("#       type: integer", "#       type: number", "checks/camera.sh, line 10: there is no type 'number'"),
        ("#       choices: [inside, outside]", "#       choices: []", "checks/camera.sh, line 15: choices belong"),
        ("#   memory: 500", "#   memory: [", "checks/camera.sh, line"),
        ("#   means: Labels a picture.", "#   means: [1]", "checks/camera.sh, line 5: needs means"),
        ("#     - name: labels", "#     - name: Labels", "checks/camera.sh, line 9: 'Labels' can't name"),
        ("#     - name: place", "#     - name: labels", "checks/camera.sh, line 13: there are two arguments 'labels'"),
        ("#   title: Camera", '#   title: "\\ud800"', "checks/camera.sh, line 4: found invalid Unicode"),
        *(
            ("#     - name: labels", f"#     - name: {name}", f"checks/camera.sh, line 9: '{name}' can't name")
            for name in own.RESERVED
            if own.KEY.fullmatch(name)
        ),
    ],
)
def test_head__unfit__is_refused_with_its_line_and_the_others_stay(
    folder: Path, line: str, becomes: str, said: str
) -> None:
    keep(folder / "good.sh", CAMERA)
    assert line in CAMERA
    keep(folder / "checks/camera.sh", CAMERA.replace(line, becomes))
    found = own.own()
    assert list(found.scripts) == ["good.sh"]
    (refusal,) = found.refusals
    assert refusal.startswith(said), refusal


def test_folder__files_without_a_head_are_left_alone__not_executable_is_said(folder: Path) -> None:
    keep(folder / "library.sh", "# helpers\n")
    keep(folder / "plain.sh", CAMERA, 0o644)
    assert list(own.own().scripts) == ["checks/camera.sh"]
    assert "chmod +x plain.sh" in own.own().refusals[0]


@pytest.mark.django_db
@pytest.mark.parametrize("changes", ["true", "false"])
def test_run_form__its_own_fields__are_all_reserved(
    folder: Path, changes: str, person: Callable[..., object], client_as: Callable[..., Client]
) -> None:
    keep(folder / "checks/camera.sh", CAMERA.replace("#   timeout:", f"#   changes: {changes}\n#   timeout:"))
    page = client_as(person("releaser", Role.RELEASER)).get("/demo/scripts/checks/camera.sh").content.decode()
    form = page[page.index('<form class="panel"') :]
    fields = set(re.findall(r' name="([^"]+)"', form[: form.index("</form>")]))
    assert {"labels", "place"} < fields
    assert fields - {"labels", "place"} <= set(own.RESERVED)


def test_folder__made_executable__is_noticed_at_once(folder: Path) -> None:
    keep(folder / "plain.sh", CAMERA, 0o644)
    assert "chmod +x plain.sh" in own.own().refusals[0]
    (folder / "plain.sh").chmod(0o755)
    assert (list(own.own().scripts), own.own().refusals) == (["plain.sh", "checks/camera.sh"], ())


def test_folder__many_files__dot_folders_do_not_count__and_the_cut_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "FILES_MOST", 3)
    for number in range(4):
        keep(folder / f".git/objects/{number}", CAMERA)
    keep(folder / "a.sh", CAMERA)
    assert (list(own.own().scripts), own.own().refusals) == (["a.sh", "checks/camera.sh"], ())
    keep(folder / "b.sh", CAMERA)
    assert own.own().refusals == ()
    keep(folder / "c.sh", CAMERA)
    assert list(own.own().scripts) == ["a.sh", "b.sh", "c.sh"]
    (cut,) = own.own().refusals
    assert cut == "There are more than 3 files here; those after c.sh are not read."


@pytest.mark.django_db
def test_file_name__not_utf_8__is_refused_in_words_and_breaks_no_page(
    folder: Path, person: Callable[..., object], client_as: Callable[..., Client]
) -> None:
    keep(folder / os.fsdecode(b"\xff.sh"), CAMERA)
    (folder / "nowhere.sh").symlink_to(folder / "gone.sh")
    (refusal,) = own.own().refusals
    assert refusal.startswith("\\xff.sh: a script's name")
    client = client_as(person("viewer", Role.VIEWER))
    for page in ("/demo/scripts", "/demo/scripts/writing", "/demo/scripts/checks/camera.sh", "/demo/api/scripts"):
        assert client.get(page).status_code == 200


@pytest.mark.django_db
def test_pages__show_it_and_what_is_wrong(
    folder: Path, person: Callable[..., object], client_as: Callable[..., Client]
) -> None:
    keep(folder / "bad.sh", CAMERA.replace("10m", "soon"))
    client = client_as(person("viewer", Role.VIEWER))
    for page in ("/demo/scripts", "/demo/scripts/writing"):
        assert "bad.sh, line 6" in client.get(page).content.decode()
    assert "Own scripts" in client.get("/demo/scripts").content.decode()
    assert "how many labels" in client.get("/demo/scripts/checks/camera.sh").content.decode()
    names = {one["name"] for one in client.get("/demo/api/scripts").json()["scripts"]}
    assert "checks/camera.sh" in names
