"""What a switch explains: while LiteRT or a backend is off, its performance alerts tell nobody anything new.

What users get meanwhile stays loud: errors, crashes, wrong results, cloud fallback, and everything about security.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial

from hawkops.history import selectors as history
from monitoring.domain import metrics
from monitoring.domain.alerting import Kind, Look, Source
from monitoring.domain.criteria import Purpose
from monitoring.domain.health import AVAILABILITY
from monitoring.selectors.quieting import Quiet
from rollout.domain.flags import OFF
from rollout.selectors import flags
from rollout.services.flags import BACKENDS, LITERT

SWITCHING = frozenset({metrics.SWITCHES, metrics.SWITCH_DURATION})
# Cloud AI reports these too, and a criterion that counts it must be heard while everything runs there.
ALSO_IN_THE_CLOUD = frozenset({metrics.OPERATION, metrics.FIRST_TOKEN})
PERFORMANCE = ALSO_IN_THE_CLOUD | SWITCHING | {metrics.PREFILL, metrics.DECODE, metrics.MEMORY, metrics.MEMORY_PEAK}
LOCAL = frozenset({"cpu", "gpu", "npu"})


def switched_off(environment: str) -> Iterable[Quiet]:
    """Explain the alerts that follow from each switch that is off, and from a rollout that stands at nobody."""
    overridden = flags.overridden(environment)
    if flags.flag_percentages(environment).get(LITERT) == 0 and LITERT not in {flag.key for flag in overridden}:
        yield Quiet(f"{LITERT} is served to nobody", _of_nobody)
    for flag in overridden:
        if flag.override_variant == OFF and (covers := _COVERS.get(flag.key)):
            words = "is killed" if flag.key == LITERT else "is disabled"
            yield Quiet(f"{flag.key} {words}", covers, _entry(environment, flag.key, flag.override_at))


def _of_nobody(look: Look) -> bool:
    """Whether it misses inferences or readings that only devices with LiteRT make."""
    if look.source is Source.HEALTH:
        return look.key == f"health-{AVAILABILITY}" and look.kind is Kind.BREACH
    return look.of_treatment and look.kind is Kind.NO_DATA


def _of_litert(look: Look) -> bool:
    if _of_nobody(look):
        return True
    if look.metric in ALSO_IN_THE_CLOUD and not look.backends:
        return False
    return _performance(look) and LOCAL.issuperset(look.backends)


def _of_backend(backend: str, look: Look) -> bool:
    return _performance(look) and look.backends == (backend,)


def _of_switching(look: Look) -> bool:
    return _performance(look) and look.metric in SWITCHING


def _performance(look: Look) -> bool:
    return look.purpose is Purpose.ALERT and look.metric in PERFORMANCE


_COVERS: dict[str, Callable[[Look], bool]] = {
    LITERT: _of_litert,
    BACKENDS["gpu"]: partial(_of_backend, "gpu"),
    BACKENDS["npu"]: partial(_of_backend, "npu"),
    BACKENDS["adaptive"]: _of_switching,
}


def _entry(environment: str, key: str, since: datetime | None) -> int | None:
    """Return the entry that set a flag's override."""
    verbs = ("flag.killed", "flag.override_set")
    found = history.entries(environment=environment, verbs=verbs, since=since).filter(subject=f"flag:{key}")
    return found.order_by("seq").values_list("seq", flat=True).first()
