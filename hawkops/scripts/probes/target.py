"""Where is measured: on the Android device behind adb when exactly one is attached, else on this host; or as told.

Nothing falls back in silence: a device that is attached and not ready is no reason to measure this host instead.
"""

import os

from hawkops.scripts.probes import android, measuring, on_device
from hawkops.scripts.probes.measuring import Reading, Subject, Unmeasurable

HOST = "host"


def subject(named: str = "") -> Subject:
    """Choose the target and verify the model. `named` is a device's serial, `host`, or empty. Raises Unmeasurable."""
    return measuring.subject(_phone(named))


def _phone(named: str) -> android.Phone | None:
    if named == HOST:
        return None
    try:
        return android.phone(android.device(named))
    except android.NoneAttached as lack:
        if named or os.environ.get("ANDROID_SERIAL"):
            raise Unmeasurable(str(lack)) from lack
        return None
    except (android.NoDevice, android.AdbFailed) as lack:
        raise Unmeasurable(f"{lack}; --device=host measures this host") from lack


def throughput(what: Subject, backend: str) -> Reading:
    """Measure prefill tokens per second on one backend of the target."""
    return on_device.throughput(what, backend) if what.phone else measuring.throughput(what, backend)


def memory(what: Subject, backend: str) -> Reading:
    """Measure the highest resident memory of LiteRT on the target."""
    return on_device.memory(what, backend) if what.phone else measuring.memory(what, backend)


def switching(what: Subject, declared: tuple[str, ...]) -> Reading:
    """Measure the mean time of a switch on the target."""
    return on_device.switching(what, declared) if what.phone else measuring.switching(what, declared)
