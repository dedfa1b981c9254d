"""The API by its own document: strangers and garbage get a sentence everywhere, and change nothing.

Who may call what is tried by the access matrix, `tests/access`.
"""

import json
import re
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, get_args

import pytest
from django.test import Client
from ninja import Schema

from hawkops.accounts.services.credentials import api_token_create, api_token_revoke
from hawkops.api import document, operations
from hawkops.asgi import EMERGENCY
from hawkops.core.access import Scope
from hawkops.core.api import Inline
from hawkops.history.actors import Actor
from hawkops.history.models import Head
from hawkops.scripts import services as scripts
from incidents.domain.routing import Topic
from incidents.services.channels import Rules, channel_create
from incidents.services.incidents import incident_open
from monitoring.domain.criteria import Severity
from monitoring.services.criteria import criteria_seed
from rollout.models import Release
from rollout.services.flags import flags_seed
from rollout.services.groups import groups_seed
from rollout.services.releases import release_seed, runbook_import
from tests.rollout.walking import waiting_drill

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("test")
OPERATIONS = {operation["operationId"]: operation for operation in operations()}
# what each operation acts on; a name that is missing here fails the walk
KEYS = {
    "environment": "demo",
    "check": "security_scan",
    "step": "monitoring_verified",
    "backend": "gpu",
    "number": "1",
    "seq": "1",
    "subject": "flag:litert_enabled",
}
GARBAGE: tuple[bytes, ...] = (
    b"{",
    b"[]",
    b"7",
    b"null",
    b'"text"',
    b"\xff\xfe",
    b'{"a": NaN}',
    b"[" * 5_000,
    b'{"nobody_knows_me": 1}',
    b'{"reason": "\\u0000"}',
    b'{"reason": "\\ud800"}',
)


@pytest.fixture
def furnished() -> dict[str, str]:
    """An installation with one of everything, and what the addresses name."""
    flags_seed(actor=SYSTEM)
    groups_seed(actor=SYSTEM)
    runbook_import(actor=SYSTEM)
    release_seed(actor=SYSTEM)
    criteria_seed(actor=SYSTEM)
    run = scripts.run_request(
        environment="demo", name="scripts/test-cpu-performance.sh", arguments={}, actor=SYSTEM, times=2
    )
    incident = incident_open(environment="demo", title="Furnished", severity="warning", actor=SYSTEM)
    rules = Rules([*Topic], [*Severity])
    channel, _ = channel_create(
        environment="demo", name="team", kind="email", address="team@example.com", rules=rules, actor=SYSTEM
    )
    return {
        "run": str(run.pk),
        "series": str(run.series_id),
        "release": str(Release.objects.get().pk),
        "incidents": str(incident.pk),
        "channels": str(channel.pk),
        "drills": str(waiting_drill().pk),
    }


def address(operation: dict[str, Any], furnished: dict[str, str]) -> str:
    """The operation's path on what is furnished."""
    path = operation["path"]
    own = {"key": "litert_enabled", "pk": furnished["release"]}
    for part, key in (
        ("/groups/", "internal_testers"),
        ("/criteria/", "alert-latency"),
        ("/troubleshooting/", "high_memory"),
    ):
        if part in path:
            own["key"] = key
    for part in ("run", "series", "incidents", "channels", "drills"):
        if f"/{part.rstrip('s')}" in path and "/releases/" not in path:
            own["pk"] = furnished[part]
    return re.sub(r"{(\w+)}", lambda found: {**KEYS, **own}[found[1]], path)


def bearer(*scopes: Scope, environment: str = "demo") -> dict[str, str]:
    """The header of a new token."""
    _, secret = api_token_create(
        environment=environment, name="-".join(one.partition(":")[0] for one in scopes), scopes=scopes, actor=SYSTEM
    )
    return {"Authorization": f"Bearer {secret}"}


def call(operation: dict[str, Any], path: str, headers: dict[str, str], body: bytes = b"{}") -> Any:
    """Call an operation with a raw body."""
    return Client().generic(operation["method"], path, body, "application/json", headers=headers)


def sentence(answer: Any) -> str:
    """The refusal, and nothing beside it."""
    assert list(answer.json()) == ["error"], answer.content
    return str(answer.json()["error"])


def writes() -> Iterator[dict[str, Any]]:
    return (operation for operation in OPERATIONS.values() if operation["method"] != "GET")


def test_document__is_valid__and_every_reference_resolves() -> None:
    said = json.loads(json.dumps(document()))
    assert said["openapi"].startswith("3.")
    assert said["info"]["title"] == "HawkOps"
    names = [operation["operationId"] for operation in operations()]
    assert len(names) == len(set(names))
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(said)):
        place = said
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
    for path, methods in said["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["description"], where
            assert operation["tags"], where
            assert operation["x-scope"] in list(Scope), where
            assert {next(iter(one)) for one in operation["security"]} == {"Bearer", "Session"}, where
            assert set(re.findall(r"{(\w+)}", path)) == {
                one["name"] for one in operation["parameters"] if one["in"] == "path"
            }, where
            assert {"401", "403", "404", "409", "422"} < set(operation["responses"]), where
            assert any(status.startswith("2") for status in operation["responses"]), where
    assert set(said["components"]["securitySchemes"]) == {"Bearer", "Session"}
    for name, schema in said["components"]["schemas"].items():
        assert schema.get("type") or schema.get("enum"), name


def test_document__two_models_of_one_name__would_hide_each_other() -> None:
    def below(kind: type[Any]) -> Iterator[type[Any]]:
        for one in kind.__subclasses__():
            yield one
            yield from below(one)

    ours = [
        one for one in below(Schema) if one.__module__.startswith(("hawkops", "monitoring", "rollout", "incidents"))
    ]
    names = [one.__name__ for one in ours]
    assert sorted(names) == sorted(set(names))

    def enumerations(annotation: Any) -> Iterator[type[Enum]]:
        if isinstance(annotation, type) and issubclass(annotation, Enum):
            yield annotation
        for inside in get_args(annotation):
            yield from enumerations(inside)

    words: dict[str, set[type[Enum]]] = {}
    for one in ours:
        for field in one.model_fields.values():
            if not any(isinstance(mark, Inline) for mark in field.metadata):
                for kind in enumerations(field.annotation):
                    words.setdefault(kind.__name__, set()).add(kind)
    assert {name: kinds for name, kinds in words.items() if len(kinds) > 1} == {}, "write one of them Inline()"


def test_every_operation__stranger_or_dead_token__is_told_401(furnished: dict[str, str]) -> None:
    token, secret = api_token_create(environment="demo", name="x", scopes=list(Scope), actor=SYSTEM)
    api_token_revoke(token=token, actor=SYSTEM)
    seq = Head.objects.get().seq
    for operation in OPERATIONS.values():
        for headers in ({}, {"Authorization": f"Bearer {secret}"}, {"Authorization": "Basic eDp5"}):
            answer = call(operation, address(operation, furnished), headers)
            assert answer.status_code == 401, operation["operationId"]
            assert "Bearer" in sentence(answer)
    assert Head.objects.get().seq == seq


def test_every_write__signed_in_without_the_forms_token__is_refused(
    furnished: dict[str, str], administrator: Any
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(administrator)
    seq = Head.objects.get().seq
    for operation in writes():
        answer = client.generic(operation["method"], address(operation, furnished), b"{}", "application/json")
        assert answer.status_code == 403, operation["operationId"]
        assert "form token" in sentence(answer)
    assert Head.objects.get().seq == seq


def test_every_write__garbage__is_refused_in_a_sentence_and_changes_nothing(furnished: dict[str, str]) -> None:
    headers = bearer(*Scope)
    seq = Head.objects.get().seq
    for operation in writes():
        if "requestBody" not in operation:
            continue
        optional = not operation["requestBody"].get("required", False)
        for body in GARBAGE:
            if body == b"null" and optional:
                continue
            answer = call(operation, address(operation, furnished), headers, body)
            assert answer.status_code in (400, 422), (operation["operationId"], body[:30], answer.content)
            assert sentence(answer)
        if not optional:
            assert call(operation, address(operation, furnished), headers, b"").status_code == 422
    assert Head.objects.get().seq == seq


def test_every_operation__unfit_address__is_refused_and_never_breaks(furnished: dict[str, str]) -> None:
    headers = bearer(*Scope)
    seq = Head.objects.get().seq
    for operation in OPERATIONS.values():
        path = address(operation, furnished)
        for parameter in operation["parameters"]:
            # any text is a reason
            if parameter["in"] == "query" and parameter["name"] != "reason":
                for value in ("%00", "%FF", "-1", "9" * 30, "x" * 5_000, "NaN"):
                    answer = call(operation, f"{path}?{parameter['name']}={value}", headers)
                    assert answer.status_code < 500, (operation["operationId"], parameter["name"], value)
        if "{environment}" in operation["path"]:
            answer = call(operation, path.replace("demo", "moon"), headers)
            assert (answer.status_code, "moon" in sentence(answer)) == (404, True), operation["operationId"]
        for name in re.findall(r"{(\w+)}", operation["path"])[1:]:
            for value in ("%00", "9" * 30, "nobody", "%F0%9F%A6%85"):
                unfit = {**operation, "path": operation["path"].replace(f"{{{name}}}", value)}
                answer = call(unfit, address(unfit, furnished), headers)
                assert 400 <= answer.status_code < 500, (operation["operationId"], name, value, answer.status_code)
                assert sentence(answer)
    assert Head.objects.get().seq == seq


def test_body__too_large_or_a_form__is_told_so(furnished: dict[str, str], client_as: Any, operator: Any) -> None:
    kill = OPERATIONS["kill"]
    seq = Head.objects.get().seq
    answer = call(kill, "/api/v1/demo/kill", bearer(Scope.KILL), b'{"reason": "' + b"x" * 3_000_000 + b'"}')
    assert (answer.status_code, sentence(answer)) == (413, "The body is larger than this door takes.")
    seq += 1  # the token
    client = client_as(operator)
    assert client.post("/api/v1/demo/kill", {"reason": "x"}).status_code in (400, 415)
    assert Head.objects.get().seq == seq


def test_nothing__at_an_unknown_address__is_told_in_json() -> None:
    for path in ("/api/v1", "/api/v1/", "/api/v1/demo/nothing", "/api/v1/demo/flags/a/b"):
        for answer in (Client().get(path), Client().post(path)):
            assert answer.status_code == 404, path
            assert "/api/v1/docs" in sentence(answer)


def test_docs__our_own_page__shows_every_operation_and_asks_no_other_host(
    viewer: Any, client_as: Callable[[object], Client]
) -> None:
    assert Client().get("/api/v1/docs").status_code == 302
    assert client_as(viewer).get("/api/v1/docs")["Location"] == "/demo/api"
    page = client_as(viewer).get("/demo/api").content.decode()
    for operation in operations():
        assert f"{operation['method']} {operation['short']}" in page
    assert "https://" not in page
    assert client_as(viewer).get("/api/v1/openapi.json").json()["openapi"].startswith("3.")
    assert Client().get("/api/v1/openapi.json").status_code == 401


def test_emergency_operations__have_the_emergency_pages_threads() -> None:
    stops = {operation["path"] for operation in operations() if operation["scope"] == Scope.KILL}
    for operation in operations():
        path = address(operation, dict.fromkeys(("run", "series", "release", "incidents", "channels", "drills"), "1"))
        # what a stop would do is read at its own address
        assert (EMERGENCY.match(path) is not None) is (operation["path"] in stops), path
