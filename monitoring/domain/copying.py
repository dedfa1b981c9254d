"""Rollup rows in PostgreSQL's binary form of COPY: a head, then for each row its fields, each with its length."""

import struct
from collections.abc import Iterable

HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
ROW = struct.Struct("!h iq iq ih iq id id id id i")
ROW_WITH_ID = struct.Struct("!h iq iq iq ih iq id id id id i")
END = b"\xff\xff"
EPOCH = 946_684_800  # 2000-01-01
# An advisory lock: held shared from before a rollup row gets its id to the commit, so that whoever sees who holds it
# knows until when a lower id can still appear. Nobody takes it alone.
GATE = 0x726F6C6C
COLUMNS = "series_id, bucket_at, width_seconds, count, total, squares, low, high, buckets"


# series, start of the bucket in seconds since 1970, width, count, total, squares, low, high, buckets
RollupRow = tuple[int, int, int, int, float, float, float, float, bytes]


def binary(rows: Iterable[RollupRow]) -> bytes:
    """Return rows for COPY of COLUMNS."""
    parts = [HEAD]
    for series_id, bucket, width, count, total, squares, low, high, buckets in rows:
        moment = (bucket - EPOCH) * 1_000_000
        parts.append(
            ROW.pack(9, 8, series_id, 8, moment, 2, width, 8, count, 8, total, 8, squares, 8, low, 8, high,
                     len(buckets))
        )  # fmt: skip
        parts.append(buckets)
    parts.append(END)
    return b"".join(parts)


def binary_with_ids(rows: Iterable[tuple[int, RollupRow]]) -> bytes:
    """Return rows with their ids for COPY of id and COLUMNS."""
    parts = [HEAD]
    for key, (series_id, bucket, width, count, total, squares, low, high, buckets) in rows:
        moment = (bucket - EPOCH) * 1_000_000
        parts.append(
            ROW_WITH_ID.pack(10, 8, key, 8, series_id, 8, moment, 2, width, 8, count, 8, total, 8, squares, 8, low,
                             8, high, len(buckets))
        )  # fmt: skip
        parts.append(buckets)
    parts.append(END)
    return b"".join(parts)
