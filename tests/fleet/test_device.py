"""The local device as a process, with real LiteRT: it obeys, reports, keeps its id, and leaves nothing behind."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hawkops.fleet.cloud import CloudStandIn
from hawkops.fleet.model import PATH
from hawkops.fleet.model.signature import Artefact
from hawkops.scripts.probes import integrity
from tests.fleet.standin import KEY, StandIn, gateway, serving, wait_for
from tests.probes.signing import keys

ROOT = Path(__file__).resolve().parents[2]
ON = {"litert_enabled": True, "ai_fallback_to_cloud": True}


class Running:
    """A device's process and what it printed."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self.log = process, log

    def said(self, words: str) -> Callable[[], bool]:
        return lambda: words in self.log.read_text()

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@contextmanager
def device(standin: StandIn, folder: Path, *arguments: str, cloud: str = "", model: Path = PATH) -> Iterator[Running]:
    environment = {
        **os.environ,
        "HAWKOPS_GATEWAY": standin.url,
        "HAWKOPS_DEVICE_KEY": KEY,
        "CLOUD_AI_URL": cloud,
        "HAWKOPS_DATA": str(folder),
        "LITERT_MODEL": str(model),
    }
    log = folder / f"device-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", "hawkops.fleet.device", "--interval", "0.2", *arguments]
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file, text=True)
    try:
        yield Running(process, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def backends(standin: StandIn) -> set[tuple[str, str]]:
    return {
        (attributes["litert.backend.requested"], attributes["litert.backend.actual"])
        for attributes, _ in standin.points("litert.inferences")
    }


def test_device__kill__ends_litert_and_asks_the_cloud(tmp_path: Path) -> None:
    with (
        serving(CloudStandIn(random.Random(1))) as cloud_port,
        gateway(flags=dict(ON)) as standin,
        device(standin, tmp_path, cloud=f"http://127.0.0.1:{cloud_port}") as running,
    ):
        wait_for(lambda: ("cpu", "cpu") in backends(standin), 20)
        assert len(running.children()) == 1
        seen = len(standin.evaluations)
        killed_at = standin.change(litert_enabled=False)
        wait_for(lambda: [status for *_, status in standin.evaluations[seen:]] == [200, 304])
        assert time.monotonic() - killed_at < 2.0
        assert running.children() == []
        assert running.said("revision 2: litert_enabled off, stopped after ")()
        wait_for(lambda: ("cpu", "cloud") in backends(standin))
        assert list(standin.points("litert.fallback.duration"))
        wait_for(lambda: 2 in {point.as_int for _, point in standin.points("hawkops.flags.revision")})
        standin.change(litert_enabled=True)
        wait_for(running.children)
        assert running.end() == 0
    prefill = [point for _, point in standin.points("litert.prefill.throughput")]
    assert all(point.scale <= 5 and point.sum / point.count > 100 for point in prefill)
    assert {attributes["outcome"] for attributes, _ in standin.points("litert.parity.checks")} == {"match"}
    for name in ("app.tasks.started", "app.tasks.completed", "http.client.request.duration", "process.cpu.utilization"):
        variants = {found.get("feature_flag.result.variant") for found, _ in standin.points(name)}
        assert None not in variants
        assert "off" in variants
    tasks = {found["feature_flag.result.variant"] for found, _ in standin.points("app.tasks.completed")}
    assert {"on", "off"} <= tasks


def test_device__started_again__is_the_same_device(tmp_path: Path) -> None:
    with gateway(flags={}) as standin:
        for _ in range(2):
            seen = len(standin.contexts)
            with device(standin, tmp_path) as running:
                wait_for(lambda: len(standin.contexts) > seen)  # noqa: B023
                assert running.end() == 0
        keys = {context["targetingKey"] for context in standin.contexts}
        assert len(keys) == 1
        assert standin.contexts[0]["device.soc"] == "synthetic-host"
        assert standin.contexts[0]["hawkops.simulated"] is False


def test_device__accelerators_wanted__runs_on_the_cpu_and_says_so(tmp_path: Path) -> None:
    with gateway(flags={**ON, "litert_gpu_backend": True}) as standin, device(standin, tmp_path) as running:
        wait_for(running.said("gpu was requested, cpu:1 runs: no GPU"), 20)
        wait_for(lambda: ("gpu", "cpu") in backends(standin))
        standin.change(litert_npu_backend=True)
        wait_for(running.said("npu was requested, cpu:1 runs: no NPU"))
        wait_for(lambda: ("npu", "cpu") in backends(standin))


def test_device__lease_ends__stops_litert(tmp_path: Path) -> None:
    with gateway(flags=dict(ON), lease_seconds=3) as standin, device(standin, tmp_path) as running:
        wait_for(running.children, 20)
        standin.answers = False
        wait_for(running.said("the lease ended: safe values (litert_enabled off), stopped after "))
        assert running.children() == []


def test_device__tampered_model__is_not_loaded(tmp_path: Path) -> None:
    tampered = tmp_path / "model.litertlm"
    content = bytearray(PATH.read_bytes())
    content[400_000] ^= 1
    tampered.write_bytes(content)
    (tmp_path / "model.litertlm.sha256").write_text("00" * 32)
    with gateway(flags=dict(ON)) as standin, device(standin, tmp_path, model=tampered) as running:
        wait_for(running.said("is not the model it should be"), 20)
        assert running.children() == []
        wait_for(lambda: list(standin.points("litert.model.validations")))
        outcomes = {attributes["outcome"] for attributes, _ in standin.points("litert.model.validations")}
        assert outcomes == {"failed"}


def test_device__model_that_its_signature_does_not_prove__is_not_loaded(tmp_path: Path) -> None:
    """The key in the data folder is enough; no digest stands beside the model."""
    path, signing = tmp_path / "model.litertlm", tmp_path / "signing"
    signing.mkdir()
    path.write_bytes(PATH.read_bytes())
    private, public = keys(signing, "model")
    integrity.sign(Artefact(path, signing / f"{path.name}.sig", public), private)
    with gateway(flags=dict(ON)) as standin, device(standin, tmp_path, model=path) as running:
        wait_for(lambda: ("cpu", "cpu") in backends(standin), 20)
        assert not running.said("unsigned")()
    content = bytearray(path.read_bytes())
    content[500_000] ^= 1
    path.write_bytes(content)
    with gateway(flags=dict(ON)) as standin, device(standin, tmp_path, model=path) as running:
        wait_for(running.said("the model is not loaded: model.litertlm is not what was signed"), 20)
        assert running.children() == []
        wait_for(lambda: list(standin.points("litert.model.validations")))
        assert {one["outcome"] for one, _ in standin.points("litert.model.validations")} == {"failed"}


def test_device__litert_crashes__starts_it_again(tmp_path: Path) -> None:
    with gateway(flags=dict(ON)) as standin, device(standin, tmp_path) as running:
        wait_for(lambda: ("cpu", "cpu") in backends(standin), 20)
        (crashed,) = running.children()
        os.kill(crashed, signal.SIGSEGV)
        wait_for(lambda: running.children() not in ([], [crashed]))
        assert running.end() == 0


def test_device__killed_hard__takes_litert_with_it(tmp_path: Path) -> None:
    with gateway(flags=dict(ON)) as standin, device(standin, tmp_path) as running:
        (child,) = wait_for(running.children, 20)
        running.process.kill()
        running.process.wait()
        wait_for(lambda: not Path(f"/proc/{child}").exists())


def test_device__no_key__says_what_to_do(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HAWKOPS_DEVICE_KEY"}
    ended = subprocess.run(
        [sys.executable, "-m", "hawkops.fleet.device"],
        cwd=ROOT,
        env={**environment, "HAWKOPS_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 2
    assert "HAWKOPS_DEVICE_KEY is not set" in ended.stderr
