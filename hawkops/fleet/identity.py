"""Who this device is: a pseudonymous id that survives restarts, and what it tells the gateway about itself."""

import json
import platform
import uuid
from dataclasses import dataclass
from pathlib import Path

HOST_CLASS = "synthetic-host"


@dataclass(frozen=True)
class Identity:
    """One device, as its OFREP context and its OTLP resource name it."""

    device_id: str
    soc: str
    model_identifier: str
    app_version: str
    simulated: bool = False
    gpu_driver: str = ""  # empty: not known
    os_api: int = 0  # Android's; 0: not Android
    memory_mb: int = 0  # 0: not told

    def context(self) -> dict[str, str | bool | int]:
        """Describe the device to the flag evaluation."""
        return {
            "targetingKey": self.device_id,
            "device.soc": self.soc,
            "device.model.identifier": self.model_identifier,
            "app.version": self.app_version,
            "hawkops.simulated": self.simulated,
            **self._driver(),
            **self._able(),
        }

    def resource(self) -> dict[str, str | bool]:
        """Describe the device to the telemetry."""
        return {
            "device.id": self.device_id,
            "device.soc": self.soc,
            "device.model.identifier": self.model_identifier,
            "service.name": "hazardhawk",
            "service.version": self.app_version,
            "hawkops.simulated": self.simulated,
            **self._driver(),
        }

    def _driver(self) -> dict[str, str | bool]:
        return {"device.gpu.driver": self.gpu_driver} if self.gpu_driver else {}

    def _able(self) -> dict[str, int]:
        """Say what a rollout asks of capable devices, as far as it is known."""
        told = {"os.api": self.os_api, "device.memory_mb": self.memory_mb}
        return {name: value for name, value in told.items() if value}


def device_id(state: Path) -> str:
    """Read this device's id from its state file, or make one and keep it. Raises OSError when it can't be kept."""
    try:
        known = json.loads(state.read_text())["device_id"]
        if isinstance(known, str) and known:
            return known
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass  # absent or unreadable: this is a new device
    made = f"dev-{uuid.uuid4().hex[:16]}"
    state.parent.mkdir(parents=True, exist_ok=True)
    draft = state.with_suffix(".new")
    draft.write_text(json.dumps({"device_id": made}) + "\n")
    draft.replace(state)
    return made


def this_host(state: Path, app_version: str) -> Identity:
    """Name the machine that this runs on."""
    return Identity(device_id(state), HOST_CLASS, f"{platform.system()} {platform.machine()}".lower(), app_version)
