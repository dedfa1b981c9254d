"""A bounded load over raw keep-alive connections. The client shares the machine: compare figures of one run only."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import quantiles
from urllib.parse import urlsplit


@dataclass
class Figures:
    """What one load found: seconds per request, and answers by status."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Requests that were taken, a second; who is sent away counts for nothing."""
        return self.statuses.get(200, 0) / self.seconds if self.seconds else 0.0

    def add(self, other: "Figures") -> None:
        """Add up with another load's."""
        self.seconds += other.seconds
        self.latencies += other.latencies
        for status, count in other.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + count

    def percentile(self, percent: int) -> float:
        """The latency in seconds that `percent` of requests stayed within."""
        if len(self.latencies) < 2:
            return self.latencies[0] if self.latencies else 0.0
        return quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


def request_bytes(method: str, url: str, *, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Build one HTTP/1.1 request, ready to be sent again and again."""
    split = urlsplit(url)
    target = split.path + (f"?{split.query}" if split.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {split.netloc}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    lowered = head.lower()
    at = lowered.find(b"content-length:")
    if at >= 0:
        await reader.readexactly(int(lowered[at + 15 : lowered.index(b"\r\n", at)]))
    elif b"transfer-encoding: chunked" in lowered:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    return status


async def run(
    url: str, next_request: Callable[[], bytes], *, connections: int, seconds: float, most: int = 1_000_000
) -> Figures:
    """Send requests over `connections` connections for `seconds`, at most `most` of them."""
    split = urlsplit(url)
    figures = Figures()
    started = time.perf_counter()
    end = started + seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection(split.hostname, split.port)
        try:
            while time.perf_counter() < end and len(figures.latencies) < most:
                before = time.perf_counter()
                writer.write(next_request())
                status = await _answer(reader)
                figures.latencies.append(time.perf_counter() - before)
                figures.statuses[status] = figures.statuses.get(status, 0) + 1
        finally:
            writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    figures.seconds = time.perf_counter() - started
    return figures
