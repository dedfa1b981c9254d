"""The checks of the rollout, as `manage.py probe` and the programs of bin/ call them."""

from hawkops.scripts.checks.registry import Check, register
from rollout.probes import report


def register_all() -> None:
    """Make them known; called once, when the app is ready."""
    register(Check("validation-report", "every line as one page", report.report_write, report.report_options))
