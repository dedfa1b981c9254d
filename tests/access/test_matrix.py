"""The matrix and the product say the same: nothing is missing on either side, and programs get what the table says.

Pages and presses are tried for people in `tests/pages/test_access.py`, cell by cell.
"""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve

from hawkops.accounts.models import User
from hawkops.accounts.services.credentials import api_token_create, device_key_create
from hawkops.api import operations
from hawkops.core.access import Role, Scope
from hawkops.history.actors import Actor
from hawkops.history.models import Head
from hawkops.live import LiveStream
from monitoring.otlp.door import SIGNALS
from rollout.ofrep.answers import STREAM
from rollout.ofrep.door import BULK
from tests import apart
from tests.access import table
from tests.access.table import ALLOWED, ANONYMOUS, NO_ROLE, Line
from tests.api.test_contract import OPERATIONS, address, call, furnished, sentence
from tests.pages.test_access import OTHERS, declared_other, declared_pages, going_back, shown
from tests.rollout.conftest import Gateway, gateway

__all__ = ["furnished", "gateway"]

SYSTEM = Actor.system("test")
DEVICE_KEY, TOKEN = "a device key", "a token with "
# what only a person may do, with a body that a person would send: a token of the scope is told so
PEOPLE_ONLY = {
    "lockdown_lift": b"",
    "step_skip_approve": b"",
    "step_attest": b'{"digest": "x", "note": "x"}',
    "no_go": b'{"decided": "no-go", "reason": "x"}',
    "proposal_approve": b'{"edition": 1}',
}
# what the devices' door answers; `test_gateway` asks each of them
DEVICES = {
    ("POST", BULK): "flags",
    ("POST", f"{BULK}/{{key}}"): "flag",
    **{("POST", path): signal.name for path, signal in SIGNALS.items()},
}


def declared() -> list[Line]:
    """Every line: pages and presses, the API's operations, the devices' door, the live streams."""
    lines = [*declared_pages(), *(declared_other(one) for one in OTHERS)]
    for operation in operations():
        cells = {role.value: ALLOWED for role in Role if _may(operation, role)}
        lines.append(
            table.line(
                "API",
                operation["method"],
                operation["path"],
                operation["operationId"],
                anonymous="401",
                others="403",
                program="" if operation["operationId"] in PEOPLE_ONLY else f"{TOKEN}{operation['scope']}",
                **cells,
            )
        )
    lines.append(_like("API", "GET", "/api/v1/openapi.json", "openapi", f"{TOKEN}read", ALLOWED, no_role="403"))
    lines += [
        _like("devices", method, path, name, DEVICE_KEY, "401", no_role="401")
        for (method, path), name in DEVICES.items()
    ]
    lines.append(_like("devices", "GET", STREAM, "stream", "the link in the flags' answer", "401", no_role="401"))
    lines.append(table.line("devices", "GET", "/healthz", "healthz", anonymous=ALLOWED, others=ALLOWED))
    lines.append(_like("live", "GET", "/live", "live", "", ALLOWED, no_role="401"))
    return lines


def _like(door: str, method: str, path: str, name: str, program: str, roles: str, *, no_role: str) -> Line:
    return table.line(door, method, path, name, anonymous="401", no_role=no_role, others=roles, program=program)


def _may(operation: dict[str, Any], role: Role) -> bool:
    return not operation["roles"] or role in operation["roles"] or role is Role.ADMIN


def test_table__is_what_the_tests_declare() -> None:
    found = {(one.door, one.method, one.address): one for one in table.refreshed(declared())}
    wanted = {(one.door, one.method, one.address): one for one in declared()}
    hint = "UPDATE_MATRIX=1 uv run pytest tests/access writes the table anew; review what changed"
    assert sorted(set(wanted) - set(found)) == [], f"without a line. {hint}"
    assert sorted(set(found) - set(wanted)) == [], f"a line of nothing. {hint}"
    assert {one: found[one] for one in found if found[one] != wanted[one]} == {}, hint
    assert len(declared()) == len(wanted)
    assert table.written(table.read()) == table.FILE.read_text(), "the order"


@pytest.mark.django_db
def test_table__every_address_of_the_product_stands_in_it(person: Any, client_as: Any) -> None:
    """An address answers a strange method with those that it takes, so that none is overlooked."""
    client = client_as(person("administrator", Role.ADMIN))
    found = set()
    for route, callback in _routes(get_resolver().url_patterns):
        path = "/" + re.sub(r"<(?:(\w+):)?(\w+)>", _any, route)
        assert resolve(path).route == route, f"{route} is hidden by {resolve(path).route}"
        answer = client.generic("PROPFIND", path)
        taken = {"GET"} if answer.status_code == 404 else set(answer.get("Allow", "any").split(", ")) - {"HEAD"}
        assert answer.status_code in (404, 405), (route, callback, answer.status_code)
        found |= {(method, shown(route)) for method in taken}
    assert found == {(one.method, one.address) for one in table.read() if one.door in ("console", "API")}


def _routes(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern.url_patterns, before + str(pattern.pattern))
        else:
            yield before + str(pattern.pattern), pattern.callback


def _any(found: re.Match[str]) -> str:
    return "demo" if found[2] == "environment" else "1" if found[1] == "int" else "x"


@pytest.mark.django_db
@pytest.mark.parametrize("caller", table.CALLERS)
def test_operations__people__get_what_the_table_says(
    furnished: dict[str, str], person: Any, client_as: Any, caller: str
) -> None:
    roles = [role for role in Role if role.value == caller]
    client = Client() if caller == ANONYMOUS else client_as(person("somebody", *roles))
    seq = Head.objects.get().seq
    for line in table.read():
        if line.door == "API" and line.name in OPERATIONS:
            operation = OPERATIONS[line.name]
            wanted = line.cell(caller)
            with going_back():
                answer = client.generic(line.method, address(operation, furnished), b"{", "application/json")
                got = str(answer.status_code) if answer.status_code in (401, 403) else ALLOWED
                assert got == wanted, (line.name, answer.content)
                assert answer.status_code < 500, line.name
                if wanted != ALLOWED:
                    assert Head.objects.get().seq == seq, line.name


@pytest.mark.django_db
def test_operations__programs__need_the_scope_that_the_table_names_and_it_is_enough(furnished: dict[str, str]) -> None:
    def headers(*scopes: Scope, environment: str = "demo") -> dict[str, str]:
        name = f"{environment}-{'-'.join(scopes)}".replace(":", "-")[:40]
        secret = api_token_create(environment=environment, name=name, scopes=scopes, actor=SYSTEM)[1]
        return {"Authorization": f"Bearer {secret}"}

    alone = {scope: headers(scope) for scope in Scope}
    elsewhere = headers(*Scope, environment="staging")
    device = device_key_create(environment="demo", name="device", actor=SYSTEM)[1]
    seq = Head.objects.get().seq
    for line in (one for one in table.read() if one.door == "API"):
        operation = OPERATIONS.get(line.name) or {"method": "GET", "path": line.address, "scope": "read"}
        path = address(operation, furnished)
        for scope, own in alone.items():
            with going_back():
                answer = call(operation, path, own, PEOPLE_ONLY.get(line.name, b"{"))
                if scope == operation["scope"] and not line.program:
                    # one of them finds no proposal
                    assert answer.status_code == 404 or "Only a person" in sentence(answer), (line.name, answer.content)
                else:
                    allowed = answer.status_code not in (401, 403)
                    assert allowed is (line.program == f"{TOKEN}{scope}"), (line.name, scope, answer.content)
                    assert allowed or operation["scope"] in sentence(answer), "it says what is missing"
                assert answer.status_code not in (403, 404) or Head.objects.get().seq == seq, line.name
        if "{environment}" in line.address:
            assert call(operation, path, elsewhere, b"{").status_code == 403, line.name
        for other in ({"Authorization": f"Bearer {device}"}, {"X-API-Key": device}):
            assert call(operation, path, other, b"{").status_code == 401, line.name
    assert Head.objects.get().seq == seq


@pytest.mark.fresh_database
def test_gateway__devices_come_in_by_their_key_and_nobody_else(gateway: Gateway, person: Any, client_as: Any) -> None:
    administrator = client_as(person("administrator", Role.ADMIN))
    session = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={administrator.cookies[settings.SESSION_COOKIE_NAME].value}"}
    token = api_token_create(environment="demo", name="all", scopes=list(Scope), actor=SYSTEM)[1]
    strangers: tuple[dict[str, str], ...] = (
        {},
        session,
        {"Authorization": f"Bearer {token}"},
        {"Authorization": "Bearer hk_demo_x"},
    )
    seq = Head.objects.get().seq
    for line in (one for one in table.read() if one.door == "devices"):
        url = gateway.url + line.address.replace("{key}", "litert_enabled")
        kind = {"Content-Type": "application/json"}
        for headers in strangers:
            answer = httpx.request(line.method, url, headers={**headers, **kind}, content=b"{}")
            wanted = line.cell(ANONYMOUS if headers is not session else Role.ADMIN)
            assert answer.status_code == (200 if wanted == ALLOWED else int(wanted)), (line.address, headers)
        if line.program == DEVICE_KEY:
            body = b'{"context": {"targetingKey": "device-1"}}' if "ofrep" in line.address else b"{}"
            answer = httpx.request(line.method, url, headers={**gateway.auth, **kind}, content=body)
            assert answer.status_code == 200, line.address
    bulk = httpx.post(gateway.url + BULK, json={"context": {}}, headers=gateway.auth).json()
    link = bulk["eventStreams"][0]["endpoint"]["requestUri"]
    assert link.startswith(STREAM)
    with httpx.stream("GET", gateway.url + link) as stream:
        assert stream.status_code == 200
    assert Head.objects.get().seq == seq


@pytest.mark.fresh_database
def test_live__only_whoever_may_see_some_environment(person: Any, client_as: Any) -> None:
    (line,) = (one for one in table.read() if one.door == "live")
    sessions = {ANONYMOUS: ""}
    for caller in table.CALLERS[1:]:
        roles = [role for role in Role if role.value == caller]
        client = client_as(person(caller.replace(" ", "-"), *roles))
        sessions[caller] = client.cookies[settings.SESSION_COOKIE_NAME].value
    ended = client_as(person("left", Role.ADMIN))
    sessions["left"] = ended.cookies[settings.SESSION_COOKIE_NAME].value
    User.objects.filter(username="left").update(is_active=False)
    for caller, key in sessions.items():
        wanted = line.cell(caller) if caller in table.CALLERS else line.cell(NO_ROLE)
        assert apart.run(_live(key)) == (200 if wanted == ALLOWED else int(wanted)), caller


async def _live(session: str) -> int:
    """Open the live stream, leave at once, and return what it answered."""
    sent: list[dict[str, Any]] = []
    left = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        left.set()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    headers = [(b"cookie", f"{settings.SESSION_COOKIE_NAME}={session}".encode())] if session else []
    stream = LiveStream(settings.DATABASE_URL)
    await asyncio.wait_for(stream({"method": "GET", "path": "/live", "headers": headers}, receive, send), 10)
    return int(sent[0]["status"])
