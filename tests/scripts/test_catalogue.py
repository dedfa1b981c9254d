"""The catalogue: every entry has its program, every option is passed as one word, time limits exceed what was asked for."""

import os

import pytest
from django.test import Client

from hawkops.core.access import Role
from hawkops.core.errors import InvalidInput
from hawkops.scripts.catalogue import Argument, a_duration
from hawkops.scripts.entries import CATALOGUE, script
from hawkops.scripts.entries.shared import USER_METRICS


@pytest.mark.parametrize("name", CATALOGUE)
def test_entry__has_an_executable_program_that_takes_no_unknown_option(name: str) -> None:
    path = script(name).path

    assert path.is_file()
    assert os.access(path, os.X_OK)
    with pytest.raises(InvalidInput, match="no option --nonsense"):
        script(name).command_arguments({"nonsense": "1"})


def test_programs__each_has_its_entry() -> None:
    root = script("scripts/test-cpu-performance.sh").path.parents[1]

    assert {
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.suffix != ".yaml"
    } == set(CATALOGUE)


def test_durations_that_look_back__are_no_waiting_time() -> None:
    for name in ("scripts/verify-system-stability.sh", "scripts/validate-user-metrics.sh"):
        assert script(name).command_arguments({"duration": "48h"}) == ["--duration=48h"]
        assert script(name).time_limit({"duration": "48h"}) == script(name).timeout_seconds
    assert script("watch").time_limit({"duration": "48h"}) > 48 * 3600


def test_changing_ones__are_marked() -> None:
    assert {name for name, entry in CATALOGUE.items() if entry.changes_anything} == {
        "kubectl",
        "scripts/deploy-security-stack.sh",
        "scripts/deploy-to-play-store.sh",
        "scripts/rollback-app-version.sh",
        "scripts/redownload-models.sh",
        "scripts/clear-model-cache.sh",
    }


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("scripts/validate-user-experience.sh", {"metrics": "satisfaction,joy"}),
        ("scripts/validate-performance-metrics.sh", {"threshold-file": "../../etc/passwd.yaml"}),
        ("scripts/generate-validation-report.sh", {"output": "/etc/cron.d/x.html"}),
        ("scripts/generate-validation-report.sh", {"output": "report.sh"}),
    ],
)
def test_option__that_leaves_its_folder_or_means_nothing__is_refused(name: str, given: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        script(name).command_arguments(given)


@pytest.mark.parametrize("name", ["validation-report-20260101.html", "report.htm", "report.json"])
def test_output_of_the_report__is_a_page_or_json(name: str) -> None:
    entry = script("scripts/generate-validation-report.sh")

    assert entry.command_arguments({"output": name}) == [f"--output={name}"]


def test_option_of_users_metrics__names_what_the_check_knows() -> None:
    from monitoring.probes.recovery import EXPERIENCE

    assert tuple(EXPERIENCE) == USER_METRICS


@pytest.mark.parametrize(
    ("duration", "limit"), [("", 5400), ("60m", 5400 + 3600), ("48h", 5400 + 48 * 3600), ("30s", 5430)]
)
def test_time_limit__exceeds_the_duration_asked_for(duration: str, limit: int) -> None:
    assert script("run_litert_performance_tests.sh").time_limit({"duration": duration}) == limit


@pytest.mark.parametrize(("given", "passed"), [("on", ["--force"]), ("", []), ("no", []), ("1", ["--force"])])
def test_switch__is_there_or_not(given: str, passed: list[str]) -> None:
    assert script("scripts/clear-model-cache.sh").command_arguments({"force": given}) == passed


def test_switch__with_a_value__is_refused() -> None:
    with pytest.raises(InvalidInput, match="give it no value"):
        Argument("force", "", switch=True).parse("; rm -rf /")


@pytest.mark.parametrize("text", ["0m", "-1s", "1d", "5 m", "999999h", "5m\n"])
def test_duration__nonsense__is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="write 30s"):
        a_duration(text)


@pytest.mark.django_db
def test_page__search__narrows_and_says_when_nothing_matches(person: object, client_as: object) -> None:
    client: Client = client_as(person("viewer", Role.VIEWER))  # type: ignore[operator]

    found = client.get("/demo/scripts", {"search": "gpu"}).content.decode()
    assert "GPU driver" in found
    assert "Core AI" not in found
    assert "Nothing matches" in client.get("/demo/scripts", {"search": "<b>none"}).content.decode()
