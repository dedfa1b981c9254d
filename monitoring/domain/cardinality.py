"""How many series an environment may have, and what a new one loses once there are too many. Pure.

What is there stays as it is. New series fold in steps, each dropping what matters less to a decision: first the device
class, then model and version, then errors' types, then variants that are neither treatment nor control, and those two
last of all. Beyond SERIES_HARD_MOST everything is folded that can be, so that only closed lists are left and growth ends.
"""

from monitoring.domain.arms import arm_of
from monitoring.domain.metrics import BUSINESS_PREFIX, COMMANDS, DECODE, INFERENCES, OPERATION, PREFILL

SERIES_MOST = 5_000
SERIES_HARD_MOST = 7_500
# from so many series on, these dimensions of a new one are folded too
STEPS = (
    (SERIES_MOST, ("device_class",)),
    (5_500, ("model", "app_version")),
    (6_000, ("outcome",)),
    (6_500, ("variant",)),
)
OTHER = "other"
# names below `business.` that teams declare; further ones are refused
BUSINESS_MOST = 100
CRASHES = "app.crashes"
# what criteria and charts tell apart; every other outcome is the type of an error
OUTCOMES: dict[str, frozenset[str]] = {
    # the model did not come up: the troubleshooting guide counts these
    INFERENCES: frozenset(("ok", "model_missing", "model_invalid", "model_load", "unavailable")),
    OPERATION: frozenset(("ok",)),
    PREFILL: frozenset(("burst", "sustained")),
    DECODE: frozenset(("burst", "sustained")),
    "litert.parity.checks": frozenset(("match", "mismatch")),
    "litert.model.validations": frozenset(("ok", "failed")),
    COMMANDS: frozenset(
        f"{command}_{end}" for command in ("model_redownload", "cache_clear") for end in ("done", "failed")
    ),
    CRASHES: frozenset(("event",)),
}


def fold(metric: str, said: dict[str, str], *, series: int) -> dict[str, str]:
    """Return the dimensions that a new series of a metric loses, with what they become, when there are that many.

    `said` holds class, version, model, variant and outcome. What was not said stays so until the hard limit: a series
    without outcome is one of successes.
    """
    if series >= SERIES_HARD_MOST:
        return _fold_everything(metric, said)
    lost: dict[str, str] = {}
    for most, dimensions in STEPS:
        if series < most:
            break
        lost.update({name: OTHER for name in dimensions if said[name] and not _stays(metric, name, said[name])})
    return lost


def _stays(metric: str, name: str, value: str) -> bool:
    if name == "outcome":
        return value in OUTCOMES.get(metric, ())
    if name == "variant":
        return arm_of(value) is not None
    # crash events of a version that counts its crashes itself must find it
    return name == "app_version" and metric == CRASHES


def _fold_everything(metric: str, said: dict[str, str]) -> dict[str, str]:
    lost = dict.fromkeys(("device_class", "app_version", "model", "variant"), OTHER)
    if said["outcome"] and not _stays(metric, "outcome", said["outcome"]):
        lost["outcome"] = OTHER
    if metric.startswith(BUSINESS_PREFIX):
        lost |= {"backend_requested": "", "backend_actual": ""}
    return lost
