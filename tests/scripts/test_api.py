"""The scripts' API: listed, started, read and cancelled by programs, with refusals in JSON that change nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.history.models import Head, HistoryEntry
from hawkops.scripts import services
from hawkops.scripts.entries import CATALOGUE
from hawkops.scripts.models import Run, State

pytestmark = pytest.mark.django_db
CPU = "scripts/test-cpu-performance.sh"
READS = ("api/scripts", "api/runs", "api/runs/{pk}", "api/runs/{pk}/output")
WRITES = ("api/runs", "api/runs/{pk}/cancel")


@pytest.fixture
def client(person: Callable[..., object], client_as: Callable[..., Client]) -> Client:
    """A pipeline of the release team."""
    return client_as(person("pipeline", Role.RELEASER))


def start(client: Client, body: Any) -> Any:
    return client.post("/demo/api/runs", body, content_type="application/json")


def test_run__started_read_and_ended__with_output_and_result(client: Client) -> None:
    listed = client.get("/demo/api/scripts").json()["scripts"]
    assert {one["name"] for one in listed} == set(CATALOGUE)

    answer = start(client, {"script": CPU})
    assert (answer.status_code, answer.json()["state"]) == (201, "queued")
    place = answer["Location"]
    assert HistoryEntry.objects.get(verb="run.requested").actor.startswith("person:")
    taken = services.run_start(run_id=answer.json()["run"])
    assert taken is not None
    services.run_output_append(run=taken, lines=[(n, clock.now(), "stdout", f"line {n}") for n in (1, 2, 3)])
    output = client.get(f"{place}/output?after=1").json()
    assert ([line["text"] for line in output["lines"]], output["last"], output["is_open"]) == (
        ["line 2", "line 3"],
        3,
        True,
    )
    services.run_finish(
        run=taken, state=State.FAILED, exit_code=1, summary="slow", results=[{"name": "cpu", "value": 3}]
    )
    document = client.get(place).json()
    assert (document["verdict"], document["exit_code"], document["measurements"][0]["value"]) == ("FAIL", 1, 3)
    assert client.get("/demo/api/runs", {"script": CPU}).json()["runs"][0]["run"] == taken.pk
    assert client.get("/demo/api/runs", {"script": "x"}).json()["runs"] == []


def test_run__changing__needs_its_dry_run_here_too(client: Client) -> None:
    body = {"script": "scripts/clear-model-cache.sh", "arguments": {"force": True}}
    assert start(client, body).status_code == 409
    assert start(client, {**body, "dry_run": True}).json()["arguments"] == {"force": "on"}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("{", 400, "not valid JSON"),
        ("[" * 100_000, 400, "nested deeper"),
        ([], 400, "must be an object"),
        ({}, 400, "script must be a text"),
        ({"script": "nope.sh"}, 404, "no script"),
        ({"script": CPU, "argument": {}}, 400, "'argument' is no member"),
        ({"script": CPU, "arguments": {"a": 1}}, 400, "object of texts"),
        ({"script": CPU, "arguments": {"a": "1"}}, 400, "no option --a"),
        ({"script": CPU, "dry_run": "yes"}, 400, "true or false"),
    ],
)
def test_run__unfit__is_refused_in_json_and_nothing_queued(client: Client, body: Any, status: int, words: str) -> None:
    seq = Head.objects.get().seq
    answer = start(client, body)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert not Run.objects.exists()
    assert Head.objects.get().seq == seq


def test_cancel__ends_a_queued_run(client: Client) -> None:
    pk = start(client, {"script": CPU}).json()["run"]
    answer = client.post(f"/demo/api/runs/{pk}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    assert client.get(f"/demo/api/runs/{pk}/output?after=x").status_code == 400


def test_access__strangers_get_401__readers_read_only__elsewhere_nothing(
    client: Client, person: Callable[..., object], client_as: Callable[..., Client]
) -> None:
    pk = start(client, {"script": CPU}).json()["run"]
    seq = Head.objects.get().seq + 2  # two people are made
    reader = client_as(person("reader", Role.VIEWER))
    elsewhere = client_as(person("elsewhere", Role.ADMIN, environment="staging"))
    for path in READS:
        address = "/demo/" + path.format(pk=pk)
        assert (Client().get(address).status_code, elsewhere.get(address).status_code) == (401, 403)
        assert reader.get(address).status_code == 200
    for path in WRITES:
        address = "/demo/" + path.format(pk=pk)
        for who, status in ((Client(), 401), (reader, 403), (elsewhere, 403)):
            answer = who.post(address, {"script": CPU}, content_type="application/json")
            assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert elsewhere.get(f"/staging/api/runs/{pk}").status_code == 404
    assert Head.objects.get().seq == seq
    assert Run.objects.count() == 1


def test_writes__without_the_forms_token__are_refused(person: Callable[..., object]) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(person("somebody", Role.RELEASER))  # type: ignore[arg-type]
    assert start(strict, {"script": CPU}).status_code == 403
    assert not Run.objects.exists()
