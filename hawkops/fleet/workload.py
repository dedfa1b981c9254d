"""The app on the device: asks its AI about once a second, locally with LiteRT or in the cloud, as its orders say."""

import asyncio
import os
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from hawkops.fleet.http import Client, HttpError
from hawkops.fleet.inference import Inference, InferenceFailed, InferenceProcess
from hawkops.fleet.maintenance import REDOWNLOAD, Maintenance
from hawkops.fleet.model import digest
from hawkops.fleet.model.signature import Standing, artefact, proof
from hawkops.fleet.orders import SAFE, Orders
from hawkops.fleet.switching import Configuration, Switching
from hawkops.fleet.telemetry import Telemetry

PROMPTS = tuple(
    f"Report the hazards in photograph {number}: {subject}. " * 3
    for number, subject in enumerate(("a scaffold without rails", "a wet floor", "an open trench", "a frayed cable"), 1)
)
ANSWER_TOKENS = 96
BURST_EVERY, BURST_SIZE = 10, 4  # now and then the app sends several photographs at once
RESTART_SECONDS = 5.0  # after LiteRT could not be started


def cloud_endpoint(address: str) -> str:
    """Complete the address of cloud AI."""
    return address if address.rstrip("/").endswith("/generate") else f"{address.rstrip('/')}/v1/generate"


def configurations(actual: Configuration, cores: int) -> list[Configuration]:
    """List what adaptive switching may choose from, the present one first."""
    if actual.backend != "cpu":
        return [actual, Configuration("cpu", 1)]
    return [Configuration("cpu", threads) for threads in (1, 2) if threads <= max(1, cores)]


class Workload:
    """Requests for AI, obeying orders. Changes take effect in `obey`, before it returns."""

    def __init__(
        self,
        model: Path,
        *,
        expected_sha256: str | None,
        cloud: str | None,
        http: Client,
        interval_seconds: float,
        say: Callable[[str], None],
        maintenance: Maintenance | None = None,
    ) -> None:
        self.orders: Orders = SAFE
        self._maintenance = maintenance
        self._commands: set[asyncio.Task[None]] = set()
        self.telemetry: Telemetry | None = None
        self._model, self._expected_sha256 = model, expected_sha256
        self._cloud = cloud_endpoint(cloud) if cloud else None
        self._http, self._interval_seconds, self._say = http, interval_seconds, say
        self._process: InferenceProcess | None = None
        self._preparing = asyncio.Lock()
        self._maintaining = asyncio.Lock()
        self._stale_configuration = True
        self._not_before = 0.0
        self._switching = Switching([], Configuration("cpu"))
        self._running = 0
        self._room = asyncio.Condition()
        self._known_texts: dict[str, str] = {}
        self._last_note = ""

    @property
    def child_pid(self) -> int | None:
        """Return the process id of LiteRT while it runs."""
        return self._process.pid if self._process and self._process.alive else None

    async def obey(self, orders: Orders) -> str:
        """Make the orders true and say so in a word. Off means: the process that infers is gone."""
        old, self.orders = self.orders, orders
        if self._maintenance is not None and self._maintenance.due(orders):
            # beside the orders: nothing that a device does once may hold up a stop
            command = asyncio.create_task(self._maintain(self._maintenance, orders))
            self._commands.add(command)
            command.add_done_callback(self._commands.discard)
        if not orders.litert_enabled:
            process, self._process = self._process, None
            if process is not None:
                await process.kill()
            return "stopped" if old.litert_enabled else "obeyed"
        self._stale_configuration = True
        async with self._room:
            self._room.notify_all()
        return "obeyed" if old.litert_enabled else "started"

    async def run(self) -> None:
        """Work until cancelled; LiteRT's process ends with it."""
        number = 0
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    for _ in range(BURST_SIZE if number % BURST_EVERY == BURST_EVERY - 1 else 1):
                        tasks.create_task(self._task(PROMPTS[number % len(PROMPTS)]))
                        number += 1
                    await asyncio.sleep(self._interval_seconds)
        finally:
            process, self._process = self._process, None
            if process is not None:
                await process.kill()

    async def _maintain(self, maintenance: Maintenance, orders: Orders) -> None:
        """Carry out commands, say and report how they ended; a fetched model is loaded anew."""
        async with self._maintaining:
            for done in await maintenance.carry_out(orders):
                self._say(f"{done.command.replace('_', ' ')} {'done' if done.worked else 'failed'}: {done.sentence}")
                self._reporting.commanded(done.outcome)
                process = self._process
                if done.command == REDOWNLOAD and done.worked and process is not None:
                    async with self._preparing:
                        await process.kill()  # the next request starts it on what is there now

    async def _task(self, prompt: str) -> None:
        """Answer one request of the app, wherever the orders allow."""
        if not (self.orders.litert_enabled or self.orders.ai_fallback_to_cloud):
            return  # the app offers no AI at present
        telemetry = self._reporting
        telemetry.task(completed=False)
        began = time.perf_counter()
        missing_since = began
        requested = self.orders.backend_requested
        if self.orders.litert_enabled:
            try:
                result = await self._infer(prompt)
            except InferenceFailed as failure:
                missing_since = time.perf_counter()
                if failure.kind != "stopped":
                    telemetry.failed(requested, requested, failure.kind)
                    self._note(f"local inference failed: {failure}")
            else:
                telemetry.inferred(requested, result, duration_seconds=time.perf_counter() - began)
                telemetry.task(completed=True)
                self._compare(prompt, requested, result)
                self._switching.reading(result.prefill_tokens_per_second)
                await self._switch_if_slow()
                return
        if self.orders.ai_fallback_to_cloud and await self._ask_cloud(prompt, requested):
            now = time.perf_counter()
            telemetry.fell_back(requested, fallback_seconds=now - missing_since, duration_seconds=now - began)
            telemetry.task(completed=True)

    @property
    def _reporting(self) -> Telemetry:
        assert self.telemetry is not None, "telemetry is set before work begins"
        return self.telemetry

    async def _infer(self, prompt: str) -> Inference:
        """Infer locally, with no more at the same time than ordered."""
        async with self._room:
            await self._room.wait_for(self._has_room)
            self._running += 1
        try:
            process = await self._prepared()
            return await process.infer(prompt, ANSWER_TOKENS)
        finally:
            async with self._room:
                self._running -= 1
                self._room.notify_all()

    def _has_room(self) -> bool:
        return not self.orders.litert_enabled or self._running < self.orders.litert_max_concurrent_inferences

    async def _prepared(self) -> InferenceProcess:
        """Return LiteRT's process, started and configured as ordered."""
        async with self._preparing:
            if not self.orders.litert_enabled:
                raise InferenceFailed("stopped", "LiteRT was switched off")
            process = self._process
            if process is None or not process.alive:
                process = await self._start()
            if self._stale_configuration:
                self._stale_configuration = False
                await self._configure(process, Configuration(self.orders.backend_requested, self._threads))
            return process

    @property
    def _threads(self) -> int:
        return self._switching.current.threads if self.orders.litert_adaptive_switching else 1

    async def _start(self) -> InferenceProcess:
        if time.monotonic() < self._not_before:
            raise InferenceFailed("unavailable", "LiteRT could not be started and is tried again soon")
        self._not_before = time.monotonic() + RESTART_SECONDS
        await self._validate()
        process = InferenceProcess(self._model)
        self._process = process  # from here on an order to stop finds it
        await process.start()
        self._stale_configuration = True
        self._not_before = 0.0
        return process

    async def _validate(self) -> None:
        """Refuse a model that is not what it should be: the runtime itself doesn't notice tampering."""
        try:
            found = await asyncio.to_thread(digest, self._model)
        except OSError as error:
            raise InferenceFailed("model_missing", f"{self._model} can't be read: {error.strerror}") from error
        expected = self._expected_sha256 in (None, found)
        proven = await asyncio.to_thread(proof, artefact(self._model))
        self._reporting.validated(intact=expected and proven.standing is not Standing.BROKEN)
        if not expected:
            raise InferenceFailed("model_invalid", f"{self._model} is not the model it should be (sha256 {found})")
        if proven.standing is Standing.BROKEN:
            raise InferenceFailed("model_invalid", f"the model is not loaded: {proven.sentence}")

    async def _configure(self, process: InferenceProcess, wanted: Configuration) -> float:
        orders = self.orders
        try:
            ready = await process.configure(
                wanted,
                slots=orders.litert_max_concurrent_inferences,
                clear_unused=orders.litert_clear_unused_models,
                aggressive_gc=orders.litert_aggressive_gc,
            )
        except InferenceFailed as failure:
            if failure.kind != "stopped":
                await process.kill()
                self._not_before = time.monotonic() + RESTART_SECONDS
            if failure.kind == "litert_error":
                raise InferenceFailed("model_load", str(failure)) from failure
            raise
        actual = ready.configuration
        if actual.backend != wanted.backend:
            self._note(f"{wanted.backend} was requested, {actual} runs: {ready.note}")
        else:
            self._last_note = ""
        choice = configurations(actual, os.cpu_count() or 1)
        if actual != self._switching.current or choice != self._switching.configurations:
            self._switching.restart(choice if actual in choice else [actual, *choice], actual)
        return ready.seconds

    async def _switch_if_slow(self) -> None:
        """Change the configuration when throughput fell by more than ordered, at most once per cooldown."""
        orders, process = self.orders, self._process
        if not orders.litert_adaptive_switching or process is None or not process.alive:
            return
        now = time.monotonic()
        threshold, cooldown_seconds = orders.litert_switching_threshold, orders.litert_switch_cooldown_ms / 1000
        target = self._switching.wanted(now=now, threshold=threshold, cooldown_seconds=cooldown_seconds)
        if target is None or self._preparing.locked():
            return
        async with self._preparing:
            old, drop = self._switching.current, self._switching.drop
            self._switching.switched(target, now=now)
            try:
                seconds = await self._configure(process, target)
            except InferenceFailed as failure:
                self._note(f"switching to {target} failed: {failure}")
                return
        self._reporting.switched(orders.backend_requested, target.backend, seconds)
        self._say(f"switched {old} to {target} after a drop of {drop:.0%}, in {seconds * 1000:.0f} ms")

    def _compare(self, prompt: str, requested: str, result: Inference) -> None:
        """Hold a text against the first one for its prompt: a backend may be fast and wrong."""
        known = self._known_texts.setdefault(prompt, result.text_sha256)
        self._reporting.compared(requested, result.backend, same=known == result.text_sha256)

    async def _ask_cloud(self, prompt: str, requested: str) -> bool:
        if self._cloud is None:
            self._reporting.failed(requested, "cloud", "no_cloud")
            self._note("cloud AI is wanted, but CLOUD_AI_URL is not set")
            return False
        try:
            answer = await self._http.post_json(self._cloud, {"prompt": prompt, "max_tokens": ANSWER_TOKENS})
        except HttpError as error:
            self._reporting.failed(requested, "cloud", "unreachable")
            self._note(f"cloud AI is not reached ({error})")
            return False
        if answer.status != HTTPStatus.OK:
            self._reporting.failed(requested, "cloud", str(answer.status))
            self._note(f"cloud AI answers {answer.status}")
            return False
        return True

    def _note(self, words: str) -> None:
        """Say something once, until something else is said."""
        if words != self._last_note:
            self._last_note = words
            self._say(words)
