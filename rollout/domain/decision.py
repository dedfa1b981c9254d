"""Go or no-go between phases: what each line says, one table of what follows from it, and the recommendation. Pure.

The table is the runbook's "Proceed if" and "Hold/Rollback if" with the words settled that it leaves open: a miss is judged
on its interval, and what is not known holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hawkops.core.verdicts import WORST_FIRST, Verdict
from monitoring.domain.statistics.guardrails import WORST_MISS, Miss
from rollout.domain.policy import Need


class Recommendation(StrEnum):
    """What the numbers speak for; people decide."""

    ROLL_BACK = "ROLL_BACK"
    HOLD = "HOLD"
    PROCEED = "PROCEED"

    @property
    def label(self) -> str:
        """The word as pages show it."""
        return self.value.replace("_", " ")


WORST_OF = (Recommendation.ROLL_BACK, Recommendation.HOLD, Recommendation.PROCEED)


class Decided(StrEnum):
    """What people decided."""

    GO = "go"
    HOLD = "no-go"
    ROLL_BACK = "roll back"


class Nature(StrEnum):
    """What a line speaks of."""

    TARGET = "target"
    SATISFACTION = "satisfaction"
    FALL = "fall of satisfaction"
    CRASHES = "crash rate"
    RISE = "rise of the crash rate"
    SECURITY = "security"
    INCIDENTS = "critical incidents"
    ROLLBACKS = "rollbacks"
    HOURS = "hours of data"


class Clause(StrEnum):
    """The runbook's five reasons to proceed: which one a line belongs to."""

    PERFORMANCE = "All performance targets met for 48+ hours"
    QUIET = "No critical incidents or rollbacks"
    SATISFACTION = "User satisfaction metrics stable or improved"
    HEALTH = "System health metrics within acceptable ranges"
    SECURITY = "Security compliance maintained"


@dataclass(frozen=True)
class Line:
    """One line of the decision. `worse` says that it is worse than the control beyond chance.

    `soon` is when what is missing will be there, in words; empty where nobody can say.
    """

    key: str
    title: str
    nature: Nature
    clause: Clause
    verdict: Verdict
    sentence: str
    miss: Miss = Miss.SAFE
    worse: bool = False
    in_scope: bool = True
    missed: float = 0.0
    soon: str = ""

    @property
    def unknown(self) -> bool:
        """Whether it can't say."""
        return self.verdict in (Verdict.NO_DATA, Verdict.INSUFFICIENT, Verdict.STALE, Verdict.ERROR)


@dataclass(frozen=True)
class Row:
    """A row of the table: when it applies to a line, what follows, and the runbook's words behind it."""

    key: str
    follows: Recommendation
    when: str
    runbook: str
    holds: Callable[[Line], bool]


def _fails(*natures: Nature) -> Callable[[Line], bool]:
    return lambda line: line.verdict is Verdict.FAIL and line.nature in natures


_CERTAIN: Callable[[Line], bool] = lambda line: line.miss is Miss.CERTAIN  # noqa: E731 - a row's condition, named
TABLE: tuple[Row, ...] = (
    Row(
        "security",
        Recommendation.ROLL_BACK,
        "A security criterion fails.",
        "Security compliance violations detected",
        _fails(Nature.SECURITY),
    ),
    Row(
        "crashes",
        Recommendation.ROLL_BACK,
        "More crashes than in the control, by more than what counts as stable and beyond chance.",
        "System instability or increased crash rates",
        lambda line: line.nature is Nature.RISE and line.verdict is Verdict.FAIL and line.worse,
    ),
    Row(
        "missed-certainly",
        Recommendation.ROLL_BACK,
        "A target is certainly missed by more than 20\u202f%: the whole interval lies beyond.",
        "Any performance target missed by >20%",
        _CERTAIN,
    ),
    Row(
        "incident",
        Recommendation.HOLD,
        "A critical incident was open since the phase began.",
        "Critical incidents requiring intervention",
        _fails(Nature.INCIDENTS),
    ),
    Row(
        "rollback",
        Recommendation.HOLD,
        "Something was rolled back since the phase began.",
        "No critical incidents or rollbacks",
        _fails(Nature.ROLLBACKS),
    ),
    Row(
        "satisfaction",
        Recommendation.HOLD,
        "Satisfaction is lower than in the control beyond chance: the interval of the change excludes zero.",
        "User satisfaction significantly decreased",
        _fails(Nature.FALL),
    ),
    Row(
        "missed-possibly",
        Recommendation.HOLD,
        "A target may be missed by more than 20\u202f%: its interval reaches beyond.",
        "Any performance target missed by >20%",
        # of a rise or a fall the runbook asks whether it is significant, which a fail beyond chance says
        lambda line: line.miss is Miss.POSSIBLE and not line.unknown and line.nature not in (Nature.RISE, Nature.FALL),
    ),
    Row(
        "missed",
        Recommendation.HOLD,
        "A target is missed, by up to 20\u202f%.",
        "All performance targets met for 48+ hours",
        lambda line: line.verdict is Verdict.FAIL,
    ),
    Row(
        "unknown",
        Recommendation.HOLD,
        "A line in scope has no data, too little, old data or an error.",
        "All performance targets met for 48+ hours",
        lambda line: line.unknown,
    ),
    Row(
        "met",
        Recommendation.PROCEED,
        "Every line in scope passes, and none is missed by more than 20\u202f%, not even possibly.",
        "Proceed to next phase if …",
        lambda line: line.verdict is Verdict.PASS,
    ),
)
# nothing that is judged speaks for going on
NOTHING = Row("nothing", Recommendation.HOLD, "No line is in scope, so nothing speaks for it.", "", lambda line: False)


@dataclass(frozen=True)
class Reason:
    """A row that applies, and the line to which; no line where none is in scope."""

    row: Row
    line: Line | None = None

    @property
    def sentence(self) -> str:
        """Say of which line, with its numbers, and when what is missing will be there."""
        return self.said if self.line is None else f"{self.line.title}: {self.said}"

    @property
    def said(self) -> str:
        """Say the same beside the line's title."""
        if self.line is None:
            return self.row.when
        said = _full(self.line.sentence)
        return f"{said} {self.line.soon}" if self.line.soon and self.row.key in WAITS else said


# what time may bring
WAITS = ("unknown", "missed-possibly")


@dataclass(frozen=True)
class Recommended:
    """What the numbers speak for, and why: the weightiest reason first."""

    recommendation: Recommendation
    reasons: tuple[Reason, ...]

    @property
    def against(self) -> tuple[Reason, ...]:
        """The reasons that speak against going on."""
        return tuple(one for one in self.reasons if one.row.follows is not Recommendation.PROCEED)

    @property
    def sentence(self) -> str:
        """Say it in one paragraph."""
        if not self.against:
            return f"{self.recommendation.label}: every line in scope passes."
        more = f" And {len(self.against) - 3} more." if len(self.against) > 3 else ""
        return f"{self.recommendation.label}. {' '.join(one.sentence for one in self.against[:3])}{more}"


def row_of(line: Line) -> Row:
    """Return the row that applies to a line: the first that holds."""
    return next(row for row in TABLE if row.holds(line))


def recommend(lines: Iterable[Line]) -> Recommended:
    """Apply the table to every line in scope; the worst that follows from any is recommended.

    A line of hours, incidents or rollbacks alone speaks for nothing: something must have been read.
    """
    scoped = [line for line in lines if line.in_scope]
    reasons = [Reason(row_of(line), line) for line in scoped]
    if all(line.nature in (Nature.HOURS, Nature.INCIDENTS, Nature.ROLLBACKS) for line in scoped):
        reasons.append(Reason(NOTHING))
    reasons.sort(key=_weight)
    follows = min((one.row.follows for one in reasons), key=WORST_OF.index)
    return Recommended(follows, tuple(reasons))


def _weight(one: Reason) -> tuple[int, int, int, float, str]:
    place = TABLE.index(one.row) if one.row in TABLE else len(TABLE) - 1
    if one.line is None:
        return (place, 0, 0, 0.0, "")
    line = one.line
    return (place, WORST_MISS.index(line.miss), WORST_FIRST.index(line.verdict), -line.missed, line.key)


def need(found: Recommended | None, disagrees: str, *, phase: int) -> Need:
    """Return the line of the recommendation: to go on against it takes a reason that stands in the proposal.

    None where no go/no-go criterion is stored.
    """
    title = "Recommendation"
    if found is None:
        return Need("recommendation", title, True, "No go/no-go criterion is stored, so nothing is recommended.")
    label = found.recommendation.label
    if found.recommendation is Recommendation.PROCEED:
        return Need("recommendation", title, True, f"The numbers of phase {phase} speak for it.", label, Verdict.PASS)
    verdict = Verdict.FAIL if found.recommendation is Recommendation.ROLL_BACK else Verdict.INSUFFICIENT
    if disagrees:
        sentence = f"Against the recommendation, because: {disagrees} It was: {found.sentence}"
        return Need("recommendation", title, True, sentence, label)
    sentence = f"{found.sentence} Going on against it takes a reason: say why you disagree."
    return Need("recommendation", title, False, sentence, label, verdict)


def by_clause(lines: Sequence[Line]) -> list[tuple[Clause, list[Line]]]:
    """Return the lines under the runbook's reasons to proceed, each with all of its lines."""
    return [(clause, [line for line in lines if line.clause is clause]) for clause in Clause]


def _full(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!")) else f"{sentence[:1].upper()}{sentence[1:]}."
