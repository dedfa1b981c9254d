"""Performance and memory on an Android device behind adb: what counts there, what does not, and what is sent to it.

adb and the benchmark program are stand-ins that refuse what the real ones refuse; the shell between them is a real one.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hawkops.fleet.accelerators import gpu_on_phone, npu_on_phone
from hawkops.fleet.model import PATH, SHA256, digest
from hawkops.fleet.model.signature import Artefact
from hawkops.scripts.probes import integrity, on_device, target
from tests.installation import processes_with
from tests.probes.signing import keys
from tests.probes.test_scripts import BIN, typed

ADRENO = "Qualcomm, Adreno (TM) 750, OpenGL ES 3.2 V@0744.12"
SWIFTSHADER = "Google (Google Inc.), Android Emulator OpenGL ES Translator (Google SwiftShader), OpenGL ES 3.1"
ON_GPU = [
    "INFO: [gpu_registry.cc:144] Dynamically loaded GPU accelerator(libLiteRtGpuAccelerator.so) registered.",
    "INFO: Replacing 2068 out of 2068 node(s) with delegate (LITERT_CL) node, yielding 1 partitions (decode).",
]
ON_NPU = [
    "INFO: [npu_registry.cc:30] NPU accelerator registered.",
    "VERBOSE: Replacing 1 out of 1 node(s) with delegate (DispatchDelegate) node, yielding 1 partitions (prefill_128).",
    "WARNING: [npu_registry.cc:34] NPU accelerator could not be loaded and registered: kLiteRtStatusErrorInvalidArgument.",
]
ON_CPU = ["INFO: Created TensorFlow Lite XNNPACK delegate for CPU."]
TESTS = {"cpu": "cpu-performance", "gpu": "gpu-performance", "npu": "npu-performance", "memory": "memory-usage"}


@dataclass
class Bench:
    """A host with adb, one phone behind it, and LiteRT's program for Android in a folder."""

    folder: Path
    settings: dict[str, str]

    def says(self, **told: object) -> None:
        """Tell what the program on the phone will do."""
        (self.folder / "run.json").write_text(json.dumps(told))

    def devices(self, **states: str) -> None:
        (self.folder / "devices").write_text("".join(f"{serial}\t{state}\n" for serial, state in states.items()))

    def dumps(self, renderer: str) -> None:
        (self.folder / "surface").write_text(f"…\nGLES: {renderer}\n" if renderer else "nothing of the kind\n")

    def is_a(self, **values: str) -> None:
        for name, value in values.items():
            (self.folder / "props" / name.replace("_", ".")).write_text(value)

    def typed(self, command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return typed(command, BIN, **{**self.settings, **variables})

    def test(self, what: str, options: str = "") -> "subprocess.CompletedProcess[str]":
        return self.typed(f"./scripts/test-{TESTS[what]}.sh {options}")

    @property
    def asked(self) -> list[str]:
        """What adb was asked."""
        file = self.folder / "asked"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def pushed(self) -> list[str]:
        return [line.rsplit("/", 1)[-1] for line in self.asked if " push " in line]

    @property
    def ran(self) -> list[dict[str, str]]:
        """With which flags the program ran on the phone."""
        file = self.folder / "ran"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def results(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Path(self.settings["HAWKOPS_RESULT"]).read_text().splitlines()]

    @property
    def litert(self) -> Path:
        return Path(self.settings["ANDROID_LITERT_DIR"])


def placed(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    folder, here = tmp_path / "adb", Path(__file__).parent
    (folder / "phone/data/local/tmp").mkdir(parents=True)
    (folder / "props").mkdir()
    placed(folder / "tools/getprop", '#!/bin/sh\ncat "$ADB_FOLDER/props/$1" 2>/dev/null || echo\n')
    placed(folder / "tools/dumpsys", '#!/bin/sh\n[ "$1" = SurfaceFlinger ] && cat "$ADB_FOLDER/surface"\n')
    placed(tmp_path / "bin/adb", (here / "adb_standin.py").read_text())
    program = (here / "litert_lm_standin.py").read_text().replace("/usr/bin/env python3", sys.executable)
    placed(tmp_path / "android/litert_lm_main", program)
    for name in ("libLiteRtGpuAccelerator.so", "libLiteRtDispatch_Qualcomm.so"):
        (tmp_path / "android" / name).write_text(name)
    model = tmp_path / "phone.litertlm"
    model.write_bytes(b"LITERTLM" + b"weights of a product" * 1000)
    found = Bench(
        folder,
        {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "ADB_FOLDER": str(folder),
            "ANDROID_LITERT_DIR": str(tmp_path / "android"),
            "ANDROID_SERIAL": "",
            "HAWKOPS_DATA": str(tmp_path / "data"),
            "HAWKOPS_RESULT": str(tmp_path / "result.jsonl"),
            "LITERT_MODEL": str(model),
        },
    )
    found.devices(R5CT="device")
    found.dumps(ADRENO)
    found.is_a(ro_product_manufacturer="samsung", ro_product_model="SM-S928B", ro_build_version_release="15")
    found.is_a(ro_soc_model="SM8650", ro_hardware="qcom")
    return found


# ---- what passes, what fails, what cannot be measured ----


@pytest.mark.parametrize(
    ("what", "told", "number", "status"),
    [
        ("cpu", {"prefill": 260.9, "lines": ON_CPU}, "260", 0),
        ("cpu", {"prefill": 242.9, "lines": ON_CPU}, "242", 1),
        ("gpu", {"prefill": 1900.0, "lines": ON_GPU}, "1900", 0),
        ("gpu", {"prefill": 1875.9, "lines": ON_GPU}, "1875", 1),
        ("npu", {"prefill": 5900.0, "lines": ON_NPU}, "5900", 0),
        ("npu", {"prefill": 5835.0, "lines": ON_NPU}, "5835", 1),
        ("memory", {"prefill": 260.0, "peak_mb": 1000}, "1049", 0),
        ("memory", {"prefill": 260.0, "peak_mb": 2000}, "2098", 1),
    ],
)
def test_device__measured__is_judged_by_the_runbooks_limit(
    bench: Bench, what: str, told: dict[str, object], number: str, status: int
) -> None:
    bench.says(**told)
    ended = bench.test(what)

    assert (ended.stdout.strip(), ended.returncode) == (number, status), ended.stderr
    assert "on samsung SM-S928B, Android 15" in ended.stderr
    (result,) = bench.results
    assert result["outcome"] == ("pass" if status == 0 else "fail")
    assert (result["target"], result["device_model"], result["android_version"]) == ("device", "samsung SM-S928B", "15")
    assert result["model_digest"] == f"sha256:{digest(Path(bench.settings['LITERT_MODEL']))}"
    assert (result["synthetic"], result["signature"], result["soc"]) == (False, "unsigned", "SM8650")
    assert result["host"] == "samsung SM-S928B, Android 15"
    assert "R5CT" not in json.dumps(result)


@pytest.mark.parametrize("what", TESTS)
def test_device__program_missing__is_no_data_and_names_the_setting(bench: Bench, what: str) -> None:
    (bench.litert / "litert_lm_main").unlink()
    for variables in ({}, {"ANDROID_LITERT_DIR": ""}):
        ended = bench.typed(f"./scripts/test-{TESTS[what]}.sh", **variables)
        assert (ended.stdout, ended.returncode) == ("0\n", 77), ended.stderr
        assert "litert_lm_main for Android is missing" in ended.stderr
        assert "ANDROID_LITERT_DIR" in ended.stderr
    assert bench.pushed == []
    assert {result["outcome"] for result in bench.results} == {"no_data"}
    assert {result["target"] for result in bench.results} == {"device"}


@pytest.mark.parametrize(
    ("what", "library", "words"),
    [("gpu", "libLiteRtGpuAccelerator.so", "no GPU"), ("npu", "libLiteRtDispatch_Qualcomm.so", "no NPU")],
)
def test_device__library_of_the_accelerator_missing__is_never_even_asked(
    bench: Bench, what: str, library: str, words: str
) -> None:
    (bench.litert / library).unlink()
    bench.says(prefill=9999.0, lines=ON_CPU)
    ended = bench.test(what)

    assert (ended.stdout, ended.returncode) == ("0\n", 77)
    assert words in ended.stderr
    assert bench.ran == []


@pytest.mark.parametrize(
    ("what", "renderer", "told", "words"),
    [
        ("gpu", ADRENO, {"prefill": 9999.0, "lines": ON_CPU}, "so it ran on the CPU"),
        ("gpu", SWIFTSHADER, {"prefill": 9999.0, "lines": ON_GPU}, "software adapter, not a GPU"),
        ("gpu", "", {"prefill": 9999.0, "lines": ON_GPU}, "the device names none"),
        ("gpu", ADRENO, {"silent": True, "status": 134, "lines": ["Failed to load"]}, "no GPU"),
        ("npu", ADRENO, {"prefill": 9999.0, "lines": ON_CPU}, "did not register"),
        ("npu", ADRENO, {"prefill": 9999.0, "lines": ON_NPU[:1]}, "so it ran on the CPU"),
    ],
)
def test_device__speed_of_something_else__is_no_measurement(
    bench: Bench, what: str, renderer: str, told: dict[str, object], words: str
) -> None:
    bench.dumps(renderer)
    bench.says(**told)
    ended = bench.test(what)

    assert (ended.stdout, ended.returncode) == ("0\n", 77), ended.stderr
    assert words in ended.stderr


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"silent": True, "lines": ["ERROR: Failed to create engine: INTERNAL"]}, "measured nothing: ERROR: Failed"),
        ({"prefill": 0.0, "done": 0}, "refused the request without an error: prefill 0 of 1024"),
        ({"prefill": 999.0, "done": 128}, "prefill 128 of 1024"),
        ({"prefill": 999.0, "status": 139}, "ended with status 139 on the device"),
        (
            {"silent": True, "status": 1, "lines": ["sh: ./litert_lm_main: not executable: 64-bit ELF file"]},
            "64-bit ELF",
        ),
    ],
)
def test_device__program_that_did_not_do_the_work__fails_whatever_its_exit_status(
    bench: Bench, told: dict[str, object], words: str
) -> None:
    bench.says(**told)
    ended = bench.test("cpu")

    assert (ended.stdout, ended.returncode) == ("0\n", 1)
    assert words in ended.stderr


def test_device__program_that_hangs__is_ended_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_device, "RUN_SECONDS", 1)
    for name, value in bench.settings.items():
        monkeypatch.setenv(name, value)
    bench.says(sleeps=600)
    reading = on_device.throughput(target.subject(), "cpu")

    assert (reading.value, reading.broken) == (None, True)
    assert reading.sentence == "LiteRT hung on the device: no result within 1 s"
    assert len(bench.ran) == 1
    assert not processes_with(f"{bench.folder}/phone/data/local/tmp/hawkops/model")


# ---- which device ----


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({"R5CT": "unauthorized"}, "1 not ready (unauthorized)"),
        ({"R5CT": "offline"}, "1 not ready (offline)"),
        ({"R5CT": "device", "R5CX": "device"}, "2 Android devices are attached (R5CT, R5CX); --device"),
    ],
)
def test_target__attached_and_not_clear__is_no_data_and_never_this_host(
    bench: Bench, states: dict[str, str], words: str
) -> None:
    bench.devices(**states)
    ended = bench.test("cpu")

    assert (ended.stdout, ended.returncode) == ("0\n", 77)
    assert words in ended.stderr
    assert "--device=host measures this host" in ended.stderr


def test_target__named_among_several__is_the_one_asked(bench: Bench) -> None:
    bench.devices(R5CT="device", R5CX="device", R5CY="offline")
    bench.says(prefill=260.0)

    assert bench.test("cpu", "--device=R5CX").returncode == 0
    assert {line.split()[1] for line in bench.asked if line.startswith("-s")} == {"R5CX"}
    for serial, words in (("R5CY", "is offline"), ("R5CZ", "is not attached")):
        ended = bench.test("cpu", f"--device={serial}")
        assert (ended.stdout, ended.returncode) == ("0\n", 77)
        assert words in ended.stderr


def test_target__none_attached_or_host_chosen__is_this_host(bench: Bench) -> None:
    bench.settings["LITERT_MODEL"] = str(PATH)
    assert bench.test("memory", "--device=host").returncode == 0
    assert bench.asked == []
    bench.devices()
    assert bench.test("memory").returncode == 0
    assert [result["target"] for result in bench.results] == ["host", "host"]
    assert bench.test("memory", "--device=R5CT").returncode == 77


def test_target__gone_while_it_is_asked__is_no_data(bench: Bench) -> None:
    """adb still lists it, and its shell is refused: its own words are said."""
    placed(
        bench.folder / "tools/sha256sum", f'#!/bin/sh\nprintf "R5CT\\toffline\\n" > {bench.folder}/devices\nexit 1\n'
    )
    ended = bench.test("cpu")

    assert (ended.stdout, ended.returncode) == ("0\n", 77)
    assert "adb: device offline" in ended.stderr


# ---- what is sent ----


def test_sent__program_libraries_and_model__once(bench: Bench) -> None:
    bench.says(prefill=260.0)
    assert bench.test("cpu").returncode == 0
    assert sorted(bench.pushed) == [
        "libLiteRtDispatch_Qualcomm.so",
        "libLiteRtGpuAccelerator.so",
        "litert_lm_main",
        "model.litertlm",
    ]
    assert bench.test("cpu").returncode == 0
    assert len(bench.pushed) == 4
    first = bench.ran[0]
    assert (first["backend"], first["benchmark_prefill_tokens"], first["benchmark_decode_tokens"]) == (
        "cpu",
        "1024",
        "256",
    )
    assert (first["max_num_tokens"], first["async"]) == ("1280", "false")
    assert first["libraries"].endswith("/data/local/tmp/hawkops")
    Path(bench.settings["LITERT_MODEL"]).write_bytes(b"LITERTLM another")
    (bench.folder / "phone/data/local/tmp/hawkops/model.litertlm.xnnpack_cache").touch()
    assert bench.test("cpu").returncode == 0
    assert bench.pushed[4:] == ["model.litertlm"]
    assert not (bench.folder / "phone/data/local/tmp/hawkops/model.litertlm.xnnpack_cache").exists()


def test_sent__model_that_its_signature_does_not_prove__never(bench: Bench, tmp_path: Path) -> None:
    model = Path(bench.settings["LITERT_MODEL"])
    private, public = keys(tmp_path, "author")
    integrity.sign(Artefact(model, tmp_path / "m.sig", public), private)
    bench.settings |= {"MODEL_SIGNATURE": str(tmp_path / "m.sig"), "MODEL_SIGNING_PUBLIC_KEY": str(public)}
    bench.says(prefill=260.0)
    assert bench.test("cpu").returncode == 0
    assert bench.results[0]["signature"] == "verified"
    model.write_bytes(model.read_bytes() + b"!")
    pushed = len(bench.pushed)
    ended = bench.test("cpu")

    assert (ended.stdout, ended.returncode) == ("0\n", 1)
    assert "is not what was signed" in ended.stderr
    assert len(bench.pushed) == pushed


def test_sent__arrived_changed__fails_and_is_not_run(bench: Bench) -> None:
    (bench.folder / "corrupts").touch()
    ended = bench.test("cpu")

    assert (ended.stdout, ended.returncode) == ("0\n", 1)
    assert "arrived changed" in ended.stderr
    assert bench.ran == []


def test_real_litert__behind_the_stand_in__is_measured_with_its_memory(bench: Bench) -> None:
    """The whole way with a real engine at its end: pushed, run by a shell, watched in /proc, read back."""
    bench.settings["LITERT_MODEL"] = str(PATH)
    bench.says(real=True)
    ended = bench.test("memory")

    assert ended.returncode == 0, ended.stderr
    assert 30 < int(ended.stdout) < 1000
    (result,) = bench.results
    assert (result["target"], result["synthetic"], result["model_digest"]) == ("device", True, f"sha256:{SHA256}")
    assert bench.ran[0]["max_num_tokens"] == "512"


def test_memory__of_a_program_that_ends_at_once__is_not_guessed(bench: Bench) -> None:
    bench.says(prefill=260.0)
    ended = bench.test("memory")

    assert (ended.stdout, ended.returncode) == ("0\n", 77)
    assert "memory was not seen" in ended.stderr


# ---- the suites ----


def test_suite__device_named__every_test_measures_there(bench: Bench) -> None:
    bench.devices(R5CT="device", R5CX="device")
    bench.says(prefill=2000.0, lines=ON_GPU, peak_mb=900)
    ended = bench.typed("./scripts/performance-validation-suite.sh --device=R5CX", HAWKOPS_BACKENDS="cpu,gpu")

    assert "Testing backend switching" in ended.stdout, ended.stdout + ended.stderr
    assert "on samsung SM-S928B" in ended.stderr
    assert {line.split()[1] for line in bench.asked if line.startswith("-s")} == {"R5CX"}


def test_benchmark__on_a_device__says_of_each_line_where_it_was_measured(bench: Bench) -> None:
    bench.says(prefill=260.0, peak_mb=900)
    ended = bench.typed("./run_litert_performance_tests.sh --environment=staging", CLOUD_AI_URL="")

    assert ended.returncode != 0, ended.stdout + ended.stderr
    assert "cloud AI is missing" in ended.stdout
    assert "✅ CPU Backend: 243+ tokens/sec · measured 260 tokens/sec" in ended.stdout
    assert "✅ Memory Usage: <2GB peak · measured 944 MB" in ended.stdout
    assert "on samsung SM-S928B, Android 15" in ended.stderr
    targets = {result["name"]: result["target"] for result in bench.results}
    assert targets == {
        "litert.prefill.throughput": "device",
        "litert.memory.peak": "device",
        "litert.backend.switch.duration": "device",
        "litert.fallback.duration": "host",
    }


def test_switching__on_a_device__is_whole_processes_and_says_so(bench: Bench) -> None:
    bench.says(prefill=260.0)
    ended = bench.typed("./scripts/test-backend-switching.sh")

    assert int(ended.stdout) > 0
    (result,) = bench.results
    assert (result["target"], result["steps"], result["note"]) == (
        "device",
        2.0,
        "cpu:1 → cpu:2 → cpu:1, whole processes",
    )
    assert [run["num_cpu_threads"] for run in bench.ran] == ["1", "2", "1"]


def test_emulator__is_marked_as_one(bench: Bench) -> None:
    bench.is_a(ro_hardware="ranchu", ro_product_model="sdk_gphone64_x86_64", ro_product_manufacturer="Google")
    bench.says(prefill=260.0)
    ended = bench.test("cpu")

    assert "(an emulator)" in ended.stderr
    assert bench.results[0]["emulated"] is True


# ---- what a log proves ----


@pytest.mark.parametrize(
    ("log", "real"),
    [
        ("\n".join(ON_GPU), True),
        ("\n".join(ON_GPU).replace("2068 out of", "12 out of"), False),
        ("Replacing 9 out of 9 node(s) with delegate (TfLiteXNNPackDelegate) node", False),
        (
            "Selected adapter: Adreno, arch=adreno-7xx, vendor=qualcomm, backend=Vulkan, adapterType=Integrated GPU",
            True,
        ),
        ("Selected adapter: SwiftShader Device, arch=swiftshader, backend=Vulkan, adapterType=CPU / Software", False),
        ("", False),
    ],
)
def test_gpu_on_phone__only_the_whole_model_on_hardware_counts(log: str, real: bool) -> None:
    assert gpu_on_phone(log, ADRENO).real is real
    assert not gpu_on_phone(log, SWIFTSHADER).real


def test_npu_on_phone__registered_and_given_a_part__counts_although_a_later_environment_was_refused() -> None:
    assert npu_on_phone("\n".join(ON_NPU), "libLiteRtDispatch_Qualcomm.so").real
    for part in (ON_NPU[:1], ON_NPU[1:2], ON_NPU[2:], []):
        assert not npu_on_phone("\n".join(part), "libLiteRtDispatch_Qualcomm.so").real


def test_stand_in__refuses_what_adb_refuses(bench: Bench) -> None:
    adb = shutil.which("adb", path=bench.settings["PATH"])
    assert adb is not None
    for states, words, refusal in (
        ({}, ["shell", "true"], "adb: no devices/emulators found"),
        ({"A": "device", "B": "device"}, ["shell", "true"], "adb: more than one device/emulator"),
        ({"A": "device"}, ["-s", "B", "shell", "true"], "adb: device 'B' not found"),
        ({"A": "unauthorized"}, ["-s", "A", "push", "x", "/data/local/tmp/x"], "adb: device unauthorized."),
        ({"A": "offline"}, ["shell", "true"], "adb: device offline"),
    ):
        bench.devices(**states)
        ended = subprocess.run(
            [adb, *words], env={**os.environ, **bench.settings}, capture_output=True, text=True, check=False
        )
        assert (ended.returncode, ended.stderr.splitlines()[0]) == (1, refusal)
