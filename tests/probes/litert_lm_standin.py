#!/usr/bin/env python3
"""Stands in for Android's litert_lm_main: takes its flags, refuses others as it does, and prints its BenchmarkInfo.

`$ADB_FOLDER/run.json` says what happens: `prefill` and `decode` (tokens a second), `lines` of the log, `peak_mb`, the
`status`, `done` (prefilled tokens, fewer than asked), `silent` (no BenchmarkInfo at all), `sleeps` (seconds). With `real`
it measures the real LiteRT of this host.
"""

import json
import os
import sys
import time
from pathlib import Path

FLAGS = {
    "backend", "model_path", "benchmark", "benchmark_prefill_tokens", "benchmark_decode_tokens", "max_num_tokens",
    "async", "report_peak_memory_footprint", "num_cpu_threads",
}  # fmt: skip
LINE = "-" * 50


def main() -> int:
    """Run once."""
    given = dict(word.removeprefix("--").partition("=")[::2] for word in sys.argv[1:])
    for name in given:
        if name not in FLAGS:
            print(f"ERROR: Unknown command line flag '{name}'", file=sys.stderr)
            return 1
    folder = Path(os.environ["ADB_FOLDER"])
    with (folder / "ran").open("a") as file:
        file.write(json.dumps({**given, "libraries": os.environ.get("LD_LIBRARY_PATH", "")}) + "\n")
    if not Path(given["model_path"]).is_file():
        print(f"F0000 litert_lm_main.cc:99] Failed to open {given['model_path']}: NOT_FOUND", file=sys.stderr)
        return 134
    told = json.loads((folder / "run.json").read_text())
    prefill, decode = int(given["benchmark_prefill_tokens"]), int(given["benchmark_decode_tokens"])
    time.sleep(told.get("sleeps", 0))
    if told.get("real"):
        told |= measured(given, prefill, decode)
    print("INFO: [environment.cc:36] Creating LiteRT environment with options", file=sys.stderr)
    print("\n".join(told.get("lines", [])), file=sys.stderr)
    if not told.get("silent"):
        print(f"""BenchmarkInfo:
  Init Phases (2):
    - Executor initialization: 90.00 ms
    - Init Total: 120.50 ms
{LINE}
  Time to first token: 0.12 s
{LINE}
  Prefill Turns (Total 1 turns):
    Prefill Turn 1: Processed {told.get("done", prefill)} tokens in 4.2s duration.
      Prefill Speed: {told["prefill"]:.2f} tokens/sec.
{LINE}
  Decode Turns (Total 1 turns):
    Decode Turn 1: Processed {decode} tokens in 5.9s duration.
      Decode Speed: {told.get("decode", 40.0):.2f} tokens/sec.
{LINE}""")
    if "report_peak_memory_footprint" in given and "peak_mb" in told:
        print(f"I0000 00:00:17.9 1 litert_lm_lib.cc:9] Peak system ram usage: {told['peak_mb']}MB.", file=sys.stderr)
    return int(told.get("status", 0))


def measured(given: dict[str, str], prefill: int, decode: int) -> dict[str, float]:
    """Measure this host's LiteRT on the model that was pushed."""
    import litert_lm

    benchmark = litert_lm.Benchmark(
        given["model_path"],
        backend=litert_lm.Backend.CPU(thread_count=1),
        prefill_tokens=prefill,
        decode_tokens=decode,
        max_num_tokens=int(given["max_num_tokens"]),
        cache_dir=":nocache",
    )
    end = time.monotonic() + 1.5
    found = benchmark.run()
    while time.monotonic() < end:  # as long as a phone would take at least
        found = benchmark.run()
    return {
        "prefill": found.last_prefill_tokens_per_second,
        "decode": found.last_decode_tokens_per_second,
        "done": found.last_prefill_token_count,
    }


if __name__ == "__main__":
    sys.exit(main())
