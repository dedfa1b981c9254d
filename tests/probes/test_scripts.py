"""The runbook's scripts as it types them: exit code, the one integer, the result file, and the suite's comparisons."""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from hawkops.fleet.cloud import CloudStandIn
from hawkops.fleet.model import PATH, SHA256
from hawkops.fleet.model.signature import Artefact
from hawkops.scripts.probes import integrity
from tests.fleet.standin import serving
from tests.probes.signing import keys

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / "hawkops/scripts/bin"
FROM_ENVIRONMENT = (
    "HAWKOPS_PYTHON",
    "HAWKOPS_BACKENDS",
    "HAWKOPS_RESULT",
    "LITERT_MODEL",
    "MODEL_SIGNATURE",
    "MODEL_SIGNING_PUBLIC_KEY",
    "CLOUD_AI_URL",
    "PYTHONPATH",
)


def typed(command: str, folder: Path = BIN, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in FROM_ENVIRONMENT}
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "folder"),
    [
        ("./scripts/test-cpu-performance.sh", BIN),
        ("hawkops/scripts/bin/scripts/test-cpu-performance.sh", ROOT),
        ("./scripts/test-memory-usage.sh", BIN),
        ("./scripts/test-backend-switching.sh", BIN),
    ],
)
def test_script__real_litert__prints_one_integer_and_passes(command: str, folder: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.jsonl"
    ended = typed(command, folder, HAWKOPS_RESULT=str(result))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip().isdigit()
    assert int(ended.stdout) > 0
    assert "synthetic" in ended.stderr
    (measured,) = [json.loads(text) for text in result.read_text().splitlines()]
    assert measured["value"] > 0
    assert measured["outcome"] == "pass"
    assert measured["synthetic"] is True
    for name in ("name", "unit", "backend", "target", "model", "model_digest", "host"):
        assert measured[name], name


def test_script__no_gpu__prints_zero_and_exits_77(tmp_path: Path) -> None:
    result = tmp_path / "result.jsonl"
    ended = typed("./scripts/test-gpu-performance.sh", HAWKOPS_RESULT=str(result))
    assert (ended.returncode, ended.stdout) == (77, "0\n")
    assert "could not measure: no GPU" in ended.stderr
    measured = json.loads(result.read_text())
    assert (measured["value"], measured["outcome"]) == (None, "no_data")


@pytest.mark.parametrize("name", ["cpu-performance", "gpu-performance", "memory-usage", "backend-switching"])
def test_script__missing_model__prints_zero_and_exits_77(name: str) -> None:
    ended = typed(f"./scripts/test-{name}.sh", LITERT_MODEL="/absent.litertlm")
    assert (ended.returncode, ended.stdout) == (77, "0\n")
    assert "the model is missing" in ended.stderr


def test_script__broken_model__prints_zero_and_fails(tmp_path: Path) -> None:
    broken = tmp_path / "broken.litertlm"
    broken.write_bytes(PATH.read_bytes()[:20_000])
    ended = typed("./scripts/test-cpu-performance.sh", LITERT_MODEL=str(broken))
    assert (ended.returncode, ended.stdout) == (1, "0\n")
    assert "failed" in ended.stderr


@pytest.fixture
def signed(tmp_path: Path) -> dict[str, str]:
    """Settings of an installation whose model is signed."""
    model = tmp_path / "m.litertlm"
    model.write_bytes(PATH.read_bytes())
    private, public = keys(tmp_path, "author")
    integrity.sign(Artefact(model, tmp_path / "m.sig", public), private)
    return {
        "LITERT_MODEL": str(model),
        "MODEL_SIGNATURE": str(tmp_path / "m.sig"),
        "MODEL_SIGNING_PUBLIC_KEY": str(public),
    }


def tampered(settings: dict[str, str]) -> None:
    """Flip one bit of weights: LiteRT itself runs such a model without a word."""
    model = Path(settings["LITERT_MODEL"])
    data = bytearray(model.read_bytes())
    data[500_000] ^= 1
    model.write_bytes(data)


LOADERS = (
    "./scripts/test-cpu-performance.sh",
    "./scripts/test-gpu-performance.sh",
    "./scripts/test-npu-performance.sh",
    "./scripts/test-memory-usage.sh",
    "./scripts/test-backend-switching.sh",
    "./run_litert_performance_tests.sh",
    "./run_comprehensive_ai_tests.sh",
    "./scripts/verify-core-ai.sh",
    "./scripts/monitor-memory-usage.sh --duration=2s",
    "./scripts/check-memory-leaks.sh",
    "./scripts/check-gpu-drivers.sh",
)


@pytest.mark.parametrize("command", LOADERS)
def test_loader__tampered_model__fails_and_measures_nothing(command: str, signed: dict[str, str]) -> None:
    tampered(signed)
    ended = typed(command, BIN, **signed)

    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "m.litertlm is not what was signed" in ended.stdout + ended.stderr
    assert "tokens/sec on this host" not in ended.stdout
    assert "measured" not in ended.stdout


def test_loader__model_that_nobody_signed__fails_where_there_is_a_key(signed: dict[str, str]) -> None:
    ended = typed("./scripts/test-cpu-performance.sh", BIN, **{**signed, "MODEL_SIGNATURE": "/absent.sig"})

    assert (ended.returncode, ended.stdout) == (1, "0\n")
    assert "has no signature" in ended.stderr


def test_loader__signed_model__is_measured_and_said_to_be_verified(signed: dict[str, str], tmp_path: Path) -> None:
    result = tmp_path / "result.jsonl"
    ended = typed("./scripts/test-cpu-performance.sh", BIN, HAWKOPS_RESULT=str(result), **signed)

    assert ended.returncode == 0, ended.stderr
    assert "unsigned" not in ended.stderr
    assert json.loads(result.read_text())["signature"] == "verified"


def test_loader__no_key__measures_and_says_unsigned(tmp_path: Path) -> None:
    result = tmp_path / "result.jsonl"
    ended = typed("./scripts/test-cpu-performance.sh", HAWKOPS_RESULT=str(result), HAWKOPS_DATA=str(tmp_path))

    assert ended.returncode == 0, ended.stderr
    assert "the model is unsigned" in ended.stderr
    assert json.loads(result.read_text())["signature"] == "unsigned"


@pytest.mark.parametrize(
    ("command", "environment", "status"),
    [
        ("./scripts/validate-model-integrity.sh", "production", 77),
        ("./scripts/validate-model-integrity.sh", "staging", 77),
        ("./scripts/validate-model-integrity.sh", "demo", 0),
        ("./scripts/validate-model-integrity.sh", "", 0),
        ("./scripts/validate-model-integrity.sh --environment=demo", "production", 0),
        ("./scripts/validate-model-integrity.sh --environment=production", "demo", 77),
        ("./scripts/check-model-integrity.sh", "production", 77),
        ("./scripts/check-model-integrity.sh", "demo", 0),
    ],
)
def test_integrity__of_the_generated_model__speaks_of_demo_only(
    command: str, environment: str, status: int, signed: dict[str, str], tmp_path: Path
) -> None:
    """A run is told its environment by a variable; every line says which model it read."""
    result = tmp_path / "result.jsonl"
    ended = typed(command, BIN, HAWKOPS_ENVIRONMENT=environment, HAWKOPS_RESULT=str(result), **signed)

    assert ended.returncode == status, ended.stdout
    assert ("says nothing of" in ended.stdout) is (status == 77)
    lines = [json.loads(text) for text in result.read_text().splitlines()]
    assert {line["synthetic"] for line in lines} == {True}
    assert {line["model_digest"] for line in lines} == {f"sha256:{SHA256}"}


@pytest.mark.parametrize(
    "command",
    [
        "./scripts/monitor-memory-usage.sh --duration=2s",
        "./scripts/verify-core-ai.sh",
        "./run_comprehensive_ai_tests.sh",
    ],
)
def test_lines_of_inferences__say_which_model_ran_and_where(command: str, tmp_path: Path) -> None:
    result = tmp_path / "result.jsonl"
    typed(command, BIN, HAWKOPS_RESULT=str(result))

    lines = [json.loads(text) for text in result.read_text().splitlines()]
    assert [line for line in lines if line.get("synthetic") and line["target"] == "host" and line["host"]]


def test_android_security__one_of_its_scripts_fails__ends_there(signed: dict[str, str]) -> None:
    tampered(signed)
    ended = typed("./verify_android_security.sh", BIN, **signed)

    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1] == "❌ validate-model-integrity.sh failed (exit 1)"
    assert "verify-encryption.sh" not in ended.stdout


def test_comprehensive__cloud_that_does_not_answer__fails() -> None:
    ended = typed("./run_comprehensive_ai_tests.sh", CLOUD_AI_URL="http://127.0.0.1:9")

    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "✅ Workflow: local inference" in ended.stdout
    assert "❌ Workflow: cloud AI: cloud AI gave no answer: 127.0.0.1" in ended.stdout
    assert "❌ Degradation: LiteRT killed in the middle, cloud answers" in ended.stdout


def test_script__python_without_litert__exits_77(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text('#!/bin/sh\nexec /usr/bin/env -u PYTHONHOME python3 -S "$@"\n')
    bare.chmod(0o755)
    ended = typed("./scripts/test-cpu-performance.sh", HAWKOPS_PYTHON=str(bare))
    assert (ended.returncode, ended.stdout) == (77, "0\n")
    assert "LiteRT is missing" in ended.stderr


def test_benchmark__everything_there__prints_six_lines_and_passes(tmp_path: Path) -> None:
    result = tmp_path / "result.jsonl"
    with serving(CloudStandIn(random.Random(1))) as port:
        ended = typed(
            "./run_litert_performance_tests.sh --environment=production --duration=2s",
            HAWKOPS_RESULT=str(result),
            CLOUD_AI_URL=f"http://127.0.0.1:{port}",
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    heads = [text.split(" · ")[0] for text in ended.stdout.splitlines()]
    assert heads == [
        "✅ CPU Backend: 243+ tokens/sec",
        "➖ GPU Backend: 1876+ tokens/sec (where available)",
        "➖ NPU Backend: 5836+ tokens/sec (where available)",
        "✅ Memory Usage: <2GB peak",
        "✅ Backend Switching: <500ms",
        "✅ Fallback Latency: <2s",
    ]
    measured = [json.loads(text) for text in result.read_text().splitlines()]
    assert {found["environment"] for found in measured} == {"production"}
    assert [found["name"] for found in measured] == [
        "litert.prefill.throughput",
        "litert.memory.peak",
        "litert.backend.switch.duration",
        "litert.fallback.duration",
    ]


def test_benchmark__no_cloud_and_declared_gpu__could_not_be_measured() -> None:
    ended = typed("./run_litert_performance_tests.sh", HAWKOPS_BACKENDS="cpu,gpu")
    assert ended.returncode == 77
    assert ended.stdout.count("⚪") == 3  # the GPU, switching to it, and the fallback
    assert ended.stdout.count("✅") == 2


@pytest.mark.parametrize("arguments", ["--duration=soon", "--environment=mars", "--unknown"])
def test_benchmark__bad_arguments__are_refused(arguments: str) -> None:
    ended = typed(f"./run_litert_performance_tests.sh {arguments}")
    assert ended.returncode == 2
    assert ended.stdout == ""


def test_suite__real_litert__passes() -> None:
    for folder, command in ((BIN, "./scripts/"), (ROOT, "hawkops/scripts/bin/scripts/")):
        ended = typed(f"{command}performance-validation-suite.sh", folder)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "GPU backend: not declared by this release, not judged" in ended.stdout
        assert ended.stdout.endswith("✅ All performance tests passed!\n")


PASSING = {
    "cpu-performance": (300, 0),
    "gpu-performance": (2000, 0),
    "memory-usage": (900, 0),
    "backend-switching": (90, 0),
}


def suite(folder: Path, **answers: tuple[object, int]) -> subprocess.CompletedProcess[str]:
    """Run the real suite over tests that answer as told."""
    scripts = folder / "scripts"
    scripts.mkdir(exist_ok=True)
    source = BIN / "scripts/performance-validation-suite.sh"
    (scripts / source.name).write_text(source.read_text())
    for name, (number, code) in {
        **PASSING,
        **{key.replace("_", "-"): answer for key, answer in answers.items()},
    }.items():
        script = scripts / f"test-{name}.sh"
        script.write_text(f"#!/bin/sh\necho {number}\nexit {code}\n")
        script.chmod(0o755)
    return typed("sh scripts/performance-validation-suite.sh", folder, HAWKOPS_BACKENDS="cpu,gpu")


def test_suite__all_keep_their_limits__passes(tmp_path: Path) -> None:
    ended = suite(tmp_path)
    assert ended.returncode == 0
    assert [text for text in ended.stdout.splitlines() if text.startswith("Testing")] == [
        "Testing CPU backend...",
        "Testing GPU backend...",
        "Testing memory usage...",
        "Testing backend switching...",
    ]


@pytest.mark.parametrize(
    ("answers", "last"),
    [
        ({"cpu_performance": (242, 1)}, "❌ CPU performance below threshold: 242 tokens/sec"),
        ({"gpu_performance": (1875, 0)}, "❌ GPU performance below threshold: 1875 tokens/sec"),
        ({"memory_usage": (2001, 0)}, "❌ Memory usage exceeds threshold: 2001 MB"),
        ({"backend_switching": (501, 0)}, "❌ Backend switching too slow: 501 ms"),
        ({"memory_usage": (0, 1)}, "❌ Memory usage test failed (exit 1)"),
        ({"backend_switching": ("", 0)}, "❌ Backend switching: test-backend-switching.sh printed no number"),
        ({"gpu_performance": (0, 77), "memory_usage": (2001, 0)}, "❌ Memory usage exceeds threshold: 2001 MB"),
    ],
)
def test_suite__a_limit_is_missed__stops_there(
    tmp_path: Path, answers: dict[str, tuple[object, int]], last: str
) -> None:
    ended = suite(tmp_path, **answers)
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1] == last


@pytest.mark.parametrize(
    "edge", [{"memory_usage": (2000, 0)}, {"backend_switching": (500, 0)}, {"cpu_performance": (243, 0)}]
)
def test_suite__at_the_limit__passes(tmp_path: Path, edge: dict[str, tuple[object, int]]) -> None:
    assert suite(tmp_path, **edge).returncode == 0


def test_suite__something_not_measured__is_neither_passed_nor_failed(tmp_path: Path) -> None:
    ended = suite(tmp_path, gpu_performance=(0, 77))
    assert ended.returncode == 77
    assert ended.stdout.splitlines()[-1] == "⚪ Nothing failed, but this could not be measured: GPU performance"
