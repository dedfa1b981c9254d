"""Values of flags: of their type, small, and as their JSON Schema (Draft 2020-12) wants them. Pure: nothing is fetched.

A schema is written by people and looked at by the console, so its work is bounded: expressions are RE2's, whose time is
linear, and every keyword that is looked at is counted.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import re2
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from hawkops.core.bounded import Malformed, fit, json_loads
from hawkops.core.errors import InvalidInput
from rollout.domain.equality import same
from rollout.domain.flags import OFF, ON, FlagType

VALUE_BYTES = 4 * 1024
SCHEMA_BYTES = 16 * 1024
DEPTH_MOST = 32
# beyond this, clients that keep numbers as doubles get another number
NUMBER_MOST = 2**53 - 1
DIALECT = "https://json-schema.org/draft/2020-12/schema"
KEYWORDS_MOST = 50_000
SAID_MOST = 200
# what is no longer stands on one line in a comparison
SHORT_MOST = 60

SCHEMA = "schema"


class FieldUnfit(InvalidInput):
    """What one field holds can't be kept; `field` names it, `sentence` says why without naming it."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field}: {sentence}")
        self.field = field
        self.sentence = sentence[:1].upper() + sentence[1:]


@dataclass(frozen=True)
class Values:
    """What a flag serves, in its own type, and the schema that both values meet."""

    on: Any
    off: Any
    schema: dict[str, Any] | None = None

    def equals(self, other: "Values") -> bool:
        """Say whether both are the same to the last type: to a client 1, 1.0 and true are different things."""
        return same([self.on, self.off, self.schema], [other.on, other.off, other.schema])


@dataclass(frozen=True)
class Shown:
    """One thing that changes, as people compare it."""

    name: str
    before: str
    after: str


def values_checked(kind: FlagType, given: Values, *, standing: Values | None = None) -> Values:
    """Return values and schema as they are kept. Raises FieldUnfit.

    Where a value stands already and does not meet the schema, the schema is what is wrong.
    """
    schema = schema_checked(given.schema)
    if schema is not None and kind is FlagType.BOOLEAN:
        raise FieldUnfit(SCHEMA, "the values of a boolean flag are fixed, so there is nothing to check.")
    checked = Values(value_checked(kind, ON, given.on), value_checked(kind, OFF, given.off), schema)
    if schema is None:
        return checked
    for variant, value in ((ON, checked.on), (OFF, checked.off)):
        why = unmet(schema, value)
        if why and standing is not None and same(value, standing.on if variant == ON else standing.off):
            raise FieldUnfit(SCHEMA, f"the {variant} value does not meet it. {why}")
        if why:
            raise FieldUnfit(variant, f"it does not meet the schema. {why}")
    return checked


def value_checked(kind: FlagType, variant: str, value: Any) -> Any:
    """Return a variant's value in the flag's type. Raises FieldUnfit."""
    checked = _TYPES[kind](variant, value)
    _plain(variant, checked)
    size = len(_text(checked).encode())
    if size > VALUE_BYTES:
        raise FieldUnfit(variant, f"a value has at most {VALUE_BYTES:,} bytes of JSON; this one has {size:,}.")
    return checked


def value_typed(kind: FlagType, variant: str, text: str) -> Any:
    """Read a value as a form sends it. Raises FieldUnfit."""
    if kind is FlagType.BOOLEAN:
        return variant == ON
    if kind is FlagType.STRING:
        return text.replace("\r\n", "\n")
    text = text.strip()
    if kind is FlagType.JSON:
        return _parsed(variant, text)
    if kind is FlagType.INTEGER and re.fullmatch(r"[+-]?[0-9]{1,16}", text):
        return int(text)
    number = text.replace(",", ".")
    if len(number) <= 40 and re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", number):
        return float(number)
    raise FieldUnfit(variant, f"{text[:40]!r} is not a number.")


def schema_typed(text: str) -> Any:
    """Read a schema as a form sends it; an empty text is none. Raises FieldUnfit."""
    return _parsed(SCHEMA, text.strip()) if text.strip() else None


def typed(value: Any) -> str:
    """Return a value as its form shows it, to be edited."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2) if value is not None else ""


def said(value: Any) -> str:
    """Return a value as a sentence says it: as JSON, on one line."""
    return _text(value) if value is not None else "none"


def differences(before: Values, after: Values) -> list[Shown]:
    """Return what differs between two states, in the order of the form."""
    rows = (("on", before.on, after.on), ("off", before.off, after.off), ("schema", before.schema, after.schema))
    return [Shown(name, *_laid_out(old, new)) for name, old, new in rows if not same(old, new)]


def schema_checked(schema: Any) -> dict[str, Any] | None:
    """Return a JSON Schema that can be checked here without asking anybody; None stays none. Raises FieldUnfit."""
    if schema is None:
        return None
    if not isinstance(schema, dict):
        raise FieldUnfit(SCHEMA, "a schema is a JSON object, such as {“minimum”: 1}.")
    _plain(SCHEMA, schema)
    size = len(_text(schema).encode())
    if size > SCHEMA_BYTES:
        raise FieldUnfit(SCHEMA, f"a schema has at most {SCHEMA_BYTES:,} bytes of JSON; this one has {size:,}.")
    if str(schema.get("$schema", DIALECT)).rstrip("#") != DIALECT:
        raise FieldUnfit(SCHEMA, f"only Draft 2020-12 is understood: leave $schema out, or write {DIALECT}.")
    _well_formed(schema)
    parts = list(_objects(schema))
    for part in parts:
        _part_checked(part, root=part is schema)
    if any("unevaluatedProperties" in part for part in parts) and any("patternProperties" in part for part in parts):
        raise FieldUnfit(SCHEMA, "use patternProperties with additionalProperties, not with unevaluatedProperties.")
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(_rootless(schema)))
    targets = {}
    for reference in (part[name] for part in parts for name in ("$ref", "$dynamicRef") if name in part):
        if not isinstance(reference, str):
            continue  # a property of this name
        try:
            target = resolver.lookup(reference).contents
        except (Unresolvable, ValueError) as error:
            raise FieldUnfit(SCHEMA, f"{reference[:80]!r} leads to nothing within the schema.") from error
        targets[id(target)] = target
    for target in targets.values():
        _well_formed(target)
    return schema


def unmet(schema: Mapping[str, Any], value: Any) -> str:
    """Say where and why a value does not meet a checked schema; empty when it does. Raises FieldUnfit."""
    try:
        found = best_match(_validator(schema).iter_errors(value))
    except (RecursionError, OverflowError, _TooMuch) as error:
        raise FieldUnfit(
            SCHEMA, "it takes too much work to check: it repeats or refers to itself too often."
        ) from error
    if found is None:
        return ""
    where = "" if found.json_path == "$" else f"{found.json_path.removeprefix('$').removeprefix('.')[:80]}: "
    value = repr(found.instance)
    # the reason stands after it
    message = found.message.replace(value, f"{value[:40]}…") if len(value) > 60 else found.message
    return f"{where}{message[:SAID_MOST]}."


class _TooMuch(Exception):
    """Checking a value looked at more keywords than anybody's values need."""


def _boolean(variant: str, value: Any) -> bool:
    if value is not (variant == ON):
        raise FieldUnfit(variant, f"a boolean flag's value is fixed: {said(variant == ON)}.")
    return variant == ON


def _number(variant: str, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FieldUnfit(variant, f"{said(value)[:40]} is not a number.")
    _bounded(variant, value)
    return value


def _integer(variant: str, value: Any) -> int:
    number = _number(variant, value)
    if number != int(number):
        raise FieldUnfit(variant, f"{said(value)} is not a whole number.")
    return int(number)


def _float(variant: str, value: Any) -> float:
    return float(_number(variant, value))


def _string(variant: str, value: Any) -> str:
    if not isinstance(value, str):
        raise FieldUnfit(variant, f"{said(value)[:40]} is not a text.")
    return value


def _json(variant: str, value: Any) -> Any:
    if not isinstance(value, dict | list):
        raise FieldUnfit(variant, "clients read an object or a list here; for anything else make a flag of that type.")
    return value


_TYPES: dict[FlagType, Callable[[str, Any], Any]] = {
    FlagType.BOOLEAN: _boolean,
    FlagType.INTEGER: _integer,
    FlagType.FLOAT: _float,
    FlagType.STRING: _string,
    FlagType.JSON: _json,
}


def _parsed(field: str, text: str) -> Any:
    try:
        return json_loads(text.encode("utf-8", "replace"), max_depth=DEPTH_MOST)
    except Malformed as error:
        raise FieldUnfit(field, f"it can't be read. {error.message.replace('The body', 'It')}") from error


def _plain(field: str, value: Any, depth: int = 0) -> None:
    """Refuse what the database, or a client, would not give back as it is."""
    if depth > DEPTH_MOST:
        raise FieldUnfit(field, f"it is nested deeper than {DEPTH_MOST} levels.")
    if isinstance(value, dict):
        for name, one in value.items():
            _plain(field, name, depth)
            _plain(field, one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            _plain(field, one, depth + 1)
    elif isinstance(value, str):
        try:
            fit(value)
        except Malformed as error:
            raise FieldUnfit(field, "a text in it holds a NUL or half a character.") from error
    elif isinstance(value, int | float):
        _bounded(field, value)


def _bounded(field: str, value: int | float) -> None:
    # false for NaN too
    if not -NUMBER_MOST <= value <= NUMBER_MOST:
        raise FieldUnfit(field, f"a number is from −{NUMBER_MOST:,} to {NUMBER_MOST:,}; {value} is not.")


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _laid_out(before: Any, after: Any) -> tuple[str, str]:
    """Return two values for a comparison: where one is long, each of their parts has a line of its own."""
    if max(len(said(before)), len(said(after))) <= SHORT_MOST:
        return said(before), said(after)
    old, new = (
        said(value) if value is None else json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
        for value in (before, after)
    )
    return old, new


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from _objects(one)
    elif isinstance(value, list):
        for one in value:
            yield from _objects(one)


def _part_checked(part: Mapping[str, Any], *, root: bool) -> None:
    for name in ("$ref", "$dynamicRef"):
        if isinstance(part.get(name), str) and not part[name].startswith("#"):
            raise FieldUnfit(
                SCHEMA, f"{part[name][:80]!r} is not fetched: a $ref leads within the schema, as #/$defs/…."
            )
    for name in ("$id", "$schema"):
        # an object is what a property of this name must be
        if not root and name in part and not isinstance(part[name], dict | bool):
            raise FieldUnfit(SCHEMA, f"only the whole schema may have {name}, no part of it.")
    expressions = [part["pattern"]] if isinstance(part.get("pattern"), str) else []
    if isinstance(part.get("patternProperties"), dict):
        expressions += part["patternProperties"]
    for one in expressions:
        try:
            _expression(one)
        except re2.error as error:
            raise FieldUnfit(SCHEMA, f"the expression {one[:80]!r} can't be read; its syntax is RE2's.") from error


def _well_formed(schema: Any) -> None:
    try:
        Draft202012Validator.check_schema(schema, format_checker=None)
    except SchemaError as error:
        where = "" if error.json_path == "$" else f" at {error.json_path.removeprefix('$.')[:80]}"
        raise FieldUnfit(SCHEMA, f"it is no JSON Schema{where}: {error.message[:SAID_MOST]}.") from error


def _rootless(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without what could lead out of it: its own address, and the dialect it is written in."""
    return {name: value for name, value in schema.items() if name not in ("$id", "$schema")}


def _validator(schema: Mapping[str, Any]) -> Any:
    """Return a validator that counts what it looks at, has linear expressions, and knows no other documents."""
    looked = 0

    def counted(check: Callable[..., Any]) -> Callable[..., Iterator[ValidationError]]:
        def keyword(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
            nonlocal looked
            looked += 1
            if looked > KEYWORDS_MOST:
                raise _TooMuch
            yield from check(validator, value, instance, schema) or ()

        return keyword

    linear = {"pattern": _pattern, "patternProperties": _properties, "additionalProperties": _additional}
    checks = {**Draft202012Validator.VALIDATORS, **linear}
    made = validators.extend(Draft202012Validator, {name: counted(check) for name, check in checks.items()})
    return made(_rootless(schema), registry=Registry())


@lru_cache(maxsize=200)
def _expression(text: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(text, options)


def _pattern(validator: Any, expression: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and _expression(expression).search(instance) is None:
        yield ValidationError(f"{instance!r} does not match {expression!r}")


def _properties(validator: Any, expressions: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for expression, schema in expressions.items():
        for name, value in instance.items():
            if _expression(expression).search(name) is not None:
                yield from validator.descend(value, schema, path=name, schema_path=expression)


def _additional(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    expressions = [_expression(one) for one in schema.get("patternProperties", ())]
    for name, value in instance.items():
        if name in schema.get("properties", ()) or any(one.search(name) is not None for one in expressions):
            continue
        if allowed is False:
            yield ValidationError(f"{name[:60]!r} is not one of its properties")
        else:
            yield from validator.descend(value, allowed, path=name)
