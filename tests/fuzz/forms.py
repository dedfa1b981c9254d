"""The forms of a page as a browser sees them, and nonsense to fill them with."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from random import Random

# what would show that a text was taken for markup
MARK = "<b data-mark=1>"
MOMENTS = (
    "9999-12-31T23:59:59-15:59",
    "0413-04-15T13:47+19:33",
    "2031-04-15T13:47+19:33",
    "0001-01-01T00:00",
    "2026-02-30T25:61",
    "2026-12-01",
)
NONSENSE = (
    "",
    " ",
    "0",
    "-1",
    "9" * 30,
    "NaN",
    "1e309",
    "-0.0",
    "٣",
    "1_000",
    "\x00",
    "a\r\nSet-Cookie: a=1",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    "x" * 5_000,
    MARK,
    "'; DROP TABLE x; --",
    "{{ 7*7 }}{% debug %}",
    "${jndi:ldap://x}",
    "=cmd|' /C calc'!A0",
    "../../../etc/passwd",
    "//example.com/",
    "https://example.com/",
    "javascript:alert(1)",
    *MOMENTS,
    "[" * 200,
    '{"a": NaN}',
    '{"a": {"b": [1, 2, {"c": "d"}]}}',
    "true",
    "(a+)+$",
    "{{{",
    "\u202e\u2066🦅",
    "100",
    "on",
)


class Dice(Random):
    """Chance that deals nonsense as from a pack: nothing comes twice before everything came once."""

    def nonsense(self, values: tuple[str, ...] = NONSENSE) -> str:
        """Deal one."""
        packs: dict[tuple[str, ...], list[str]] = self.__dict__.setdefault("packs", {})
        if not packs.get(values):
            packs[values] = self.sample(values, len(values))
        return packs[values].pop()


@dataclass
class Form:
    """Where a form goes, and each field with the values that it offers."""

    action: str
    fields: dict[str, list[str]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    # fields that ask for a time, and those that a person writes
    times: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)

    def filled(self, chance: Dice) -> dict[str, str | list[str]]:
        """Fill the form: most fields as they are, one or two with nonsense, some left out."""
        found: dict[str, str | list[str]] = {}
        spoilt = chance.sample(sorted(self.fields), min(len(self.fields), chance.choice((1, 1, 2, 9))))
        for name, offered in self.fields.items():
            if name in spoilt:
                values = MOMENTS if name in self.times and chance.random() < 0.7 else NONSENSE
                found[name] = [chance.nonsense(values) for _ in range(1 if chance.random() < 0.9 else 3)]
            elif chance.random() < 0.95:
                found[name] = chance.choice(offered)
        return found

    def filled_with(self, text: str) -> dict[str, str]:
        """Fill every field that a person writes with one text, and leave the rest as it is offered."""
        return {name: text if name in self.written else offered[-1] for name, offered in self.fields.items()}

    def timed(self, first: datetime) -> dict[str, str]:
        """Fill every field that asks for a time, an hour apart."""
        moments = {
            name: first + timedelta(hours=number) for number, name in enumerate(self.fields) if name in self.times
        }
        return {**self.filled_with("well"), **{name: moment.isoformat() for name, moment in moments.items()}}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._form: Form | None = None
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(given.get("action", "")) if given.get("method", "").lower() == "post" else None
            if self._form is not None:
                self.forms.append(self._form)
        if self._form is None:
            return
        name = given.get("name", "")
        if given.get("formaction"):
            self.forms.append(replace(self._form, action=given["formaction"]))
        if given.get("type") in ("datetime-local", "date", "time"):
            self._form.times.add(name)
        elif tag == "textarea" or (tag == "input" and given.get("type", "text") in ("text", "search", "url", "email")):
            self._form.written.add(name)
        if tag == "input" and given.get("type") == "file":
            self._form.files.add(name)
        elif tag in ("input", "textarea", "button") and name and name != "csrfmiddlewaretoken":
            self._form.fields.setdefault(name, []).append(given.get("value", "on" if tag == "input" else ""))
        elif tag == "select":
            self._select = name
            self._form.fields.setdefault(name, [""])
        elif tag == "option" and self._select:
            self._form.fields[self._select].append(given.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._select = ""


def forms(page: str) -> Iterator[Form]:
    """Give the forms of a page that post."""
    reader = _Reader()
    reader.feed(page)
    yield from reader.forms
