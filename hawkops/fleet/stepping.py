"""A fleet on a clock that jumps: days of exports in seconds, without sleeping and without a network.

The caller sends what comes, or judges it. Devices that are offline keep their exports and hand them over, with their
original times, at the first step after their return.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from hawkops.fleet.orders import SAFE, Orders
from hawkops.fleet.otlp import METRICS_PATH
from hawkops.fleet.population import SimulatedDevice

BUCKETS = 1 << 32


class Sent(NamedTuple):
    """One export: when it is sent (seconds since 1970), by whom, the gzipped OTLP payload, and the address for it."""

    moment: float
    device: SimulatedDevice
    payload: bytes
    path: str = METRICS_PATH


def ticks(*, start: float, step: float, until: float) -> Iterator[float]:
    """Yield the moments after `start`, each a step later, up to `until`. Raises ValueError."""
    if not step > 0 or not start <= until:
        raise ValueError("A step takes more than 0 seconds, and the end is not before the start.")
    return (start + number * step for number in range(1, int((until - start) / step + 1e-9) + 1))


def stepped(devices: Sequence[SimulatedDevice], *, start: float, step: float, until: float) -> Iterator[Sent]:
    """Yield what the fleet sends from `start` to `until`, both in seconds since 1970. Raises ValueError."""
    return along(devices, start=start, moments=ticks(start=start, step=step, until=until))


def along(devices: Sequence[SimulatedDevice], *, start: float, moments: Iterable[float]) -> Iterator[Sent]:
    """Yield what the fleet sends at moments that never fall back, however far apart they are.

    Orders, variants and revision of a device may be changed between two exports.
    """
    reported_at = [start] * len(devices)
    before = start
    for moment in moments:
        step, before = moment - before, moment
        for index, device in enumerate(devices):
            span = device.usage.report_seconds(step)
            if moment - reported_at[index] >= span - step / 2:
                for export in device.report(begins_at=reported_at[index], ends_at=moment):
                    device.outbox.put(export, at=moment)
                reported_at[index] = moment
            if device.usage.online(moment):
                for export in device.outbox.taken(moment):
                    yield Sent(moment, device, *export)


def roll_out(devices: Iterable[SimulatedDevice], orders: Orders, *, percentage: float = 100.0) -> None:
    """Serve a percentage of the devices their orders, the others LiteRT off: what a flag at that percentage does."""
    for device in devices:
        digest = hashlib.sha256(device.identity.device_id.encode()).digest()
        served = int.from_bytes(digest[:4], "big") * 100 < percentage * BUCKETS and orders.litert_enabled
        device.obey(orders if served else replace(SAFE, ai_fallback_to_cloud=orders.ai_fallback_to_cloud))
        device.variants = {"litert_enabled": "on" if served else "off"}
