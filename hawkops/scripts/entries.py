"""Every script of the runbook that works here, in the runbook's order of use."""

import re

from hawkops.core.environments import Environment
from hawkops.core.errors import InvalidInput, NotFound
from hawkops.scripts.catalogue import Argument, Measurement, Script, a_duration, an_environment

PREFILL = Measurement("litert.prefill.throughput", "Prefill throughput", "tok/s")
MEMORY = Measurement("litert.memory.peak", "Peak memory", "MB", 1e-6)
MEMORY_USAGE = Measurement("litert.memory.usage", "Memory", "MB", 1e-6)
GROWTH = Measurement("litert.memory.growth", "Memory growth", "MB/h", 1e-6)
SWITCH = Measurement("litert.backend.switch.duration", "Switch time", "ms", 1e3)
FALLBACK = Measurement("litert.fallback.duration", "Fallback latency", "s")
FREE = Measurement("device.storage.free", "Free space", "GB", 1e-9)

GATES, PERFORMANCE = "Code quality gates", "Performance validation"
STANDARDS, SEVERITIES = ("SOC2", "GDPR"), ("low", "medium", "high", "critical")
SECURITY, TROUBLE, DEPLOYMENT, ROLLBACK = "Security and compliance", "Troubleshooting", "Deployment", "Rollback"

# What measures this host has it for itself: two at once would measure each other.
BENCHMARK = "benchmark"
ENVIRONMENT = Argument("environment", "whose devices it speaks of", an_environment, choices=tuple(Environment))


def _word(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise InvalidInput(f"{text!r} is no name: letters, digits, dots and dashes, 64 at most.")
    return text


def _standard(text: str) -> str:
    if text not in STANDARDS:
        raise InvalidInput(f"{text!r} is no standard in the catalogue; use {' or '.join(STANDARDS)}.")
    return text


def _severity(text: str) -> str:
    if text not in SEVERITIES:
        raise InvalidInput(f"{text!r} is no severity; use {', '.join(SEVERITIES)}.")
    return text


def _component(text: str) -> str:

    if text != "litert":
        raise InvalidInput(f"{text!r} is no component that can be watched here; use litert.")
    return text


TRACK = Argument("track", "internal, alpha, beta or production", _word)

_ALL = (
    Script(
        "run_litert_performance_tests.sh",
        "LiteRT performance tests",
        "Six results: CPU, GPU, NPU, memory, switching, fallback. Passes when every declared one keeps its limit.",
        GATES,
        (PREFILL, MEMORY, SWITCH, FALLBACK),
        (ENVIRONMENT, Argument("duration", "how long to measure, 60m say; without it one pass", a_duration)),
        timeout_seconds=900,
        lasts=True,
        concurrency=BENCHMARK,
    ),
    Script(
        "run_comprehensive_ai_tests.sh",
        "Comprehensive AI tests",
        "Every AI workflow, error handling and graceful degradation, each provoked for real on this host.",
        GATES,
        (FALLBACK,),
    ),
    Script(
        "verify_android_security.sh",
        "Android security",
        "Model validation, encryption and audit trail, each by its own script.",
        GATES,
        installation=True,
    ),
    Script(
        "scripts/deploy-security-stack.sh",
        "Deploy the security stack",
        "Makes signing keys, signs the model, tightens rights, and writes down what was applied. Safe to repeat.",
        DEPLOYMENT,
        changes_anything=True,
        installation=True,
    ),
    Script(
        "scripts/validate-security-config.sh",
        "Security configuration",
        "What is, compared with what was applied: policies, keys, model, rights.",
        DEPLOYMENT,
        installation=True,
    ),
    Script(
        "scripts/deploy-to-play-store.sh",
        "Deploy to Play",
        "Releases the app bundle on a track, the track's other releases untouched. Without credentials no data.",
        DEPLOYMENT,
        arguments=(TRACK,),
        changes_anything=True,
        idempotent=False,
        timeout_seconds=1200,
    ),
    Script(
        "scripts/production-smoke-tests.sh",
        "Smoke tests",
        "Pages, doors and flags answer a person, a stranger and a device as they should.",
        DEPLOYMENT,
        arguments=(ENVIRONMENT,),
        installation=True,
    ),
    Script(
        "scripts/verify-core-ai.sh",
        "Core AI",
        "Cloud AI and the local model each answer one request.",
        DEPLOYMENT,
        (FALLBACK,),
    ),
    Script(
        "scripts/test-cpu-performance.sh",
        "CPU throughput",
        "Prefill tokens per second on the CPU; at least 243.",
        PERFORMANCE,
        (PREFILL,),
        concurrency=BENCHMARK,
    ),
    Script(
        "scripts/test-gpu-performance.sh",
        "GPU throughput",
        "Prefill tokens per second on a real GPU; at least 1\u202f876. No GPU is no data, never a pass.",
        PERFORMANCE,
        (PREFILL,),
        concurrency=BENCHMARK,
    ),
    Script(
        "scripts/test-npu-performance.sh",
        "NPU throughput",
        "Prefill tokens per second on a real NPU; at least 5\u202f836. LiteRT's silent run on the CPU is no data.",
        PERFORMANCE,
        (PREFILL,),
        concurrency=BENCHMARK,
    ),
    Script(
        "scripts/test-memory-usage.sh",
        "Memory",
        "Peak memory of an inference in MB (10⁶ bytes); at most 2\u202f000.",
        PERFORMANCE,
        (MEMORY,),
        concurrency=BENCHMARK,
    ),
    Script(
        "scripts/test-backend-switching.sh",
        "Backend switching",
        "Mean time of a switch to its first token in ms; at most 500.",
        PERFORMANCE,
        (SWITCH,),
        concurrency=BENCHMARK,
    ),
    Script(
        "scripts/performance-validation-suite.sh",
        "Performance validation suite",
        "CPU, GPU, memory and switching in the runbook's order; stops at the first failure with its number.",
        PERFORMANCE,
        (PREFILL, MEMORY, SWITCH),
        concurrency=BENCHMARK,
    ),
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
        arguments=(Argument("standard", "which standard", _standard, choices=STANDARDS, required=True, many=True),),
        installation=True,
    ),
    Script(
        "scripts/collect-security-evidence.sh",
        "Collect evidence",
        "History, runs, logs and configuration in one archive, hashed and signed.",
        SECURITY,
        arguments=(Argument("incident-id", "the incident it belongs to", _word, required=True),),
        installation=True,
        idempotent=False,
    ),
    Script(
        "scripts/notify-security-team.sh",
        "Notify the security team",
        "Webhook and e-mail, each with its receipt; without a channel it is no data.",
        SECURITY,
        arguments=(
            Argument("severity", "how grave", _severity, choices=SEVERITIES, required=True),
            Argument("type", "what happened, litert_incident say", _word, required=True),
        ),
        installation=True,
        idempotent=False,
    ),
    Script(
        "scripts/rollback-app-version.sh",
        "Roll back the app version",
        "Halts a Play track. Devices keep the build they have: Play never downgrades.",
        ROLLBACK,
        arguments=(Argument("version", "previous, or a version code", _word), TRACK),
        changes_anything=True,
        idempotent=False,
    ),
    Script(
        "scripts/check-model-integrity.sh",
        "Model files",
        "Each model file is there, whole, of its kind, and signed.",
        TROUBLE,
    ),
    Script(
        "scripts/check-storage-permissions.sh",
        "Storage",
        "The app reads its models and writes its data, nobody else does, and there is room.",
        TROUBLE,
        (FREE,),
    ),
    Script(
        "scripts/redownload-models.sh",
        "Download models anew",
        "Fetches the model from MODEL_URL; only a proven one takes the old one's place.",
        TROUBLE,
        arguments=(Argument("verify-integrity", "verify the signature before anything is replaced", switch=True),),
        changes_anything=True,
        timeout_seconds=1800,
    ),
    Script(
        "scripts/clear-model-cache.sh",
        "Clear the model cache",
        "Moves what LiteRT cached beside the model into quarantine; nothing is deleted.",
        TROUBLE,
        arguments=(Argument("force", "do it; without this it only counts", switch=True),),
        changes_anything=True,
    ),
    Script(
        "scripts/monitor-memory-usage.sh",
        "Watch memory",
        "Memory of real inferences over a while: below 1.8 GB on average, below 2 GB at its peak.",
        TROUBLE,
        (MEMORY_USAGE,),
        (Argument("duration", "how long to watch, 10m say; without it a minute", a_duration),),
        lasts=True,
    ),
    Script(
        "scripts/check-memory-leaks.sh",
        "Memory leaks",
        "Memory does not grow with inferences: a proven growth above 10 MB per hour fails.",
        TROUBLE,
        (GROWTH,),
        (Argument("component", "what to watch", _component, choices=("litert",)),),
    ),
    Script(
        "scripts/check-gpu-drivers.sh",
        "GPU driver",
        "Names the GPU and its driver, on the device or on this host. A software adapter is no GPU.",
        TROUBLE,
        (PREFILL,),
    ),
    Script(
        "scripts/check-gpu-memory.sh",
        "GPU memory",
        "How much memory the GPU has in use, on the device or on this host.",
        TROUBLE,
    ),
)

CATALOGUE: dict[str, Script] = {script.name: script for script in _ALL}


def script(name: str) -> Script:
    """Return a catalogue entry. Raises NotFound."""
    try:
        return CATALOGUE[name]
    except KeyError:
        raise NotFound(f"There is no script {name!r} in the catalogue.") from None
