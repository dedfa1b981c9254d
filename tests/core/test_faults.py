"""The bench's ledger, its wire and its table: what is lost or there twice must be seen. And one kill, for real."""

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hawkops.bench.faults.ledger import PULSES, Ledger, Payload
from hawkops.bench.faults.load import body_of
from hawkops.bench.faults.proxy import Way, Wire
from hawkops.bench.faults.table import Counts, Result, Verdict, table
from monitoring.domain.sketch import BUCKETS, bucket_index
from monitoring.otlp.parsing import parse


def test_ledger__one_payload_gone_and_one_counted_twice__both_are_seen() -> None:
    ledger = Ledger("r")
    kept, gone, twice, unanswered = (ledger.payload() for _ in range(4))
    ledger.acknowledged |= {kept, gone, twice}
    assert ledger.telemetry_counts({kept: 1, twice: 2, unanswered: 1}) == Counts(3, 1, 1)
    assert ledger.telemetry_counts({kept: 1, gone: 1, twice: 1}) == Counts(3, 0, 0)


def test_ledger__changes_runs_and_notifications__are_held_against_what_was_acknowledged() -> None:
    ledger = Ledger("r", changes={"a", "b"}, runs={1, 2, 3}, incidents={"one.", "two."})
    assert ledger.change_counts({"a": 2}) == Counts(2, 1, 1)
    assert ledger.run_counts({1: "passed", 2: "running"}, {"passed"}) == Counts(3, 2, 0)
    ledger.notified("id", '{"title": "Warning: one."}')
    ledger.notified("id", '{"title": "Warning: one."}')
    assert ledger.notification_counts() == Counts(2, 1, 1)


def test_ledger__working_again__when_the_last_of_all_kinds_has_worked() -> None:
    ledger = Ledger("r")
    for place, kind in enumerate(PULSES):
        ledger.pulse(kind, 5.0)
        ledger.pulse(kind, 10.0 + place)
    assert ledger.working_since(9.0) == 10.0 + len(PULSES) - 1
    assert ledger.working_since(12.5) is None
    assert ledger.silent(12.5) == list(PULSES[:3])


def test_payload__its_value__falls_into_the_bucket_that_the_audit_looks_at() -> None:
    payload = Payload("soc-1", 1234)
    metric = parse(body_of(payload), as_json=False).resource_metrics[0].scope_metrics[0].metrics[0]
    assert bucket_index(metric.sum.data_points[0].as_double) == BUCKETS[payload.place + 1]


def test_table__a_loss_or_what_never_recovered__fails_and_a_message_told_twice_does_not() -> None:
    good = Result("kill", counts={"payloads": Counts(9), "notifications": Counts(2, 0, 1)}, recovered_seconds=1.5)
    lost = Result("disk", counts={"payloads": Counts(9, 1)}, recovered_seconds=1.5)
    never = Result("net", counts={"payloads": Counts(9)})
    missing = Result("deploy", missing="there is no history of versions here")
    assert [one.verdict for one in (good, lost, never, missing)] == [
        Verdict.PASS,
        Verdict.FAIL,
        Verdict.FAIL,
        Verdict.NO_DATA,
    ]
    assert "1 payloads" in table([good, lost]).splitlines()[3]


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """A server on a socket that says back what it hears."""
    path = tmp_path / "echo"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        while True:
            line, _ = server.accept()
            threading.Thread(
                target=lambda line=line: [line.sendall(d) for d in iter(lambda: line.recv(99), b"")]
            ).start()

    threading.Thread(target=serve, daemon=True).start()
    return path


def test_wire__cut_and_silent__and_open_again(echo: Path) -> None:
    wire = Wire(echo)
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as line:
        line.sendall(b"one")
        assert line.recv(9) == b"one"
        wire.be(Way.SILENT)
        line.sendall(b"two")
        line.settimeout(0.3)
        with pytest.raises(TimeoutError):
            line.recv(9)
        wire.be(Way.OPEN)
        line.settimeout(5)
        assert line.recv(9) == b"two"
        wire.be(Way.CUT)
        with pytest.raises(ConnectionResetError):
            line.recv(9)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", wire.port), timeout=5)
    wire.be(Way.OPEN)
    socket.create_connection(("127.0.0.1", wire.port), timeout=5).close()
    wire.end()


def test_command__a_fault_that_there_is_not__is_refused_with_those_that_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "bench", "faults", "earthquake"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "gateway" in done.stderr
