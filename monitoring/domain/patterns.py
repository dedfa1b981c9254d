"""Log patterns: an expression over log lines, where it is looked for, and how many matches are an alert. Pure.

Expressions are RE2's: matching takes time in proportion to the line, whatever somebody typed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

import re2

from monitoring.domain.criteria import KEY, SECONDS, WINDOW, Severity, spoken, written

EXPRESSION_MOST = 300
# Instructions of the compiled expression: with so many, a line of LINE_MOST characters takes some milliseconds at worst.
PROGRAM_MOST = 1_000
LINE_MOST = 4_096
SAMPLE_MOST = 500
SAMPLES_KEPT = 20
LIMIT_MOST = 1_000_000
WINDOW_LEAST, WINDOW_MOST = timedelta(minutes=1), timedelta(hours=24)
# Where lines of this installation's files count: in every environment.
EVERYWHERE = ""


class Unfit(Exception):
    """A pattern can't be used as it is; the message is a sentence."""


class Source(StrEnum):
    """Where lines come from."""

    APP_LOG = "app log"
    SECURITY_LOG = "security log"
    DEVICE_LOGS = "device logs"

    @property
    def unread(self) -> str:
        """The title of the alert that it is not read: `The app log is not read`."""
        return f"The {self.value} {'are' if self is Source.DEVICE_LOGS else 'is'} not read"


FILES = (Source.APP_LOG, Source.SECURITY_LOG)


@dataclass(frozen=True)
class Pattern:
    """One pattern. `limit` matches within `window` are an alert; None is counted and charted only.

    A `suspicious` one counts as the runbook's suspicious processing pattern: its alert asks for a security review.
    """

    key: str
    title: str
    expression: str
    sources: tuple[Source, ...]
    severity: Severity = Severity.WARNING
    limit: int | None = None
    window: timedelta = timedelta(minutes=5)
    action: str = ""
    paused: bool = False
    suspicious: bool = False

    @property
    def sentence(self) -> str:
        """Say what the pattern leads to."""
        if self.limit is None:
            return "counted, no alert"
        said = f"{self.limit} match{'es' if self.limit > 1 else ''} within {spoken(self.window)}: {self.severity}"
        return f"{said}, security review" if self.suspicious else said


class Matcher:
    """A compiled expression."""

    def __init__(self, expression: str) -> None:
        options = re2.Options()
        options.log_errors = False
        self._compiled = re2.compile(expression, options)

    @property
    def size(self) -> int:
        """How many instructions it has, to both sides."""
        return max(int(self._compiled.programsize), int(self._compiled.reverseprogramsize))

    def matches(self, line: str) -> bool:
        """Whether the expression is found anywhere in the line."""
        return self._compiled.search(line[:LINE_MOST]) is not None


@lru_cache(maxsize=200)
def matcher(expression: str) -> Matcher:
    """Compile an expression. Raises Unfit with what is wrong with it."""
    if not expression.strip():
        raise Unfit("Write an expression, such as LITERT.*PERFORMANCE_DEGRADATION")
    if len(expression) > EXPRESSION_MOST:
        raise Unfit(f"The expression has {len(expression)} characters, {EXPRESSION_MOST} are the most")
    if not expression.isprintable():
        raise Unfit("The expression has characters that can't be printed; write them as escapes, such as \\t")
    try:
        found = Matcher(expression)
    except re2.error as error:
        raise Unfit(f"The expression can't be read: {_said(error)}") from error
    if found.size > PROGRAM_MOST:
        raise Unfit("The expression is too large: repeat less, such as .* in place of .{500}")
    if found.matches(""):
        raise Unfit("The expression matches every line, even an empty one")
    return found


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else error
    words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    if "(?=" in words or "(?!" in words or "(?<" in words:
        return f"{words} (looking ahead or behind can't be done in linear time)"
    if words.startswith("invalid escape sequence: \\") and words[-1].isdigit():
        return f"{words} (referring back can't be done in linear time)"
    return words


def pattern(document: Mapping[str, Any]) -> Pattern:
    """Read a pattern. Raises Unfit with a sentence."""
    key = _text(document, "key", 60)
    if not KEY.fullmatch(key):
        raise Unfit("A key has 3 to 60 small letters, digits and hyphens, and begins with a letter")
    title = _text(document, "title", 120)
    if not title:
        raise Unfit("A pattern needs a title")
    expression = document.get("expression")
    if not isinstance(expression, str):
        raise Unfit("An expression is a text")
    matcher(expression)
    suspicious = bool(document.get("suspicious", False))
    return Pattern(
        key=key,
        title=title,
        expression=expression,
        sources=_sources(document.get("sources")),
        severity=_severity(document.get("severity", Severity.WARNING.value)),
        # the runbook wants a review after one occurrence
        limit=_limit(document.get("limit")) or (1 if suspicious else None),
        window=_window(document.get("window", "5m")),
        action=_text(document, "action", 200),
        paused=bool(document.get("paused", False)),
        suspicious=suspicious,
    )


def document(one: Pattern) -> dict[str, Any]:
    """Write a pattern as the database and the history keep it."""
    return {
        "key": one.key,
        "title": one.title,
        "expression": one.expression,
        "sources": [source.value for source in one.sources],
        "severity": one.severity.value,
        "limit": one.limit,
        "window": written(one.window),
        "action": one.action,
        "paused": one.paused,
        "suspicious": one.suspicious,
    }


def _text(document: Mapping[str, Any], name: str, most: int) -> str:
    said = document.get(name, "")
    if not isinstance(said, str) or not said.isprintable():
        raise Unfit(f"The {name} is one line of text")
    if len(said.strip()) > most:
        raise Unfit(f"The {name} has {len(said.strip())} characters, {most} are the most")
    return said.strip()


def _sources(said: Any) -> tuple[Source, ...]:
    given = set(said) if isinstance(said, (list, tuple)) and all(isinstance(one, str) for one in said) else set()
    if not given:
        raise Unfit("Say where to look: the app log, the security log or device logs")
    if not given <= set(Source):
        raise Unfit(f"There is no source {min(given - set(Source))!r}")
    return tuple(source for source in Source if source in given)


def _severity(said: Any) -> Severity:
    if not isinstance(said, str) or said not in set(Severity):
        raise Unfit("A severity is critical, warning or info")
    return Severity(said)


def _limit(said: Any) -> int | None:
    if said is None or said == "":
        return None
    digits = str(said).strip()
    if isinstance(said, bool) or not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise Unfit("A limit is a whole number of matches, or empty for no alert")
    if not 1 <= int(digits) <= LIMIT_MOST:
        raise Unfit(f"A limit is between 1 and {LIMIT_MOST} matches")
    return int(digits)


def _window(said: Any) -> timedelta:
    found = WINDOW.fullmatch(said.strip()) if isinstance(said, str) else None
    window = timedelta(seconds=int(found[1]) * SECONDS[found[2]]) if found else timedelta()
    if not WINDOW_LEAST <= window <= WINDOW_MOST or window % timedelta(minutes=1):
        raise Unfit("A window is a number of whole minutes or hours, such as 5m or 1h, a day at most")
    return window


APP, SECURITY = (Source.APP_LOG, Source.DEVICE_LOGS), (Source.SECURITY_LOG, Source.DEVICE_LOGS)
# Expressions, files and order are the runbook's. It names no limits: these are a beginning, edited on the page.
RUNBOOK = (
    Pattern(
        "litert-degradation",
        "LiteRT performance degradation",
        "LITERT.*PERFORMANCE_DEGRADATION",
        APP,
        limit=10,
        action="Look at LiteRT performance by device class; halve the percentage when it lasts",
    ),
    Pattern(
        "memory-warning",
        "Memory warning or out of memory",
        "MEMORY.*WARNING|OOM",
        APP,
        limit=10,
        action="Set the most concurrent inferences to 2, clear unused models, aggressive GC on",
    ),
    Pattern(
        "backend-switch",
        "Backend switch",
        "BACKEND_SWITCH",
        APP,
        # a switch every three seconds, which the runbook calls frequent
        limit=100,
        action="Raise the switching threshold to 0.3 and the cooldown to 60 000 ms",
    ),
    Pattern(
        "security-incident",
        "Security incident or failed validation",
        "SECURITY.*INCIDENT|VALIDATION_FAILED",
        SECURITY,
        severity=Severity.CRITICAL,
        limit=1,
        window=timedelta(minutes=15),
        action="Tell the security team; lock down when it is confirmed",
    ),
)


def cleaned(raw: bytes) -> str:
    """Return a line of a file as text that can be shown: cut, wrong bytes marked, control characters gone."""
    text = raw[: 4 * LINE_MOST].decode("utf-8", "replace")[:LINE_MOST]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " if c.isspace() else "" for c in text)
    return text.strip()
