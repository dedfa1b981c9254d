"""The local device: real LiteRT on this machine, obeying the flags of one gateway. Start it by `python -m`.

Configured by HAWKOPS_GATEWAY, HAWKOPS_DEVICE_KEY, CLOUD_AI_URL, LITERT_MODEL, MODEL_URL (where the model comes from) and
HAWKOPS_DATA (where its id is kept).
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from hawkops.fleet import model
from hawkops.fleet.http import Client
from hawkops.fleet.identity import Identity, this_host
from hawkops.fleet.keeper import FlagKeeper
from hawkops.fleet.maintenance import Maintenance
from hawkops.fleet.model.signature import artefact
from hawkops.fleet.ofrep import FlagClient
from hawkops.fleet.telemetry import Telemetry
from hawkops.fleet.workload import Workload

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Settings:
    """Where the device stands."""

    gateway: str
    key: str
    model: Path
    cloud: str | None
    state: Path
    interval_seconds: float
    poll_seconds: float
    streaming: bool
    app_version: str
    model_url: str


def say(words: str) -> None:
    """Print one line at once."""
    print(words, flush=True)


def described_model(path: Path) -> tuple[str, str | None, str]:
    """Return a model's name, the digest it must have (None: nobody says), and a phrase for the first line."""
    expected = model.expected_digest(path)
    name = model.NAME if expected == model.SHA256 else path.stem
    known = f"sha256 {expected[:12]}…" if expected else "no digest to check against"
    signed = "" if artefact(path).public_key.is_file() else ", unsigned: no public key"
    return name, expected, f"{name} ({known}{signed})"


async def run(settings: Settings, identity: Identity) -> None:
    """Be the device until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    work: list[asyncio.Task[None]] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: [task.cancel() for task in work])
    name, expected, phrase = described_model(settings.model)
    http = Client()
    with contextlib.closing(http):
        workload = Workload(
            settings.model,
            expected_sha256=expected,
            cloud=settings.cloud,
            http=http,
            interval_seconds=settings.interval_seconds,
            say=say,
            maintenance=Maintenance(
                settings.model,
                state=settings.state.with_name("device-commands.json"),
                http=http,
                model_url=settings.model_url,
            ),
        )
        client = FlagClient(settings.gateway, settings.key, identity.context(), http=http)
        keeper = FlagKeeper(
            client, workload.obey, say=say, streaming=settings.streaming, poll_seconds=settings.poll_seconds
        )
        telemetry = Telemetry(
            settings.gateway,
            settings.key,
            identity,
            model=name,
            revision=lambda: keeper.revision,
            variant=lambda: keeper.variants.get("litert_enabled", "safe") if keeper.revision is not None else "safe",
            child_pid=lambda: workload.child_pid,
            storage=settings.state.parent,
        )
        workload.telemetry = telemetry
        say(f"device {identity.device_id} ({identity.soc}), model {phrase}, gateway {settings.gateway}")
        work += [asyncio.create_task(keeper.run()), asyncio.create_task(workload.run())]
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*work)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await asyncio.to_thread(telemetry.close)
    say("device stopped")


def settings_from(arguments: list[str] | None = None) -> Settings:
    """Read the command line and the environment. Exits with a sentence when something is missing."""
    data = Path(os.environ.get("HAWKOPS_DATA") or ROOT / ".hawkops")
    parser = argparse.ArgumentParser(description="Run one device with real LiteRT on this machine.")
    parser.add_argument("--gateway", default=os.environ.get("HAWKOPS_GATEWAY", "http://127.0.0.1:4318"))
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("LITERT_MODEL") or model.PATH))
    parser.add_argument("--cloud", default=os.environ.get("CLOUD_AI_URL"))
    parser.add_argument("--state", type=Path, default=data / "device.json", help="where the device's id is kept")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two requests for AI")
    parser.add_argument("--poll", type=float, default=30.0, help="seconds between two looks without a stream")
    parser.add_argument("--no-stream", action="store_true", help="only poll, as devices without event streams do")
    parser.add_argument("--app-version", default="1.0.0")
    given = parser.parse_args(arguments)
    key = os.environ.get("HAWKOPS_DEVICE_KEY")
    if not key:
        parser.exit(2, "HAWKOPS_DEVICE_KEY is not set. Make a key with `manage.py device_key`, or start by `up`.\n")
    if not given.model.is_file():
        parser.exit(2, f"{given.model} is not there. LITERT_MODEL names the model to run.\n")
    return Settings(
        gateway=given.gateway,
        key=key,
        model=given.model.resolve(),
        cloud=given.cloud or None,
        state=given.state,
        interval_seconds=max(0.05, given.interval),
        poll_seconds=max(1.0, given.poll),
        streaming=not given.no_stream,
        app_version=given.app_version,
        model_url=os.environ.get("MODEL_URL", ""),
    )


def main() -> int:
    """Run the device."""
    settings = settings_from()
    try:
        identity = this_host(settings.state, settings.app_version)
    except OSError as error:
        print(f"The device's id can't be kept in {settings.state}: {error.strerror}.", file=sys.stderr)
        return 1
    asyncio.run(run(settings, identity))
    return 0


if __name__ == "__main__":
    sys.exit(main())
