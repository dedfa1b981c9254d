"""Readings from LiteRT's children: what passes for a measurement, and every way it lies."""

import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hawkops.fleet import model
from hawkops.scripts.probes import measuring
from hawkops.scripts.probes.measuring import Child, Subject, Unmeasurable
from tests.fleet.standin import wait_for
from tests.fleet.test_accelerators import LAVAPIPE, NO_VULKAN, PHONE

SUBJECT = Subject(model.PATH, model.SHA256, True)
FAST = {
    "prefill_tokens_per_second": 99_999.0,
    "decode_tokens_per_second": 9.0,
    "first_token_seconds": 0.1,
    "init_seconds": 0.1,
    "peak_bytes": 1e9,
}


def with_child(monkeypatch: pytest.MonkeyPatch, child: Child) -> list[Mapping[str, Any]]:
    jobs: list[Mapping[str, Any]] = []

    def run(job: Mapping[str, Any], timeout_seconds: float = 0.0) -> Child:
        jobs.append(job)
        return child

    monkeypatch.setattr(measuring, "run_child", run)
    return jobs


@pytest.mark.parametrize("log", [LAVAPIPE, "", "no adapter line at all"])
def test_gpu__speed_without_hardware__is_no_measurement(monkeypatch: pytest.MonkeyPatch, log: str) -> None:
    with_child(monkeypatch, Child(FAST, log, ""))
    reading = measuring.throughput(SUBJECT, "gpu")
    assert reading.value is None
    assert not reading.broken


def test_gpu__absent__is_a_lack_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with_child(monkeypatch, Child(None, NO_VULKAN, "RuntimeError: Failed to create engine"))
    reading = measuring.throughput(SUBJECT, "gpu")
    assert (reading.value, reading.broken) == (None, False)
    assert "libvulkan" in reading.sentence


def test_gpu__hardware__is_measured_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with_child(monkeypatch, Child(FAST, PHONE, ""))
    reading = measuring.throughput(SUBJECT, "gpu")
    assert reading.value == 99_999.0
    assert "Adreno" in reading.sentence


def test_gpu__hardware_that_crashes__is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with_child(monkeypatch, Child(None, PHONE, "LiteRT crashed: SIGSEGV"))
    reading = measuring.throughput(SUBJECT, "gpu")
    assert (reading.value, reading.broken) == (None, True)


def test_gpu__validation_error__is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    with_child(monkeypatch, Child(FAST, PHONE + "\nValidation Error: texture usage", ""))
    assert measuring.throughput(SUBJECT, "gpu").value is None


def test_npu__no_vendor_library__is_never_even_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jobs = with_child(monkeypatch, Child(FAST, "", ""))
    monkeypatch.setenv("LITERT_DISPATCH_DIR", str(tmp_path))
    assert measuring.throughput(SUBJECT, "npu").value is None
    assert measuring.switching(SUBJECT, ("cpu", "npu")).value is None
    assert jobs == []


def test_npu__library_not_loaded__is_no_measurement(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "libLiteRtDispatch_Qualcomm.so").touch()
    monkeypatch.setenv("LITERT_DISPATCH_DIR", str(tmp_path))
    with_child(monkeypatch, Child(FAST, "NPU accelerator could not be loaded and registered", ""))
    reading = measuring.throughput(SUBJECT, "npu")
    assert (reading.value, reading.broken) == (None, False)


def test_cpu__child_failed__is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with_child(monkeypatch, Child(None, "", "LiteRT crashed: SIGSEGV"))
    reading = measuring.throughput(SUBJECT, "cpu")
    assert (reading.value, reading.broken, reading.sentence) == (None, True, "LiteRT crashed: SIGSEGV")


def test_switching__steps__give_mean_and_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    with_child(monkeypatch, Child({"steps_seconds": [0.1, 0.3], "peak_bytes": 1.0}, "", ""))
    reading = measuring.switching(SUBJECT, ("cpu",))
    assert reading.value == pytest.approx(0.2)
    assert reading.details["worst_seconds"] == 0.3


def test_switching__software_gpu__is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    with_child(monkeypatch, Child({"steps_seconds": [0.1, 0.3], "peak_bytes": 1.0}, LAVAPIPE, ""))
    assert measuring.switching(SUBJECT, ("cpu", "gpu")).value is None


def test_switching_path__declared_backends__are_in_it() -> None:
    assert measuring.switching_path(("cpu",), 2) == ["cpu:1", "cpu:2", "cpu:1"]
    assert measuring.switching_path(("cpu", "gpu"), 2) == ["cpu:1", "gpu", "cpu:1"]


def test_child__refused_request__is_an_error_although_litert_says_success() -> None:
    job = {
        "kind": "throughput",
        "model": str(model.PATH),
        "configuration": "cpu:1",
        "prefill": 4000,
        "decode": 64,
        "max_tokens": 512,
        "runs": 1,
    }
    child = measuring.run_child(job)
    assert child.result is None
    assert child.error


def test_child__real_measurement__is_plausible() -> None:
    reading = measuring.throughput(SUBJECT, "cpu", runs=1)
    assert reading.value is not None
    assert reading.value > 100
    assert 30e6 < float(reading.details["peak_bytes"]) < 1e9


def test_child__crash_or_hang__is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    crash = [sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"]
    monkeypatch.setattr(measuring, "_command", lambda job: crash)
    assert measuring.run_child({}).error == "LiteRT crashed: SIGSEGV"
    monkeypatch.setattr(measuring, "_command", lambda job: [sys.executable, "-c", "import time; time.sleep(60)"])
    assert "hung" in measuring.run_child({}, timeout_seconds=0.5).error
    monkeypatch.setattr(measuring, "_command", lambda job: [sys.executable, "-c", "pass"])
    assert measuring.run_child({}).result is None


def test_subject__missing_model__is_a_lack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LITERT_MODEL", str(tmp_path / "absent.litertlm"))
    with pytest.raises(Unmeasurable, match="LITERT_MODEL") as lack:
        measuring.subject()
    assert not lack.value.broken


def test_subject__wrong_digest__is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "m.litertlm"
    path.write_bytes(model.PATH.read_bytes()[:-1] + b"!")
    (tmp_path / "m.litertlm.sha256").write_text(model.SHA256)
    monkeypatch.setenv("LITERT_MODEL", str(path))
    with pytest.raises(Unmeasurable, match="not the model it should be") as wrong:
        measuring.subject()
    assert wrong.value.broken


def test_subject__committed_model__is_marked_synthetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LITERT_MODEL", raising=False)
    described = measuring.subject().described()
    assert described["synthetic"] is True
    assert described["model_digest"] == f"sha256:{model.SHA256}"
    assert described["target"] == "host"


@pytest.mark.parametrize(("text", "names"), [("cpu", ("cpu",)), ("CPU, gpu", ("cpu", "gpu"))])
def test_backends__declared__are_read(monkeypatch: pytest.MonkeyPatch, text: str, names: tuple[str, ...]) -> None:
    monkeypatch.setenv("HAWKOPS_BACKENDS", text)
    assert measuring.declared_backends() == names


@pytest.mark.parametrize("text", ["tpu", ",", "cpu,quantum"])
def test_backends__unknown__are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HAWKOPS_BACKENDS", text)
    with pytest.raises(ValueError, match="HAWKOPS_BACKENDS"):
        measuring.declared_backends()


def test_fallback__no_cloud__is_a_lack_and_an_unreachable_one_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    before = children.read_text()  # a browser's driver may live in this worker
    monkeypatch.delenv("CLOUD_AI_URL", raising=False)
    assert not measuring.fallback(SUBJECT).broken
    monkeypatch.setenv("CLOUD_AI_URL", "http://127.0.0.1:9")
    reading = measuring.fallback(SUBJECT)
    assert reading.broken
    assert "cloud AI gave no answer" in reading.sentence
    monkeypatch.setenv("CLOUD_AI_URL", "file:///etc/passwd")
    assert measuring.fallback(SUBJECT).broken
    assert children.read_text() == before


def test_cloud__redirect__is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[str] = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            paths.append(self.path)
            self.send_response(307)
            self.send_header("Location", "/elsewhere/generate")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        monkeypatch.setenv("CLOUD_AI_URL", f"http://user:s3cr3t@127.0.0.1:{server.server_port}")
        reading = measuring.ask_cloud()
    finally:
        server.shutdown()
        server.server_close()
    assert (reading.value, reading.broken) == (None, True)
    assert reading.sentence == "cloud AI gave no answer: 127.0.0.1 answered 307"
    assert paths == ["/v1/generate"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_probe__ended_by_force__takes_litert_with_it(number: signal.Signals) -> None:
    program = (
        "from hawkops.scripts.probes.measuring import run_child; from hawkops.fleet.model import PATH;"
        "run_child({'kind': 'occupied', 'model': str(PATH), 'configuration': 'cpu:1', 'max_tokens': 512})"
    )
    probe = subprocess.Popen([sys.executable, "-c", program], cwd=measuring.ROOT)
    listed = Path(f"/proc/{probe.pid}/task/{probe.pid}/children")
    (child,) = wait_for(lambda: listed.read_text().split(), 20)
    wait_for(lambda: "liblitert" in Path(f"/proc/{child}/maps").read_text())
    probe.send_signal(number)
    probe.wait()
    wait_for(lambda: not Path(f"/proc/{child}").exists())
