"""Every script of the runbook that works here: its arguments, its limits, what its result means."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from hawkops.core.environments import Environment
from hawkops.core.errors import InvalidInput, NotFound

MEGABYTE = 1_000_000


def a_duration(text: str) -> str:
    """Accept 30s, 10m, 48h."""
    if not re.fullmatch(r"[1-9]\d{0,4}[smh]", text):
        raise InvalidInput(f"{text!r} is not a duration; write 30s, 10m or 48h.")
    return text


def an_environment(text: str) -> str:
    """Accept the name of an environment."""
    if text not in list(Environment):
        raise InvalidInput(f"{text!r} is not an environment; use {', '.join(Environment)}.")
    return text


@dataclass(frozen=True)
class Argument:
    """One option. `check` returns the accepted text or raises InvalidInput."""

    name: str
    help: str
    check: Callable[[str], str]
    default: str = ""
    choices: tuple[str, ...] = ()

    def parse(self, text: str) -> str:
        """Return the option as it is passed, or an empty string when it is left out."""
        text = text.strip()
        return f"--{self.name}={self.check(text)}" if text else ""


@dataclass(frozen=True)
class Measurement:
    """What a script measures: its name in the result file, and how people say it."""

    name: str
    title: str
    unit: str
    factor: float = 1.0


@dataclass(frozen=True)
class Script:
    """A catalogue entry."""

    name: str
    title: str
    means: str
    measurements: tuple[Measurement, ...]
    arguments: tuple[Argument, ...] = ()
    timeout_seconds: int = 300
    memory_bytes: int = 6_000 * MEGABYTE
    changes_anything: bool = False
    idempotent: bool = True

    @property
    def path(self) -> Path:
        """Where the program stands."""
        return Path(settings.SCRIPTS_DIR) / self.name

    def command_arguments(self, given: dict[str, str]) -> list[str]:
        """Return the validated options as a list. Raises InvalidInput for an unknown or unfit one."""
        known = {argument.name for argument in self.arguments}
        if unknown := sorted(set(given) - known):
            raise InvalidInput(
                f"{self.name} has no option --{unknown[0]}; it has {', '.join(sorted(known)) or 'none'}."
            )
        parsed = [argument.parse(given.get(argument.name, argument.default)) for argument in self.arguments]
        return [text for text in parsed if text]


PREFILL = Measurement("litert.prefill.throughput", "Prefill throughput", "tok/s")
MEMORY = Measurement("litert.memory.peak", "Peak memory", "MB", 1e-6)
SWITCH = Measurement("litert.backend.switch.duration", "Switch time", "ms", 1e3)
FALLBACK = Measurement("litert.fallback.duration", "Fallback latency", "s")

CATALOGUE: dict[str, Script] = {
    script.name: script
    for script in (
        Script(
            "run_litert_performance_tests.sh",
            "LiteRT performance tests",
            "Six results: CPU, GPU, NPU, memory, switching, fallback. Passes when every declared one keeps its limit.",
            (PREFILL, MEMORY, SWITCH, FALLBACK),
            (
                Argument("environment", "whose devices it speaks of", an_environment, choices=tuple(Environment)),
                Argument("duration", "how long to measure, 60m say; without it one pass", a_duration),
            ),
            timeout_seconds=2 * 3600,
        ),
        Script(
            "scripts/test-cpu-performance.sh",
            "CPU throughput",
            "Prefill tokens per second on the CPU; at least 243.",
            (PREFILL,),
        ),
        Script(
            "scripts/test-gpu-performance.sh",
            "GPU throughput",
            "Prefill tokens per second on a real GPU; at least 1 876. No GPU is no data, never a pass.",
            (PREFILL,),
        ),
        Script(
            "scripts/test-memory-usage.sh",
            "Memory",
            "Peak memory of an inference in MB (10⁶ bytes); at most 2 000.",
            (MEMORY,),
        ),
        Script(
            "scripts/test-backend-switching.sh",
            "Backend switching",
            "Mean time of a switch to its first token in ms; at most 500.",
            (SWITCH,),
        ),
        Script(
            "scripts/performance-validation-suite.sh",
            "Performance validation suite",
            "CPU, GPU, memory and switching in the runbook's order; stops at the first failure with its number.",
            (PREFILL, MEMORY, SWITCH),
        ),
    )
}


def script(name: str) -> Script:
    """Return a catalogue entry. Raises NotFound."""
    try:
        return CATALOGUE[name]
    except KeyError:
        raise NotFound(f"There is no script {name!r} in the catalogue.") from None
