"""Logs: one line for each event, as text or as JSON, with its facts and with what it belongs to (request, task, person).

What is logged names nobody: people are `person:ID`, and addresses that hold a secret are shown without it.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.orjson import OrjsonFormatter

# a path with one of these in it lets in whoever knows it
SECRETS = ("token", "secret")
_facts: ContextVar[Mapping[str, Any]] = ContextVar("facts", default=MappingProxyType({}))
_process = ""


def process_named(name: str) -> None:
    """Say which program this process is; every line carries it."""
    global _process
    _process = name


def begin(**facts: Any) -> Token[Mapping[str, Any]]:
    """Let every line from now on carry these facts, until `end` is given what this returns."""
    return _facts.set({**_facts.get(), **facts})


def end(token: Token[Mapping[str, Any]]) -> None:
    """Take them back."""
    _facts.reset(token)


@contextmanager
def about(**facts: Any) -> Iterator[None]:
    """Within the block every line carries these facts."""
    token = begin(**facts)
    try:
        yield
    finally:
        end(token)


def fact(name: str) -> Any:
    """Return a fact of what is under way; None when there is none."""
    return _facts.get().get(name)


class Facts(logging.Filter):
    """Give each record the facts of what is under way, and take away what no log may hold."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; none is dropped."""
        if _process:
            record.process_name = _process
        for name, value in _facts.get().items():
            record.__dict__.setdefault(name, value)
        request = record.__dict__.pop("request", None)  # Django's own lines bring it, which is no fact but an object
        if request is not None:
            # said when its middleware has ended
            record.__dict__.setdefault("request_id", getattr(request, "request_id", None))
            _mask(record, request)
        return True


def _mask(record: logging.LogRecord, request: Any) -> None:
    match = getattr(request, "resolver_match", None)
    secrets = [str(value) for name, value in match.kwargs.items() if name in SECRETS] if match else []
    if secrets and isinstance(record.args, tuple):
        record.args = tuple(_without(one, secrets) for one in record.args)


def _without(said: object, secrets: list[str]) -> object:
    if isinstance(said, str):
        for secret in secrets:
            said = said.replace(secret, "…")
    return said


class Json(OrjsonFormatter):
    """One JSON object a line: `at` (UTC), `level`, `logger`, `event`, the event's facts, `exc_info` where there is one."""

    def __init__(self) -> None:
        renamed = {"levelname": "level", "name": "logger", "message": "event", "process_name": "process"}
        super().__init__("{levelname}{name}{message}", style="{", rename_fields=renamed)

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Put the moment first."""
        log_data["at"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        super().add_fields(log_data, record, message_dict)


class Text(logging.Formatter):
    """One line of text, its facts behind it as `name=value`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Add the facts."""
        given = {name: value for name, value in record.__dict__.items() if name not in RESERVED_ATTRS}
        given.pop("process_name", None)  # each program's text has a file of its own
        said = " ".join(f"{name}={value}" for name, value in given.items() if name not in _OURS)
        return f"{super().formatMessage(record)} {said}".rstrip()


# what formatting itself leaves in a record
_OURS = ("message", "asctime")


def configured(form: str, level: str) -> dict[str, Any]:
    """Return Django's LOGGING: every line to standard error, as `text` or `json`, from `level` on."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": Json if form == "json" else Text}},
        "filters": {"facts": {"()": Facts}},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "stream": sys.stderr,
                "formatter": "line",
                "filters": ["facts"],
            }
        },
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # Django's own handler would say everything twice, and mail what nobody asked for
            "django": {"handlers": [], "level": level},
            # one line for each message, many a second, says nothing that a failing task doesn't
            "celery": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
            "uvicorn": {"level": "WARNING"},
        },
    }
