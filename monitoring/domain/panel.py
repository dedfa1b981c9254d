"""Which devices are remembered one by one, chosen by hash so that any process chooses the same.

The panel: whose own hourly values are kept. Statistics need one value per device. Of a small fleet everybody is in the
panel; of a large one a share that keeps the number of devices, and so the cost, below a ceiling. When the share shrinks,
those who stay were in it before.

The hours: who reported in an hour. Up to HOUR_EXACT_MOST everybody; then only devices whose place on a ring is below a
share that halves every HOUR_STEP rows, each with the weight 1/share of the moment it came. A device is kept with the
probability 1/weight, so that sums of weights are right on average (Horvitz and Thompson) and rows grow with the
logarithm of the fleet: some 105 000 for a million devices.
"""

from hashlib import blake2b, md5
from typing import NamedTuple

from monitoring.domain.metrics import BUSINESS_PREFIX

DEVICES_MOST = 4_000
HOUR_EXACT_MOST = 50_000
HOUR_STEP = 10_000
HALVED_MOST = 20
# the ring that devices are placed on; the table computes the same place from the id
PLACES = 2**31
# what guardrails, post-deployment validation and go/no-go compare between devices
METRICS = frozenset(
    (
        "litert.prefill.throughput",
        "litert.decode.throughput",
        "gen_ai.client.operation.duration",
        "litert.memory.usage",
        "litert.memory.peak",
        "litert.backend.switches",
        "litert.backend.switch.duration",
        "litert.inferences",
        "litert.parity.checks",
        "app.sessions",
        "app.crashes",
        "app.session.duration",
        "app.tasks.started",
        "app.tasks.completed",
        "app.user.satisfaction",
        "app.engagement.events",
        "app.support_tickets",
        "http.client.request.duration",
        "process.cpu.utilization",
        "device.battery.drain",
        "device.storage.free",
        "device.thermal.status",
    )
)
_RANGE = 2**64


class Row(NamedTuple):
    """What a payload said of one series of a device, in the order in which it waits as JSON to be merged."""

    metric: str
    backend: str
    variant: str
    outcome: str
    hours: int  # since 1970
    observations: int
    total: float
    low: float
    high: float


def keeps(metric: str) -> bool:
    """Say whether the panel keeps a metric of its devices."""
    return metric in METRICS or metric.startswith(BUSINESS_PREFIX)


def share(devices: int) -> float:
    """Return the part of a fleet of that many active devices that is in the panel, 0 to 1."""
    return min(1.0, DEVICES_MOST / devices) if devices else 1.0


def member(device_id: str, of_share: float) -> bool:
    """Say whether a device is in a panel of that share."""
    if of_share >= 1.0:
        return True
    place = int.from_bytes(blake2b(device_id.encode(), digest_size=8, person=b"hawkops-panel").digest(), "big")
    return place < of_share * _RANGE


def hour_weight(rows: int) -> int:
    """Return how many devices each one stands for that is newly kept when an hour has that many rows already."""
    if rows < HOUR_EXACT_MOST:
        return 1
    return 1 << min(HALVED_MOST, 1 + (rows - HOUR_EXACT_MOST) // HOUR_STEP)


def kept(device_id: str, weight: int) -> bool:
    """Say whether a device is among those that stand for others at that weight."""
    return weight == 1 or place(device_id) * weight < PLACES


def place(device_id: str) -> int:
    """Return a device's place on the ring, 0 to PLACES - 1; spread evenly, not secret."""
    return int.from_bytes(md5(device_id.encode(), usedforsecurity=False).digest()[:4], "big") >> 1
