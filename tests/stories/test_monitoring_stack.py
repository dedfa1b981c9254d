"""The monitoring stack and the system's health on a whole running installation, and what is said of a part that is gone."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.installation import Installation, clean_environment, up
from tests.probes import adb_standin
from tests.probes.test_scripts import BIN
from tests.probes.test_tools import placed

pytestmark = [pytest.mark.story, pytest.mark.xdist_group("story")]


def typed(installation: Installation, line: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    env = {**clean_environment(), "HAWKOPS_DATA": str(installation.data), **variables}
    return subprocess.run(
        ["sh", "-c", line], cwd=BIN, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def until(installation: Installation, line: str, status: int, words: str, seconds: float) -> str:
    """Type a line until it ends as wanted, and return what it said."""
    end = time.monotonic() + seconds
    while True:
        ended = typed(installation, line)
        if ended.returncode == status and words in ended.stdout:
            return ended.stdout
        assert time.monotonic() < end, ended.stdout + ended.stderr


def encrypted_phone(folder: Path) -> dict[str, str]:
    """Put a phone behind adb that encrypts its storage, and say that the host's disk is encrypted."""
    (folder / "props").mkdir(parents=True)
    (folder / "props/ro.crypto.state").write_text("encrypted\n")
    (folder / "devices").write_text("R5CT\tdevice\n")
    placed(folder / "tools", "getprop", '#!/bin/sh\ncat "$ADB_FOLDER/props/$1"\n')
    placed(folder / "bin", "adb", (Path(adb_standin.__file__)).read_text())
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "ADB_FOLDER": str(folder), "DISK_ENCRYPTION": "LUKS"}


def test_stack__whole_installation__passes_and_a_dead_gateway_is_named(data_folder: Path, tmp_path: Path) -> None:
    with up(data_folder) as installation:
        installation.wait_for("Sign in", 150)

        said = until(installation, "./scripts/verify-monitoring-stack.sh --environment=demo", 0, "✅", 150)
        for words in (
            "Ingest, logs: a marked line was found again",
            "Worker of health: health@",
            "Beat: last heartbeat",
        ):
            assert words in said
        # the model is signed first: a health check that never could say is no health
        assert typed(installation, "./scripts/deploy-security-stack.sh").returncode == 0
        said = typed(installation, "./scripts/system-health-check.sh --environment=demo").stdout
        for words in (
            "✅ Database",
            "✅ Console",
            "✅ Gateway",
            "✅ Telemetry",
            "✅ LiteRT availability",
            "✅ Worker of alerts",
        ):
            assert words in said, said

        ended = typed(installation, "./scripts/production-smoke-tests.sh")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "✅ Telemetry door" in ended.stdout
        ended = typed(installation, "./verify_android_security.sh", **encrypted_phone(tmp_path))
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert ended.stdout.endswith("✅ Model validation, encryption and audit trail hold\n")

        os.kill(installation.child("gateway"), signal.SIGSTOP)
        try:
            ended = typed(installation, "./scripts/system-health-check.sh --environment=demo")
        finally:
            os.kill(installation.child("gateway"), signal.SIGCONT)
        assert ended.returncode == 1
        assert "❌ Gateway" in ended.stdout
