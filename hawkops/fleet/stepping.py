"""A fleet on a clock that jumps: days of exports in seconds, without sleeping and without a network.

The caller sends what comes, or judges it. Devices that are offline keep their exports and hand them over, with their
original times, at the first step after their return.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hawkops.fleet.population import SimulatedDevice


class Sent(NamedTuple):
    """One export: when it is sent (seconds since 1970), by whom, and the gzipped OTLP payload."""

    moment: float
    device: SimulatedDevice
    payload: bytes


def stepped(devices: Sequence[SimulatedDevice], *, start: float, step: float, until: float) -> Iterator[Sent]:
    """Yield what the fleet sends from `start` to `until`, both in seconds since 1970. Raises ValueError.

    Moments never fall back. Orders, variants and revision of a device may be changed between two exports.
    """
    if not step > 0 or not start <= until:
        raise ValueError("A step takes more than 0 seconds, and the end is not before the start.")
    reported_at = [start] * len(devices)
    number = 1
    while (moment := start + number * step) <= until:
        for index, device in enumerate(devices):
            span = device.usage.report_seconds(step)
            if moment - reported_at[index] >= span - step / 2:
                export = device.report(begins_at=reported_at[index], ends_at=moment)
                device.outbox.put(export, at=moment)
                reported_at[index] = moment
            if device.usage.online(moment):
                for payload in device.outbox.taken(moment):
                    yield Sent(moment, device, payload)
        number += 1
