"""Afterwards: what stands in the database, asked past every wire, beside what the ledger says was acknowledged."""

import subprocess
from collections import Counter

from hawkops.bench.faults.installation import System
from hawkops.bench.faults.ledger import Ledger, Payload
from hawkops.bench.faults.load import METRIC, OPEN
from hawkops.bench.faults.table import Result
from monitoring.domain.sketch import BUCKETS, Sketch

FINEST_SECONDS = 10
_PLACES = {bucket: place for place, bucket in enumerate(BUCKETS[1:])}
STORED = """
SELECT s.device_class, p.count, p.total, p.squares, p.low, p.high, p.buckets
  FROM monitoring_rolluppartial p JOIN monitoring_series s ON s.id = p.series_id
 WHERE s.metric = %s AND s.device_class LIKE %s AND p.width_seconds = %s
"""
ENTRIES = "SELECT reason, count(*) FROM history_historyentry WHERE reason LIKE %s GROUP BY reason"
STATES = "SELECT id, state FROM scripts_run WHERE id = ANY(%s)"
PENDING = "SELECT count(*) FROM incidents_delivery WHERE state <> 'sent' AND title LIKE %s"


def audit(system: System, ledger: Ledger, result: Result) -> None:
    """Count what is lost and what is there twice, and verify the history."""
    with system.superuser() as line:
        rows = line.execute(STORED, [METRIC, f"{ledger.label}-%", FINEST_SECONDS]).fetchall()
        entries = line.execute(ENTRIES, [f"{ledger.label} change %"]).fetchall()
        found = line.execute(STATES, [list(ledger.runs)]).fetchall()
        states = {int(str(run)): str(state) for run, state in found}
        untold = line.execute(PENDING, [f"%{ledger.label} %"]).fetchone()
    result.counts = {
        "payloads": ledger.telemetry_counts(stored(rows)),
        "changes": ledger.change_counts({str(reason): int(str(count)) for reason, count in entries}),
        "notifications": ledger.notification_counts(),
        "runs": ledger.run_counts(states, {*states.values()} - {*OPEN}),
    }
    ends = Counter(states.values())
    if odd := {state: count for state, count in ends.items() if state != "passed"}:
        result.notes.append(f"runs ended {odd}")
    if untold and untold[0]:
        result.findings.append(f"{untold[0]} deliveries are not sent")
    if ledger.resent:
        result.notes.append(f"{ledger.resent} acknowledged payloads sent again")
    if ledger.refused:
        result.notes.append(
            "refused on the way: " + ", ".join(f"{n} × {what}" for what, n in ledger.refused.most_common(6))
        )
    try:
        system.command("history_verify")
    except subprocess.CalledProcessError as error:
        result.findings.append(f"the history does not verify: {(error.stdout + error.stderr).strip()[-300:]}")


def stored(rows: list[tuple[object, ...]]) -> dict[Payload, int]:
    """Return how often each payload's value is stored."""
    found: Counter[Payload] = Counter()
    for device_class, *figures in rows:
        sketch = Sketch()
        sketch.merge_row(*figures)  # type: ignore[arg-type]
        for bucket, count in sketch.positive.items():
            found[Payload(str(device_class), _PLACES[bucket])] += count
    return dict(found)
