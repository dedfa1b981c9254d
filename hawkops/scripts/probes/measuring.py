"""Measurements of LiteRT as readings: a number, or why there is none. Trusts no exit code and no speed without proof.

A reading is about one model on one machine. The runbook's limits are applied by the probes, not here.
"""

import importlib.util
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from statistics import fmean
from typing import Any

from hawkops.fleet import model as synthetic
from hawkops.fleet.accelerators import BACKENDS, Found, gpu_in_log, npu_dispatch_library, npu_in_log
from hawkops.fleet.model.signature import Standing, artefact, proof
from hawkops.scripts.probes.android import Phone

ROOT = Path(__file__).resolve().parents[3]
LONGEST_SECONDS = 120.0
_LOUD = re.compile(r"error[: ]|failed to|couldn't|refused", re.IGNORECASE)


class Exit(IntEnum):
    """How a probe ends: the contract of every script."""

    PASSED = 0
    FAILED = 1
    MISUSED = 2
    UNMEASURED = 77


@dataclass(frozen=True)
class Reading:
    """What was measured, in base units (tokens per second, bytes, seconds); `value` is None when nothing was.

    `broken` tells a failure (a crash, a wrong model) from a lack (no GPU, no model).
    """

    name: str
    unit: str
    backend: str
    value: float | None
    sentence: str = ""
    broken: bool = False
    details: Mapping[str, float | str | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """What is measured: one model on this host, or on the phone behind it.

    `signed` is false where no public key says who made the model.
    """

    path: Path
    digest: str
    synthetic: bool
    signed: bool = False
    phone: Phone | None = None

    @property
    def name(self) -> str:
        """Return the model's name."""
        return synthetic.NAME if self.digest == synthetic.SHA256 else self.path.stem

    @property
    def where(self) -> str:
        """Name the machine for people."""
        return self.phone.name if self.phone else "this host"

    @property
    def caveats(self) -> str:
        """Say what keeps a number from speaking of a product; empty when nothing does."""
        return ("; the model is synthetic, so this says nothing about a phone" if self.synthetic else "") + (
            "" if self.signed else "; the model is unsigned: no public key here"
        )

    def described(self) -> dict[str, str | bool]:
        """Describe the subject in a result."""
        host = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores".lower()
        return {
            **(self.phone.described() if self.phone else {"target": "host", "host": host}),
            "model": self.name,
            "model_digest": f"sha256:{self.digest}",
            "synthetic": self.synthetic,
            "signature": Standing.VERIFIED.value if self.signed else Standing.UNSIGNED.value,
        }


class Unmeasurable(Exception):
    """Something that measuring needs is missing. `broken`: it is there and wrong."""

    def __init__(self, message: str, *, broken: bool = False) -> None:
        super().__init__(message)
        self.broken = broken


def subject(phone: Phone | None = None) -> Subject:
    """Find the model to measure, LITERT_MODEL or the small generated one, and verify it. Raises Unmeasurable.

    Whoever loads a model asks here first: where there is a public key, a model that it does not prove is never loaded.
    """
    what = artefact()
    path = what.path
    if phone is None and importlib.util.find_spec("litert_lm") is None:
        raise Unmeasurable(f"LiteRT is missing: {sys.executable} has no litert-lm-api")
    if not path.is_file():
        raise Unmeasurable(f"the model is missing: {path} (LITERT_MODEL names it)")
    try:
        found = synthetic.digest(path)
        expected = synthetic.expected_digest(path)
        generated = synthetic.is_synthetic(path, found)
    except OSError as error:
        raise Unmeasurable(f"the model can't be read: {path}: {error.strerror}") from error
    if expected not in (None, found):
        raise Unmeasurable(f"{path} is not the model it should be: sha256 {found}, expected {expected}", broken=True)
    proven = proof(what)
    if proven.standing is Standing.BROKEN:
        raise Unmeasurable(f"not loaded: {proven.sentence}", broken=True)
    return Subject(path, found, generated, signed=proven.standing is Standing.VERIFIED, phone=phone)


@dataclass(frozen=True)
class Child:
    """How one child ended."""

    result: dict[str, Any] | None
    log: str
    error: str


def _command(job: Mapping[str, Any]) -> list[str]:
    return [sys.executable, "-m", "hawkops.scripts.probes.child", str(os.getpid()), json.dumps(job)]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run_child(job: Mapping[str, Any], timeout_seconds: float = LONGEST_SECONDS) -> Child:
    """Run one job in a child and say how it ended. Never raises for what LiteRT does."""
    process = subprocess.Popen(
        _command(job),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=_environment(),
    )
    try:
        out, log = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        _, log = process.communicate()
        return Child(None, log, f"LiteRT hung: no result within {timeout_seconds:.0f} s")
    except BaseException:
        process.kill()
        raise
    if process.returncode < 0:
        return Child(None, log, f"LiteRT crashed: {signal.Signals(-process.returncode).name}")
    line = next((line for line in reversed(out.splitlines()) if line.startswith("{")), None)
    if process.returncode or line is None:
        loud = [text.strip() for text in log.splitlines() if _LOUD.search(text)]
        return Child(None, log, (loud[-1] if loud else log.strip()[-300:] or "LiteRT gave no result")[:300])
    return Child(json.loads(line), log, "")


def _accelerator(backend: str, log: str) -> Found:
    if backend == "cpu":
        return Found(True, "cpu")
    if backend == "gpu":
        if "validation error" in log.lower():
            return Found(False, "the GPU reported a validation error, so its speed can't be trusted")
        return gpu_in_log(log)
    return npu_in_log(log, npu_dispatch_library(os.environ.get("LITERT_DISPATCH_DIR")))


def _absent(backend: str, child: Child) -> Reading | None:
    """Judge whether a backend was really there; a failed child on an absent accelerator is a lack, not a failure."""
    found = _accelerator(backend, child.log)
    if found.real and child.result is not None:
        return None
    lacking = backend != "cpu" and not found.real
    sentence = found.sentence if lacking else child.error
    return Reading("litert.prefill.throughput", "{token}/s", backend, None, sentence, broken=not lacking)


def throughput(what: Subject, backend: str, *, threads: int = 1, runs: int = 5) -> Reading:
    """Measure prefill tokens per second on one backend; decode, first token, start and memory go with it."""
    if backend == "npu":
        library = npu_dispatch_library(os.environ.get("LITERT_DISPATCH_DIR"))
        if library is None:  # asking would run on the CPU and report its speed
            sentence = npu_in_log("", None).sentence
            return Reading("litert.prefill.throughput", "{token}/s", backend, None, sentence)
    job = {
        "kind": "throughput",
        "model": str(what.path),
        "configuration": f"cpu:{threads}" if backend == "cpu" else backend,
        "prefill": 256,
        "decode": 64,
        "max_tokens": 512,
        "runs": runs,
    }
    child = run_child(job)
    absent = _absent(backend, child)
    if absent is not None or child.result is None:
        return absent or Reading("litert.prefill.throughput", "{token}/s", backend, None, child.error, broken=True)
    details = {name: float(value) for name, value in child.result.items()}
    value = details.pop("prefill_tokens_per_second")
    sentence = "" if backend == "cpu" else _accelerator(backend, child.log).sentence
    return Reading("litert.prefill.throughput", "{token}/s", backend, value, sentence, details=details)


def memory(what: Subject, backend: str) -> Reading:
    """Measure the highest resident memory of a process that runs LiteRT, the library included."""
    reading = throughput(what, backend, runs=1)
    value = float(reading.details["peak_bytes"]) if reading.value is not None else None
    return Reading("litert.memory.peak", "By", backend, value, reading.sentence, reading.broken)


def switching_path(declared: tuple[str, ...], cores: int) -> list[str]:
    """Choose which configurations to switch through: accelerators that the release declares, else CPU threads."""
    accelerators = [backend for backend in declared if backend != "cpu"]
    if accelerators:
        return ["cpu:1", *(step for backend in accelerators for step in (backend, "cpu:1"))]
    return ["cpu:1", "cpu:2", "cpu:1"] if cores > 1 else ["cpu:1", "cpu:1"]


def switching(what: Subject, declared: tuple[str, ...]) -> Reading:
    """Measure the mean time of a switch, up to the first token on the new configuration; the worst goes with it."""
    path = switching_path(declared, os.cpu_count() or 1)
    name, unit, words = "litert.backend.switch.duration", "s", " → ".join(path)
    backend = next((step for step in path if not step.startswith("cpu")), "cpu")
    if "npu" in path and npu_dispatch_library(os.environ.get("LITERT_DISPATCH_DIR")) is None:
        return Reading(name, unit, "npu", None, npu_in_log("", None).sentence)
    child = run_child({"kind": "switching", "model": str(what.path), "path": path, "max_tokens": 512})
    for accelerator in (step for step in path if not step.startswith("cpu")):
        absent = _absent(accelerator, child)
        if absent is not None and not absent.broken:
            return Reading(name, unit, accelerator, None, absent.sentence)
    if child.result is None:
        return Reading(name, unit, backend, None, child.error, broken=True)
    steps = [float(seconds) for seconds in child.result["steps_seconds"]]
    details: dict[str, float | str | bool] = {"worst_seconds": max(steps), "steps": float(len(steps)), "path": words}
    return Reading(name, unit, backend, fmean(steps), words, details=details)


def cloud_endpoint(address: str) -> str:
    """Complete the address of cloud AI."""
    return address if address.rstrip("/").endswith("/generate") else f"{address.rstrip('/')}/v1/generate"


def infer_without_end(what: Subject) -> "subprocess.Popen[bytes]":
    """Start a process that says `ready` and then infers until it is killed."""
    job = {"kind": "occupied", "model": str(what.path), "configuration": "cpu:1", "max_tokens": 512}
    return subprocess.Popen(_command(job), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment())


def ask_cloud(began: float | None = None) -> Reading:
    """Send one real request to cloud AI and time its answer, from `began` (perf_counter) or from now."""
    name, unit = "litert.fallback.duration", "s"
    address = os.environ.get("CLOUD_AI_URL")
    if not address:
        return Reading(name, unit, "cloud", None, "cloud AI is missing: CLOUD_AI_URL is not set")
    if not address.startswith(("http://", "https://")):
        return Reading(name, unit, "cloud", None, "CLOUD_AI_URL must begin with http:// or https://", broken=True)
    from hawkops.core import outbound  # a Python that has nothing but LiteRT measures the rest all the same

    began = time.perf_counter() if began is None else began
    asked = {"prompt": "Report the hazards in this photograph.", "max_tokens": 64}
    try:
        given = json.loads(outbound.ask(cloud_endpoint(address), json=asked))
    except (outbound.Undelivered, ValueError) as error:
        return Reading(name, unit, "cloud", None, f"cloud AI gave no answer: {error}", broken=True)
    seconds = time.perf_counter() - began
    if not isinstance(given, dict) or not given.get("text"):
        return Reading(name, unit, "cloud", None, "cloud AI's answer holds no text", broken=True)
    simulated = given.get("simulated") is True
    words = "a simulated cloud" if simulated else "cloud AI"
    return Reading(name, unit, "cloud", seconds, words, details={"simulated_cloud": simulated})


def fallback(what: Subject) -> Reading:
    """Stop a running local inference and time until cloud AI has answered in its place."""
    if not os.environ.get("CLOUD_AI_URL"):
        return ask_cloud()
    local = infer_without_end(what)
    try:
        assert local.stdout is not None
        if b"ready" not in local.stdout.readline():
            sentence = "LiteRT could not be started to fall back from"
            return Reading("litert.fallback.duration", "s", "cloud", None, sentence, broken=True)
        began = time.perf_counter()
        local.kill()
        local.wait()
        return ask_cloud(began)
    finally:
        local.kill()
        local.wait()


def declared_backends() -> tuple[str, ...]:
    """Read which backends the release declares (HAWKOPS_BACKENDS, `cpu` unless told). Raises ValueError."""
    names = tuple(name.strip().lower() for name in os.environ.get("HAWKOPS_BACKENDS", "cpu").split(",") if name.strip())
    unknown = [name for name in names if name not in BACKENDS]
    if unknown or not names:
        raise ValueError(f"HAWKOPS_BACKENDS may hold {', '.join(BACKENDS)}; not {', '.join(unknown) or 'nothing'}")
    return names
