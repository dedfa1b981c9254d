"""Erasing a device or a person: each app says how it forgets one, nobody calls an app above."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models import TextField
from django.db.models.functions import Cast

# environment, device id → rows erased
Eraser = Callable[[str, str], int]
_ERASERS: dict[str, Eraser] = {}


def register(what: str, erase: Eraser) -> None:
    """Name what an app keeps of a device and how it forgets it. Called once, when the app starts."""
    _ERASERS[what] = erase


def erasers() -> dict[str, Eraser]:
    """Return them all, by what they erase."""
    return dict(_ERASERS)


def nameless(state: Any) -> Any:
    """Return a state for the history without its members `by`, which name people: that an entry's actor says who."""
    if isinstance(state, dict):
        return {key: nameless(held) for key, held in state.items() if key != "by"}
    return [nameless(one) for one in state] if isinstance(state, list) else state


# ---- people ----

# characters of usernames: next to one of these a name is part of a longer one
_OF_NAMES = r"[\w@+-]"


@dataclass(frozen=True)
class Named:
    """A person by the name that they go by, until they are forgotten."""

    pk: int
    name: str

    @property
    def reference(self) -> str:
        """What the history calls them, and what stands where the name stood."""
        return f"person:{self.pk}"

    def renamed(self, text: str) -> str:
        """Return what says who did something, with the reference for the name and for the phone it was done by."""
        return re.sub(rf"{self._whole}(?:, by enrolled phone [^,]*)?", self.reference, text)

    def mentioned(self, text: str) -> bool:
        """Say whether the name stands in a text as a word of its own."""
        return re.search(self._whole, text) is not None

    @property
    def _whole(self) -> str:
        return rf"(?<!{_OF_NAMES})(?<!\w\.){re.escape(self.name)}(?!{_OF_NAMES})(?!\.\w)"


PersonEraser = Callable[[Named], int]
_PERSON_ERASERS: dict[str, PersonEraser] = {}


def person_register(what: str, erase: PersonEraser) -> None:
    """Name what an app keeps of a person and how it forgets it. Called once, when the app starts."""
    _PERSON_ERASERS[what] = erase


def person_erasers() -> dict[str, PersonEraser]:
    """Return them all, by what they erase."""
    return dict(_PERSON_ERASERS)


@dataclass(frozen=True)
class Signed:
    """Columns of a model that say by name who did something; in `documents` the members `by`, `owner` and `who` do."""

    model: type[models.Model]
    columns: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()


_SIGNED: dict[str, Signed] = {}


def person_signed(*given: Signed) -> None:
    """Say which columns name people: they are told by their reference once they are forgotten."""
    _SIGNED.update({one.model._meta.label: one for one in given})


def signed_columns() -> dict[str, Signed]:
    """Return them all, by model."""
    return dict(_SIGNED)


def unsigned(named: Named) -> int:
    """Put the reference where a name says who did something, in every app's rows; return how many rows changed."""
    return sum(_unsigned(one, named) for one in _SIGNED.values())


def _unsigned(signed: Signed, named: Named) -> int:
    rows = signed.model._default_manager
    found = 0
    for column in signed.columns:
        most = getattr(signed.model._meta.get_field(column), "max_length", None)
        held = rows.filter(**{f"{column}__contains": named.name}).values_list(column, flat=True).order_by()
        for text in list(held.distinct()):
            if (without := named.renamed(text)) != text:
                found += rows.filter(**{column: text}).update(**{column: without[:most]})
    for column in signed.documents:
        for key, document in _documents(signed.model, column, named.name):
            without_name = _document(document, named)
            if without_name != document:
                found += rows.filter(pk=key).update(**{column: without_name})
    return found


def _documents(model: type[models.Model], column: str, name: str) -> list[tuple[Any, Any]]:
    rows = model._default_manager.annotate(as_text=Cast(column, TextField())).filter(as_text__contains=name)
    return list(rows.order_by().values_list("pk", column))


def _document(value: Any, named: Named) -> Any:
    if isinstance(value, list):
        return [_document(one, named) for one in value]
    if isinstance(value, dict):
        return {
            key: named.renamed(held)
            if key in ("by", "owner", "who") and isinstance(held, str)
            else _document(held, named)
            for key, held in value.items()
        }
    return value


_APART: set[type[models.Model]] = set()


def person_apart(*given: type[models.Model]) -> None:
    """Say which tables hold no words of people: they are many, and aren't read for a name."""
    _APART.update(given)


def mentions(named: Named) -> Iterator[tuple[str, int]]:
    """Give every text column in which the name stands as a word, and in how many rows. Reads each table but those apart."""
    for model in apps.get_models():
        if model in _APART:
            continue
        for field in model._meta.concrete_fields:
            if isinstance(field, models.CharField | models.TextField | models.JSONField) and not field.choices:
                column = field.attname
                rows = model._default_manager.annotate(as_text=Cast(column, TextField()))
                held = rows.filter(as_text__contains=named.name).values_list("as_text", flat=True).order_by()
                if many := sum(named.mentioned(text) for text in held.iterator(chunk_size=500)):
                    yield f"{model._meta.label}.{column}", many
