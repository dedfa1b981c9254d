"""Scripts of the post-deployment validation, in its order."""

from hawkops.scripts.catalogue import Argument, Script, a_duration
from hawkops.scripts.entries.shared import VALIDATION, a_report, a_threshold_file

ALL = (
    Script(
        "scripts/validate-performance-metrics.sh",
        "Performance metrics",
        "Throughput, memory, latency and switch time over 48 hours, by a threshold file when one is named.",
        VALIDATION,
        arguments=(
            Argument("threshold-file", "production-thresholds.yaml say; without it the stored rules", a_threshold_file),
        ),
        installation=True,
    ),
    Script(
        "scripts/validate-user-metrics.sh",
        "User metrics",
        "Task completion, session duration, crashes and satisfaction.",
        VALIDATION,
        arguments=(Argument("duration", "how far back it looks, 48h say", a_duration),),
        installation=True,
    ),
    Script(
        "scripts/validate-system-health.sh",
        "System health metrics",
        "API response, error rate, tickets and resources; comprehensively also health checks, security and critical alerts.",
        VALIDATION,
        arguments=(
            Argument("comprehensive", "health checks, security metrics and critical alerts as well", switch=True),
        ),
        installation=True,
    ),
    Script(
        "scripts/generate-validation-report.sh",
        "Validation report",
        "Every line of the validation as one HTML page with its JSON, kept with the run; ends as what stands in it.",
        VALIDATION,
        arguments=(Argument("output", "the page's name, validation-report-20260101.html say, or .json", a_report),),
        installation=True,
    ),
    Script(
        "scripts/post-deployment-validation.sh",
        "Post-deployment validation",
        "Performance, users, system and the report, in the runbook's order; every step runs, and all must pass.",
        VALIDATION,
        installation=True,
        timeout_seconds=900,
    ),
)
