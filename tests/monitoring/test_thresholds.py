"""The threshold file against the runbook's own words: every number in them stands in it, as what it was meant to be."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hawkops.core.errors import InvalidInput
from monitoring import thresholds
from monitoring.domain import criteria as domain
from monitoring.domain import thresholds as sections
from monitoring.domain.arms import Arm
from monitoring.domain.criteria import Aggregate, Comparator, Criterion, Purpose, Severity

TEXT = Path(__file__).with_name("runbook-numbers.md").read_text(encoding="utf-8")
FOUND = {one.key: one for one in thresholds.load()}
SECTIONS = thresholds.load_sections()
FLOORS = thresholds.load_profiles()[0].throughput
# numbers that are no threshold: names, phases' percentages and durations (data of the rollout), percentiles, code
NO_NUMBER = re.compile(r"^(#|featureFlag|```|\./|\d\. |\*\*Duration|// )|^\*\*Target|^Track these metrics")

P95, P5, MEAN, MAX, RATIO, COUNT = (
    Aggregate.P95, Aggregate.P5, Aggregate.MEAN, Aggregate.MAX, Aggregate.RATIO, Aggregate.COUNT,
)  # fmt: skip
PER, TIMES, CHANGE, RANGE = Aggregate.PER_DEVICE, Aggregate.TIMES, Aggregate.CHANGE, Aggregate.RANGE
M5, H1, H24, H48 = (timedelta(minutes=5), *(timedelta(hours=n) for n in (1, 24, 48)))
WARN, CRIT = Severity.WARNING, Severity.CRITICAL
ALERT, GATE, PHASE, VALID, SECURE, GO = Purpose

# the runbook's line → the rules that hold its number: key, number in the metric's unit, aggregate, window, severity
LINES: dict[str, list[tuple[str, float, Aggregate, timedelta, Severity]]] = {
    "threshold: 5000ms": [("alert-latency", 5.0, P95, M5, WARN)],
    "threshold: 1800MB": [("alert-memory", 1.8e9, MAX, M5, CRIT)],
    "cpu_min: 243": [("alert-cpu-throughput", 243, P5, M5, WARN)],
    "gpu_min: 1876": [("alert-gpu-throughput", 1876, P5, M5, WARN)],
    "npu_min: 5836": [("alert-npu-throughput", 5836, P5, M5, WARN)],
    "threshold: 10_per_hour": [("alert-switches", 10, PER, H1, WARN), ("phase-switching", 10, PER, H1, WARN)],
    "- CPU: ≥243 tokens/sec": [("gate-cpu", 243, P5, H24, WARN)],
    "- GPU: ≥1876 tokens/sec (where available)": [("gate-gpu", 1876, P5, H24, WARN)],
    "- NPU: ≥5836 tokens/sec (where available)": [("gate-npu", 5836, P5, H24, WARN)],
    "- Memory: <2GB peak usage": [("gate-memory-peak", 2e9, MAX, H24, WARN), ("phase-memory", 2e9, MAX, H48, CRIT)],
    "# ✅ CPU Backend: 243+ tokens/sec": [("gate-cpu", 243, P5, H24, WARN)],
    "# ✅ GPU Backend: 1876+ tokens/sec (where available)": [("gate-gpu", 1876, P5, H24, WARN)],
    "# ✅ NPU Backend: 5836+ tokens/sec (where available)": [("gate-npu", 5836, P5, H24, WARN)],
    "# ✅ Memory Usage: <2GB peak": [("gate-memory-peak", 2e9, MAX, H24, WARN)],
    "# ✅ Backend Switching: <500ms": [("gate-switch-time", 0.5, MEAN, H24, WARN)],
    "# ✅ Fallback Latency: <2s": [("gate-fallback", 2, P95, H24, WARN), ("alert-fallback", 2, P95, 3 * M5, WARN)],
    "- Error rate <1%": [("phase-error-rate", 0.01, RATIO, H48, WARN), ("alert-error-rate", 0.01, RATIO, M5, WARN)],
    "- 3x+ performance improvement confirmed": [("phase-3x", 3, TIMES, H48, WARN)],
    "threshold: 5_per_hour": [
        ("security-model-validations", 5, COUNT, H1, CRIT),
        ("phase-model-validations", 5, COUNT, H1, CRIT),
        ("decision-model-validations", 5, COUNT, H1, CRIT),
    ],
    "threshold: 1_per_day": [("security-encryption", 1, COUNT, H24, CRIT)],
    "threshold: 1_minute": [
        ("security-audit-gaps", 60, MAX, 2 * M5, CRIT),
        ("decision-audit-gaps", 60, MAX, H48, CRIT),
    ],
    "threshold: 1_occurrence": [("security-suspicious", 1, COUNT, H24, WARN)],
    "- [ ] **CPU Performance**: ≥243 tokens/sec (95th percentile)": [
        ("validation-cpu", 243, P5, H48, WARN),
        ("decision-throughput", 243, P5, H48, WARN),
    ],
    "- [ ] **GPU Performance**: ≥1876 tokens/sec where available": [("validation-gpu", 1876, P5, H48, WARN)],
    "- [ ] **Memory Usage**: <1.8GB average, <2GB peak": [
        ("validation-memory-average", 1.8e9, MEAN, H48, WARN),
        ("validation-memory-peak", 2e9, MAX, H48, WARN),
        ("decision-memory-average", 1.8e9, MEAN, H48, WARN),
        ("decision-memory-peak", 2e9, MAX, H48, WARN),
    ],
    "- [ ] **Inference Latency**: <3s (95th percentile)": [
        ("validation-latency", 3, P95, H48, WARN),
        ("decision-latency", 3, P95, H48, WARN),
    ],
    "- [ ] **Backend Switch Time**: <500ms average": [
        ("validation-switch-time", 0.5, MEAN, H48, WARN),
        ("decision-switch-time", 0.5, MEAN, H48, WARN),
    ],
    "- [ ] **Task Completion Rate**: ≥95%": [("validation-task-completion", 0.95, RATIO, H48, WARN)],
    "- [ ] **App Crash Rate**: <0.1%": [
        ("validation-crash-rate", 0.001, RATIO, H48, CRIT),
        ("alert-crash-rate", 0.001, RATIO, H1, CRIT),
        ("phase-stability", 0.001, RATIO, H48, CRIT),
        ("decision-crash-rate", 0.001, RATIO, H48, CRIT),
    ],
    "- [ ] **User Satisfaction**: ≥4.5/5.0 (if available)": [("validation-satisfaction", 4.5, MEAN, H48, WARN)],
    "- [ ] **API Response Time**: <2s (95th percentile)": [
        ("validation-api", 2, P95, H48, WARN),
        ("decision-api", 2, P95, H48, WARN),
    ],
    "- [ ] **Error Rate**: <1%": [
        ("validation-error-rate", 0.01, RATIO, H48, WARN),
        ("decision-error-rate", 0.01, RATIO, H48, WARN),
    ],
}
# the runbook's line → where the section holds its number
PLACES = {
    "interval: 30s": "health.litert-availability.interval",
    "timeout: 10s": "health.litert-availability.timeout",
    "interval: 5m": "health.model-validation.interval",
    "timeout: 30s": "health.model-validation.timeout",
    "interval: 10m": "health.fallback.interval",
    "timeout: 60s": "health.fallback.timeout",
    "| **Critical** | 15 minutes | On-call engineer → Team lead → Engineering manager |": "matrix.critical.respond",
    "| **Warning** | 1 hour | Team notification → Investigation within 4 hours |": "matrix.warning.respond",
    "| **Info** | 24 hours | Log review during business hours |": "matrix.info.respond",
    "- All performance targets met for 48+ hours": "rules.data_for",
    "- Any performance target missed by >20%": "rules.missed_most",
    "For **CRITICAL** incidents affecting >10% of users:": "rules.users_affected",
}
# words without a number, and the rule that RUNBOOK_MAP gives them: "not worse than the control by more than 5 %"
STABLE = {
    "User satisfaction metrics stable or improving": ("phase-satisfaction", -0.05),
    "Memory usage stable": ("phase-memory-stable", 0.05),
    "Support ticket volume unchanged": ("phase-tickets", 0.05),
    "**User Session Duration**: Stable or increased": ("validation-session-duration", -0.05),
    "**Support Ticket Volume**: No significant increase": ("validation-tickets", 0.05),
    "User satisfaction metrics stable or improved": ("decision-satisfaction", -0.05),
    "increased crash rates": ("decision-crashes-rising", 0.05),
}
GUARDED = {
    "Performance improvement visible in analytics": "phase-improvement",
    "User engagement metrics positive": "phase-engagement",
    "User satisfaction improved": "phase-satisfaction-improved",
    "Business metrics positive": "phase-business",
    "User satisfaction significantly decreased": "decision-satisfaction-fall",
}


def numbered() -> list[str]:
    """The runbook's lines with a number that is a threshold."""
    lines = [line.strip() for line in TEXT.splitlines()]
    benched = [line for line in lines if line.startswith("# ✅")]
    return benched + [line for line in lines if re.search(r"\d", line) and not NO_NUMBER.search(line)]


def floor(one: Criterion, words: float) -> float:
    """The number a rule holds: its own, or what the reference class must reach on the backends it names."""
    if one.threshold is not None:
        return one.threshold
    backends = one.over.backends or ("cpu", "gpu", "npu")
    return next(value for (_, backend), value in FLOORS.items() if backend in backends and value == words)


def test_every_line_with_a_number__has_its_rule() -> None:
    lines = numbered()

    assert len(lines) > 40
    assert [line for line in lines if line not in LINES and line not in PLACES] == []
    assert {line for line in (*LINES, *PLACES) if line not in lines} == set()


@pytest.mark.parametrize("line", LINES)
def test_line__is_held_as_what_it_means(line: str) -> None:
    for key, number, aggregate, window, severity in LINES[line]:
        one = FOUND[key]
        assert floor(one, number) == pytest.approx(number), key
        assert (one.aggregate, one.window, one.severity) == (aggregate, window, severity), key
        assert one.where_available or "available" not in line, key
        assert one.comparator.floor is ("≥" in line or "+" in line or "_min:" in line), key
        if one.purpose in (GATE, VALID, GO) and not one.comparator.floor and "1_minute" not in line:
            assert one.comparator is Comparator.BELOW, f"{key}: gates and validation are strictly below"


def test_lines_of_sections__stand_in_them() -> None:
    said = {}
    for line, place in PLACES.items():
        section, *rest = place.split(".")
        value: Any = SECTIONS[section]
        for part in rest:
            value = value[part]
        said[line] = str(value)
    for line, value in said.items():
        number, _, unit = re.split(r"(?<=\d)( ?)(?=\D)", value)
        if (number, unit) == ("1", "m"):
            number, unit = "60", "s"
        assert re.search(rf"\b{number}\+?\s*{unit}", line), (line, value)
    assert sections.matrix(SECTIONS["matrix"])[Severity.WARNING].investigate == timedelta(hours=4)


def test_words_without_numbers__are_the_rules_that_the_map_gives_them() -> None:
    for words, (key, threshold) in STABLE.items():
        assert words in TEXT
        assert (FOUND[key].aggregate, FOUND[key].threshold) == (CHANGE, threshold), key
    for words, key in GUARDED.items():
        assert words in TEXT
        assert FOUND[key].aggregate is Aggregate.INTERVAL, key
    resources = [one for one in FOUND.values() if one.aggregate is RANGE]
    assert {one.over.metric for one in resources if one.purpose is VALID} == {
        "process.cpu.utilization", "device.battery.drain", "device.thermal.status", "device.storage.free",
    }  # fmt: skip


def test_phases__each_has_its_four_lines() -> None:
    for phase in (1, 2, 3, 4):
        heading = TEXT.index(f"#### Phase {phase}")
        told = re.findall(
            r"^- (.+)$", TEXT[heading : TEXT.index("\n\n", TEXT.index("**Success", heading))], re.MULTILINE
        )
        assert len(told) == 4
        serves = " ".join(one.serves.lower() for one in FOUND.values() if phase in one.phases)
        for line in told:
            assert line.lower() in serves, line


def test_rules_about_litert_and_its_users__read_the_treatment_only() -> None:
    everywhere = {key for key, one in FOUND.items() if one.over.arm is not Arm.TREATMENT}
    shared = ("litert.model.validations", "security.", "hawkops.", "telemetry.", "litert.fallback.duration")

    assert everywhere == {key for key, one in FOUND.items() if one.over.metric.startswith(shared)}
    assert all(one.of.arm is one.over.arm for one in FOUND.values() if one.of is not None)


def test_samples__are_enough_for_what_each_threshold_says() -> None:
    short = {key: (one.samples, domain.samples_least(one)) for key, one in FOUND.items()}

    assert {key: pair for key, pair in short.items() if pair[0] < pair[1]} == {}
    assert (FOUND["alert-crash-rate"].samples, FOUND["alert-memory"].samples) == (3_000, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("health:\n  fallback: {interval: 10m, timeout: 5m}", r"x, line 3: 5m is outside"),
        ("health:\n  fallback: {interval: often, timeout: 5s}", r"x, line 3: 'often' is no span"),
        ("matrix:\n  critical: {respond: 15m}", r"x, line 2: warning is missing"),
        ("rules: {missed_most: 20 %, mood: bad}", r"x, line 2: 'mood' has no place here"),
        ("rules: {missed_most: 120 %}", r"x, line 2: .*no share|line 2: users_affected"),
        ("colours: {}", r"x, line 2: 'colours' is no part"),
    ],
)
def test_section__unfit__says_where(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        thresholds.loads_sections(f"version: 1\n{text}\n".encode(), name="x")


def test_file__written_and_read_again__keeps_its_sections() -> None:
    text = thresholds.dumps(thresholds.load(), thresholds.load_profiles(), SECTIONS).encode()

    assert thresholds.loads_sections(text, name="x") == SECTIONS
    assert thresholds.loads(text, name="x") == thresholds.load()
