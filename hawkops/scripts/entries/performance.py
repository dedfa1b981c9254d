"""Scripts that measure LiteRT itself: the code quality gates and the performance validation."""

from hawkops.scripts.catalogue import Argument, Script, a_duration
from hawkops.scripts.entries.shared import (
    BENCHMARK,
    DEVICE,
    ENVIRONMENT,
    FALLBACK,
    GATES,
    MEMORY,
    PERFORMANCE,
    PREFILL,
    SWITCH,
)

# Pushing a model of some gigabytes to a device, and running it there several times, takes its time.
ON_DEVICE = 1800

GATE = (
    Script(
        "run_litert_performance_tests.sh",
        "LiteRT performance tests",
        "Six results: CPU, GPU, NPU, memory, switching, fallback. Passes when every declared one keeps its limit.",
        GATES,
        (PREFILL, MEMORY, SWITCH, FALLBACK),
        (ENVIRONMENT, Argument("duration", "how long to measure, 60m say; without it one pass", a_duration), DEVICE),
        timeout_seconds=3 * ON_DEVICE,
        lasts=True,
        concurrency=BENCHMARK,
    ),
    Script(
        "run_comprehensive_ai_tests.sh",
        "Comprehensive AI tests",
        "Every AI workflow, error handling and graceful degradation, each provoked for real on this host.",
        GATES,
        (FALLBACK,),
        concurrency=BENCHMARK,
    ),
    Script(
        "verify_android_security.sh",
        "Android security",
        "Model validation, encryption and audit trail, each by its own script.",
        GATES,
        installation=True,
    ),
)

ALL = (
    Script(
        "scripts/test-cpu-performance.sh",
        "CPU throughput",
        "Prefill tokens per second on the CPU; at least 243.",
        PERFORMANCE,
        (PREFILL,),
        (DEVICE,),
        timeout_seconds=ON_DEVICE,
        concurrency=BENCHMARK,
    ),
    Script(
        "scripts/test-gpu-performance.sh",
        "GPU throughput",
        "Prefill tokens per second on a real GPU; at least 1\u202f876. No GPU is no data, never a pass.",
        PERFORMANCE,
        (PREFILL,),
        (DEVICE,),
        timeout_seconds=ON_DEVICE,
        concurrency=BENCHMARK,
    ),
    Script(
        "scripts/test-npu-performance.sh",
        "NPU throughput",
        "Prefill tokens per second on a real NPU; at least 5\u202f836. LiteRT's silent run on the CPU is no data.",
        PERFORMANCE,
        (PREFILL,),
        (DEVICE,),
        timeout_seconds=ON_DEVICE,
        concurrency=BENCHMARK,
    ),
    Script(
        "scripts/test-memory-usage.sh",
        "Memory",
        "Peak memory of an inference in MB (10⁶ bytes); at most 2\u202f000.",
        PERFORMANCE,
        (MEMORY,),
        (DEVICE,),
        timeout_seconds=ON_DEVICE,
        concurrency=BENCHMARK,
    ),
    Script(
        "scripts/test-backend-switching.sh",
        "Backend switching",
        "Mean time of a switch to its first token in ms; at most 500.",
        PERFORMANCE,
        (SWITCH,),
        (DEVICE,),
        timeout_seconds=ON_DEVICE,
        concurrency=BENCHMARK,
    ),
    Script(
        "scripts/performance-validation-suite.sh",
        "Performance validation suite",
        "CPU, GPU, memory and switching in the runbook's order; stops at the first failure with its number.",
        PERFORMANCE,
        (PREFILL, MEMORY, SWITCH),
        (DEVICE,),
        timeout_seconds=3 * ON_DEVICE,
        concurrency=BENCHMARK,
    ),
)
