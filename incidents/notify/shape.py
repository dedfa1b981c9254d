"""The one shape of a kind of channel: it checks what an administrator typed, and sends one message."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from hawkops.core import clock, outbound
from hawkops.core.errors import InvalidInput
from incidents.domain.message import Message, cut, one_line
from incidents.domain.retrying import Outcome, asked_wait, outcome_of

ANSWER_MOST = 300


@dataclass(frozen=True)
class Sending:
    """One message on its way. `key` is the same at every attempt."""

    address: str
    signing_secret: str
    message: Message
    key: str
    at: datetime


@dataclass(frozen=True)
class Answer:
    """What came back. `asked` is how long the other side wants to be left alone."""

    outcome: Outcome
    text: str
    status: int | None = None
    asked: timedelta | None = None


@dataclass(frozen=True)
class Checked:
    """An address as it is kept, and what of it may be shown."""

    address: str
    hint: str


def takes_all(_message: Message) -> bool:
    """Say that this kind has a use for every message."""
    return True


@dataclass(frozen=True)
class Way:
    """A kind of channel. `check` raises InvalidInput; `takes` says whether a message is anything to it."""

    check: Callable[[str], Checked]
    send: Callable[[Sending], Answer]
    # what the form asks for, and what it says below
    asks: str
    help: str
    takes: Callable[[Message], bool] = takes_all
    # what the second secret is for; empty where there is none
    signs: str = ""


def fingerprint(secret: str) -> str:
    """Return what tells one secret from another and gives nothing of it away."""
    return f"•••{hashlib.sha256(secret.encode()).hexdigest()[:4]}"


def web_address(url: str) -> Checked:
    """Check a web address whose path is a secret."""
    url = url.strip()
    if len(url) > 2_000:
        raise InvalidInput("An address has at most 2 000 characters.")
    outbound.address(url)
    return Checked(url, f"{urlsplit(url).hostname} {fingerprint(url)}")


def posted(
    url: str, *, json: object = None, content: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Post and read the answer: what is refused stays refused, what nobody answered is tried again."""
    try:
        receipt = outbound.post(url, json=json, content=content, headers=headers)
    except outbound.NoAddress as error:
        return Answer(Outcome.AGAIN, said(error.message, url))
    except InvalidInput as error:
        return Answer(Outcome.REFUSED, said(error.message, url))
    except outbound.Undelivered as error:
        return Answer(Outcome.AGAIN, said(str(error), url))
    asked = asked_wait(receipt.retry_after, now=clock.now()) if receipt.retry_after else None
    return Answer(outcome_of(receipt.status), said(receipt.text, url), receipt.status, asked)


def said(text: str, *secrets: str) -> str:
    """Return an answer as it may be kept: one line, short, without the secrets it was asked with."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "•••")
        path = urlsplit(secret).path if secret.startswith("http") else ""
        text = text.replace(path, "•••") if len(path) > 8 else text
    return cut(one_line(text), ANSWER_MOST)
