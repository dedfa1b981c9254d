"""`manage.py script_run`: the script's own output and status, and its result for pipelines."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import pytest
from django.test import Client

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.scripts import services
from hawkops.scripts.exports import run_junit
from hawkops.scripts.models import Run, RunOutput, State

ROOT = Path(__file__).resolve().parents[2]
MODEL = "scripts/check-model-integrity.sh"


def command(*words: str) -> "subprocess.CompletedProcess[str]":
    """Type it on a shell."""
    return subprocess.run(
        [sys.executable, "manage.py", "script_run", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.fresh_database
def test_command__could_not_measure__ends_with_77_and_exports_it(tmp_path: Path) -> None:
    done = command("--here", "--json", str(tmp_path / "r.json"), "--junit", str(tmp_path / "r.xml"), MODEL)

    assert done.returncode == 77, done.stderr
    assert "Model file" in done.stdout
    assert "Run 1 NO DATA" in done.stderr
    document = json.loads((tmp_path / "r.json").read_text())
    assert (document["verdict"], document["exit_code"], document["environment"]) == ("NO_DATA", 77, "demo")
    assert document["measurements"]
    suite = xml.parse(tmp_path / "r.xml").getroot()[0]
    assert suite.get("name") == MODEL
    assert int(suite.get("tests", "0")) == len(suite.findall("testcase")) == 1 + len(document["measurements"])
    assert int(suite.get("skipped", "0")) >= 1
    assert "Model file" in (suite.findtext("system-out") or "")
    assert HistoryEntry.objects.get(verb="run.requested").actor == "system:script_run"


@pytest.mark.fresh_database
def test_command__json_on_stdout__stands_there_alone() -> None:
    done = command("--here", "--json", "-", "scripts/clear-model-cache.sh", "--force")
    assert done.returncode == 2
    assert "needs a dry run" in done.stderr
    assert not Run.objects.exists()

    dry = command("--here", "--dry-run", "--json", "-", "scripts/clear-model-cache.sh", "--force")
    assert json.loads(dry.stdout)["dry_run"] is True
    real = command("--here", "--json", "-", "scripts/clear-model-cache.sh", "--force")
    assert (real.returncode, json.loads(real.stdout)["arguments"]) == (0, {"force": "on"})


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scripts/nope.sh"], "no script 'scripts/nope.sh'"),
        (["run_litert_performance_tests.sh", "--duration", "forever"], "write 30s"),
        (["run_litert_performance_tests.sh", "--colour=red"], "no option --colour"),
        (["run_litert_performance_tests.sh", "rm"], "'rm' is no option"),
        (["scripts/run-compliance-checks.sh", "--standard"], "--standard needs a value"),
        (["scripts/clear-model-cache.sh", "--force", "--force"], "stands there 2 times"),
    ],
)
def test_command__unfit__ends_with_2_and_queues_nothing(words: list[str], said: str) -> None:
    from django.core.management import CommandError, call_command

    with pytest.raises(CommandError, match=said) as refused:
        call_command("script_run", *words)
    assert refused.value.returncode == 2
    assert not Run.objects.exists()


@pytest.fixture
def judged() -> Run:
    """A run that ended with three lines, one of each outcome, and ugly output."""
    run = services.run_request(
        environment="demo", name=MODEL, arguments={}, actor=Actor("person:1", "releaser-1"), send=False
    )
    taken = services.run_start(run_id=run.pk)
    assert taken is not None
    services.run_output_append(
        run=taken,
        lines=[(1, clock.now(), "stdout", "<b> & \x01\ufffe"), (2, clock.now(), "stderr", "why ]]>")],
    )
    results: list[dict[str, Any]] = [
        {"name": "cpu", "value": 268, "unit": "tok/s", "threshold": 243, "outcome": "pass"},
        {"name": "gpu", "value": 3, "unit": "tok/s", "threshold": 1876, "outcome": "fail", "note": 'slow "<"'},
        {"name": "npu", "value": None, "outcome": "no_data", "note": "no NPU"},
        {"name": "unjudged", "value": 1},
    ]
    services.run_finish(run=taken, state=State.FAILED, exit_code=1, summary="gpu: slow", results=results)
    return Run.objects.get(pk=run.pk)


@pytest.mark.django_db
def test_junit__every_outcome_has_its_word__and_any_output_is_valid_xml(judged: Run) -> None:
    suite = xml.fromstring(run_junit(judged, RunOutput.objects.filter(run=judged)))[0]

    kinds = {case.get("name"): [child.tag for child in case] for case in suite.findall("testcase")}
    assert kinds == {"exit status": ["failure"], "cpu": [], "gpu": ["failure"], "npu": ["skipped"]}
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "2", "1")
    assert suite.findtext("system-out") == "<b> & \ufffd\ufffd"
    slow = suite.find("testcase[@name='gpu']/failure")
    assert slow is not None
    assert slow.get("message") == 'slow "<", measured 3 tok/s, limit 1876'


@pytest.mark.django_db
def test_page__exports__are_offered_and_junit_only_at_the_end(
    judged: Run, person: Callable[..., object], client_as: Callable[..., Client]
) -> None:
    client = client_as(person("viewer", Role.VIEWER))
    page = client.get(f"/demo/runs/{judged.pk}").content.decode()
    for address in (f"/demo/runs/{judged.pk}/result.json", f"/demo/runs/{judged.pk}/junit.xml"):
        assert f'href="{address}"' in page
        assert client.get(address).status_code == 200
        assert client.get(address.replace("demo", "staging")).status_code == 404
    assert client.get(f"/demo/runs/{judged.pk}/result.json").json()["measurements"][1]["note"] == 'slow "<"'

    waiting = services.run_request(
        environment="demo", name=MODEL, arguments={}, actor=Actor("person:1", "x"), send=False
    )
    assert client.get(f"/demo/runs/{waiting.pk}/junit.xml").status_code == 409
    assert client.get(f"/demo/runs/{waiting.pk}/result.json").json()["verdict"] is None
