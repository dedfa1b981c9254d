"""The README is the door: what it lists must be what there is."""

import re
from pathlib import Path

from hawkops.scripts.listing import BEGIN, END, table
from hawkops.scripts.tasks import INSTALLATION, MODEL, PLAY

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    """The text under a heading."""
    return README.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_settings__the_table_is_what_is_read() -> None:
    listed = {
        name
        for row in section("Settings").splitlines()
        for name in re.findall(r"`([A-Z_]+)`", row.split("|")[1] if row.startswith("|") else "")
    }
    settings = (ROOT / "hawkops/settings.py").read_text()
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', settings)) | {"HAWKOPS_DATA", "LITERT_DISPATCH_DIR"}
    read |= {*MODEL, *PLAY, *(name for name in INSTALLATION if not name.endswith("_FILE"))}

    assert listed == read


def test_commands__each_exists() -> None:
    named = re.findall(r"(?:^|· )`(?:manage\.py )?([a-z_]+)", section("Commands"))
    found = {path.stem for path in ROOT.glob("*/**/management/commands/*.py")} | {"up"}

    assert named
    assert set(named) <= found


def test_map__each_folder_exists() -> None:
    drawn = re.findall(r"^\s*([a-z]+/)", section("The map"), re.MULTILINE)

    assert len(drawn) > 10
    for folder in drawn:
        assert (ROOT / folder).is_dir() or (ROOT / "hawkops" / folder).is_dir(), folder


def test_scripts__the_table_is_the_catalogue() -> None:
    """Renew it with `manage.py scripts_table`."""
    assert README.count(BEGIN) == 1
    assert BEGIN + README.split(BEGIN, 1)[1].split(END, 1)[0] + END == table()
