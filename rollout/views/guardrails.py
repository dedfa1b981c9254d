"""How a phase's guardrails are shown: each one's verdict, its interval drawn as a band with its boundary, and why."""

from dataclasses import dataclass
from typing import Any

from hawkops.core.templatetags.look import number
from hawkops.core.verdicts import Verdict
from monitoring.selectors.criteria import criteria
from rollout.domain.guardrails import Guardrail, Judges, Role
from rollout.models import GuardrailState, PhaseRun
from rollout.selectors import guardrail_states

# of the drawing, in its own units
WIDE, EDGE = 144, 6


@dataclass(frozen=True)
class Gap:
    """An interval of a change drawn around no difference, with the boundary of what is borne; places from the left."""

    zero: float
    boundary: float
    low: float
    middle: float
    high: float
    words: str


@dataclass(frozen=True)
class Shown:
    """A guardrail as the page says it."""

    guardrail: Guardrail
    state: GuardrailState | None
    about: str
    gap: Gap | None
    others: list[dict[str, Any]]
    wait: str

    @property
    def culprit(self) -> str:
        """Where the harm sits: the smallest exclusion that restores the guardrail; empty where nothing fails."""
        found = self.state.exclusion if self.state is not None else None
        if not found or self.state is None or self.state.verdict != Verdict.FAIL:
            return ""
        if not found["cohorts"]:
            return "It is in all devices alike: no cohort explains it." if found["everywhere"] else ""
        names = "; ".join(
            f"{one['name']} ({number(one['treatment'])} devices, by chance {one['chance']:.2g})"
            for one in found["cohorts"]
        )
        share = f"{number(found['excluded'])} of {number(found['devices'])} devices"
        does = "restores it" if found["restored"] else "helps, but does not restore it"
        return f"Leaving out {names}, {share}, {does}."

    @property
    def acted(self) -> str:
        """What it did, or would have done."""
        if self.state is None or self.state.acted_at is None:
            return ""
        return "would have held" if self.guardrail.role is Role.WATCH else "rolled back"


def shown(run: PhaseRun) -> list[Shown]:
    """Return the guardrails of a phase as its page shows them. Two queries."""
    rows = guardrail_states.rows(run)
    if not rows:
        return []
    floors = {one.key: one.comparator.floor for one in criteria(keys=[row.guardrail.criterion for row in rows])}
    return [_shown(row.guardrail, row.state, floors) for row in rows]


def _shown(one: Guardrail, state: GuardrailState | None, floors: dict[str, bool]) -> Shown:
    lines = state.lines if state is not None else []
    whole = [line for line in lines if not line["device_class"] and line["relative"]]
    # the one that decides: the longest age that passes, otherwise the first of that verdict
    deciding = [line for line in whole if state is not None and line["verdict"] == state.verdict] or whole
    drawn = deciding[-1 if state is not None and state.verdict == Verdict.PASS else 0] if deciding else None
    gap = _gap(drawn, one.tolerated, floor=floors.get(one.criterion, False)) if drawn else None
    about = {
        Judges.REPORTING: "devices of the treatment that reported before and are silent",
        Judges.SAMPLE_RATIO: "devices that report, as they were drawn",
    }.get(one.judges, f"no more than {one.tolerated * 100:g} % worse than the control, and its limit")
    return Shown(one, state, about, gap, lines, _wait(state))


def _gap(line: dict[str, Any], tolerated: float, *, floor: bool) -> Gap | None:
    low, middle, high = line["low"], line["estimate"], line["high"]
    if middle is None:
        return None
    edge = -tolerated if floor else tolerated
    ends = [value for value in (low, middle, high, edge, 0.0) if value is not None]
    least, most = min(ends), max(ends)
    span = (most - least) or 1.0

    def place(value: float | None, other: float) -> float:
        return round(other if value is None else EDGE + (value - least) / span * (WIDE - 2 * EDGE), 1)

    words = f"{middle * 100:+.1f} %".replace("-", "−")
    return Gap(place(0.0, 0), place(edge, 0), place(low, 0), place(middle, 0), place(high, WIDE), words)


def _wait(state: GuardrailState | None) -> str:
    """Say how many devices settle it, and when they are there."""
    found = state.progress if state is not None else None
    if not found:
        return ""
    missing = found["need"] - found["have"]
    if missing <= 0:
        return ""
    when = ""
    if found["per_hour"] > 0:
        hours = max(1, round(missing / found["per_hour"]))
        when = f", in about {hours // 24} d at their pace" if hours > 48 else f", in about {hours} h at their pace"
    return f"{number(found['have'])} of {number(found['need'])} devices that settle it{when}"
