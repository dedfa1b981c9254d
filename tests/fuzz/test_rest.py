"""The REST API by its own document: schemathesis sends what fits and what does not, with a token of every scope and none.

Nothing breaks, every answer is one that the document names, and a refusal has changed nothing.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import schemathesis
from django.core import signals
from django.db import close_old_connections
from hypothesis import given
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from hawkops.api import document
from hawkops.core.access import Scope
from hawkops.wsgi import application
from tests.api.test_contract import OPERATIONS, address, bearer, furnished
from tests.fuzz.trying import seconds, tried

__all__ = ["furnished"]

pytestmark = pytest.mark.django_db
AS_DOCUMENTED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# tests that run beside each other
PARTS = 4
# an offset that Python writes and PostgreSQL does not read
FAR = "0413-04-15T13:47:47+19:33"


@pytest.fixture
def _kept_connection() -> Iterator[None]:
    """Let the application, called as a server calls it, keep the test's own connection and its transaction."""
    for signal in (signals.request_started, signals.request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (signals.request_started, signals.request_finished):
        signal.connect(close_old_connections)


@pytest.mark.parametrize("part", range(PARTS))
def test_operations__whatever_is_sent__answer_as_documented_and_a_refusal_changes_nothing(
    furnished: dict[str, str], _kept_connection: None, part: int
) -> None:
    schema = schemathesis.openapi.from_dict(document())
    schema.app = application
    token = bearer(*Scope)
    tries = 0
    for found in list(schema.get_all_operations())[part::PARTS]:
        assert isinstance(found, Ok), found
        operation = found.ok()
        said = OPERATIONS[operation.definition.raw["operationId"]]
        known = _known(said, furnished)
        for mode, examples in ((GenerationMode.POSITIVE, 1), (GenerationMode.NEGATIVE, 2)):
            tries += _fuzz(operation, mode, examples, known, token)
    assert tries >= len(OPERATIONS) // PARTS * 2


def _known(operation: dict[str, Any], furnished: dict[str, str]) -> dict[str, str]:
    """What the operation's address names, so that most tries get past it."""
    shape = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", operation["path"])
    match = re.fullmatch(shape, address(operation, furnished))
    assert match is not None
    return match.groupdict()


def _fuzz(operation: Any, mode: GenerationMode, examples: int, known: dict[str, str], token: dict[str, str]) -> int:
    tries = 0

    @seconds(examples)
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case: schemathesis.Case[Any]) -> None:
        nonlocal tries
        tries += 1
        for name, value in known.items():
            # every third unfit try keeps an address of nothing
            if mode is GenerationMode.POSITIVE or tries % 3 or name == "environment":
                case.path_parameters[name] = value
        if mode is GenerationMode.POSITIVE:
            _call(case, {"Authorization": "Bearer hkt_nobody"}, (400, 401, 404, 405))
            for place, name, value in _edges(operation.definition.raw):
                before = getattr(case, place)
                if isinstance(before or {}, dict):
                    setattr(case, place, {**(before or {}), name: value})
                    _call(case, token)
                    setattr(case, place, before)
        _call(case, token)

    one()
    return tries


def _call(case: schemathesis.Case[Any], headers: dict[str, str], statuses: tuple[int, ...] = ()) -> None:
    found = tried(lambda: case.call(headers=headers))
    status = found.answer.status_code
    assert status < 400 or not found.changed, (case.operation.label, status, found.changed, case.as_curl_command())
    assert status in (statuses or (status,)), (case.operation.label, status)
    case.validate_response(found.answer, checks=AS_DOCUMENTED)


def _edges(operation: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Give each parameter and each member of the body, with what lies outside of what can be stored."""
    for one in operation.get("parameters", ()):
        if one["in"] == "query":
            yield from (("query", one["name"], value) for value in _beyond(one["schema"]))
    for content in operation.get("requestBody", {}).get("content", {}).values():
        for name, schema in _resolved(content["schema"]).get("properties", {}).items():
            yield from (("body", name, value) for value in _beyond(schema))


def _beyond(schema: dict[str, Any]) -> Iterator[Any]:
    for one in map(_resolved, schema.get("anyOf", [schema])):
        if one.get("type") == "integer":
            yield 10**30
        elif one.get("type") == "string" and "enum" not in one:
            yield from (FAR,) if one.get("format") else ("a\x00", FAR)


@cache
def _components() -> Any:
    return document()["components"]["schemas"]


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    found = _components()[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    assert isinstance(found, dict)
    return found
