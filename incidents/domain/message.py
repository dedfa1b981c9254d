"""One message as every kind of channel understands it; each kind renders it in its own way."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from monitoring.domain.criteria import Severity

# What belongs together shares a thread; a pager calls it the deduplication key and takes 255 characters.
THREAD_MOST = 255
LATE_AFTER = timedelta(minutes=5)


class Action(StrEnum):
    """What a message does to its thread."""

    TRIGGER = "trigger"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    # it opens and ends nothing
    TELL = "tell"
    TEST = "test"


@dataclass(frozen=True)
class Link:
    """Where to go on."""

    text: str
    url: str


@dataclass(frozen=True)
class Message:
    """What is told, whatever it is sent by. `at` is when it happened; `verb` the history entry's."""

    title: str
    severity: Severity
    environment: str
    action: Action
    thread: str
    verb: str
    at: datetime
    sentences: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    simulated: bool = False
    # of a deployment: pagers keep those as changes, which page nobody
    change: bool = False

    def document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "title": self.title,
            "severity": self.severity.value,
            "environment": self.environment,
            "action": self.action.value,
            "thread": self.thread,
            "verb": self.verb,
            "at": self.at.isoformat(),
            "sentences": list(self.sentences),
            "links": [{"text": link.text, "url": link.url} for link in self.links],
            "simulated": self.simulated,
            "change": self.change,
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Message":
        """Read a document."""
        return cls(
            title=document["title"],
            severity=Severity(document["severity"]),
            environment=document["environment"],
            action=Action(document["action"]),
            thread=document["thread"],
            verb=document["verb"],
            at=datetime.fromisoformat(document["at"]),
            sentences=tuple(document["sentences"]),
            links=tuple(Link(link["text"], link["url"]) for link in document["links"]),
            simulated=document["simulated"],
            change=document["change"],
        )

    @property
    def headline(self) -> str:
        """One line that says all: severity, environment, title."""
        word = "RESOLVED" if self.action is Action.RESOLVE else self.severity.value.upper()
        marked = " (simulated)" if self.simulated else ""
        return f"[{word}] {self.environment}{marked}: {self.title}"

    @property
    def text(self) -> str:
        """The whole message as plain text."""
        links = [f"{link.text}: {link.url}" for link in self.links]
        when = f"{self.at:%Y-%m-%d %H:%M:%S} UTC"
        return "\n".join([self.headline, *self.sentences, *links, when])


def delayed(message: Message, *, now: datetime) -> Message:
    """Return a message that says so itself when it comes late: whoever reads it would take it for the present."""
    late = now - message.at
    if late < LATE_AFTER:
        return message
    minutes = int(late.total_seconds() // 60)
    span = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
    said = f"This happened {span} ago and could not be told earlier; things may stand differently now."
    return replace(message, sentences=(said, *message.sentences))


def cut(text: str, most: int) -> str:
    """Return at most so many characters; what is cut ends with an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def one_line(text: str) -> str:
    """Return text without line breaks and control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
