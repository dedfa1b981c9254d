"""What a device does once for each new number, and every tunable, by the real device: seen in its process and telemetry."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hawkops.fleet.cloud import CloudStandIn
from hawkops.fleet.http import Client
from hawkops.fleet.maintenance import Done, Maintenance
from hawkops.fleet.model import PATH, SHA256, digest
from hawkops.fleet.orders import SAFE, Orders
from hawkops.fleet.worker import Worker
from tests import apart
from tests.fleet.standin import gateway, serving, wait_for
from tests.fleet.test_device import ON, device


def model(folder: Path, content: bytes = b"LITERTLM old", sha256: str = SHA256) -> Path:
    """A model that should be the generated one."""
    path = folder / "model.litertlm"
    path.write_bytes(content)
    path.with_name("model.litertlm.sha256").write_text(sha256)
    return path


def carried_out(made: Maintenance, orders: Orders) -> list[Done]:
    return apart.run(made.carry_out(orders))


def maintenance(path: Path, url: str = "") -> Maintenance:
    return Maintenance(path, state=path.parent / "state" / "commands.json", http=Client(), model_url=url)


def test_number__new__is_carried_out_once_also_after_a_restart(tmp_path: Path) -> None:
    path = model(tmp_path)
    (tmp_path / "model.litertlm.xnnpack_cache").write_bytes(b"cached")
    orders = replace(SAFE, litert_model_cache_clear=2)
    made = maintenance(path)
    assert made.due(SAFE) == []
    (done,) = carried_out(made, orders)
    assert done.worked and done.outcome == "cache_clear_done" and "1 cached file set aside" in done.sentence
    assert [one.name for one in tmp_path.glob("state/quarantine/*/*")] == ["model.litertlm.xnnpack_cache"]
    assert carried_out(made, orders) == [] and carried_out(maintenance(path), orders) == []
    assert maintenance(path).due(replace(orders, litert_model_cache_clear=1)) == [], "an older number is old"
    (again,) = carried_out(maintenance(path), replace(orders, litert_model_cache_clear=3))
    assert again.worked and "nothing is cached" in again.sentence


@pytest.mark.parametrize("kept", ["", "{", "[]", '{"cache_clear": "2"}', '{"cache_clear": true}'])
def test_state__unreadable__counts_as_nothing_seen(tmp_path: Path, kept: str) -> None:
    path = model(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "commands.json").write_text(kept)
    assert maintenance(path).due(replace(SAFE, litert_model_cache_clear=2)) == ["cache_clear"]


def test_redownload__proven__takes_the_old_ones_place_which_is_set_aside(tmp_path: Path) -> None:
    path = model(tmp_path)
    with serving(CloudStandIn(random.Random(1))) as port:
        (done,) = carried_out(
            maintenance(path, f"http://127.0.0.1:{port}/v1/model"), replace(SAFE, litert_model_redownload=1)
        )
    assert done.worked and digest(path) == SHA256
    assert [one.read_bytes() for one in tmp_path.glob("state/quarantine/*/model.litertlm")] == [b"LITERTLM old"]
    assert not list(tmp_path.glob("**/*.fresh"))


@pytest.mark.parametrize(
    "address,sha256,why",
    [
        ("", SHA256, "MODEL_URL is not set"),
        ("/v1/model", "00" * 32, "is not the model that it should be"),
        ("/nothing", SHA256, "answers 404"),
    ],
)
def test_redownload__unproven__leaves_the_old_one(tmp_path: Path, address: str, sha256: str, why: str) -> None:
    path = model(tmp_path, sha256=sha256)
    with serving(CloudStandIn(random.Random(1))) as port:
        url = f"http://127.0.0.1:{port}{address}" if address else ""
        (done,) = carried_out(maintenance(path, url), replace(SAFE, litert_model_redownload=1))
    assert not done.worked and done.outcome == "model_redownload_failed" and why in done.sentence
    assert path.read_bytes() == b"LITERTLM old"


def test_device__commands__are_carried_out_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "model.litertlm"
    path.write_bytes(PATH.read_bytes())
    (tmp_path / "model.litertlm.sha256").write_text(SHA256)
    (tmp_path / "model.litertlm.xnnpack_cache").write_bytes(b"cached")
    with gateway(flags=dict(ON)) as standin, device(standin, tmp_path, model=path) as running:
        wait_for(running.children, 30)
        standin.change(litert_model_cache_clear=1, litert_model_redownload=1)
        wait_for(running.said("cache clear done: 1 cached file set aside"), 30)
        wait_for(running.said("model redownload failed: MODEL_URL is not set"), 30)
        wanted = {"cache_clear_done", "model_redownload_failed"}
        wait_for(lambda: {one["outcome"] for one, _ in standin.points("litert.device.commands")} == wanted, 30)
        assert running.end() == 0
    assert json.loads((tmp_path / "device-commands.json").read_text()) == {"cache_clear": 1, "model_redownload": 1}


def test_device__every_tunable__is_obeyed_and_said(tmp_path: Path) -> None:
    values = {
        "litert_max_concurrent_inferences": 3,
        "litert_switching_threshold": 0.1,
        "litert_switch_cooldown_ms": 10_000,
        "litert_aggressive_gc": True,
        "litert_clear_unused_models": True,
    }
    with gateway(flags=dict(ON)) as standin, device(standin, tmp_path) as running:
        wait_for(running.children, 30)
        for key, value in values.items():
            standin.change(**{key: value})
            wait_for(running.said(f"{key} {'on' if value is True else value}, obeyed after"), 30)
        assert running.end() == 0


class _Engines(Worker):
    """A worker whose engines are names."""

    def _engine(self, configuration: Any) -> Any:
        class Engine:
            closed = False

            def close(self) -> None:
                self.closed = True

        return Engine()


def test_worker__tunables__change_engines_and_memory(tmp_path: Path) -> None:
    worker = _Engines(tmp_path, 16, (tmp_path / "log").open("w+b"))
    usual: dict[str, Any] = {"backend": "cpu", "clear_unused": False, "aggressive_gc": False}
    worker.configure(threads=1, slots=4, **usual)
    assert worker.current is not None and len(worker.current.every) == 4
    four = list(worker.current.every)
    worker.configure(threads=1, slots=2, **usual)
    assert len(worker.current.every) == 2 and sum(one.closed for one in four) == 2
    worker.configure(threads=2, slots=2, **usual)
    assert worker.previous is not None, "what is not used stays warm"
    worker.configure(threads=2, slots=2, **{**usual, "clear_unused": True, "aggressive_gc": True})
    assert worker.previous is None and all(one.closed for one in four)
    assert worker.collect_garbage
