"""Several runs of a script: one after the other, k of n must pass, measurements scatter; and scripts that are flaky."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from hawkops.core.access import Role
from hawkops.core.errors import InvalidInput
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from hawkops.scripts import selectors, services
from hawkops.scripts.exports import series_document, series_junit, series_verdict
from hawkops.scripts.models import Run, Series, State
from hawkops.scripts.repeats import Dispersion, together

ROOT = Path(__file__).resolve().parents[2]
ME = Actor("person:1", "releaser-1")
CPU = "scripts/test-cpu-performance.sh"
CORE_AI = "scripts/verify-core-ai.sh"
P, F, N, E = Verdict.PASS, Verdict.FAIL, Verdict.NO_DATA, Verdict.ERROR


@pytest.mark.parametrize(
    ("verdicts", "needs", "said"),
    [
        ([P, P, F], 2, P),
        ([P, F, F], 2, F),
        ([P, N, F], 2, N),
        ([P, E, F], 2, E),
        ([P, P, None], 2, None),
        ([N, N], 1, N),
        ([F, F], 1, F),
        ([P, P, P], 3, P),
    ],
)
def test_together__k_of_n__missing_results_never_count_as_passes_or_failures(
    verdicts: list[Verdict | None], needs: int, said: Verdict | None
) -> None:
    assert together(verdicts, needs) is said


def test_dispersion__variation_is_deviation_over_mean__and_none_where_it_means_nothing() -> None:
    assert Dispersion("a", "", "ms", (90.0, 100.0, 110.0)).variation == pytest.approx(0.1)
    assert Dispersion("a", "", "ms", (-90.0, -110.0)).variation == pytest.approx(0.1414, abs=1e-4)
    assert Dispersion("a", "", "ms", (5.0,)).variation is None
    assert Dispersion("a", "", "ms", (-1.0, 1.0)).variation is None


def ended(run: Run, state: State, value: float | None = None) -> None:
    """Take a run and end it."""
    taken = services.run_start(run_id=run.pk)
    assert taken is not None
    results: list[dict[str, Any]] = [{"name": "cpu", "backend": "cpu", "unit": "tok/s", "value": value}]
    services.run_finish(run=taken, state=state, exit_code=0, summary="said", results=results)


def requested(name: str = CPU, **options: Any) -> list[Run]:
    """Ask for several runs."""
    first = services.run_request(environment="demo", name=name, arguments={}, actor=ME, **options)
    assert first.series_id is not None
    return selectors.series_runs("demo", first.series_id)


@pytest.mark.django_db
@pytest.mark.parametrize("name", [CPU, CORE_AI])
def test_series__run_one_after_the_other__and_say_k_of_n_with_their_scatter(name: str) -> None:
    runs = requested(name, times=3, needs=2)
    assert HistoryEntry.objects.filter(verb="run.requested").count() == 3
    assert [run.request_entry for run in runs] == list(
        HistoryEntry.objects.filter(verb="run.requested").order_by("seq").values_list("seq", flat=True)
    )
    taken = services.run_start(run_id=runs[0].pk)
    assert taken is not None
    assert services.run_start(run_id=runs[1].pk) is None, "the first one runs"
    results = [{"name": "cpu", "backend": "cpu", "unit": "tok/s", "value": 90}]
    services.run_finish(run=taken, state=State.PASSED, exit_code=0, summary="", results=results)
    ended(runs[1], State.FAILED, 110)
    open_yet = selectors.series_runs("demo", runs[0].series_id or 0)
    assert series_verdict(open_yet) is None
    ended(runs[2], State.PASSED, 100)

    runs = selectors.series_runs("demo", runs[0].series_id or 0)
    document = series_document(runs)
    assert (document["passed"], document["times"], document["needs"], document["verdict"]) == (2, 3, 2, "PASS")
    (cpu,) = document["measurements"]
    assert (cpu["median"], cpu["lowest"], cpu["highest"], cpu["values"]) == (100, 90, 110, 3)
    assert cpu["variation"] == pytest.approx(0.1)
    suite = xml.fromstring(series_junit(runs))[0]
    assert [child.tag for child in suite] == ["properties", "testcase"]
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0")
    assert suite.find("properties/property[@name='cpu cpu median']").get("value") == "100.0"  # type: ignore[union-attr]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (CPU, {"times": 0}, "1 to 50 times"),
        (CPU, {"times": 51}, "1 to 50 times"),
        (CPU, {"times": 3, "needs": 4}, "1 to 3 can be needed"),
        (CPU, {"times": 3, "needs": 0}, "1 to 3 can be needed"),
        ("scripts/clear-model-cache.sh", {"times": 2, "dry_run": True}, "runs once"),
    ],
)
def test_series__unfit__is_refused_and_queues_nothing(name: str, options: dict[str, Any], words: str) -> None:
    seq = Head.objects.get().seq
    with pytest.raises(InvalidInput, match=words):
        services.run_request(environment="demo", name=name, arguments={}, actor=ME, **options)
    assert (Run.objects.count(), Series.objects.count(), Head.objects.get().seq) == (0, 0, seq)


@pytest.mark.django_db
def test_cancel__one_of_a_series__ends_what_is_still_queued_of_it_and_nothing_else() -> None:
    other = services.run_request(environment="demo", name=CORE_AI, arguments={}, actor=ME)
    runs = requested(times=3)
    ended(runs[0], State.PASSED, 1)
    assert services.run_start(run_id=runs[1].pk) is not None
    services.run_cancel(run=runs[1], actor=ME)
    states = [run.state for run in selectors.series_runs("demo", runs[0].series_id or 0)]
    assert states == ["passed", "running", "cancelled"]
    assert Run.objects.get(pk=runs[1].pk).cancel_wanted
    assert HistoryEntry.objects.filter(verb="run.cancelled").count() == 2
    services.run_cancel(run=other, actor=ME)
    assert HistoryEntry.objects.filter(verb="run.cancelled").count() == 3


@pytest.fixture
def client(person: Callable[..., object], client_as: Callable[..., Client]) -> Client:
    return client_as(person("releaser", Role.RELEASER))


@pytest.mark.django_db
def test_page_and_api__ask_for_several__and_show_what_they_say(client: Client) -> None:
    answer = client.post(f"/demo/scripts/{CPU}", {"times": "2", "needs": "1"})
    assert answer.status_code == 303
    series = Series.objects.get()
    assert (series.times, series.needs) == (2, 1)
    runs = selectors.series_runs("demo", series.pk)
    assert client.get(f"/demo/series/{series.pk}/junit.xml").status_code == 409
    ended(runs[0], State.PASSED, 200)
    ended(runs[1], State.FAILED, 300)
    page = client.get(f"/demo/runs/{runs[0].pk}").content.decode()
    assert "1 of 2 passed, 1 needed" in page
    assert "Coefficient of variation" in page
    assert re.search(r">28\.3\s%<", page)
    assert f"/demo/runs/{runs[1].pk}" in page
    assert client.get(f"/demo/series/{series.pk}/junit.xml").status_code == 200
    assert client.get(f"/demo/series/{series.pk}/result.json").json()["verdict"] == "PASS"
    assert client.get(f"/staging/series/{series.pk}/result.json").status_code in (403, 404)
    assert client.post(f"/demo/scripts/{CPU}", {"times": "many"}).status_code == 422

    body = {"script": CPU, "times": 3, "needs": 2}
    started = client.post("/demo/api/runs", body, content_type="application/json").json()
    told = client.get(f"/demo/api/series/{started['series']}").json()
    assert (told["times"], told["needs"], told["verdict"], len(told["runs"])) == (3, 2, None, 3)
    for unfit in ({"times": True}, {"times": "3"}, {"times": 3, "needs": 1.5}):
        refused = client.post("/demo/api/runs", {"script": CPU, **unfit}, content_type="application/json")
        assert refused.status_code == 400
    assert client.get("/demo/api/series/999").status_code == 404


@pytest.mark.fresh_database
def test_command__times_and_needs__runs_them_here_and_ends_with_the_series_status(tmp_path: Path) -> None:
    words = ["--here", "--times", "2", "--needs", "1", "--json", str(tmp_path / "s.json"), CPU]
    done = subprocess.run(
        [sys.executable, "manage.py", "script_run", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2 of 2 passed, 1 needed." in done.stderr
    document = json.loads((tmp_path / "s.json").read_text())
    assert document["measurements"][0]["values"] == 2
    first, second = selectors.series_runs("demo", document["series"])
    assert first.finished_at is not None and second.started_at is not None
    assert first.finished_at <= second.started_at


@pytest.mark.django_db
def test_flaky__passed_and_failed_alike__is_said_and_what_decides_nothing_is_not_counted(client: Client) -> None:
    def one(state: State, **changes: Any) -> None:
        run = services.run_request(environment="demo", name=CPU, arguments={}, actor=ME)
        ended(run, state)
        Run.objects.filter(pk=run.pk).update(**changes)

    one(State.FAILED, program_sha256="older")
    one(State.FAILED, arguments={"target": "other"})
    one(State.PASSED)
    for state in (State.NO_DATA, State.CANCELLED, State.ERROR, State.LOST):
        one(state)
    assert selectors.flaky("demo", [CPU]) == {}
    one(State.TIMED_OUT)
    one(State.PASSED)
    assert str(selectors.flaky("demo", [CPU, CORE_AI])[CPU]) == "flaky: 1 of 3 failed"
    assert selectors.flaky("staging", [CPU]) == {}
    for address in ("/demo/scripts", f"/demo/scripts/{CPU}"):
        assert "flaky: 1 of 3 failed" in client.get(address).content.decode()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        selectors.flaky("demo", [CPU, CORE_AI])
    assert len(queries) == 1
    for _ in range(10):
        one(State.PASSED)
    assert selectors.flaky("demo", [CPU]) == {}, "the failure is longer ago than ten runs"


@pytest.mark.django_db
def test_page__measurement_without_a_subject__has_no_bare_on(client: Client) -> None:
    run = services.run_request(environment="demo", name=CPU, arguments={}, actor=ME)
    ended(run, State.PASSED, 1)
    assert '<td class="f-e meta"></td>' in client.get(f"/demo/runs/{run.pk}").content.decode()
