"""`manage.py conformance`: hold the doors against what clients send, or with `--device` a client against what it sent.

Everything the first sends is of a simulated device named `conformance-…`; a production key is refused for that reason, and
the check says so. The second sends nothing: it reads what the door noted of the device, and what the census knows.
"""

import gzip
import time
import uuid
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from google.protobuf.json_format import MessageToJson
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA

from hawkops.core import clock
from hawkops.core.environments import Environment
from monitoring.domain.conformance import Graded, Heard, Shape, Told, grade
from monitoring.domain.metrics import INFERENCES
from monitoring.selectors.devices import device_understood, own_observations
from rollout.models import CensusDevice

PROTOBUF, JSON = "application/x-protobuf", "application/json"
FLAGS, METRICS, LOGS = "/ofrep/v1/evaluate/flags", "/v1/metrics", "/v1/logs"
TIMEOUT_SECONDS = 15
NOT_SEEN = "how often it counted is known in the gateway's own database only, and there of its panel"


class Failed(Exception):
    """A check did not pass; the message says what was expected and what came."""


class Doors:
    """A gateway and a key, asked over HTTP only."""

    def __init__(self, gateway: str, key: str) -> None:
        self.device = f"conformance-{uuid.uuid4().hex[:12]}"
        self._client = httpx.Client(
            base_url=gateway.rstrip("/"), headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT_SECONDS
        )

    def post(self, path: str, body: bytes, content_type: str = PROTOBUF, **headers: str) -> httpx.Response:
        """Send. Raises Failed when nobody answers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            return self._client.post(path, content=body, headers={"Content-Type": content_type, **named})
        except httpx.HTTPError as error:
            raise Failed(f"no answer: {error}") from error

    def flags(self, **headers: str) -> httpx.Response:
        """Ask for all flags."""
        body = f'{{"context":{{"targetingKey":"{self.device}"}}}}'.encode()
        return self.post(FLAGS, body, JSON, **headers)

    def resource(self) -> list[KeyValue]:
        """Describe the device."""
        said = {"device.id": self.device, "device.soc": "conformance", "service.version": "1"}
        pairs = [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in said.items()]
        return [*pairs, KeyValue(key="hawkops.simulated", value=AnyValue(bool_value=True))]

    def metrics(self, name: str = "app.engagement.events", *, value: float = 1) -> ExportMetricsServiceRequest:
        """Build a payload with one delta point, different each time."""
        request = ExportMetricsServiceRequest()
        resource_metrics = request.resource_metrics.add()
        resource_metrics.resource.attributes.extend(self.resource())
        metric = resource_metrics.scope_metrics.add().metrics.add(name=name)
        metric.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
        metric.sum.is_monotonic = True
        metric.sum.data_points.add(time_unix_nano=time.time_ns(), as_double=value)
        return request

    def logs(self, body: str = "conformance") -> ExportLogsServiceRequest:
        """Build a payload with one line, different each time."""
        request = ExportLogsServiceRequest()
        resource_logs = request.resource_logs.add()
        resource_logs.resource.attributes.extend(self.resource())
        record = resource_logs.scope_logs.add().log_records.add(time_unix_nano=time.time_ns(), severity_number=9)
        record.body.string_value = body
        return request


def _expect(answer: httpx.Response, status: int) -> httpx.Response:
    if answer.status_code != status:
        raise Failed(f"expected {status}, got {answer.status_code}: {_words(answer)[:200]}")
    return answer


def _words(answer: httpx.Response) -> str:
    if answer.headers.get("content-type", "").startswith(PROTOBUF):
        try:
            return str(Status.FromString(answer.content).message)
        except ValueError:
            return ""
    return answer.text


def _success(answer: httpx.Response, content_type: str, body: bytes) -> str:
    _expect(answer, 200)
    if answer.headers.get("content-type") != content_type or answer.content != body:
        raise Failed(f"a full success is {body!r} as {content_type}, got {answer.content[:80]!r}")
    return "200"


def flags_bulk(doors: Doors) -> str:
    """All flags at once: values, ETag, revision and lease."""
    answer = _expect(doors.flags(), 200)
    missing = [name for name in ("ETag", "HawkOps-Revision", "HawkOps-Lease-Seconds") if name not in answer.headers]
    if missing:
        raise Failed(f"the answer lacks {', '.join(missing)}")
    return f"{len(answer.json()['flags'])} flags at revision {answer.headers['HawkOps-Revision']}"


def flags_unchanged(doors: Doors) -> str:
    """The same question with the ETag: 304, which proves to the census what the device obeys."""
    tag = doors.flags().headers.get("ETag", "")
    answer = _expect(doors.flags(If_None_Match=tag), 304)
    if answer.content or "HawkOps-Lease-Seconds" not in answer.headers:
        raise Failed("a 304 has no body, and it renews the lease by HawkOps-Lease-Seconds")
    return "304, lease renewed"


def key_unknown(doors: Doors) -> str:
    """A wrong key: 401, at both doors."""
    for path, body in ((FLAGS, b"{}"), (METRICS, b"{}"), (LOGS, b"{}")):
        _expect(doors.post(path, body, JSON, Authorization="Bearer hk_wrong"), 401)
    return "401"


def metrics_protobuf(doors: Doors) -> str:
    """A metric in protobuf."""
    return _success(doors.post(METRICS, doors.metrics().SerializeToString()), PROTOBUF, b"")


def metrics_json(doors: Doors) -> str:
    """A metric in JSON."""
    body = MessageToJson(doors.metrics(), use_integers_for_enums=True).encode()
    return _success(doors.post(METRICS, body, JSON), JSON, b"{}")


def metrics_gzip(doors: Doors) -> str:
    """A metric in protobuf, compressed."""
    body = gzip.compress(doors.metrics().SerializeToString())
    return _success(doors.post(METRICS, body, Content_Encoding="gzip"), PROTOBUF, b"")


def metrics_resent(doors: Doors) -> str:
    """The same bytes again, as after a lost answer: acknowledged again, and counted once."""
    body = doors.metrics(INFERENCES).SerializeToString()
    for _ in range(3):
        _success(doors.post(METRICS, body), PROTOBUF, b"")
    try:
        counted = own_observations(doors.device, INFERENCES)
    except DatabaseError:
        counted = 0
    if counted > 1:
        raise Failed(f"counted {counted} times")
    return "acknowledged three times, counted once" if counted else f"acknowledged three times; {NOT_SEEN}"


def metrics_partial(doors: Doors) -> str:
    """A metric nobody knows: partial success that says why."""
    answer = _expect(doors.post(METRICS, doors.metrics("conformance.unknown").SerializeToString()), 200)
    partial = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    if partial.rejected_data_points != 1 or not partial.error_message:
        raise Failed(f"expected one rejected point with its reason, got {partial}")
    return partial.error_message


def metrics_broken(doors: Doors) -> str:
    """Bytes that are no payload: 400 with a sentence, in both encodings."""
    words = [_words(_expect(doors.post(METRICS, b"\xff\xff", kind), 400)) for kind in (PROTOBUF, JSON)]
    if not all(words):
        raise Failed("a refusal carries a google.rpc.Status with a message")
    return words[0]


def logs_protobuf(doors: Doors) -> str:
    """A log line in protobuf."""
    return _success(doors.post(LOGS, doors.logs().SerializeToString()), PROTOBUF, b"")


def logs_json(doors: Doors) -> str:
    """A log line in JSON."""
    body = MessageToJson(doors.logs(), use_integers_for_enums=True).encode()
    return _success(doors.post(LOGS, body, JSON), JSON, b"{}")


def logs_partial(doors: Doors) -> str:
    """An empty log record: partial success that says why."""
    answer = _expect(doors.post(LOGS, doors.logs("").SerializeToString()), 200)
    partial = ExportLogsServiceResponse.FromString(answer.content).partial_success
    if partial.rejected_log_records != 1:
        raise Failed(f"expected one rejected record, got {partial}")
    return partial.error_message


CHECKS: tuple[Callable[[Doors], str], ...] = (
    flags_bulk,
    flags_unchanged,
    key_unknown,
    metrics_protobuf,
    metrics_json,
    metrics_gzip,
    metrics_resent,
    metrics_partial,
    metrics_broken,
    logs_protobuf,
    logs_json,
    logs_partial,
)


def outcomes(doors: Doors) -> Iterator[tuple[str, bool, str]]:
    """Run every check: its sentence, whether it passed, and what came."""
    for check in CHECKS:
        sentence = (check.__doc__ or check.__name__).rstrip(".")
        try:
            yield sentence, True, check(doors)
        except Failed as error:
            yield sentence, False, str(error)
        except (ValueError, KeyError) as error:
            yield sentence, False, f"the answer can't be read: {error!r}"


def device_outcomes(environment: str, device_id: str) -> list[Graded]:
    """Grade a client by what the door noted of it and what the census knows."""
    notes = {note.signal: note for note in device_understood(environment, device_id)}
    seen = CensusDevice.objects.filter(environment=environment, device_id=device_id).first()
    metrics = notes.get("metrics")
    return grade(
        Heard(
            now=clock.now(),
            metrics={**metrics.details, "device_class": metrics.device_class} if metrics else None,
            census=None
            if seen is None
            else Told(seen.told_revision, seen.obeyed_revision, seen.obeyed_at, seen.last_seen_at),
            received_at=metrics.received_at if metrics else None,
            shapes=tuple(Shape(*shape) for shape in metrics.details.get("shapes", [])) if metrics else (),
        )
    )


class Command(BaseCommand):
    """Print one line a check; the exit status is 1 when any failed."""

    help = "Check a gateway and a device key with the requests that clients send, or grade what a device really sent."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which gateway, with which key; or which device."""
        parser.add_argument("--gateway", default=settings.GATEWAY_URL, help="its address (GATEWAY_URL)")
        parser.add_argument("--key", help="a device key; the one that `up` made, when absent")
        parser.add_argument("--device", help="the id of a real device: grade what it sent, send nothing")
        parser.add_argument(
            "--environment",
            choices=[one.value for one in Environment],
            default=Environment.DEMO.value,
            help="where that device reports (demo)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Check."""
        if options["device"]:
            lines = [
                (one.sentence, one.passed, one.found if one.passed else f"{one.found}; {one.remedy}")
                for one in device_outcomes(options["environment"], options["device"])
            ]
        else:
            lines = list(outcomes(Doors(options["gateway"], options["key"] or _own_key())))
        failed = 0
        for sentence, passed, found in lines:
            failed += not passed
            self.stdout.write(f"{'pass' if passed else 'FAIL'}  {sentence}  ({found})")
        if failed:
            raise CommandError(f"{failed} of {len(lines)} checks failed.")


def _own_key() -> str:
    try:
        return str((settings.DATA / "device.key").read_text().strip())
    except OSError as error:
        raise CommandError("Give a device key with --key; `manage.py device_key demo NAME` makes one.") from error
