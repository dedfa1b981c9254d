"""The checks of the ground floor."""

from hawkops.scripts.checks import audit, compliance, encryption, evidence, notifying, security, smoke
from hawkops.scripts.checks.registry import Check, register


def register_all() -> None:
    """Make them known; called once, when the app is ready."""
    for check in (
        Check("encryption", "connections, stored secrets, keys", encryption.encryption, encryption.options),
        Check("audit-trails", "the change history", audit.audit_trails, audit.options),
        Check("compliance", "controls of SOC 2 and GDPR", compliance.compliance, compliance.options),
        Check("security-evidence", "an archive for an incident", evidence.evidence_collect, evidence.options),
        Check("notify-security", "tell the security team", notifying.security_team_notify, notifying.options),
        Check("security-stack", "apply keys, signature, rights", security.stack_deploy, security.options),
        Check("security-configuration", "compare with what was applied", security.configuration_validate),
        Check("smoke", "pages, doors and flags", smoke.smoke, smoke.options),
    ):
        register(check)
