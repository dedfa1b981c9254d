"""The rollout's part of the REST API: one router a noun. What stands in `ROUTERS` is mounted and tested by that."""

from rollout.api import (
    advance,
    census,
    decision,
    drills,
    experiments,
    flags,
    groups,
    lockdown,
    own_flags,
    phases,
    procedure,
    proposals,
    releases,
    scans,
)

ROUTERS = (
    flags.router,
    lockdown.router,
    own_flags.router,
    experiments.router,
    groups.router,
    releases.router,
    scans.router,
    procedure.router,
    advance.router,
    census.router,
    drills.router,
    phases.router,
    decision.router,
    proposals.router,
)
