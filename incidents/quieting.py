"""What an emergency explains: while LiteRT is off, its performance alerts tell nobody anything new."""

from collections.abc import Iterable

from monitoring.selectors.quieting import Quiet
from rollout.selectors import flags
from rollout.services.flags import LITERT

LITERT_METRICS = ("litert.", "gen_ai.")


def kill_in_force(environment: str) -> Iterable[Quiet]:
    """Explain alerts on LiteRT's own metrics while the kill is in force."""
    for flag in flags.overridden(environment):
        if flag.key == LITERT and flag.override_variant == "off":
            yield Quiet(f"{LITERT} is killed", LITERT_METRICS)
