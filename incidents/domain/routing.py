"""What is told where: a table, first match wins. The rows are data that administrators edit; DEFAULT seeds them."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from monitoring.domain.criteria import Severity


class Topic(StrEnum):
    """What a channel is for. The runbook names a Slack channel for each."""

    INCIDENTS = "incidents"
    DEPLOYMENTS = "deployments"
    SECURITY = "security"
    ENGINEERING = "engineering"

    @property
    def runbook(self) -> str:
        """The runbook's channel."""
        return _RUNBOOK[self]

    @property
    def holds(self) -> str:
        """What it brings, in words."""
        return _HOLDS[self]


_RUNBOOK = {
    Topic.INCIDENTS: "#production-incidents",
    Topic.DEPLOYMENTS: "#deployments",
    Topic.SECURITY: "#security-alerts",
    Topic.ENGINEERING: "#engineering",
}
_HOLDS = {
    Topic.INCIDENTS: "critical alerts, kills, overrides, guardrails, rollbacks",
    Topic.DEPLOYMENTS: "releases, phases, app moves",
    Topic.SECURITY: "security metrics, lockdown",
    Topic.ENGINEERING: "other alerts, approvals that wait, the rest",
}


@dataclass(frozen=True)
class Route:
    """One row. `verb` and `about` are patterns (`alert.*`); no topic tells nobody; no severity keeps what it has."""

    verb: str
    about: str = "*"
    of_severity: Severity | None = None
    topic: Topic | None = None
    severity: Severity | None = None

    def matches(self, *, verb: str, about: str, severity: Severity) -> bool:
        """Whether it is about this."""
        if not fnmatchcase(verb, self.verb) or not fnmatchcase(about, self.about or "*"):
            return False
        return self.of_severity in (None, severity)


def route_of(
    routes: Iterable[Route], *, verb: str, about: str, severity: Severity
) -> tuple[Topic, Severity] | None:  # fmt: skip
    """Return where it goes and how grave it is; None when nobody is told."""
    for route in routes:
        if route.matches(verb=verb, about=about, severity=severity):
            return (route.topic, route.severity or severity) if route.topic else None
    return None


CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
DEFAULT: tuple[Route, ...] = (
    Route("alert.*", "security", topic=Topic.SECURITY),
    Route("alert.*", of_severity=CRITICAL, topic=Topic.INCIDENTS),
    Route("alert.*", topic=Topic.ENGINEERING),
    Route("lockdown.*", topic=Topic.SECURITY, severity=CRITICAL),
    Route("break_glass.*", topic=Topic.SECURITY, severity=CRITICAL),
    Route("phone.used", topic=Topic.SECURITY, severity=WARNING),
    Route("phone.refused", topic=Topic.SECURITY, severity=WARNING),
    Route("incident.*", topic=Topic.INCIDENTS),
    Route("escalation.step_late", topic=Topic.INCIDENTS, severity=CRITICAL),
    Route("escalation.step_missing", topic=Topic.INCIDENTS, severity=CRITICAL),
    Route("escalation.restored", topic=Topic.INCIDENTS, severity=CRITICAL),
    Route("rotation.gap_found", topic=Topic.ENGINEERING, severity=WARNING),
    Route("swap.*", topic=Topic.ENGINEERING, severity=INFO),
    Route("flag.killed", "drill", topic=Topic.DEPLOYMENTS, severity=INFO),
    Route("flag.killed", topic=Topic.INCIDENTS, severity=CRITICAL),
    Route("flag.override_*", "drill", topic=Topic.DEPLOYMENTS, severity=INFO),
    Route("flag.override_*", topic=Topic.INCIDENTS, severity=WARNING),
    Route("flag.drill*", topic=Topic.DEPLOYMENTS, severity=INFO),
    Route("flag.reenabled", "drill", topic=Topic.DEPLOYMENTS, severity=INFO),
    Route("flag.reenabled", topic=Topic.INCIDENTS, severity=WARNING),
    Route("kill_clock.missed", topic=Topic.INCIDENTS, severity=WARNING),
    Route("guardrail.*", topic=Topic.INCIDENTS),
    Route("rollback.*", topic=Topic.INCIDENTS, severity=WARNING),
    Route("phase.*", topic=Topic.DEPLOYMENTS),
    Route("decision.*", topic=Topic.DEPLOYMENTS),
    Route("release.commented", topic=None),
    Route("release.*", topic=Topic.DEPLOYMENTS),
    Route("run.finished", "*deploy-to-play-store*", topic=Topic.DEPLOYMENTS),
    Route("run.finished", "*rollback-app-version*", topic=Topic.DEPLOYMENTS, severity=WARNING),
    Route("proposal.made", topic=Topic.ENGINEERING, severity=WARNING),
    Route("proposal.*", topic=Topic.ENGINEERING, severity=INFO),
    Route("freeze.*", topic=Topic.ENGINEERING, severity=INFO),
    Route("notification.failed", topic=Topic.ENGINEERING, severity=WARNING),
    Route("notification.recovered", topic=Topic.ENGINEERING, severity=INFO),
)
