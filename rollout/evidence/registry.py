"""Every check by the name that the runbook's data uses. To add one: write a function, name it here and in the data."""

from datetime import timedelta

from rollout.evidence import (
    assignment,
    chain,
    cloud,
    crashes,
    endpoints,
    experiments,
    flags,
    loglines,
    runs,
    scans,
    targets,
    telemetry,
    validated,
)
from rollout.evidence.shape import Check

CHECKS: dict[str, Check] = {
    "backends_tested": Check(runs.backends_tested),
    "memory_limit": Check(runs.memory_limit),
    "backend_switching": Check(runs.backend_switching),
    "performance_tests": Check(runs.performance_tests),
    "script_passed": Check(runs.script_passed),
    "model_script_passed": Check(runs.model_script_passed),
    "security_scan": Check(scans.security_scan),
    "cloud_fallback": Check(cloud.cloud_fallback, every=timedelta(minutes=10)),
    "log_aggregation": Check(loglines.log_aggregation, every=timedelta(minutes=10)),
    "alert_endpoints": Check(endpoints.alert_endpoints),
    "audit_logging": Check(chain.audit_logging),
    "metrics_collection": Check(telemetry.metrics_collection),
    "crash_reporting": Check(crashes.crash_reporting),
    "targets_validated": Check(targets.targets_validated),
    "criteria_met": Check(validated.criteria_met, every=timedelta(minutes=5)),
    "concluding_script": Check(validated.concluding_script),
    "flags_at_zero": Check(flags.flags_at_zero),
    "kill_switches": Check(flags.kill_switches),
    "ab_framework": Check(experiments.ab_framework),
    "hash_assignment": Check(assignment.hash_assignment, every=timedelta(minutes=10)),
}
