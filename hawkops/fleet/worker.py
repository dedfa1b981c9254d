"""The child process that holds LiteRT: native crashes end here, and killing it stops inference at once.

Speaks JSON lines: `configure`, then `infer`, on standard input; one answer for each on standard output. Engines of a
configuration that is no longer used stay warm until the next one, unless the device was told to clear unused models.
"""

import argparse
import contextlib
import ctypes
import gc
import hashlib
import json
import os
import queue
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import litert_lm

from hawkops.fleet.accelerators import gpu_in_log, npu_dispatch_library, npu_in_log
from hawkops.fleet.switching import Configuration

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Refused(Exception):
    """LiteRT did not do what was asked; the message says what happened."""


def resident_bytes() -> dict[str, int]:
    """Read this process's memory: now, and at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return {"memory_bytes": kilobytes["VmRSS"] * 1024, "peak_bytes": kilobytes["VmHWM"] * 1024}


@dataclass
class Engines:
    """The engines of one configuration: one per inference that may run at the same time."""

    configuration: Configuration
    every: list[Any] = field(default_factory=list)
    free: "queue.SimpleQueue[Any]" = field(default_factory=queue.SimpleQueue)

    def add(self, engine: Any) -> None:
        """Take in a ready engine."""
        self.every.append(engine)
        self.free.put(engine)

    def idle(self) -> None:
        """Wait until no inference runs on these engines."""
        for engine in [self.free.get() for _ in self.every]:
            self.free.put(engine)

    def keep(self, count: int) -> None:
        """Close engines beyond `count`."""
        while len(self.every) > count:
            engine = self.free.get()
            self.every.remove(engine)
            engine.close()


class Worker:
    """LiteRT on one model."""

    def __init__(self, model: Path, max_tokens: int, log: BinaryIO) -> None:
        self.model, self.max_tokens, self.log = model, max_tokens, log
        self.current: Engines | None = None
        self.previous: Engines | None = None
        self.collect_garbage = False
        self.dispatch_folder = os.environ.get("LITERT_DISPATCH_DIR")

    def configure(self, *, backend: str, threads: int, slots: int, clear_unused: bool, aggressive_gc: bool) -> Any:
        """Make `slots` engines ready on the backend asked for, or on the CPU when it isn't there, to a first token."""
        began = time.perf_counter()
        self.collect_garbage = aggressive_gc
        note = ""
        wanted = Configuration(backend, threads)
        if backend != "cpu" and (self.current is None or self.current.configuration != wanted):
            note = self._missing(backend)
            if note:
                wanted = Configuration("cpu", threads)
        if self.current is not None and self.current.configuration == wanted:
            self._fill(self.current, slots)
        else:
            if self.current is not None:
                self.current.idle()
            ready = self.previous if self.previous and self.previous.configuration == wanted else Engines(wanted)
            self._fill(ready, slots)
            self.previous, self.current = self.current, ready
        if clear_unused and self.previous is not None:
            self.previous.keep(0)
            self.previous = None
        self._tidy()
        seconds = time.perf_counter() - began
        used = self.current.configuration
        return {"backend": used.backend, "threads": used.threads, "seconds": seconds, "note": note, **resident_bytes()}

    def _missing(self, backend: str) -> str:
        """Try an accelerator and say why it can't be used; empty when it can."""
        library = npu_dispatch_library(self.dispatch_folder) if backend == "npu" else None
        if backend == "npu" and library is None:
            return npu_in_log("", None).sentence
        self._read_log()
        try:
            self._engine(Configuration(backend)).close()
        except (RuntimeError, ValueError, Refused) as error:
            log = self._read_log()
            found = gpu_in_log(log) if backend == "gpu" else npu_in_log(log, library)
            return found.sentence if not found.real else f"{backend} failed: {error}"
        log = self._read_log()
        found = gpu_in_log(log) if backend == "gpu" else npu_in_log(log, library)
        return "" if found.real else found.sentence

    def _fill(self, engines: Engines, slots: int) -> None:
        engines.keep(slots)
        while len(engines.every) < slots:
            engines.add(self._engine(engines.configuration))

    def _engine(self, configuration: Configuration) -> Any:
        backends = litert_lm.Backend
        if configuration.backend == "cpu":
            backend = backends.CPU(thread_count=configuration.threads)
        elif configuration.backend == "gpu":
            backend = backends.GPU()
        else:
            backend = backends.NPU(litert_dispatch_lib_dir=self.dispatch_folder)
        engine = litert_lm.Engine(
            str(self.model),
            backend=backend,
            max_num_tokens=self.max_tokens,
            cache_dir=":nocache",
            enable_benchmark=True,
        )
        self._generate(engine, "a", 1)
        return engine

    def _generate(self, engine: Any, prompt: str, tokens: int) -> dict[str, Any]:
        began = time.perf_counter()
        first = None
        pieces: list[str] = []
        with engine.create_session(max_output_tokens=tokens) as session:
            session.run_prefill([prompt])
            for chunk in session.run_decode_async():
                if first is None:
                    first = time.perf_counter() - began
                pieces.extend(chunk.texts)
            info = session.get_benchmark_info()
        seconds = time.perf_counter() - began
        # The runtime reports a refused request as zeros, not as an error.
        if info.last_prefill_token_count < 1 or info.last_decode_token_count < 1:
            raise Refused(f"prefill {info.last_prefill_token_count}, decode {info.last_decode_token_count} tokens")
        return {
            "seconds": seconds,
            "first_token_seconds": first if first is not None else seconds,
            "prefill_tokens": info.last_prefill_token_count,
            "prefill_tokens_per_second": info.last_prefill_tokens_per_second,
            "decode_tokens": info.last_decode_token_count,
            "decode_tokens_per_second": info.last_decode_tokens_per_second,
            "text_sha256": hashlib.sha256("".join(pieces).encode()).hexdigest(),
        }

    def infer(self, *, prompt: str, tokens: int) -> dict[str, Any]:
        """Run one inference on a free engine of the current configuration."""
        if self.current is None:
            raise Refused("not configured")
        engines = self.current
        engine = engines.free.get()
        try:
            result = self._generate(engine, prompt, tokens)
        finally:
            engines.free.put(engine)
        self._tidy()
        used = engines.configuration
        return {**result, "backend": used.backend, "threads": used.threads, **resident_bytes()}

    def _tidy(self) -> None:
        """Give freed memory back to the system at once, when told to collect aggressively."""
        if self.collect_garbage:
            gc.collect()
            LIBC.malloc_trim(0)

    def _read_log(self) -> str:
        """Take what LiteRT has written to standard error since the last time."""
        self.log.seek(0)
        text = self.log.read().decode(errors="replace")
        self.log.seek(0)
        self.log.truncate()
        return text


def serve(worker: Worker, answers: int) -> None:
    """Answer requests until standard input ends. Inferences run beside each other; a configuration waits for them."""
    writing = threading.Lock()

    def answer(number: int, body: dict[str, Any]) -> None:
        with writing, contextlib.suppress(BrokenPipeError):
            os.write(answers, (json.dumps({"id": number, **body}) + "\n").encode())

    def handle(number: int, what: str, arguments: dict[str, Any]) -> None:
        try:
            answer(number, {"ok": True, **(worker.configure if what == "configure" else worker.infer)(**arguments)})
        except (RuntimeError, ValueError, OSError, Refused) as error:
            answer(number, {"ok": False, "error": f"{type(error).__name__}: {error}"[:300]})

    for line in sys.stdin:
        request = json.loads(line)
        job = (request.pop("id"), request.pop("do"), request)
        if job[1] == "configure":
            handle(*job)
        else:
            threading.Thread(target=handle, args=job, daemon=True).start()


def main() -> None:
    """Serve one model until the parent goes away."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--max-tokens", type=int, default=512)
    arguments = parser.parse_args()
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    answers = os.dup(1)
    log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 (open as long as the process lives)
    os.dup2(log.fileno(), 1)  # native code may print; only answers go to the parent
    os.dup2(log.fileno(), 2)
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.INFO)  # the adapter's line is at INFO
    serve(Worker(arguments.model, arguments.max_tokens, log), answers)
    os._exit(0)  # skip native destructors


if __name__ == "__main__":
    main()
