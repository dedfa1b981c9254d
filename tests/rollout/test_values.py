"""What may stand as a value, and under which schema: of its type, small, and checked without asking anybody."""

import time
from typing import Any

import pytest

from rollout.domain.flags import FlagType
from rollout.domain.values import (
    DIALECT,
    FieldUnfit,
    Values,
    differences,
    schema_checked,
    schema_typed,
    value_checked,
    value_typed,
    values_checked,
)

LEVELS = {
    "type": "object",
    "properties": {"levels": {"type": "array", "items": {"$ref": "#/$defs/level"}}},
    "required": ["levels"],
    "additionalProperties": False,
    "$defs": {"level": {"type": "integer", "minimum": 1}},
}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("boolean", "whatever", True),
        ("integer", " 4 ", 4),
        ("integer", "-4", -4),
        ("integer", "4.0", 4),
        ("float", "4", 4.0),
        ("float", "0,25", 0.25),
        ("float", "1e-3", 0.001),
        ("string", "two\r\nlines ", "two\nlines "),
        ("string", "", ""),
        ("json", '{"a": [1, true, null]}', {"a": [1, True, None]}),
        ("json", "[]", []),
    ],
)
def test_value__as_a_form_sends_it__is_read_in_its_type(kind: str, text: str, value: Any) -> None:
    found = value_checked(FlagType(kind), "on", value_typed(FlagType(kind), "on", text))
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("integer", "", "not a number"),
        ("integer", "2.5", "not a whole number"),
        ("integer", "many", "not a number"),
        ("integer", "9007199254740992", "A number is from"),
        ("float", "nan", "not a number"),
        ("float", "Infinity", "not a number"),
        ("float", "1e999", "A number is from"),
        ("float", "1_000", "not a number"),
        ("string", "half\x00", "NUL"),
        ("string", "x" * 4_095, "at most 4,096 bytes"),
        ("json", '{"a": NaN}', "can't be read"),
        ("json", '{"a": 1', "can't be read"),
        ("json", '{"a": "\\u0000"}', "NUL"),
        ("json", '{"a": 1e300}', "A number is from"),
        ("json", "[" * 40 + "]" * 40, "nested deeper"),
        ("json", "3", "an object or a list"),
        ("json", '["' + "ä" * 2_100 + '"]', "at most 4,096 bytes"),
    ],
)
def test_value__unfit__is_refused_beside_its_field(kind: str, text: str, words: str) -> None:
    with pytest.raises(FieldUnfit) as refused:
        value_checked(FlagType(kind), "off", value_typed(FlagType(kind), "off", text))
    assert refused.value.field == "off"
    assert words in refused.value.sentence


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("boolean", False),
        ("boolean", 1),
        ("integer", True),
        ("integer", "2"),
        ("float", float("nan")),
        ("float", float("-inf")),
        ("float", None),
        ("string", 2),
        ("json", "{}"),
        ("json", {"a": float("inf")}),
    ],
)
def test_value__of_another_type__is_refused(kind: str, value: Any) -> None:
    with pytest.raises(FieldUnfit):
        value_checked(FlagType(kind), "on", value)


def test_value__of_exactly_the_limit__is_kept() -> None:
    assert value_checked(FlagType.STRING, "on", "x" * 4_094)


def test_schema__both_values__must_meet_it() -> None:
    good, bad = {"levels": [1, 2]}, {"levels": [1, 0]}
    assert values_checked(FlagType.JSON, Values(good, good, LEVELS)).schema == LEVELS
    for given, field, words in (
        (Values(bad, good, LEVELS), "on", "levels[1]: 0 is less than the minimum of 1"),
        (Values(good, {"levels": [], "more": 1}, LEVELS), "off", "'more' is not one of its properties"),
        (Values(good, {}, LEVELS), "off", "'levels' is a required property"),
    ):
        with pytest.raises(FieldUnfit) as refused:
            values_checked(FlagType.JSON, given)
        assert (refused.value.field, words in refused.value.sentence) == (field, True), refused.value


def test_schema__that_a_standing_value_does_not_meet__is_what_is_wrong() -> None:
    standing = Values(2, 4)
    with pytest.raises(FieldUnfit) as refused:
        values_checked(FlagType.INTEGER, Values(2, 3, {"maximum": 1}), standing=standing)
    assert refused.value.field == "schema"
    assert refused.value.sentence == "The on value does not meet it. 2 is greater than the maximum of 1."
    with pytest.raises(FieldUnfit) as refused:
        values_checked(FlagType.INTEGER, Values(2, 3, {"maximum": 2}), standing=standing)
    assert refused.value.field == "off", "that one is new"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ([], "a schema is a JSON object"),
        (True, "a schema is a JSON object"),
        ({"type": "strng"}, "no JSON Schema at type"),
        ({"properties": {"a": {"minimum": "1"}}}, "no JSON Schema at properties.a.minimum"),
        ({"minLength": -1}, "no JSON Schema"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "only Draft 2020-12"),
        ({"$ref": "https://example.org/schema.json"}, "is not fetched"),
        ({"items": {"$ref": "other.json#/$defs/a"}}, "is not fetched"),
        ({"$dynamicRef": "http://example.org/#x"}, "is not fetched"),
        ({"$ref": "#/$defs/nobody"}, "leads to nothing"),
        ({"$ref": "#nobody"}, "leads to nothing"),
        ({"$ref": "#/x", "x": {"type": 5}}, "no JSON Schema"),
        ({"items": {"$id": "https://example.org/a"}}, "only the whole schema may have $id"),
        ({"items": {"$schema": DIALECT}}, "only the whole schema may have $schema"),
        ({"pattern": "(?=a)"}, "syntax is RE2's"),
        ({"patternProperties": {"(": True}}, "syntax is RE2's"),
        ({"patternProperties": {"a": True}, "unevaluatedProperties": False}, "not with unevaluatedProperties"),
        ({"maximum": 1e300}, "a number is from"),
        ({"description": "x" * 16_400}, "at most 16,384 bytes"),
        ({"description": "\x00"}, "NUL"),
    ],
)
def test_schema__unfit__is_refused_in_words(schema: Any, words: str) -> None:
    with pytest.raises(FieldUnfit) as refused:
        schema_checked(schema)
    assert refused.value.field == "schema"
    assert words in str(refused.value)


def test_schema__with_its_own_address_dialect_and_names_like_keywords__is_taken() -> None:
    schema = {
        "$schema": DIALECT,
        "$id": "https://example.org/levels",
        "$anchor": "top",
        "properties": {"$ref": {"type": "integer"}, "$id": True, "pattern": {"$ref": "#/$defs/word"}},
        "$defs": {"word": {"pattern": "^[a-z]+$"}},
    }
    assert values_checked(FlagType.JSON, Values({"$ref": 1, "pattern": "word"}, {}, schema)).schema == schema
    with pytest.raises(FieldUnfit, match="does not match"):
        values_checked(FlagType.JSON, Values({"pattern": "A"}, {}, schema))


def doubling(levels: int) -> dict[str, Any]:
    """A schema whose work doubles with each of its parts."""
    parts = {f"p{at}": {"allOf": [{"$ref": f"#/$defs/p{at + 1}"}] * 2} for at in range(levels)}
    return {"$ref": "#/$defs/p0", "$defs": {**parts, f"p{levels}": {"type": "string"}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$dynamicRef": "#"}]},
        doubling(60),
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    ],
)
def test_schema__that_would_be_checked_for_ever__is_refused_soon(schema: dict[str, Any]) -> None:
    begun = time.monotonic()
    with pytest.raises(FieldUnfit, match="too much work") as refused:
        values_checked(FlagType.STRING, Values("a", "b", schema))
    assert refused.value.field == "schema"
    assert time.monotonic() - begun < 5


def test_schema__an_expression_that_backtracks_elsewhere__is_answered_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(FieldUnfit, match="does not match"):
        values_checked(FlagType.STRING, Values("a" * 4_000 + "!", "a", {"pattern": "^(a+)+$"}))
    with pytest.raises(FieldUnfit, match="not one of its properties"):
        known = {"patternProperties": {"^(a+)+$": True}, "additionalProperties": False}
        values_checked(FlagType.JSON, Values({"a" * 4_000 + "!": 1}, {}, known))
    assert time.monotonic() - begun < 5


def test_schema__typed__empty_is_none() -> None:
    assert schema_typed(" \n") is None
    assert schema_typed('{"minimum": 1}') == {"minimum": 1}
    with pytest.raises(FieldUnfit, match="schema: it can't be read"):
        schema_typed("minimum: 1")


def test_boolean__takes_no_schema_and_no_other_values() -> None:
    assert values_checked(FlagType.BOOLEAN, Values(True, False)) == Values(True, False)
    for given, field in ((Values(False, True), "on"), (Values(True, True), "off"), (Values(True, False, {}), "schema")):
        with pytest.raises(FieldUnfit) as refused:
            values_checked(FlagType.BOOLEAN, given)
        assert refused.value.field == field


def test_differences__tell_one_from_true_and_a_whole_number_from_a_fraction() -> None:
    before = Values({"a": 1}, {"a": 2})
    assert differences(before, Values({"a": 1}, {"a": 2})) == []
    for other in (True, 1.0):
        (row,) = differences(before, Values({"a": other}, {"a": 2}))
        assert (row.name, row.before) == ("on", '{"a":1}')
    (row,) = differences(before, Values({"a": 1}, {"a": 2}, {"type": "object"}))
    assert (row.name, row.before, row.after) == ("schema", "none", '{"type":"object"}')
    (row,) = differences(before, Values({"a": "x" * 80}, {"a": 2}))
    assert row.before.splitlines() == ["{", '  "a": 1', "}"], "both are laid out where one is long"
