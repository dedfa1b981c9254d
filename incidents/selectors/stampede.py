"""What a kill sends to the cloud: every inference that runs on devices now asks cloud AI from then on."""

from datetime import UTC, datetime, timedelta

from hawkops.core import clock
from monitoring.domain.metrics import INFERENCES
from monitoring.domain.tiers import tier_of_span
from monitoring.domain.windows import Window
from monitoring.selectors import telemetry

SPAN = timedelta(minutes=10)
LOCAL = frozenset({"cpu", "gpu", "npu"})


def cloud_requests_per_second(environment: str) -> float | None:
    """Return how many requests a second cloud AI would get on top, from the last ten minutes' inferences on devices.

    Those that failed count too: the cloud is asked in their place already where fallback is on, and by a kill anyway. None
    when no inference was reported. Three queries.
    """
    now = clock.now()
    step = timedelta(seconds=tier_of_span(SPAN, since=now - SPAN, now=now).width)
    begins = datetime.fromtimestamp((now - SPAN).timestamp() // step.total_seconds() * step.total_seconds(), tz=UTC)
    whole = (now - begins) // step
    found = telemetry.lines(
        environment=environment,
        names=(INFERENCES,),
        window=Window(begins, whole + 1, step),
        group=lambda one: (
            "local"
            if one.backend_actual in LOCAL and telemetry.may_judge(environment, simulated=one.simulated)
            else None
        ),
        now=now,
    )
    local = found.get("local")
    if local is None or whole < 1:
        return None
    return sum(local.grid.amounts()[:whole]) / (whole * step.total_seconds())
