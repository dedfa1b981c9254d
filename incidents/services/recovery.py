"""The checks after a rollback, whoever or whatever rolled back: asked by themselves, once."""

import logging

from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor
from hawkops.scripts.services import run_request
from incidents.selectors.recovery import recovery

log = logging.getLogger(__name__)
RULE = Actor.rule("recovery")


def recoveries_due() -> int:
    """Ask for the checks whose time has come, in every environment; return how many runs were asked for.

    A newer rollback begins the time anew. What was run by hand since then is not run again.
    """
    asked = 0
    for environment in Environment:
        found = recovery(environment.value)
        if found is None or not found.due:
            continue
        for one in found.checks:
            if one.run is not None:
                continue
            try:
                run_request(
                    environment=environment.value,
                    name=one.script,
                    arguments=one.arguments,
                    actor=RULE,
                    cause=found.rollback.entry or None,
                )
            except HawkOpsError as error:  # the others are asked all the same, and this one again in a minute
                log.error("recovery.refused", extra={"script": one.script, "why": error.message})
            else:
                asked += 1
    return asked
