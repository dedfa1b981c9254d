"""What the load was promised: written down when it was acknowledged, compared with what is stored. Pure but for a lock."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hawkops.bench.faults.table import Counts

# what must work again after a fault
PULSES = ("telemetry", "changes", "devices", "notifications", "runs", "alerts", "sweepers")
# the first and last places of a class are for values that nothing rounds
PLACES_MOST = 2_000


@dataclass(frozen=True, order=True)
class Payload:
    """One payload: a value of its own in a class of its own, so that what is stored tells how often it counted."""

    device_class: str
    place: int


@dataclass
class Ledger:
    """Of one round. What was sent without an answer is owed: it is sent again until somebody answers."""

    label: str
    sent: set[Payload] = field(default_factory=set)
    acknowledged: set[Payload] = field(default_factory=set)
    resent: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    changes: set[str] = field(default_factory=set)
    incidents: set[str] = field(default_factory=set)
    runs: set[int] = field(default_factory=set)
    told: Counter[str] = field(default_factory=Counter)
    titles: set[str] = field(default_factory=set)
    at: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in PULSES})
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: int = 0

    def payload(self) -> Payload:
        """Return a payload that was never sent."""
        with self._lock:
            number = self._next
            self._next += 1
            made = Payload(f"{self.label}-{number // PLACES_MOST}", number % PLACES_MOST)
            self.sent.add(made)
        return made

    def pulse(self, kind: str, at: float | None = None) -> None:
        """Note that something worked."""
        with self._lock:
            self.at[kind].append(time.monotonic() if at is None else at)

    def working_since(self, after: float) -> float | None:
        """Return when everything had worked again since a moment; None while something has not."""
        firsts = [min((at for at in times if at >= after), default=None) for times in self.at.values()]
        return None if None in firsts else max(one for one in firsts if one is not None)

    def silent(self, after: float) -> list[str]:
        """Name what has not worked since a moment."""
        return [kind for kind, times in self.at.items() if not any(at >= after for at in times)]

    def notified(self, key: str, title: str) -> None:
        """Note what the sink was told."""
        with self._lock:
            self.told[key] += 1
            self.titles.add(title)

    def telemetry_counts(self, stored: Mapping[Payload, int]) -> Counts:
        """Compare payloads with how often each is stored; one that was never acknowledged may be there once."""
        lost = sum(1 for one in self.acknowledged if not stored.get(one))
        twice = sum(1 for one in self.sent if stored.get(one, 0) > 1)
        return Counts(len(self.acknowledged), lost, twice)

    def change_counts(self, entries: Mapping[str, int]) -> Counts:
        """Compare changes with how many entries of the history bear each one's reason."""
        lost = sum(1 for reason in self.changes if not entries.get(reason))
        twice = sum(1 for count in entries.values() if count > 1)
        return Counts(len(self.changes), lost, twice)

    def notification_counts(self) -> Counts:
        """Compare incidents with what the sink was told of."""
        lost = sum(1 for title in self.incidents if not any(title in told for told in self.titles))
        return Counts(len(self.incidents), lost, sum(count - 1 for count in self.told.values()))

    def run_counts(self, states: Mapping[int, str], resolved: Iterable[str]) -> Counts:
        """Compare runs with the states they are in: one that is gone or open is lost."""
        ends = set(resolved)
        return Counts(len(self.runs), sum(1 for run in self.runs if states.get(run) not in ends), 0)
