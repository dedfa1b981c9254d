"""From an OTLP logs message to lines: bounded texts, crashes recognised, a count of what was refused.

Crashes are events named `device.crash` (opentelemetry-android up to 1.6) or `app.crash` (later). Each counts once into
`app.crashes` with the outcome "event", unless that version of the app reports the metric itself: see `writing`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from hawkops.core.bounded import Malformed
from monitoring.otlp.decoding import (
    AHEAD,
    BUCKET_SECONDS,
    LATE,
    RESOURCES_MOST,
    Decoded,
    Device,
    DeviceReport,
    SeriesKey,
    admit,
    device_of,
)
from monitoring.otlp.rows import Line

LINES_MOST = 10_000
BODY_MOST = 2_000
STACK_MOST = 64 * 1024
# A crash is reported when the app runs again: its own time is believed that far back.
KEPT_BACK = timedelta(days=7)
CRASHES = frozenset(("device.crash", "app.crash"))
CRASH_METRIC, CRASH_OUTCOME = "app.crashes", "event"
VARIANT = "feature_flag.result.variant"
ATTRIBUTES = frozenset(("event.name", "exception.type", "exception.message", "exception.stacktrace", VARIANT))
SEVERITIES = {"TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "WARNING": 13, "ERROR": 17, "FATAL": 21, "CRITICAL": 21}
FATAL = 21
_ADDRESSES = re.compile(r"0x[0-9a-fA-F]+|@[0-9a-f]{4,}|:\d+|\d+")


def decode_logs(payload: ExportLogsServiceRequest, *, environment: str, now: datetime) -> Decoded:
    """Walk a payload; `now` is its arrival. Raises Malformed when it must be refused as a whole."""
    if len(payload.resource_logs) > RESOURCES_MOST:
        raise Malformed(f"The payload has more than {RESOURCES_MOST} resources; send smaller ones.")
    whole = Decoded(signal="logs")
    several = len(payload.resource_logs) > 1
    for resource_logs in payload.resource_logs[:]:
        device = device_of(resource_logs.resource.attributes)
        admit(device, environment)
        variant = _variant(resource_logs.resource.attributes)
        found = whole.part() if several else whole
        for scope in resource_logs.scope_logs[:]:
            for record in scope.log_records[:]:
                _take(found, record, device, environment, now, variant=variant)
        if device.device_id:
            found.reports.append(
                DeviceReport(environment, device.device_id, device.device_class, device.simulated, None)
            )
        if several:
            whole.join(found)
    return whole


def _variant(pairs: Iterable[KeyValue]) -> str:
    """Return the variant that a resource names: a crash of the treatment must not count for nobody."""
    return next((clean(text_of(pair.value))[:40] for pair in pairs if pair.key == VARIANT), "")


def _take(found: Decoded, record: LogRecord, device: Device, environment: str, now: datetime, *, variant: str) -> None:
    if found.accepted + found.rejected >= LINES_MOST:
        found.reasons[f"log record beyond {LINES_MOST} in one payload"] += 1
        return
    said = _attributes(found, record.attributes)
    event = (clean(record.event_name) or said.get("event.name", ""))[:100]
    crash = event in CRASHES
    exception, message = said.get("exception.type", "")[:200], said.get("exception.message", "")[:500]
    body = clean(text_of(record.body))[:BODY_MOST] or ": ".join(part for part in (exception, message) if part)
    if not body and not event:
        found.reasons["log record without body, event name and exception"] += 1
        return
    at = _moment(record.time_unix_nano or record.observed_time_unix_nano, now)
    if at is None:
        found.moved_to_arrival += 1
        at = now
    found.lines.append(
        Line(
            environment,
            at,
            now,
            device.device_id,
            device.device_class,
            device.app_version,
            _severity(record, crash=crash),
            event,
            body,
            exception,
            message,
            stack_digest(said.get("exception.stacktrace", "")),
            crash,
            device.simulated,
        )
    )
    found.accepted += 1
    if crash:
        said_variant = said.get(VARIANT, "")[:40] or variant
        found.crashes.append((_crashes(environment, device, said_variant), _bucket(at, now)))


def _attributes(found: Decoded, pairs: Iterable[KeyValue]) -> dict[str, str]:
    said = {}
    for pair in pairs:
        if pair.key in ATTRIBUTES:
            most = STACK_MOST if pair.key == "exception.stacktrace" else BODY_MOST
            said[pair.key] = clean(text_of(pair.value)[:most], keep_lines=pair.key == "exception.stacktrace")
        else:
            found.dropped_attributes += 1
    return said


def _severity(record: LogRecord, *, crash: bool) -> int:
    number = int(record.severity_number)
    if 1 <= number <= 24:
        return number
    return SEVERITIES.get(record.severity_text.strip().upper()[:10], FATAL if crash else 0)


def _moment(nanoseconds: int, now: datetime) -> datetime | None:
    """Return the record's own time; None when it is not to be believed."""
    seconds = nanoseconds / 1e9
    if not (now - KEPT_BACK).timestamp() <= seconds <= (now + AHEAD).timestamp():
        return None
    return min(now, datetime.fromtimestamp(seconds, tz=UTC))


def _bucket(at: datetime, now: datetime) -> int:
    moment = at if now - at <= LATE else now
    return int(moment.timestamp()) // BUCKET_SECONDS * BUCKET_SECONDS


def _crashes(environment: str, device: Device, variant: str) -> SeriesKey:
    return SeriesKey(
        environment,
        CRASH_METRIC,
        "",
        "",
        device.device_class,
        device.app_version,
        "",
        variant,
        CRASH_OUTCOME,
        device.simulated,
    )


def stack_digest(stack: str) -> str:
    """Return sixteen hexadecimal digits that are the same for the same stack; empty for none."""
    if not stack.strip():
        return ""
    return hashlib.sha256(_ADDRESSES.sub("#", " ".join(stack.split())).encode()).hexdigest()[:16]


def clean(text: str, *, keep_lines: bool = False) -> str:
    """Return the text without what can't be printed or stored; line ends become spaces unless they are kept."""
    if text.isprintable():
        return text.strip()
    return "".join(
        c if c.isprintable() else ("\n" if keep_lines and c == "\n" else " " if c.isspace() else "") for c in text
    ).strip()


def text_of(value: AnyValue) -> str:
    """Return any value as text; lists and maps as JSON, bytes as nothing."""
    which = value.WhichOneof("value")
    if which == "string_value":
        return value.string_value[:STACK_MOST]
    plain = _plain(value, depth=0)
    return "" if plain is None else plain if isinstance(plain, str) else orjson.dumps(plain).decode()[:STACK_MOST]


def _plain(value: AnyValue, *, depth: int) -> object:
    which = value.WhichOneof("value")
    if which in ("string_value", "bool_value", "double_value"):
        return getattr(value, which)
    if which == "int_value":
        return value.int_value
    if depth > 8:
        return None
    if which == "array_value":
        return [_plain(one, depth=depth + 1) for one in value.array_value.values[:100]]
    if which == "kvlist_value":
        return {pair.key[:100]: _plain(pair.value, depth=depth + 1) for pair in value.kvlist_value.values[:100]}
    return None
