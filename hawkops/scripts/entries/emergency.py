"""Scripts for a degradation: which backend it is, and whether the system recovers."""

from hawkops.scripts.catalogue import Argument, Script, a_duration
from hawkops.scripts.entries.shared import EMERGENCY

ALL = (
    Script(
        "scripts/check-backend-performance.sh",
        "Backend performance",
        "Throughput, latency and failures of each backend on stored telemetry; names the affected one and its flag.",
        EMERGENCY,
        installation=True,
    ),
    Script(
        "scripts/system-health-check.sh",
        "System health",
        "Database, workers, beat, doors, health checks, telemetry and critical alerts, each asked once.",
        EMERGENCY,
        installation=True,
        timeout_seconds=60,
    ),
    Script(
        "watch",
        "Watch the recovery",
        "System health every ten seconds; the last round is its verdict.",
        EMERGENCY,
        arguments=(Argument("duration", "how long to watch, 30m say; without it five minutes", a_duration),),
        installation=True,
        timeout_seconds=600,
        lasts=True,
    ),
)
