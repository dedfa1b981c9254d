"""Rollback levels: what each of them is, what half of a share is, and which of its changes still stand. Pure.

A change is one part of one flag, before and after, as plain data: its share (rules and percentage), its override for
all, or one override for some devices. A part stands while it is as the rollback left it; only such a one can be undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from hawkops.core.errors import InvalidInput
from rollout.domain import targeting
from rollout.domain.flags import ON
from rollout.domain.targeting import Constraint, Operator

Document = dict[str, Any]


class Level(IntEnum):
    """The runbook's four levels, the mildest first."""

    HALVE = 1
    DISABLE = 2
    KILL = 3
    APP = 4

    @property
    def title(self) -> str:
        """What it does, in the runbook's words."""
        return {1: "Halve the percentage", 2: "Disable backends", 3: "Kill LiteRT", 4: "Roll the app back"}[self]

    @property
    def reason(self) -> str:
        """The runbook's reason, which is chosen already."""
        return {1: "Performance degradation", 2: "Stability issues"}.get(self, "Production incident")


class Part(StrEnum):
    """What of a flag a change is about."""

    SHARE = "share"
    OVERRIDE = "override"
    SCOPED = "scoped"


@dataclass(frozen=True)
class Change:
    """One part of one flag, before and after; None where there was, or is, nothing."""

    flag: str
    part: Part
    before: Document | None
    after: Document | None

    def document(self) -> Document:
        """The change as it is stored."""
        return {"flag": self.flag, "part": self.part.value, "before": self.before, "after": self.after}

    def stands(self, now: Mapping[str, Any]) -> bool:
        """Whether a flag's parts are in this as the rollback left them."""
        return self.after in now[self.part] if self.part is Part.SCOPED else self.after == now[self.part]

    @property
    def words(self) -> tuple[str, str]:
        """Before and after as people read them."""
        return _said(self.part, self.before), _said(self.part, self.after)

    @property
    def where(self) -> str:
        """Whom it is about; empty for everybody."""
        kept = self.after if self.part is Part.SCOPED else None
        return " and ".join(map(str, targeting.constraints(kept["constraints"]))) if kept else ""


def change(document: Mapping[str, Any]) -> Change:
    """Read a stored change."""
    return Change(document["flag"], Part(document["part"]), document["before"], document["after"])


def changed(flag: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return what is different between two states of a flag's parts.

    An override for some devices is one change; one that it took the place of is what was there before it.
    """
    found = [
        Change(flag, part, before[part], after[part])
        for part in (Part.SHARE, Part.OVERRIDE)
        if before[part] != after[part]
    ]
    for made in after[Part.SCOPED]:
        if made not in before[Part.SCOPED]:
            same = [one for one in before[Part.SCOPED] if one["constraints"] == made["constraints"]]
            found.append(Change(flag, Part.SCOPED, same[0] if same else None, made))
    return found


def undone(parts: Mapping[str, Any], changes: Iterable[Change]) -> dict[str, Any]:
    """Return a flag's parts with changes that stand taken back."""
    found = dict(parts)
    for one in changes:
        if one.part is Part.SCOPED:
            found[Part.SCOPED] = [
                document
                for kept in found[Part.SCOPED]
                for document in ([one.before] if kept == one.after else [kept])
                if document is not None
            ]
        else:
            found[one.part] = one.before
    return found


def halved(rules: Sequence[Document], thousandths: int) -> tuple[list[Document], int]:
    """Return rules and percentage that serve on to half of the devices; a rule that serves nobody any more is gone."""
    kept = [{**rule, "thousandths": rule["thousandths"] // 2} if rule["variant"] == ON else rule for rule in rules]
    return [rule for rule in kept if rule["thousandths"]], thousandths // 2


# what a cohort says, as rules call it (see `monitoring.domain.cohorts.ATTRIBUTES`); the backend is the flag itself
ATTRIBUTES = {
    "soc": "device.soc",
    "driver": "device.gpu.driver",
    "os": "os.api",
    "model": "device.model.identifier",
}
BACKEND = "backend"


def cohort_constraints(conditions: Iterable[tuple[str, str]]) -> tuple[Constraint, ...]:
    """Return the conditions by which an override reaches a cohort; empty where only the backend tells it.

    Raises InvalidInput for a cohort that no condition can name: devices that do not say what they are, say.
    """
    made = []
    for attribute, value in conditions:
        if attribute == BACKEND:
            continue
        if not value or "," in value:
            raise InvalidInput(f"Devices of the cohort are told by {attribute} {value!r}, which no condition can name.")
        made.append(targeting.constraint(ATTRIBUTES[attribute], Operator.IS, value))
    return tuple(made)


def _said(part: Part, kept: Document | None) -> str:
    if kept is None:
        return "nothing"
    if part is Part.SHARE:
        rules = [str(targeting.rule(one)) for one in kept["rules"]]
        return "; ".join([*rules, f"{kept['thousandths'] / 1000:g} % of devices"])
    if not kept["variant"]:
        return "no override"
    return f"forced {kept['variant']}"
