"""What an auditor asks of the history, as one line: `actor:mia -verb:run. since:2h "exact words"`.

Nothing that was asked is ever dropped: what can't be read is refused with a sentence.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta

from hawkops.core.errors import InvalidInput

# name → what it finds
QUALIFIERS = {
    "actor": "whoever did it: a name (mia), a reference (person:7), or a kind (rule:)",
    "verb": "what was done, by its beginning: flag.killed, flag.",
    "subject": "what it was done to: flag:litert_enabled, or a beginning: flag:, run:7*, litert",
    "env": "production, staging, demo, none (entries of no environment), or all",
    "since": "2026-11-01, 14:00, “2026-11-01 14:00”, 2h, 3d, today, yesterday",
    "until": "the same; a whole day counts to its end",
    "cause": "entries that this entry led to: 123",
    "request": "entries of one request, by its id",
    "hidden": "no, yes (heartbeats too), only",
}
MOMENTS = ("since", "until")
# beyond this a line is no question any more
LENGTH_MOST, TERMS_MOST, VALUES_MOST, VALUE_MOST = 1_000, 40, 20, 200
ANY, NOWHERE = "all", "none"
UNITS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}

_VALUE = r'(?:"(?:[^"\\]|\\.)*"|[^\s",]+)'
_TOKEN = re.compile(
    rf'(?P<all>(?P<minus>-?)(?:(?P<name>[A-Za-z_]+):(?P<values>(?:{_VALUE}(?:,{_VALUE})*)?)|(?P<words>"(?:[^"\\]|\\.)*"|[^\s"]+)))'
    r"(?=\s|$)",
    re.DOTALL,
)
_SPAN = re.compile(r"(\d{1,6})(s|m|min|h|d|w)")


@dataclass(frozen=True)
class Term:
    """One condition: any of the values of a qualifier, or (without a name) words; `exact` words stand side by side."""

    name: str
    values: tuple[str, ...]
    negated: bool = False
    exact: bool = False

    def __str__(self) -> str:
        sign = "-" if self.negated else ""
        if not self.name:
            return f"{sign}{_quoted(self.values[0]) if self.exact else self.values[0]}"
        return f"{sign}{self.name}:{','.join(written_value(value) for value in self.values)}"


@dataclass(frozen=True)
class Query:
    """All conditions together; times are half-open: at or after `since`, before `until`."""

    terms: tuple[Term, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    # as they were written, which moves on with the clock
    written: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        times = [f"{name}:{written_value(self.written[name])}" for name in MOMENTS if name in self.written]
        return " ".join([*(str(term) for term in self.terms), *times])

    def values(self, name: str) -> tuple[str, ...]:
        """Return what a qualifier was asked to be; empty when it was not asked."""
        return tuple(value for term in self.terms if term.name == name and not term.negated for value in term.values)

    def parts(self) -> list[tuple[str, str]]:
        """Return each condition as it is written, with the line that is left without it."""
        found = [
            (str(term), str(replace(self, terms=tuple(t for t in self.terms if t is not term)))) for term in self.terms
        ]
        for name in self.written:
            left = {key: value for key, value in self.written.items() if key != name}
            found.append((f"{name}:{written_value(self.written[name])}", str(replace(self, written=left))))
        return found


def parse(text: str, *, now: datetime) -> Query:
    """Read a line. Raises InvalidInput with a sentence for a qualifier or time that nobody knows."""
    if len(text) > LENGTH_MOST:
        raise InvalidInput(f"That is longer than {LENGTH_MOST} characters. Ask for less at once.")
    terms: list[Term] = []
    written: dict[str, str] = {}
    times: dict[str, datetime] = {}
    for token in _tokens(text.replace("\x00", "")):
        term = _term(token)
        if term.name not in MOMENTS:
            terms.append(term)
            continue
        if term.negated or len(term.values) > 1:
            raise InvalidInput(f"{term.name}: takes one time and no minus.")
        if term.name in times:
            raise InvalidInput(f"{term.name}: stands there twice. Keep one.")
        written[term.name] = term.values[0]
        times[term.name] = moment(term.values[0], now=now, end=term.name == "until")
    if len(terms) > TERMS_MOST:
        raise InvalidInput(f"At most {TERMS_MOST} conditions can be asked at once.")
    since, until = times.get("since"), times.get("until")
    if since and until and since >= until:
        raise InvalidInput("since: is not before until:, so nothing can lie between them.")
    return Query(tuple(terms), since, until, written)


def moment(text: str, *, now: datetime, end: bool = False) -> datetime:
    """Read a time, in UTC: a day, a time of today, both, or a span back from now. `end` takes a whole day's end."""
    said = text.strip().lower()
    today = now.astimezone(UTC).date()
    try:
        if said == "now":
            return now
        if said in ("today", "yesterday"):
            return _day(today - timedelta(days=said == "yesterday"), end=end)
        if span := _SPAN.fullmatch(said):
            return now - timedelta(seconds=int(span[1]) * UNITS[span[2]])
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", said):
            return _day(date.fromisoformat(said), end=end)
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", said):
            return datetime.combine(today, time.fromisoformat(said.rjust(len(said) + (said[1] == ":"), "0")), UTC)
        if re.match(r"\d{4}-\d{2}-\d{2}[t ]", said):
            found = datetime.fromisoformat(said.upper())
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(
        f'{text[:40]!r} is not a time. Write 2026-11-01, 14:00, "2026-11-01 14:00" (in UTC), 2h, 3d, today or yesterday.'
    )


def written(name: str, value: str) -> str:
    """Return a condition as it is typed, whatever its value holds."""
    return f"{name}:{written_value(value)}"


def _day(day: date, *, end: bool) -> datetime:
    return datetime.combine(day + timedelta(days=end), time(), UTC)


def _tokens(text: str) -> Iterator[re.Match[str]]:
    place = 0
    while rest := text[place:].lstrip():
        found = _TOKEN.match(text, len(text) - len(rest))
        if found is None:
            raise InvalidInput(f"Can't read {rest[:40]!r}: a quotation mark is open, or something sticks to it.")
        yield found
        place = found.end()


def _term(token: re.Match[str]) -> Term:
    shown, negated, name = token["all"][:40], token["minus"] == "-", (token["name"] or "").lower()
    if not name:
        value = _unquoted(token["words"])
        if not re.search(r"[^\W_]", value):
            raise InvalidInput(f"{shown!r} holds no word to look for.")
        return Term("", (value,), negated, token["words"].startswith('"'))
    if name not in QUALIFIERS:
        raise InvalidInput(
            f"There is no qualifier {name!r}; there are {', '.join(QUALIFIERS)}. To look for the words, write them in "
            f"quotation marks: {_quoted(shown)}."
        )
    values = tuple(_unquoted(found).strip() for found in re.findall(_VALUE, token["values"], re.DOTALL))
    if not values or not all(values):
        raise InvalidInput(f"{shown!r} says nothing. Write a value right behind it, or leave it out.")
    if len(values) > VALUES_MOST:
        raise InvalidInput(f"{name}: takes at most {VALUES_MOST} values.")
    return Term(name, tuple(_checked(name, value) for value in values), negated)


def _checked(name: str, value: str) -> str:
    if len(value) > VALUE_MOST:
        raise InvalidInput(f"{name}: takes values of at most {VALUE_MOST} characters.")
    if name == "cause":
        digits = value.replace("\u202f", "")
        if not re.fullmatch(r"[0-9]{1,18}", digits):
            raise InvalidInput(f"cause: takes an entry's number; {value[:40]!r} is none.")
        return str(int(digits))
    if name == "env" and value not in ("production", "staging", "demo", ANY, NOWHERE):
        raise InvalidInput(f"There is no environment {value[:40]!r}; use production, staging, demo, none or all.")
    if name == "hidden" and value not in ("no", "yes", "only"):
        raise InvalidInput(f"hidden: is no, yes or only, not {value[:40]!r}.")
    return value


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL) if text.startswith('"') else text


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def written_value(value: str) -> str:
    """Return a value as it is typed: in quotation marks where it needs them."""
    return _quoted(value) if not value or re.search(r'[\s",]', value) else value
