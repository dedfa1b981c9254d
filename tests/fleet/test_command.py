"""The ways to start the fleet: `manage.py fleet` and `python -m hawkops.fleet.simulate`, and what they refuse."""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from hawkops.fleet.scenarios import SCENARIOS
from tests.fleet.standin import KEY, gateway

ROOT = Path(__file__).resolve().parents[2]

REFUSED = [
    (["--devices", "0"], "--devices must be 1 to 100000."),
    (["--after", "-1"], "--after must be 0 seconds or more."),
    (["--devices", "some"], "--devices must be a whole number, and 'some' is none."),
    (["--seed", "1.5"], "--seed must be a whole number, and '1.5' is none."),
    (["--after", "soon"], "--after must be a number of seconds, and 'soon' is none."),
    (["--after", "nan"], "--after must be a number of seconds, and 'nan' is none."),
    (["--report", "0"], "--report must be more than 0 seconds."),
    (
        ["--gateway", "localhost"],
        "The gateway's address must begin with http:// or https://, and 'localhost' does not.",
    ),
    (["--scenario", "flood"], f"There is no scenario 'flood'; there are {', '.join(SCENARIOS)}."),
]


def test_fleet__list__says_each_scenario() -> None:
    said = StringIO()
    call_command("fleet", "--list", stdout=said)
    lines = said.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == list(SCENARIOS)
    assert all(one.sentence in line for one, line in zip(SCENARIOS.values(), lines, strict=True))


@pytest.mark.parametrize(("words", "sentence"), [*REFUSED, (["--for", "0"], "--for must be more than 0 seconds.")])
def test_fleet__wrong_input__is_one_sentence_and_status_two(words: list[str], sentence: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("fleet", "--key", "k", *words)
    assert str(refused.value) == sentence
    assert refused.value.returncode == 2


def test_fleet__no_key__says_where_to_get_one(
    monkeypatch: pytest.MonkeyPatch, settings: object, tmp_path: Path
) -> None:
    monkeypatch.delenv("HAWKOPS_DEVICE_KEY", raising=False)
    settings.DATA = tmp_path  # type: ignore[attr-defined]
    with pytest.raises(CommandError, match="There is no device key: set HAWKOPS_DEVICE_KEY") as refused:
        call_command("fleet")
    assert refused.value.returncode == 2


@pytest.mark.parametrize(("words", "sentence"), REFUSED)
def test_simulate__wrong_input__is_one_sentence_and_status_two(words: list[str], sentence: str) -> None:
    environment = {**os.environ, "HAWKOPS_DEVICE_KEY": KEY}
    command = [sys.executable, "-m", "hawkops.fleet.simulate", "--devices", "1", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{sentence}\n")


def test_fleet__scenario__reaches_the_gateway_and_ends() -> None:
    environment = {**os.environ, "HAWKOPS_DEVICE_KEY": KEY}
    flags = {"litert_enabled": True, "ai_fallback_to_cloud": True}
    with gateway(flags=flags) as standin:
        command = [sys.executable, "manage.py", "fleet", "--gateway", standin.url, "--steady", "--devices", "3"]
        options = ["--scenario", "switch-storm", "--report", "2", "--for", "6"]
        done = subprocess.run(
            [*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90
        )
        assert done.returncode == 0, done.stderr
        assert "scenario switch-storm begins now: Every device changes its backend each 5 seconds" in done.stdout
        assert "Needs litert_enabled." in done.stdout
        assert sum(point.as_int for _, point in standin.points("litert.backend.switches")) > 0
