"""Every command line of the runbook, typed as it stands there, on a host without device, cluster, checkout and credentials.

What can be measured here passes; what something absent is needed for ends with 77 and says what. Nothing passes on the
strength of something else. The lines are the runbook's own, in its order; plain tools of the system end as they do.
"""

import json
import os
import random
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from hawkops.fleet.cloud import CloudStandIn
from hawkops.history.services import heartbeat_record
from hawkops.history.witnessed import Folder
from hawkops.history.witnessing import checkpoint_look, witness_look
from hawkops.scripts.entries import CATALOGUE
from monitoring.services.criteria import criteria_seed
from tests.fleet.standin import serving
from tests.monitoring.test_probes import ME
from tests.probes.test_scripts import BIN, FROM_ENVIRONMENT
from tests.probes.test_tools import bare

PASSES, FAILS, NO_DATA = 0, 1, 77
ABSENT = (
    "ANDROID_PROJECT", "ANDROID_SERIAL", "APP_BUNDLE", "PLAY_SERVICE_ACCOUNT", "MODEL_URL", "SECURITY_WEBHOOK",
    "SECURITY_EMAIL", "SMTP_URL", "KUBECONFIG", "JAVA_HOME", "SLACK_WEBHOOK", "MODEL_SIGNING_PUBLIC_KEY",
    "MODEL_SIGNATURE", "HAWKOPS_ENVIRONMENT", "METRICS_TOKEN",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A command line, how it ends on a bare host, and words of what it says of itself there."""

    typed: str
    status: int
    says: str


# a clean installation, on which nothing but the tests' own servers run
LINES = (
    Line("./run_litert_performance_tests.sh", PASSES, "✅ CPU Backend: 243+ tokens/sec"),
    Line("./verify_android_security.sh", NO_DATA, "something could not be checked"),
    Line("./run_comprehensive_ai_tests.sh", PASSES, "Degradation: LiteRT killed in the middle, cloud answers"),
    Line("kubectl apply -f monitoring/production-monitoring.yaml", NO_DATA, "kubectl is not installed"),
    Line("./scripts/verify-monitoring-stack.sh", FAILS, "❌ Worker of alerts: nobody takes from it"),
    Line("./scripts/deploy-security-stack.sh", PASSES, "✅"),
    Line("./scripts/validate-security-config.sh", PASSES, "✅ As applied"),
    Line("./gradlew :androidApp:assembleRelease -Penvironment=production", NO_DATA, "ANDROID_PROJECT names none"),
    Line("./scripts/deploy-to-play-store.sh --track=internal", NO_DATA, "APP_BUNDLE names no .aab file"),
    Line("./scripts/production-smoke-tests.sh", FAILS, "❌ Console lives"),
    Line("./scripts/verify-core-ai.sh", PASSES, "✅ Cloud AI"),
    Line("./scripts/check-backend-performance.sh", NO_DATA, "nothing reports litert.prefill.throughput"),
    Line("watch -n 10 './scripts/system-health-check.sh'", FAILS, "❌ Worker of alerts: nobody takes from it"),
    Line("./scripts/collect-security-evidence.sh --incident-id=$INCIDENT_ID", PASSES, "✅ Archive"),
    Line("./scripts/notify-security-team.sh --severity=high --type=litert_incident", NO_DATA, "no channel is set"),
    Line("./scripts/test-cpu-performance.sh", PASSES, "(243+ tokens/sec)"),
    Line("./scripts/test-gpu-performance.sh", NO_DATA, "could not measure: no GPU"),
    Line("./scripts/test-npu-performance.sh", NO_DATA, "could not measure"),
    Line("./scripts/test-memory-usage.sh", PASSES, "MB"),
    Line("./scripts/test-backend-switching.sh", PASSES, "ms"),
    Line("./scripts/performance-validation-suite.sh", PASSES, "✅ All performance tests passed!"),
    Line("./run_litert_performance_tests.sh --environment=production --duration=60m", PASSES, "environment production"),
    Line("./scripts/validate-model-integrity.sh --environment=production", NO_DATA, "says nothing of production"),
    Line("./scripts/verify-encryption.sh --check-all-components", NO_DATA, "⚪"),
    Line("./scripts/validate-audit-trails.sh --last-24h", PASSES, "✅ Chain"),
    Line("./scripts/run-compliance-checks.sh --standard=SOC2 --standard=GDPR", NO_DATA, "nobody may enter yet"),
    Line("./scripts/check-model-integrity.sh", PASSES, "✅"),
    Line("./scripts/check-storage-permissions.sh", NO_DATA, "no Android device: adb is not installed"),
    Line("df -h /data/data/com.hazardhawk", NO_DATA, "no Android device: adb is not installed"),
    Line("./scripts/redownload-models.sh --verify-integrity", NO_DATA, "MODEL_URL"),
    Line("./scripts/clear-model-cache.sh --force", PASSES, "✅"),
    Line("./scripts/monitor-memory-usage.sh --duration=10m", PASSES, "✅ Memory, peak"),
    Line("./scripts/check-memory-leaks.sh --component=litert", PASSES, "Memory growth of litert"),
    Line("./scripts/analyze-backend-switching.sh --last-1h", NO_DATA, "nothing reports litert.backend.switches"),
    Line("./scripts/check-gpu-drivers.sh", NO_DATA, "adb is not installed"),
    Line("./scripts/check-gpu-memory.sh", NO_DATA, "adb is not installed"),
    Line("./scripts/rollback-app-version.sh --version=previous --track=production", NO_DATA, "PLAY_SERVICE_ACCOUNT"),
    Line("./scripts/verify-system-stability.sh --duration=30m", NO_DATA, "no inference was reported in this time"),
    Line("./scripts/check-performance-recovery.sh", NO_DATA, "alerts are not evaluated"),
    Line("./scripts/validate-user-experience.sh --metrics=satisfaction,engagement", NO_DATA, "nothing reports"),
    Line("./scripts/validate-performance-metrics.sh --threshold-file=production-thresholds.yaml", NO_DATA,
         "the criteria of production-thresholds.yaml"),
    Line("./scripts/validate-user-metrics.sh --duration=48h", NO_DATA, "nothing reports app.crashes"),
    Line("./scripts/validate-system-health.sh --comprehensive", NO_DATA, "nothing reports http.client.request.duration"),
    Line("./scripts/generate-validation-report.sh --output=validation-report-$(date +%Y%m%d).html", NO_DATA, "Written: "),
    Line("./scripts/post-deployment-validation.sh", NO_DATA, "⚪ Nothing failed, but this could not be judged"),
)  # fmt: skip
# The system's own tools, as the runbook uses them: on a bare host they fail, each in its own words.
TOOLS = (
    """curl -X POST "$SLACK_WEBHOOK" -d '{"text":"🚨 LiteRT Emergency Rollback Initiated"}'""",
    'grep -E "LITERT.*PERFORMANCE_DEGRADATION" /var/log/hazardhawk/app.log',
    'grep -E "MEMORY.*WARNING|OOM" /var/log/hazardhawk/app.log',
    'grep -E "BACKEND_SWITCH" /var/log/hazardhawk/app.log',
    'grep -E "SECURITY.*INCIDENT|VALIDATION_FAILED" /var/log/hazardhawk/security.log',
)
# Durations of the runbook that are waited out here are cut short, by a second line that ends sooner.
SHORTER = {"--duration=60m": "--duration=2s", "--duration=10m": "--duration=2s"}
UNTIMED = {"watch -n 10 './scripts/system-health-check.sh'"}


def environment(folder: Path, **more: str) -> dict[str, str]:
    """What somebody has who typed `. .hawkops/env`, with bin/ on the path and none of the things that are absent."""
    kept = {name: value for name, value in os.environ.items() if name not in (*FROM_ENVIRONMENT, *ABSENT)}
    return {
        **kept,
        "PATH": f"{BIN}:{bare(folder)}",
        "HAWKOPS_DATA": str(folder / "data"),
        "WITNESS_DIR": str(folder / "data" / "witness"),
        "HAWKOPS_RESULT": str(folder / "result.jsonl"),
        "HAWKOPS_FILES": str(folder / "files"),
        "CONSOLE_URL": "http://127.0.0.1:1",
        "GATEWAY_URL": "http://127.0.0.1:1",
        "INCIDENT_ID": "INC-1",
        "SECRET_KEY": secrets.token_urlsafe(48),
        **more,
    }


def typed(line: str, env: dict[str, str]) -> tuple[int, str]:
    """Type a line in bin/ and return how it ended and everything it said; what has no end is ended after its first round."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", f"exec {line}" if line in UNTIMED else line],
        cwd=BIN, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    said = ""
    if line in UNTIMED:
        end = time.monotonic() + 120
        while said.count("— every") < 2 and time.monotonic() < end:
            said += process.stdout.readline()
        process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=300)
    return process.returncode, said + out


@contextmanager
def heartbeats() -> Iterator[None]:
    """Write the history's heartbeats, as beat does: without them the history is silent, and lines say so."""
    over = threading.Event()

    def beat() -> None:
        try:
            while not over.is_set():
                heartbeat_record()
                over.wait(10)
        finally:
            connections.close_all()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.fresh_database
def test_every_line_of_the_runbook__ends_as_it_must_on_a_bare_host(tmp_path: Path) -> None:
    """One test, because the lines follow one another: what is deployed first is validated later."""
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "files").mkdir()
    criteria_seed(actor=ME)
    found: list[Any] = []
    # as the process witness does: a history without a checkpoint is not proven
    witness = Folder(tmp_path / "data" / "witness")
    witness_look(witness)
    checkpoint_look(witness)
    with serving(CloudStandIn(random.Random(1))) as port, heartbeats():
        env = environment(tmp_path, CLOUD_AI_URL=f"http://127.0.0.1:{port}")
        for line in LINES:
            command = line.typed
            for long, short in SHORTER.items():
                if line.typed.startswith(("./run_litert", "./scripts/monitor-memory")):
                    command = command.replace(long, short)
            status, said = typed(command, env)
            if status == FAILS and line.status == PASSES:  # measured once more: other tests had the machine
                status, said = typed(command, env)
            if status != line.status or line.says not in said:
                found.append((line.typed, status, line.status, line.says, said[-1500:]))
    assert not found, "\n\n".join(map(str, found))
    results = [json.loads(row) for row in (tmp_path / "result.jsonl").read_text().splitlines()]
    assert {row["outcome"] for row in results} <= {"pass", "fail", "no_data", "out_of_scope"}
    assert {one.suffix for one in (tmp_path / "files").glob("validation-report-production-*")} == {".html", ".json"}


@pytest.mark.parametrize("line", TOOLS)
def test_tools_of_the_system__fail_where_nothing_is_there(line: str, tmp_path: Path) -> None:
    env = {**environment(tmp_path), "PATH": os.environ["PATH"]}
    ended = subprocess.run(["/bin/sh", "-c", line], cwd=BIN, env=env, capture_output=True, text=True, check=False)

    assert ended.returncode > 1
    assert ended.stdout == ""


def test_lines__every_program_is_typed_and_every_option_is_one_of_its_entry() -> None:
    programs = {line.typed.split()[0].removeprefix("./"): line.typed for line in LINES}

    assert set(CATALOGUE) - set(programs) == {"scripts/system-health-check.sh"}
    assert set(programs) <= set(CATALOGUE)
    for name, line in ((line.typed.split()[0].removeprefix("./"), line.typed) for line in LINES):
        if name not in ("kubectl", "gradlew", "df", "watch"):
            options = {word.removeprefix("--").split("=")[0] for word in line.split()[1:] if word.startswith("--")}
            assert options <= {argument.name for argument in CATALOGUE[name].arguments}, line
