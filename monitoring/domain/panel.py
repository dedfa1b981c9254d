"""The panel: which devices' own hourly values are kept, chosen by hash so that any process chooses the same.

Statistics need one value per device. Of a small fleet everybody is in the panel; of a large one a share that keeps the
number of devices, and so the cost, below a ceiling. When the share shrinks, those who stay were in it before.
"""

from hashlib import blake2b

DEVICES_MOST = 4_000
# what guardrails and post-deployment validation compare between devices
METRICS = frozenset(
    (
        "litert.prefill.throughput",
        "litert.decode.throughput",
        "gen_ai.client.operation.duration",
        "litert.memory.peak",
        "litert.backend.switches",
        "litert.inferences",
        "litert.parity.checks",
        "app.sessions",
        "app.crashes",
        "app.session.duration",
        "app.tasks.started",
        "app.tasks.completed",
        "app.user.satisfaction",
    )
)
_RANGE = 2**64


def share(devices: int) -> float:
    """Return the part of a fleet of that many active devices that is in the panel, 0 to 1."""
    return min(1.0, DEVICES_MOST / devices) if devices else 1.0


def member(device_id: str, of_share: float) -> bool:
    """Say whether a device is in a panel of that share."""
    if of_share >= 1.0:
        return True
    place = int.from_bytes(blake2b(device_id.encode(), digest_size=8, person=b"hawkops-panel").digest(), "big")
    return place < of_share * _RANGE
