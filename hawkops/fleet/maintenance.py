"""What a device is told to do once: fetch its model anew, clear its cache. A number that it has not seen is a new order.

The last number of each order is kept beside the device's id, so that a restart repeats nothing. What is replaced or
cleared is set aside, never deleted; a fetched model takes the old one's place only when it is proven.
"""

import json
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from hawkops.fleet.http import Client, HttpError
from hawkops.fleet.model import digest, expected_digest
from hawkops.fleet.model.signature import Artefact, Standing, artefact, proof
from hawkops.fleet.orders import Orders

CACHES = ("*.xnnpack_cache", "*_mldrift_*", "*.mldrift_cache")
REDOWNLOAD, CLEAR = "model_redownload", "cache_clear"
COMMANDS = {REDOWNLOAD: "litert_model_redownload", CLEAR: "litert_model_cache_clear"}


@dataclass(frozen=True)
class Done:
    """How a command ended: what it was, whether it worked, and a sentence."""

    command: str
    worked: bool
    sentence: str

    @property
    def outcome(self) -> str:
        """What telemetry says of it."""
        return f"{self.command}_{'done' if self.worked else 'failed'}"


class Maintenance:
    """One device's commands. `model_url` says where its model comes from; empty: nobody says."""

    def __init__(self, model: Path, *, state: Path, http: Client, model_url: str = "") -> None:
        self._model, self._state, self._http, self._model_url = model, state, http, model_url
        self._seen = self._read()

    def due(self, orders: Orders) -> list[str]:
        """Return the commands whose numbers are new, in their order. 0 is none, and an older one is old."""
        return [name for name, flag in COMMANDS.items() if getattr(orders, flag) > self._seen.get(name, 0)]

    async def carry_out(self, orders: Orders) -> list[Done]:
        """Carry out what is due, once: each number is kept before its work begins, so that no crash repeats it."""
        done = []
        for name in self.due(orders):
            self._seen[name] = getattr(orders, COMMANDS[name])
            self._write()
            work: Callable[[], Awaitable[Done]] = self._redownload if name == REDOWNLOAD else self._clear
            try:
                done.append(await work())
            except OSError as error:
                done.append(Done(name, False, f"{error.strerror or error}; nothing was changed"))
        return done

    async def _clear(self) -> Done:
        folder = self._model if self._model.is_dir() else self._model.parent
        found = sorted({file for pattern in CACHES for file in folder.glob(pattern)})
        if not found:
            return Done(CLEAR, True, f"nothing is cached beside {self._model.name}")
        quarantine = self._quarantine()
        for file in found:
            shutil.move(str(file), quarantine / file.name)
        return Done(CLEAR, True, f"{len(found)} cached file{'s' * (len(found) > 1)} set aside in {quarantine}")

    async def _redownload(self) -> Done:
        if not self._model_url:
            return Done(REDOWNLOAD, False, "MODEL_URL is not set: nobody says where the model comes from; it stays")
        try:
            answer = await self._http.get(self._model_url)
        except HttpError as error:
            return Done(REDOWNLOAD, False, f"the model is not fetched ({error}); the old one stays")
        if answer.status != 200:
            return Done(REDOWNLOAD, False, f"the model's address answers {answer.status}; the old one stays")
        fresh = self._state.parent / f".{self._model.name}.fresh"
        fresh.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh.write_bytes(answer.body)
            if lack := self._unproven(fresh):
                return Done(REDOWNLOAD, False, f"{lack}; the old one stays")
            if self._model.exists() and digest(self._model) == digest(fresh):
                return Done(REDOWNLOAD, True, f"{len(answer.body)} bytes fetched and proven: the model was whole")
            quarantine = self._quarantine()
            if self._model.exists():
                shutil.copy2(self._model, quarantine / self._model.name)
            shutil.copyfile(fresh, beside := self._model.with_name(f".{self._model.name}.fresh"))
            beside.replace(self._model)
        finally:
            fresh.unlink(missing_ok=True)
        return Done(REDOWNLOAD, True, f"{len(answer.body)} bytes fetched and proven; the old model is in {quarantine}")

    def _unproven(self, fresh: Path) -> str:
        """Say why a fetched model may not be used; empty when its digest, or its signature, proves it."""
        expected = expected_digest(self._model)
        if expected is not None and digest(fresh) != expected:
            return "what was fetched is not the model that it should be"
        known = artefact(self._model)
        found = proof(Artefact(fresh, known.signature, known.public_key))
        if found.standing is Standing.BROKEN:
            return f"what was fetched is not proven: {found.sentence}"
        if expected is None and found.standing is not Standing.VERIFIED:
            return "neither a digest nor a signature can prove what was fetched"
        return ""

    def _quarantine(self) -> Path:
        folder = self._state.parent / "quarantine" / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _read(self) -> dict[str, int]:
        try:
            found = json.loads(self._state.read_text())
        except (OSError, ValueError):
            return {}
        return {name: found[name] for name in COMMANDS if isinstance(found, dict) and type(found.get(name)) is int}

    def _write(self) -> None:
        self._state.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._state.with_name(self._state.name + ".fresh")
        fresh.write_text(json.dumps(self._seen))
        fresh.replace(self._state)
