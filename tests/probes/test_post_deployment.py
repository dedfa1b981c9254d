"""The post-deployment validation: four steps in the runbook's order, all of them, and what they come to together."""

import subprocess
from pathlib import Path

import pytest

from tests.probes.test_scripts import BIN, typed

STEPS = (
    "validate-performance-metrics --threshold-file=production-thresholds.yaml",
    "validate-user-metrics --duration=48h",
    "validate-system-health --comprehensive",
    "generate-validation-report --output=validation-report-",
)


def validation(folder: Path, **codes: int) -> "subprocess.CompletedProcess[str]":
    """Run the real program over steps that end as told and say how they were called."""
    scripts = folder / "scripts"
    scripts.mkdir()
    source = BIN / "scripts/post-deployment-validation.sh"
    (scripts / source.name).write_text(source.read_text())
    for step in STEPS:
        name = step.split()[0]
        program = scripts / f"{name}.sh"
        program.write_text(f'#!/bin/sh\necho "{name} $*"\nexit {codes.get(name.replace("-", "_"), 0)}\n')
        program.chmod(0o755)
    return typed("sh scripts/post-deployment-validation.sh", folder)


def test_validation__all_pass__is_completed_in_the_runbooks_order(tmp_path: Path) -> None:
    ended = validation(tmp_path)
    first, *steps, last = ended.stdout.splitlines()

    assert ended.returncode == 0
    assert (first, last) == ("🔍 Running Post-Deployment Validation...", "✅ Post-deployment validation completed")
    assert len(steps) == len(STEPS)
    for said, wanted in zip(steps, STEPS, strict=True):
        assert said.startswith(wanted)
    assert steps[3].endswith(".html")


@pytest.mark.parametrize(
    ("codes", "status", "last"),
    [
        ({"validate_performance_metrics": 1}, 1, "❌ Post-deployment validation failed: performance metrics"),
        ({"validate_user_metrics": 77}, 77, "⚪ Nothing failed, but this could not be judged: user metrics"),
        (
            {"validate_performance_metrics": 77, "validate_system_health": 1},
            1,
            "❌ Post-deployment validation failed: system health; not judged: performance metrics",
        ),
        ({"generate_validation_report": 2}, 1, "❌ Post-deployment validation failed: validation report"),
    ],
)
def test_validation__a_step_does_not_pass__every_other_runs_all_the_same(
    tmp_path: Path, codes: dict[str, int], status: int, last: str
) -> None:
    ended = validation(tmp_path, **codes)

    assert ended.returncode == status
    assert ended.stdout.splitlines()[-1] == last
    assert len(ended.stdout.splitlines()) == len(STEPS) + 2
