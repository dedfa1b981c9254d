"""Scripts of a rollback, and of what proves that it helped."""

from hawkops.scripts.catalogue import Argument, Script, a_duration, a_word
from hawkops.scripts.entries.shared import ROLLBACK, TRACK, USER_METRICS, user_metrics

ALL = (
    Script(
        "scripts/rollback-app-version.sh",
        "Roll back the app version",
        "Halts a Play track. Devices keep the build they have: Play never downgrades.",
        ROLLBACK,
        arguments=(Argument("version", "previous, or a version code", a_word), TRACK),
        changes_anything=True,
        idempotent=False,
    ),
    Script(
        "scripts/verify-system-stability.sh",
        "System stability",
        "Every device keeps the rules since the last change; less than the time asked for is no data.",
        ROLLBACK,
        arguments=(Argument("duration", "how long it must have been stable, 30m say; it looks back", a_duration),),
        installation=True,
    ),
    Script(
        "scripts/check-performance-recovery.sh",
        "Performance recovery",
        "What alerts on performance watch holds again since the last change, and none of them is open.",
        ROLLBACK,
        installation=True,
    ),
    Script(
        "scripts/validate-user-experience.sh",
        "User experience",
        "What users say and do keeps the rules of the validation; a metric that nobody reports is listed, not passed.",
        ROLLBACK,
        arguments=(Argument("metrics", f"any of {', '.join(USER_METRICS)}", user_metrics),),
        installation=True,
    ),
)
