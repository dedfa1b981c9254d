"""The checks of monitoring, as `manage.py probe` and the programs of bin/ call them."""

from hawkops.scripts.checks.registry import Check, register
from monitoring.probes import backends, recovery, stack, validation
from monitoring.probes.lines import add_environment


def register_all() -> None:
    """Make them known; called once, when the app is ready."""
    for check in (
        Check("monitoring-stack", "what monitors is alive", stack.stack, add_environment),
        Check("system-health", "everything once, fast", stack.system_health, add_environment),
        Check("backend-performance", "which backend is affected", backends.backend_performance, add_environment),
        Check("backend-switching", "why backends switch", backends.switching, backends.switching_options),
        Check("system-stability", "calm since the last change", recovery.stability, recovery.stability_options),
        Check("performance-recovery", "what alerts watch holds again", recovery.recovery, add_environment),
        Check("user-experience", "what users say and do", recovery.experience, recovery.experience_options),
        Check("validate-performance", "promised numbers", validation.performance, validation.performance_options),
        Check("validate-users", "users' numbers", validation.users, validation.users_options),
        Check("validate-system", "the system's numbers", validation.system, validation.system_options),
    ):
        register(check)
