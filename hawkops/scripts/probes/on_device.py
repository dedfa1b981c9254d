"""LiteRT on the Android device behind adb: its own benchmark program, pushed with the model, run there and read back.

The program's exit status and its speeds prove nothing by themselves: it ends with 0 when it measured nothing, and runs on
the CPU when an accelerator is missing. So the log must show what was processed, and where.
"""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from hawkops.fleet.accelerators import Found, gpu_on_phone, npu_on_phone
from hawkops.fleet.model import digest
from hawkops.scripts.probes.android import AdbFailed, Device
from hawkops.scripts.probes.measuring import Reading, Subject, Unmeasurable, switching_path

FOLDER = "/data/local/tmp/hawkops"
PROGRAMS = ("litert_lm_main", "litert_lm_advanced_main")
GPU_LIBRARIES, NPU_LIBRARIES = "libLiteRt*Accelerator.so", "libLiteRtDispatch_*.so"
SETTING = "ANDROID_LITERT_DIR"
RUN_SECONDS = 300
# Memory is looked at from outside, without slowing what is measured; fewer looks than these have seen nothing.
SAMPLES_PER_SECOND, SAMPLES_LEAST = 10, 5
RUNS = 3
# (prefill, decode, context): those of the published figures, and what fits into the small generated model
TOKENS, FEWER_TOKENS = (1024, 256, 1280), (256, 64, 512)
_PREFILL = re.compile(r"Prefill Turn \d+: Processed (\d+) tokens.*\n\s*Prefill Speed:\s+([\d.]+) tokens/sec")
_DECODE = re.compile(r"Decode Turn \d+: Processed (\d+) tokens.*\n\s*Decode Speed:\s+([\d.]+) tokens/sec")
_FIRST_TOKEN = re.compile(r"Time to first token:\s+([\d.]+) s")
_INIT = re.compile(r"(?:Init Total|Total init time):\s+([\d.]+) ms")
_PEAK_BY_ITSELF = re.compile(r"Peak system ram usage:\s+([\d.]+) ?MB")
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_ENDED = re.compile(r"^hawkops: status (\d+), (\d+) ns$", re.MULTILINE)
_LOUD = re.compile(r"error[: ]|failed|can't|cannot|not found|unknown|fatal|abort|not executable", re.IGNORECASE)


class Failed(Exception):
    """The program ran on the device and did not do the work."""


@dataclass(frozen=True)
class Installed:
    """What stands ready on the device: the program, the model, and the library of an NPU if there is one."""

    program: str
    model: str
    npu_library: str


@dataclass(frozen=True)
class Launch:
    """One run of the program: what it wrote, its highest memory (None: nobody saw it), and how long it took."""

    log: str
    peak_bytes: int | None
    seconds: float


def throughput(what: Subject, backend: str, *, runs: int = RUNS) -> Reading:
    """Measure prefill tokens per second on one backend of the device; decode, first token, start and memory go with it."""
    name, unit = "litert.prefill.throughput", "{token}/s"
    prefill, decode, context = FEWER_TOKENS if what.synthetic else TOKENS
    try:
        ready = installed(what, backend)
        found, measured = Found(True, ""), []
        for _ in range(runs):
            launch = _launch(what, ready, backend, prefill=prefill, decode=decode, context=context)
            found = _where(what, ready, backend, launch.log)
            if not found.real:
                return Reading(name, unit, backend, None, found.sentence)
            measured.append(_measured(launch, prefill))
    except (Unmeasurable, AdbFailed) as lack:
        return Reading(name, unit, backend, None, str(lack), broken=getattr(lack, "broken", False))
    except Failed as error:
        return Reading(name, unit, backend, None, str(error), broken=True)
    details: dict[str, float | str | bool] = {
        key: (max if key == "peak_bytes" else median)(one[key] for one in measured)
        for key in set.intersection(*(set(one) for one in measured))
    }
    value = details.pop("prefill_tokens_per_second")
    return Reading(name, unit, backend, float(value), found.sentence, details={**details, "prefill_tokens": prefill})


def memory(what: Subject, backend: str) -> Reading:
    """Measure the highest resident memory of the program on the device, the library included."""
    reading = throughput(what, backend, runs=1)
    sentence, value = reading.sentence, reading.details.get("peak_bytes")
    if reading.value is not None and value is None:
        sentence = (
            "the program's memory was not seen: it ended too soon, or /proc has no VmHWM, and it says none itself"
        )
    return Reading("litert.memory.peak", "By", backend, float(value) if value else None, sentence, reading.broken)


def switching(what: Subject, declared: tuple[str, ...]) -> Reading:
    """Measure the mean time of a switch: a whole process of the program up to one token, since it never switches within.

    Its start and end are part of the time, so an app that switches within its process is faster than this.
    """
    path = switching_path(declared, 2)
    name, unit, words = "litert.backend.switch.duration", "s", " → ".join(path)
    backend = next((step for step in path if not step.startswith("cpu")), "cpu")
    context = (FEWER_TOKENS if what.synthetic else TOKENS)[-1]
    steps = []
    try:
        for number, step in enumerate(path):
            kind, _, threads = step.partition(":")
            ready = installed(what, kind)
            launch = _launch(what, ready, kind, threads=threads, prefill=1, decode=1, context=context)
            found = _where(what, ready, kind, launch.log)
            if not found.real:
                return Reading(name, unit, kind, None, found.sentence)
            _measured(launch, 1)
            if number:
                steps.append(launch.seconds)
    except (Unmeasurable, AdbFailed) as lack:
        return Reading(name, unit, backend, None, str(lack), broken=getattr(lack, "broken", False))
    except Failed as error:
        return Reading(name, unit, backend, None, str(error), broken=True)
    details: dict[str, float | str | bool] = {"worst_seconds": max(steps), "steps": float(len(steps)), "path": words}
    return Reading(name, unit, backend, fmean(steps), f"{words}, whole processes", details=details)


def installed(what: Subject, backend: str) -> Installed:
    """Bring program, libraries and model to the device, unless the same ones are there. Raises Unmeasurable, AdbFailed."""
    phone = _device(what)
    folder = os.environ.get(SETTING, "")
    if not folder:
        raise Unmeasurable(f"{PROGRAMS[0]} for Android is missing: {SETTING} names no folder that holds it")
    programs = [Path(folder) / name for name in PROGRAMS if (Path(folder) / name).is_file()]
    if not programs:
        raise Unmeasurable(f"{PROGRAMS[0]} for Android is missing in {folder} ({SETTING} names the folder)")
    libraries = sorted(Path(folder).glob("*.so"))
    npu = sorted(path.name for path in Path(folder).glob(NPU_LIBRARIES))
    if backend == "gpu" and not list(Path(folder).glob(GPU_LIBRARIES)):
        raise Unmeasurable(f"no GPU: no {GPU_LIBRARIES} in {folder} ({SETTING} names the folder)")
    if backend == "npu" and not npu:  # asking would run on the CPU and report its speed
        raise Unmeasurable(f"no NPU: no {NPU_LIBRARIES} in {folder} ({SETTING} names the folder)")
    phone.shell(f"mkdir -p {FOLDER}")
    for file in (programs[0], *libraries):
        _bring(phone, file, file.name, digest(file))
    phone.shell(f"chmod 755 {FOLDER}/{programs[0].name}")
    model = f"model{what.path.suffix}"
    # what LiteRT cached beside another model must not speak for this one
    _bring(phone, what.path, model, what.digest, instead_of="model*")
    return Installed(programs[0].name, model, npu[0] if npu else "")


def _device(what: Subject) -> Device:
    assert what.phone is not None, "a subject on a device"
    return what.phone.device


def _bring(phone: Device, local: Path, name: str, expected: str, *, instead_of: str = "") -> None:
    """Push a file, and prove that it arrived as it was."""
    remote = f"{FOLDER}/{name}"
    if _digest_there(phone, remote) == expected:
        return
    if instead_of:
        phone.shell(f"rm -f {FOLDER}/{instead_of}")
    phone.push(local, remote)
    found = _digest_there(phone, remote)
    if found != expected:
        raise Unmeasurable(f"{local.name} arrived changed: sha256 {found or 'unknown'}, not {expected}", broken=True)


def _digest_there(phone: Device, remote: str) -> str:
    try:
        said = phone.shell(f"sha256sum {shlex.quote(remote)}", timeout_seconds=120)
    except AdbFailed:
        return ""
    return said.split()[0] if said.split() else ""


def _launch(
    what: Subject, ready: Installed, backend: str, *, prefill: int, decode: int, context: int, threads: str = ""
) -> Launch:
    """Run the program once on the device while its memory is watched there; it is ended there when it hangs."""
    options = [
        f"--backend={backend}",
        f"--model_path={FOLDER}/{ready.model}",
        "--benchmark",
        f"--benchmark_prefill_tokens={prefill}",
        f"--benchmark_decode_tokens={decode}",
        f"--max_num_tokens={context}",
        "--async=false",
        "--report_peak_memory_footprint",
        *([f"--num_cpu_threads={threads}"] if threads else []),
    ]
    script = f"""cd {FOLDER} || exit 1
export LD_LIBRARY_PATH={FOLDER} ADSP_LIBRARY_PATH={FOLDER}
began=$(date +%s%N)
./{ready.program} {shlex.join(options)} > log.txt 2>&1 < /dev/null &
pid=$!
(
    seen=0
    while grep VmHWM /proc/$pid/status 2>/dev/null; do
        seen=$((seen + 1))
        [ $seen -lt {RUN_SECONDS * SAMPLES_PER_SECOND} ] || kill -9 $pid
        sleep {1 / SAMPLES_PER_SECOND}
    done
) &
watching=$!
wait $pid
status=$?
ended=$(date +%s%N)
wait $watching
echo "hawkops: status $status, $((ended - began)) ns"
cat log.txt"""
    said = _device(what).shell(script, timeout_seconds=RUN_SECONDS * 1.5)
    ended = _ENDED.search(said)
    if ended is None:
        raise AdbFailed("the device's answer breaks off: it may have been disconnected")
    log = said[ended.end() :]
    status, seconds = int(ended[1]), int(ended[2]) / 1e9
    if status == 137 and seconds >= RUN_SECONDS * 0.9:
        raise Failed(f"LiteRT hung on the device: no result within {RUN_SECONDS} s")
    if status and not _without_accelerator(what, ready, backend, log):
        raise Failed(f"LiteRT ended with status {status} on the device: {_loudest(log)}")
    peaks = [int(kilobytes) * 1024 for kilobytes in _PEAK.findall(said[: ended.start()])]
    if len(peaks) < SAMPLES_LEAST:
        peaks = []
    # the watch misses the last moments; the program's own word covers them
    peaks += [int(float(megabytes) * 2**20) for megabytes in _PEAK_BY_ITSELF.findall(log)]
    return Launch(log, max(peaks, default=None), seconds)


def _where(what: Subject, ready: Installed, backend: str, log: str) -> Found:
    """Judge where the model really ran."""
    if backend == "gpu":
        return gpu_on_phone(log, _device(what).renderer)
    if backend == "npu":
        return npu_on_phone(log, ready.npu_library)
    return Found(True, "")


def _without_accelerator(what: Subject, ready: Installed, backend: str, log: str) -> bool:
    """Tell whether a failed run only lacked its accelerator: that is a lack, not a failure."""
    return backend != "cpu" and not _where(what, ready, backend, log).real


def _measured(launch: Launch, prefill: int) -> dict[str, float]:
    """Read the last turn of a log. Raises Failed when the work asked for was not done, whatever the exit status said."""
    prefills, decodes = _PREFILL.findall(launch.log), _DECODE.findall(launch.log)
    if not prefills or not decodes:
        raise Failed(f"LiteRT reported success and measured nothing: {_loudest(launch.log)}")
    (done, speed), (decoded, decode_speed) = prefills[-1], decodes[-1]
    if int(done) < prefill or int(decoded) < 1 or not float(speed):
        raise Failed(
            f"LiteRT refused the request without an error: prefill {done} of {prefill}, decode {decoded} tokens"
        )
    found = {"prefill_tokens_per_second": float(speed), "decode_tokens_per_second": float(decode_speed)}
    if first := _FIRST_TOKEN.findall(launch.log):
        found["first_token_seconds"] = float(first[-1])
    if init := _INIT.findall(launch.log):
        found["init_seconds"] = float(init[-1]) / 1000
    if launch.peak_bytes is not None:
        found["peak_bytes"] = float(launch.peak_bytes)
    return found


def _loudest(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if _LOUD.search(line)), lines[-1] if lines else "it said nothing")[
        :300
    ]
