"""The parent's side of the LiteRT child: starts it, asks it, and kills it within milliseconds. Knows no flags."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hawkops.fleet.switching import Configuration

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0


class InferenceFailed(Exception):
    """The local inference gave no result. `kind` is a short word for `error.type`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Ready:
    """What the child runs on after it was configured."""

    configuration: Configuration
    seconds: float
    note: str


@dataclass(frozen=True)
class Inference:
    """One finished inference, measured in the child."""

    backend: str
    seconds: float
    first_token_seconds: float
    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    memory_bytes: int
    peak_bytes: int
    text_sha256: str


class InferenceProcess:
    """One LiteRT child. After `kill` it is gone; make another."""

    def __init__(self, model: Path) -> None:
        self.model = model
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._killed = False

    @property
    def alive(self) -> bool:
        """Tell whether the child runs."""
        return self._process is not None and self._process.returncode is None and not self._killed

    @property
    def pid(self) -> int | None:
        """Return the child's process id."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the child; it loads nothing before it is configured."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "hawkops.fleet.worker",
            str(self.model),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        self._process = process
        self._reader = asyncio.create_task(self._read(process))
        if self._killed:  # killed while it was being started
            await self.kill()

    async def configure(
        self, configuration: Configuration, *, slots: int, clear_unused: bool, aggressive_gc: bool
    ) -> Ready:
        """Make the child ready to infer. Raises InferenceFailed."""
        answer = await self._ask(
            "configure",
            START_SECONDS,
            backend=configuration.backend,
            threads=configuration.threads,
            slots=slots,
            clear_unused=clear_unused,
            aggressive_gc=aggressive_gc,
        )
        return Ready(Configuration(answer["backend"], answer["threads"]), answer["seconds"], answer["note"])

    async def infer(self, prompt: str, tokens: int, *, timeout_seconds: float = 30.0) -> Inference:
        """Run one inference. Raises InferenceFailed."""
        answer = await self._ask("infer", timeout_seconds, prompt=prompt, tokens=tokens)
        return Inference(**{name: answer[name] for name in Inference.__dataclass_fields__})

    async def kill(self) -> None:
        """End the child now, whatever it does, and wait until it is gone."""
        self._killed = True
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if self._reader is not None:
            await self._reader

    async def _ask(self, what: str, timeout_seconds: float, **arguments: object) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or not self.alive:
            raise InferenceFailed("stopped", "LiteRT is stopped")
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            process.stdin.write((json.dumps({"id": number, "do": what, **arguments}) + "\n").encode())
            async with asyncio.timeout(timeout_seconds):
                answer = await future
        except TimeoutError:
            await self.kill()
            raise InferenceFailed("timeout", f"LiteRT gave no answer within {timeout_seconds:.0f} s") from None
        except (BrokenPipeError, ConnectionResetError):
            raise InferenceFailed("crash", "LiteRT's process is gone") from None
        finally:
            self._waiting.pop(number, None)
        if not answer["ok"]:
            raise InferenceFailed("litert_error", answer["error"])
        return answer

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            answer = json.loads(line)
            future = self._waiting.get(answer["id"])
            if future is not None and not future.done():
                future.set_result(answer)
        code = await process.wait()
        kind, words = ("stopped", "LiteRT is stopped") if self._killed else ("crash", f"LiteRT ended: {_ending(code)}")
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(InferenceFailed(kind, words))


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit {code}"
