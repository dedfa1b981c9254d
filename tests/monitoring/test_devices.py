"""What device authors get: a page of what was understood, a page to connect, and checks of a client's requests."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.access import Role
from monitoring.domain.conformance import Heard, Told, grade
from monitoring.domain.conformance import sent as sent_by_name
from monitoring.models import CumulativeStream, DeviceNote, DoorTotal, LogLine
from monitoring.otlp.decoding import TOO_COARSE, decode
from monitoring.otlp.notes import PER_SECOND, Notes
from monitoring.otlp.writing import GroupWriter
from monitoring.services.telemetry import notes_prune, streams_prune, totals_prune
from rollout.models import CensusDevice
from tests.monitoring.conftest import Running, serving
from tests.monitoring.payloads import DEVICE, ON_CPU, Payload

Make = Callable[..., User]
As = Callable[[User], Client]


@pytest.mark.fresh_database
def test_the_last_payload_of_a_device_is_explained(door: Running, person: Make, client_as: As) -> None:
    sent = Payload({**DEVICE, "shop.customer": "somebody", "os.name": "Android"})
    sent.sum("litert.inferences", 3, {**ON_CPU, "user.id": "u1"}).sum("made.up", 1).gauge("device.storage.free", -1)
    assert door.post(sent.body).status_code == 200
    note = DeviceNote.objects.get()
    assert (note.device_id, note.signal, note.accepted, note.rejected) == ("dev-1", "metrics", 1, 2)
    assert dict(note.details["names"]) == {"litert.inferences": 1, "made.up": 1, "device.storage.free": 1}
    assert dict(note.details["dropped"]) == {"user.id": 1, "shop.customer": 1}
    client = client_as(person("author", Role.VIEWER))
    page = client.get("/demo/monitoring/understood/device?id=dev-1").content.decode()
    for words in ("made.up: not in the catalogue of metrics", "user.id", "shop.customer", "is negative"):
        assert words in page
    assert "somebody" not in page
    for name, what in (("litert.inferences", "taken"), ("made.up", "refused"), ("device.storage.free", "refused")):
        assert f"<code>{name}</code> 1 {what}" in page
    assert "dev-1" in client.get("/demo/monitoring/understood?q=dev").content.decode()
    assert client.get("/staging/monitoring/understood/device?id=dev-1").status_code == 404
    assert client.get("/demo/monitoring/understood/device?id=%00").status_code == 400


def test_what_was_sent__names_how_much_of_each_was_taken() -> None:
    details = {
        "names": [["litert.inferences", 5], ["app.tasks", 3], ["app.tasks.started", 2], ["x" * 100, 1]],
        "reasons": [
            ["litert.inferences is negative", 2],
            ["app.tasks: not in the catalogue of metrics", 3],
            [f"{'x' * 80}: not in the catalogue of metrics", 1],
            ["point beyond 50000 in one payload", 9],
        ],
    }

    assert [(one.count, one.taken) for one in sent_by_name(details)] == [(5, 3), (3, 0), (2, 2), (1, 0)]
    assert sent_by_name({}) == []


@pytest.mark.django_db
def test_log_lines_of_a_device__say_their_severity_in_a_word_or_that_there_is_none(person: Make, client_as: As) -> None:
    now = clock.now()
    for severity, body in ((0, "quiet"), (18, "loud")):
        LogLine.objects.create(
            environment="demo", at=now, received_at=now, device_id="dev-1", severity=severity, body=body
        )
    page = client_as(person("author", Role.VIEWER)).get("/demo/monitoring/understood/device?id=dev-1").content.decode()
    rows = re.findall(r"<tr><td.*?</tr>", page, re.DOTALL)
    assert [(">error<" in row, ">–<" in row) for row in rows] == [(True, False), (False, True)]


@pytest.mark.fresh_database
def test_bounds_too_coarse_are_said_to_the_author(door: Running, person: Make, client_as: As) -> None:
    sent = Payload()
    explicit = sent.metric("gen_ai.client.operation.duration", "s").histogram
    explicit.aggregation_temporality = 1  # type: ignore[assignment]
    explicit.data_points.add(count=2, sum=1.0, explicit_bounds=[0.0, 5.0], bucket_counts=[0, 2, 0])
    assert door.post(sent.body).content == b""
    page = client_as(person("author", Role.VIEWER)).get("/demo/monitoring/understood/device?id=dev-1").content.decode()
    assert TOO_COARSE in page


@pytest.mark.fresh_database
def test_trouble_is_noted_at_once_and_a_clean_payload_after_it_waits(door: Running) -> None:
    assert door.post(Payload().sum("litert.inferences", 1).body).status_code == 200
    assert DeviceNote.objects.get().rejected == 0
    assert door.post(Payload().sum("made.up", 1).sum("made.up", 2).body).status_code == 200
    assert door.post(Payload().sum("litert.inferences", 3).body).status_code == 200
    note = DeviceNote.objects.get()
    assert (note.accepted, note.rejected) == (0, 2)


@pytest.mark.fresh_database
def test_everything_refused_is_counted_by_reason_and_shown(person: Make, client_as: As) -> None:
    sent = Payload().sum("made.up", 1).sum("made.up", 2).sum("litert.inferences", 3)
    with serving(os.environ["DATABASE_URL"]) as door:
        for step in range(3):
            sent.scope.metrics[0].sum.data_points[0].as_double = step + 5
            for _ in range(2):  # sent again: counted once
                assert door.post(sent.body).status_code == 200
        assert door.post(b"\xff\xff").status_code == 400
        assert door.post(b"{}", content_type="text/plain").status_code == 415
        assert door.post(b"\x0a\x00" * 300_000).status_code == 413
        assert door.post(b"{}", path="/v1/logs", content_type="application/json", key="hk_wrong").status_code == 401
    counted = {row.reason: (row.signal, row.payloads, row.points) for row in DoorTotal.objects.all()}
    assert counted.pop("") == ("metrics", 3, 3)
    assert counted.pop("made.up: not in the catalogue of metrics") == ("metrics", 3, 6)
    assert sorted(why[:3] for why in counted) == ["400", "413", "415"]
    assert set(counted.values()) == {("metrics", 1, 0)}
    page = client_as(person("author", Role.VIEWER)).get("/demo/monitoring/understood").content.decode()
    for words in ("made.up: not in the catalogue of metrics", "415: Send Content-Type", "Taken and refused, 48 h"):
        assert words in page


@pytest.mark.fresh_database
def test_reasons_are_bounded_and_the_rest_is_counted_together(door: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.otlp.totals.REASONS_MOST", 4)
    for step in range(6):
        assert door.post(Payload().sum(f"made.up.{step}", 1).body).status_code == 200
    rows = {row.reason: row.points for row in DoorTotal.objects.all()}
    assert rows == {
        "made.up.0: not in the catalogue of metrics": 1,
        "made.up.1: not in the catalogue of metrics": 1,
        "other reasons": 4,
    }


def test_notes_have_a_ceiling_whatever_the_number_of_devices() -> None:
    notes, taken = Notes(), 0
    for number in range(500):
        sent = Payload({"device.id": f"d{number}"}).sum("litert.inferences", 1)
        found = decode(sent.message, environment="demo", now=clock.now())
        notes.take(found, "metrics", partial(getattr, sent, "message"), now=clock.now())
        taken += len(found.notes)
    assert 0 < taken <= PER_SECOND * 3


@pytest.mark.django_db
def test_streams_and_notes_are_forgotten_by_age() -> None:
    now = clock.now()
    for hours in (1, 50):
        CumulativeStream.objects.create(digest=bytes([hours]) * 16, state=b"", seen_at=now - timedelta(hours=hours))
        DeviceNote.objects.create(
            environment="demo",
            device_id=f"d{hours}",
            signal="metrics",
            received_at=now - timedelta(hours=hours * 5),
            accepted=1,
            rejected=0,
            details={},
        )
        DoorTotal.objects.create(
            environment="demo", signal="metrics", hour_at=now - timedelta(hours=hours), reason="", payloads=1, points=1
        )
    assert (streams_prune(now=now), notes_prune(now=now), totals_prune(now=now)) == (1, 1, 1)


@pytest.mark.django_db
def test_the_page_for_authors_names_every_metric_and_the_gateway(person: Make, client_as: As, settings: Any) -> None:
    settings.GATEWAY_URL = "https://gateway.example"
    page = client_as(person("author", Role.VIEWER)).get("/demo/monitoring/connect").content.decode()
    for words in ("https://gateway.example/v1/metrics", "litert.prefill.throughput", "deltaPreferred", "Lease"):
        assert words in page


@pytest.mark.fresh_database
def test_conformance_says_line_by_line_what_passed(door: Running) -> None:
    """The door of this test serves telemetry only: what asks for flags must fail, everything else pass."""
    said = StringIO()
    with pytest.raises(CommandError, match="3 of 12"):
        call_command("conformance", gateway=door.url, key="hk_demo_good", stdout=said)
    lines = said.getvalue().splitlines()
    assert [line[:4] for line in lines] == ["FAIL"] * 3 + ["pass"] * 9
    assert "not in the catalogue" in said.getvalue()


def graded(device_id: str) -> dict[str, str]:
    """What the command says of a device: sentence → verdict and finding."""
    said = StringIO()
    with suppress(CommandError):
        call_command("conformance", device=device_id, environment="demo", stdout=said)
    lines = [line.partition("  (") for line in said.getvalue().splitlines()]
    return {line[6:]: f"{line[:4]} {rest}" for line, _, rest in lines}


@pytest.mark.fresh_database
def test_conformance_grades_a_client_by_what_it_sent(door: Running) -> None:
    on_both = {**ON_CPU, "feature_flag.result.variant": "treatment"}
    good = Payload({"app.installation.id": "good", "device.soc": "s1", "service.version": "1"})
    good.exponential("gen_ai.client.operation.duration", [0.5, 0.7], on_both, unit="s")
    good.gauge("hawkops.flags.revision", 4)
    assert door.post(good.body).status_code == 200
    CensusDevice.objects.create(
        environment="demo",
        device_id="good",
        told_revision=4,
        obeyed_revision=4,
        obeyed_at=clock.now(),
        first_seen_at=clock.now(),
        last_seen_at=clock.now(),
    )
    found = graded("good")
    assert len(found) == 14
    assert {verdict[:4] for verdict in found.values()} == {"pass"}

    bad = Payload({"service.instance.id": "bad"}, at=1_000_000)
    bad.sum("litert.inferences", 3, {}, temporality=2).sum("made.up", 1, {})
    explicit = bad.metric("gen_ai.client.operation.duration").histogram
    explicit.aggregation_temporality = 1  # type: ignore[assignment]
    explicit.data_points.add(count=2, sum=1.0, explicit_bounds=[0.0, 5.0], bucket_counts=[0, 2, 0])
    assert door.post(bad.body).status_code == 200
    found = graded("bad")
    assert [sentence for sentence, verdict in found.items() if verdict.startswith("pass")] == [
        "Its metrics were understood"
    ]
    assert "app.installation.id" in found["It has a lasting id"]
    assert "litert.inferences is the first one of a run" in found["Every point was taken and counted"]
    assert "made.up" in found["Every point was taken and counted"]
    assert "without a unit: litert.inferences, gen_ai" in found["Its metrics say their units"]
    assert "cumulative: litert.inferences; prefer delta" in found["It sends deltas"]
    assert "explicit bounds" in found["Its histograms are fine enough"]
    assert "census does not know it" in found["It asks for its flags"]
    assert "Its metrics were understood" in graded("nobody")


def test_conformance_of_a_client_that_holds_no_lease_and_proves_nothing() -> None:
    now = clock.now()
    told = Told(7, 6, now, now - timedelta(hours=1))
    found = {one.sentence: one for one in grade(Heard(now, None, told))}
    assert not found["It keeps its lease"].passed
    assert found["It keeps its lease"].found == "heard 3600 s ago"
    assert not found["It proves that it obeys, by a 304 or its revision gauge"].passed
    assert all(one.remedy for one in found.values() if not one.passed)


@pytest.mark.fresh_database
def test_conformance_sees_a_payload_that_is_counted_again(door: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    said = StringIO()
    with pytest.raises(CommandError):
        call_command("conformance", gateway=door.url, key="hk_demo_good", stdout=said)
    assert "acknowledged three times, counted once" in said.getvalue()

    async def forgetful(self: GroupWriter, line: Any, digests: list[bytes]) -> list[bytes]:
        return digests

    monkeypatch.setattr(GroupWriter, "_new", forgetful)
    with pytest.raises(CommandError, match="4 of 12"):
        call_command("conformance", gateway=door.url, key="hk_demo_good", stdout=said)
    assert "counted 3 times" in said.getvalue()


def test_conformance_without_a_gateway_fails_in_words() -> None:
    said = StringIO()
    with pytest.raises(CommandError, match="12 of 12"):
        call_command("conformance", gateway="http://127.0.0.1:9", key="x", stdout=said)
    assert said.getvalue().count("no answer") == 12
