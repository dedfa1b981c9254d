"""What entries share: groups, measurements, and arguments with their checks."""

import re

from hawkops.core.environments import Environment
from hawkops.core.errors import InvalidInput
from hawkops.scripts.catalogue import Argument, Measurement, a_word, an_environment

# What keeps this host busy has it for itself: two at once would measure each other.
BENCHMARK = "benchmark"

PREFILL = Measurement("litert.prefill.throughput", "Prefill throughput", "tok/s")
MEMORY = Measurement("litert.memory.peak", "Peak memory", "MB", 1e-6)
MEMORY_USAGE = Measurement("litert.memory.usage", "Memory", "MB", 1e-6)
GROWTH = Measurement("litert.memory.growth", "Memory growth", "MB/h", 1e-6)
SWITCH = Measurement("litert.backend.switch.duration", "Switch time", "ms", 1e3)
FALLBACK = Measurement("litert.fallback.duration", "Fallback latency", "s")
FREE = Measurement("device.storage.free", "Free space", "GB", 1e-9)

GATES, PERFORMANCE = "Code quality gates", "Performance validation"
SECURITY, TROUBLE, DEPLOYMENT, ROLLBACK = "Security and compliance", "Troubleshooting", "Deployment", "Rollback"
EMERGENCY, VALIDATION = "Performance degradation", "Post-deployment validation"
STANDARDS, SEVERITIES = ("SOC2", "GDPR"), ("low", "medium", "high", "critical")
USER_METRICS = ("satisfaction", "engagement", "sessions", "tasks", "crashes", "tickets")

ENVIRONMENT = Argument("environment", "whose devices it speaks of", an_environment, choices=tuple(Environment))


def a_standard(text: str) -> str:
    """Accept a standard of the catalogue of controls."""
    if text not in STANDARDS:
        raise InvalidInput(f"{text!r} is no standard in the catalogue; use {' or '.join(STANDARDS)}.")
    return text


def a_severity(text: str) -> str:
    """Accept how grave something is."""
    if text not in SEVERITIES:
        raise InvalidInput(f"{text!r} is no severity; use {', '.join(SEVERITIES)}.")
    return text


def a_component(text: str) -> str:
    """Accept a component that can be watched."""
    if text != "litert":
        raise InvalidInput(f"{text!r} is no component that can be watched here; use litert.")
    return text


def user_metrics(text: str) -> str:
    """Accept metrics of users, separated by commas."""
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in USER_METRICS]:
        raise InvalidInput(f"{unknown[0]!r} is no metric of users; there are {', '.join(USER_METRICS)}.")
    return ",".join(names)


def a_device(text: str) -> str:
    """Accept the serial of a device as `adb devices` lists it (an address with a port, too), or `host`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,99}", text):
        raise InvalidInput(f"{text!r} is no serial of a device; write it as adb devices lists it, or host.")
    return text


def a_threshold_file(text: str) -> str:
    """Accept the name of a threshold file: it is looked up beside the installed one."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.ya?ml", text):
        raise InvalidInput(f"{text!r} is no name of a threshold file, production-thresholds.yaml say.")
    return text


def a_report(text: str) -> str:
    """Accept the name of a report: a run keeps it with itself, and adds what it is of."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.(html?|json)", text):
        raise InvalidInput(
            f"{text!r} is no name of a report, validation-report-20260101.html say; .json gives JSON alone."
        )
    return text


TRACK = Argument("track", "internal, alpha, beta or production", a_word)
DEVICE = Argument("device", "serial of a device, or host; else the only one attached, else this host", a_device)
