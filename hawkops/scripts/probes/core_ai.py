"""Does AI work at all: a real inference here, an answer from the cloud, and harm that stays contained."""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured
from hawkops.scripts.probes.measuring import (
    Reading,
    Subject,
    Unmeasurable,
    ask_cloud,
    declared_backends,
    fallback,
    run_child,
    subject,
    throughput,
)

LONG_SECONDS = 20.0


def local(what: Subject, title: str = "Local inference") -> Finding:
    """Infer once on this host."""
    reading = throughput(what, "cpu", runs=1)
    if reading.value is None:
        found = (failed if reading.broken else unmeasured)(title, reading.sentence)
    else:
        decode = reading.details["decode_tokens_per_second"]
        words = f"{what.name} prefills {reading.value:.0f} and decodes {decode:.0f} tokens/sec on this host"
        found = passed(title, words)
    return replace(found, about=what.described())


def _accelerated(what: Subject, backend: str) -> Finding:
    title = f"Workflow: inference on {backend}"
    reading = throughput(what, backend, runs=1)
    if reading.value is None:
        return (failed if reading.broken else unmeasured)(title, reading.sentence)
    return replace(passed(title, f"{reading.value:.0f} tokens/sec, {reading.sentence}"), about=what.described())


def cloud(title: str = "Cloud AI") -> Finding:
    """Ask the cloud once."""
    return _said(title, ask_cloud())


def _said(title: str, reading: Reading) -> Finding:
    if reading.value is None:
        return (failed if reading.broken else unmeasured)(title, reading.sentence)
    words = f"{reading.sentence} answered in {reading.value * 1000:.0f} ms"
    return passed(title, words, value=reading.value, unit=reading.unit, name=reading.name)


def core() -> Iterator[Finding]:
    """What the runbook verifies before LiteRT is enabled: AI answers, cloud first."""
    yield cloud()
    try:
        yield local(subject())
    except Unmeasurable as lack:
        yield (failed if lack.broken else unmeasured)("Local inference", str(lack))


def comprehensive() -> Iterator[Finding]:
    """All workflows, error handling, graceful degradation: each provoked for real, in a process of its own."""
    try:
        what = subject()
    except Unmeasurable as lack:
        yield (failed if lack.broken else unmeasured)("Model", str(lack))
        return
    yield local(what, "Workflow: local inference")
    for backend in declared_backends():
        if backend != "cpu":
            yield _accelerated(what, backend)
    yield cloud("Workflow: cloud AI")
    with tempfile.TemporaryDirectory(prefix="hawkops-ai-") as folder:
        for title, spoil in _SPOILED.items():
            path = Path(folder) / f"{title.split()[0]}{what.path.suffix}"
            spoil(what.path, path)
            yield _contained(f"Errors: {title}", path)
    yield _too_long(what)
    yield _said("Degradation: LiteRT killed in the middle, cloud answers", fallback(what))
    yield local(what, "Degradation: local inference again")


def _empty(_model: Path, path: Path) -> None:
    path.touch()


def _truncated(model: Path, path: Path) -> None:
    with model.open("rb") as source:
        path.write_bytes(source.read(model.stat().st_size // 2 if model.stat().st_size < 10**8 else 10**7))


def _garbage(_model: Path, path: Path) -> None:
    path.write_bytes(os.urandom(100_000))


def _missing(_model: Path, path: Path) -> None:
    path.unlink(missing_ok=True)


_SPOILED: dict[str, Callable[[Path, Path], None]] = {
    "empty model": _empty,
    "truncated model": _truncated,
    "garbage instead of a model": _garbage,
    "missing model": _missing,
}


def _contained(title: str, path: Path) -> Finding:
    """A broken model must give an error within its own process: no answer, no hang, no crash of ours."""
    child = run_child(_job(path, 64), timeout_seconds=LONG_SECONDS)
    if child.result is not None:
        return failed(title, "LiteRT gave a result all the same")
    if "hung" in child.error:
        return failed(title, child.error)
    return passed(title, f"refused: {' '.join(child.error.split())[:160]}")


def _too_long(what: Subject) -> Finding:
    title = "Errors: prompt longer than the context"
    child = run_child(_job(what.path, 4096), timeout_seconds=LONG_SECONDS)
    if child.result is not None:
        return failed(title, "taken as if it fitted")
    return passed(title, f"refused: {' '.join(child.error.split())[:160]}")


def _job(path: Path, prefill: int) -> dict[str, object]:
    return {
        "kind": "throughput",
        "model": str(path),
        "configuration": "cpu:1",
        "prefill": prefill,
        "decode": 8,
        "max_tokens": 512,
        "runs": 1,
    }
