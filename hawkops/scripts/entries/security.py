"""Scripts of security and compliance."""

from hawkops.scripts.catalogue import Argument, Measurement, Script, a_word
from hawkops.scripts.entries.shared import ENVIRONMENT, SECURITY, SEVERITIES, STANDARDS, a_severity, a_standard

ALL = (
    Script(
        "scripts/validate-model-integrity.sh",
        "Model integrity",
        "The model is what its author signed. Without a public key nothing is proven: no data.",
        SECURITY,
        arguments=(ENVIRONMENT,),
    ),
    Script(
        "scripts/verify-encryption.sh",
        "Encryption",
        "Every connection, stored secret and key as it really is; what can't be known is no data.",
        SECURITY,
        arguments=(Argument("check-all-components", "disks, models and devices too", switch=True),),
        installation=True,
    ),
    Script(
        "scripts/validate-audit-trails.sh",
        "Audit trails",
        "The history verifies, has no silence above a minute, and the database refuses to alter it.",
        SECURITY,
        (Measurement("audit_log_gaps", "Longest gap", "s"),),
        (Argument("last-24h", "look for gaps in the last 24 hours only", switch=True),),
        installation=True,
    ),
    Script(
        "scripts/run-compliance-checks.sh",
        "Compliance",
        "Controls of SOC 2 and GDPR judged by evidence; the ones HawkOps can't know are listed as such.",
        SECURITY,
        arguments=(Argument("standard", "which standard", a_standard, choices=STANDARDS, required=True, many=True),),
        installation=True,
    ),
    Script(
        "scripts/collect-security-evidence.sh",
        "Collect evidence",
        "History, runs, logs and configuration in one archive, hashed and signed.",
        SECURITY,
        arguments=(Argument("incident-id", "the incident it belongs to", a_word, required=True),),
        installation=True,
    ),
    Script(
        "scripts/notify-security-team.sh",
        "Notify the security team",
        "Webhook and e-mail, and the receipts of its channels for the news of a lockdown; without any it is no data.",
        SECURITY,
        arguments=(
            Argument("severity", "how grave", a_severity, choices=SEVERITIES, required=True),
            Argument("type", "what happened, litert_incident say", a_word, required=True),
        ),
        installation=True,
    ),
)
