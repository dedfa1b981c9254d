"""After a rollback: which checks say whether it helped, when they are due, and how they ended."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from hawkops.core import clock
from hawkops.scripts import selectors as scripts
from hawkops.scripts.models import Run
from monitoring.selectors.sections import rules
from rollout.domain.lines import RolledBack
from rollout.selectors.decision import drill_reasons, rolled_back
from rollout.selectors.releases import release_running

# as the runbook writes them; `{stable}` is how long the system must have been stable
CHECKS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("scripts/verify-system-stability.sh", "System stability", {"duration": "{stable}"}),
    ("scripts/check-performance-recovery.sh", "Performance recovery", {}),
    ("scripts/validate-user-experience.sh", "User experience", {"metrics": "satisfaction,engagement"}),
)
# an older rollback that nobody checked is past: what is measured now says nothing of it
KEPT = timedelta(days=1)


@dataclass(frozen=True)
class Check:
    """One check of a recovery; `run` is what it ran as, None before it was asked."""

    script: str
    title: str
    arguments: dict[str, str]
    run: Run | None


@dataclass(frozen=True)
class Recovery:
    """The newest rollback of an environment with its checks, which look at the time until `due_at`."""

    rollback: RolledBack
    due_at: datetime
    checks: tuple[Check, ...]

    @property
    def due(self) -> bool:
        """Whether the time that the checks look at has passed."""
        return clock.now() >= self.due_at

    @property
    def passed(self) -> bool:
        """Whether it has helped: every check passed."""
        return all(one.run is not None and one.run.state == "passed" for one in self.checks)


def recovery(environment: str) -> Recovery | None:
    """Return how far the newest rollback of the last day has helped; None without one. A handful of queries."""
    now = clock.now()
    release = release_running(environment)
    drills = drill_reasons(release) if release is not None else set()
    found = rolled_back(environment, now - KEPT, now, drills=drills)
    if not found:
        return None
    stable = rules().stable_for
    due_at = found[-1].at + stable
    ran = scripts.runs_latest(environment)
    minutes = f"{int(stable.total_seconds() // 60)}m"
    checks = []
    for script, title, arguments in CHECKS:
        last = ran.get(script)
        given = {name: value.format(stable=minutes) for name, value in arguments.items()}
        checks.append(Check(script, title, given, last if last is not None and last.requested_at >= due_at else None))
    return Recovery(found[-1], due_at, tuple(checks))
