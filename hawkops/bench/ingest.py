"""`python -m hawkops.bench.ingest GATEWAY`: full ingest for at most two minutes; the bench ends it earlier."""

import asyncio
import os
import sys

from hawkops.bench import load
from hawkops.bench.measures import payloads

LONGEST_SECONDS = 120.0


def main() -> None:
    """Send until ended."""
    url = f"{sys.argv[1]}/v1/metrics"
    headers = {"Authorization": f"Bearer {os.environ['HAWKOPS_BENCH_KEY']}"}
    asyncio.run(load.run(url, payloads(url, headers), connections=16, seconds=LONGEST_SECONDS))


if __name__ == "__main__":
    main()
