"""One measurement of real LiteRT in a process of its own, so that a native crash or hang is only a failed measurement.

Takes its parent's process id and a job as JSON on the command line and prints one JSON line. LiteRT's log goes to
standard error, for the parent.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import litert_lm

PR_SET_PDEATHSIG = 1


class Refused(Exception):
    """LiteRT reported success and did not do the work."""


def peak_bytes() -> int:
    """Read the highest resident memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def backend(configuration: str) -> Any:
    """Make LiteRT's backend from `cpu:2`, `gpu` or `npu`."""
    name, _, threads = configuration.partition(":")
    if name == "cpu":
        return litert_lm.Backend.CPU(thread_count=int(threads or 1))
    if name == "gpu":
        return litert_lm.Backend.GPU()
    return litert_lm.Backend.NPU(litert_dispatch_lib_dir=os.environ.get("LITERT_DISPATCH_DIR", ""))


def throughput(job: dict[str, Any]) -> dict[str, Any]:
    """Measure prefill and decode; the median of several runs after one that warms up."""
    benchmark = litert_lm.Benchmark(
        job["model"],
        backend=backend(job["configuration"]),
        prefill_tokens=job["prefill"],
        decode_tokens=job["decode"],
        max_num_tokens=job["max_tokens"],
        cache_dir=":nocache",  # a cache beside the model would break the signature of its folder
    )
    benchmark.run()
    runs = []
    for _ in range(job["runs"]):
        run = benchmark.run()
        # LiteRT reports a refused request as zeros, not as an error.
        if run.last_prefill_token_count < job["prefill"] or run.last_decode_token_count < 1:
            done = f"prefill {run.last_prefill_token_count} of {job['prefill']}, decode {run.last_decode_token_count}"
            raise Refused(f"LiteRT refused the request without an error: {done} tokens")
        runs.append(run)
    return {
        "prefill_tokens_per_second": median(run.last_prefill_tokens_per_second for run in runs),
        "decode_tokens_per_second": median(run.last_decode_tokens_per_second for run in runs),
        "first_token_seconds": median(run.time_to_first_token_in_second for run in runs),
        "init_seconds": median(run.init_time_in_second for run in runs),
        "peak_bytes": peak_bytes(),
    }


def _running_engine(job: dict[str, Any], configuration: str) -> tuple[Any, Any]:
    """Bring up an engine to its first token."""
    engine = litert_lm.Engine(
        job["model"], backend=backend(configuration), max_num_tokens=job["max_tokens"], cache_dir=":nocache"
    )
    session = engine.create_session(max_output_tokens=1)
    session.run_prefill(["a"])
    session.run_decode()
    return engine, session


def switching(job: dict[str, Any]) -> dict[str, Any]:
    """Time each step of a path of configurations: from running on one to the first token on the next."""
    first, *following = job["path"]
    engine, session = _running_engine(job, first)
    steps = []
    for configuration in following:
        began = time.perf_counter()
        session.close()
        engine.close()
        engine, session = _running_engine(job, configuration)
        steps.append(time.perf_counter() - began)
    return {"steps_seconds": steps, "peak_bytes": peak_bytes()}


def occupied(job: dict[str, Any]) -> dict[str, Any]:
    """Infer without end, after saying so, until the parent kills this process."""
    engine, session = _running_engine(job, job["configuration"])
    session.close()
    print(json.dumps({"ready": True}), flush=True)
    while True:
        with engine.create_session(max_output_tokens=64) as session:
            session.run_prefill(["a"])
            session.run_decode()


KINDS = {"throughput": throughput, "switching": switching, "occupied": occupied}


def main() -> None:
    """Run one job for the parent whose process id comes first."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # whatever ends the parent ends this measurement
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent is gone")
    job = json.loads(sys.argv[2])
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.INFO)  # the adapter's line is at INFO
    print(json.dumps(KINDS[job["kind"]](job)), flush=True)
    os._exit(0)  # skip native destructors


if __name__ == "__main__":
    main()
