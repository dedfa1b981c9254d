"""What can be proposed: each kind says what it would do, what it needs, and how it is carried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from hawkops.core.errors import InvalidInput, NotFound
from hawkops.core.moments import utc
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from rollout.domain.experiments import Arm
from rollout.domain.policy import Decision, Raise, approval_need, decide
from rollout.domain.targeting import constraints, pinned_checked, rule, rules_checked, targeting_key_checked
from rollout.domain.values import Shown, Values, said, schema_checked
from rollout.models import Experiment, Proposal, Release
from rollout.selectors import phases as phase_selectors
from rollout.selectors import rollbacks as rollback_selectors
from rollout.services import (
    decisions,
    experiments,
    flags,
    forcing,
    groups,
    overrides,
    own_flags,
    phases,
    values,
    waivers,
)
from rollout.services.raising import Authority, question
from rollout.services.rollback import rollback_undo, undoable

Payload = Mapping[str, Any]


@dataclass(frozen=True)
class Act:
    """A change that is made: where, in whose name, why, and by what right."""

    environment: str
    actor: Actor
    reason: str
    authority: Authority
    request_id: str = ""
    proposal: Proposal | None = None

    @property
    def common(self) -> dict[str, Any]:
        """What every service of flags and groups takes."""
        return {
            "environment": self.environment,
            "actor": self.actor,
            "reason": self.reason,
            "authority": self.authority,
            "request_id": self.request_id,
        }


@dataclass(frozen=True)
class Kind:
    """One kind of change: its title and subject in words, how it is carried out, and the lines it needs.

    `takes` are the members of its payload with their types; a boolean is no number here. `changes` are what of it can be
    compared with what stands.
    """

    title: Callable[[str, Payload], str]
    subject: Callable[[str, Payload], str]
    carry_out: Callable[[Act, Payload], HistoryEntry | None]
    decision: Callable[[str, Payload, Authority], Decision]
    takes: Mapping[str, type | tuple[type, ...]]
    fit: Callable[[Payload], object] = lambda payload: None
    changes: Callable[[str, Payload], list[Shown]] = lambda environment, payload: []
    # what whoever says yes has in front of him besides the policy's lines: kept with his yes
    seen: Callable[[str, Payload], dict[str, Any]] = lambda environment, payload: {}

    def shown(self, environment: str, payload: Payload) -> list[dict[str, str]]:
        """Return what it changes, as a proposal keeps it for people to compare. Raises what carrying it out would."""
        return [asdict(one) for one in self.changes(environment, payload)]

    def checked(self, payload: Payload) -> dict[str, Any]:
        """Return a payload that can be carried out. Raises InvalidInput."""
        if unknown := sorted(set(payload) - set(self.takes)):
            raise InvalidInput(f"{unknown[0]!r} is not known here; it takes {', '.join(self.takes)}.")
        for name, kinds in self.takes.items():
            value = payload.get(name)
            numeric = kinds is int or kinds is NUMBER
            if not isinstance(value, kinds) or (numeric and isinstance(value, bool)):
                raise InvalidInput(f"{name!r} is missing or is not what it should be.")
        try:
            self.fit(payload)
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput(f"The change can't be read: {error}.") from error
        return dict(payload)


NUMBER = (int, float)


def _percentage(act: Act, payload: Payload) -> HistoryEntry | None:
    return flags.flag_percentage_set(
        **act.common, key=payload["key"], percent=payload["percent"], expected_revision=payload["expected_revision"]
    )


def _rules(act: Act, payload: Payload) -> HistoryEntry | None:
    return flags.flag_rules_set(
        **act.common,
        key=payload["key"],
        rules=[rule(document) for document in payload["rules"]],
        pinned=payload["pinned"],
        expected_revision=payload["expected_revision"],
    )


def _values(act: Act, payload: Payload) -> HistoryEntry | None:
    return values.flag_values_set(
        **act.common,
        key=payload["key"],
        on=payload["on"],
        off=payload["off"],
        schema=payload["schema"],
        expected_revision=payload["expected_revision"],
    )


def _archived(act: Act, payload: Payload) -> HistoryEntry | None:
    return own_flags.flag_archive(**act.common, key=payload["key"], expected_revision=payload["expected_revision"])


def _salt(act: Act, payload: Payload) -> HistoryEntry | None:
    return flags.flag_salt_set(
        **act.common, key=payload["key"], salt=payload["salt"], expected_revision=payload["expected_revision"]
    )


def _requires(act: Act, payload: Payload) -> HistoryEntry | None:
    return flags.flag_requires_set(
        **act.common,
        key=payload["key"],
        requires=payload["requires"],
        expected_revision=payload["expected_revision"],
    )


def _override(act: Act, payload: Payload) -> HistoryEntry | None:
    return overrides.flag_override_set(**act.common, key=payload["key"], variant=payload["variant"])


def _override_cleared(act: Act, payload: Payload) -> HistoryEntry | None:
    return overrides.flag_override_clear(**act.common, key=payload["key"])


def _forced(act: Act, payload: Payload) -> HistoryEntry | None:
    return forcing.flag_value_force(**act.common, key=payload["key"], value=payload["value"])


def _restored(act: Act, payload: Payload) -> HistoryEntry | None:
    return forcing.flag_value_restore(**act.common, key=payload["key"], before=payload["before"])


def _scoped(act: Act, payload: Payload) -> HistoryEntry | None:
    return overrides.flag_scoped_override_set(
        **act.common,
        key=payload["key"],
        variant=payload["variant"],
        constraints=constraints(payload["constraints"]),
    )


def _scoped_cleared(act: Act, payload: Payload) -> HistoryEntry | None:
    return overrides.flag_scoped_override_clear(**act.common, key=payload["key"], number=payload["number"])


def _reenabled(act: Act, payload: Payload) -> HistoryEntry | None:
    return overrides.reenable(**act.common, keys=payload["keys"])


def _members(act: Act, payload: Payload) -> HistoryEntry | None:
    return groups.group_members_set(
        **act.common,
        key=payload["key"],
        members=payload["members"],
        expected_revision=payload["expected_revision"],
    )


def _experiment(act: Act, payload: Payload) -> HistoryEntry | None:
    return experiments.experiment_start(
        **act.common,
        flag=payload["flag"],
        key=payload["key"],
        title=payload["title"],
        hypothesis=payload["hypothesis"],
        arms=[Arm(one["variant"], one["weight"], one["value"]) for one in payload["arms"]],
    )


def _experiment_ended(act: Act, payload: Payload) -> HistoryEntry | None:
    return experiments.experiment_end(**act.common, key=payload["key"])


def _rollback_undone(act: Act, payload: Payload) -> HistoryEntry | None:
    return rollback_undo(**act.common, number=payload["rollback"])


def _phase(act: Act, payload: Payload) -> HistoryEntry | None:
    phases.phase_start(
        release=_release(act.environment, payload),
        number=payload["number"],
        authority=act.authority,
        actor=act.actor,
        reason=act.reason,
        jump=bool(payload.get("jump")),
        disagrees=payload.get("disagrees") or "",
        proposal=act.proposal,
        request_id=act.request_id,
    )
    return None


def _waiver(act: Act, payload: Payload) -> HistoryEntry | None:
    waivers.waiver_make(
        release=_release(act.environment, payload),
        box=payload["box"],
        owner=payload["owner"],
        expires_at=utc(datetime.fromisoformat(payload["expires_at"])),
        approvers=[one.label for one in act.authority.approvers if one.reference not in act.authority.makers],
        actor=act.actor,
        reason=act.reason,
        request_id=act.request_id,
    )
    return None


def _release(environment: str, payload: Payload) -> Release:
    found = Release.objects.select_related("runbook").filter(environment=environment, pk=payload["release"]).first()
    if found is None:
        raise NotFound(f"There is no release {payload['release']} in {environment}.")
    return found


def _of_flags(*, restores: bool = False) -> Callable[[str, Payload, Authority], Decision]:
    def decision(environment: str, payload: Payload, authority: Authority) -> Decision:
        keys = payload.get("keys") or [payload["key"]]
        return decide(question(environment, dict.fromkeys(keys, restores), authority))

    return decision


def _of_experiment(environment: str, payload: Payload, authority: Authority) -> Decision:
    flag = payload.get("flag") or Experiment.objects.get(environment=environment, key=payload["key"]).flag
    return decide(question(environment, {flag: False}, authority))


def _of_undo(environment: str, payload: Payload, authority: Authority) -> Decision:
    found = rollback_selectors.kept(environment, payload["rollback"])
    return decide(question(environment, dict.fromkeys([one.flag for one in found.standing], True), authority))


def _of_group(environment: str, payload: Payload, authority: Authority) -> Decision:
    raised = groups.raised_by(environment, payload["key"], payload["members"])
    return decide(question(environment, dict.fromkeys(raised, False), authority))


def _of_phase(environment: str, payload: Payload, authority: Authority) -> Decision:
    release = _release(environment, payload)
    return phase_selectors.start_decision(
        release,
        payload["number"],
        phases.raise_of(release, authority),
        jump=bool(payload.get("jump")),
        disagrees=payload.get("disagrees") or "",
    )


def _phase_seen(environment: str, payload: Payload) -> dict[str, Any]:
    return decisions.decision_seen(_release(environment, payload))


def _fit_phase(payload: Payload) -> None:
    decisions.disagreement_checked(payload.get("disagrees") or "")


def _of_waiver(environment: str, _payload: Payload, authority: Authority) -> Decision:
    asked = Raise(environment, authority.makers, authority.approvers)
    return Decision((approval_need(asked),))


def _of_flag(_environment: str, payload: Payload) -> str:
    return f"flag:{payload['key']}"


def _values_title(environment: str, payload: Payload) -> str:
    found = [one for one in _values_changes(environment, payload) if one.name != "schema"]
    said = ", ".join(f"{one.name} {one.before} → {one.after}" for one in found)
    if not _values_changes(environment, payload):
        raise InvalidInput(f"{payload['key']} has these values and this schema already.")
    if len(said) > 80 or "\n" in said:
        said = " and ".join(one.name for one in found)
    return f"New values of {payload['key']}: {said or 'another schema'}"


def _values_changes(environment: str, payload: Payload) -> list[Shown]:
    return values.changes(environment, payload["key"], Values(payload["on"], payload["off"], payload["schema"]))


def _archive_title(environment: str, payload: Payload) -> str:
    if why := own_flags.kept_by(environment, payload["key"]):
        raise InvalidInput(why)
    return f"Archive {payload['key']}"


def _undo_title(environment: str, payload: Payload) -> str:
    found = rollback_selectors.rollback(environment, payload["rollback"])
    undoable(found)
    return f"Undo rollback {found.pk} (level {found.level}, {found.reason})"


def _undo_changes(environment: str, payload: Payload) -> list[Shown]:
    found = rollback_selectors.kept(environment, payload["rollback"])
    restored = [(one, one.words[::-1]) for one in found.standing]
    shown = [Shown(f"{one.flag} {one.where}".strip(), *words) for one, words in restored]
    return [*shown, *(Shown(f"{one.flag}, changed since", "left as it is", "left as it is") for one in found.changed)]


def _phase_title(environment: str, payload: Payload) -> str:
    release = _release(environment, payload)
    phase = phase_selectors.phase_of(release, payload["number"])
    if phase is None:
        raise InvalidInput(f"The runbook has no phase {payload['number']}.")
    word = "Jump to" if payload.get("jump") else "Start"
    return f"{word} phase {phase.number}, {phase.title.lower()}, of {release.name} {release.app_version}"


def _fit_rules(payload: Payload) -> None:
    rules_checked(
        tuple(rule(document) for document in payload["rules"]),
        groups=frozenset(document["group"] for document in payload["rules"]),
    )
    pinned_checked(payload["pinned"])


def _fit_variant(payload: Payload) -> None:
    if payload["variant"] not in ("on", "off"):
        raise InvalidInput("An override is on or off.")
    constraints(payload.get("constraints", []))


def _fit_before(payload: Payload) -> None:
    before = payload["before"]
    if before["variant"] not in ("", "on", "off") or not {"on", "off", "reason"} <= before.keys():
        raise InvalidInput("What stood before can't be read.")


def _fit_keys(payload: Payload) -> None:
    if not payload["keys"] or not all(isinstance(key, str) for key in payload["keys"]):
        raise InvalidInput("Choose at least one override to lift.")


def _fit_requires(payload: Payload) -> None:
    if not all(isinstance(key, str) and key for key in payload["requires"]):
        raise InvalidInput("A flag requires other flags by their keys.")


def _fit_members(payload: Payload) -> None:
    for member in payload["members"]:
        targeting_key_checked(member if isinstance(member, str) else "")


def _fit_arms(payload: Payload) -> None:
    for one in payload["arms"]:
        fits = isinstance(one, dict) and {*one} == {"variant", "weight", "value"}
        if not fits or not isinstance(one["variant"], str) or type(one["weight"]) is not int:
            raise InvalidInput("Each arm is a variant, a weight and a value.")


def _fit_values(payload: Payload) -> None:
    if missing := [name for name in ("on", "off", "schema") if name not in payload]:
        raise InvalidInput(f"{missing[0]!r} is missing.")
    schema_checked(payload["schema"])


def _fit_percent(payload: Payload) -> None:
    if not 0 <= payload["percent"] <= 100:
        raise InvalidInput(f"{payload['percent']:g} % is not a percentage; use 0 to 100.")


def _fit_waiver(payload: Payload) -> None:
    waivers.owner_checked(payload["owner"])
    at = datetime.fromisoformat(payload["expires_at"])
    if at.tzinfo is None:
        raise InvalidInput("Say the time with its zone: 2026-01-31T14:00:00+00:00.")
    waivers.expiry_checked(at)


KINDS: dict[str, Kind] = {
    "flag.percentage": Kind(
        lambda _environment, payload: f"{payload['key']} to {payload['percent']:g} %",
        _of_flag,
        _percentage,
        _of_flags(),
        {"key": str, "percent": NUMBER, "expected_revision": int},
        _fit_percent,
    ),
    "flag.rules": Kind(
        lambda _environment, payload: f"New rules for {payload['key']}",
        _of_flag,
        _rules,
        _of_flags(),
        {"key": str, "rules": list, "pinned": dict, "expected_revision": int},
        _fit_rules,
    ),
    "flag.values": Kind(
        _values_title,
        _of_flag,
        _values,
        _of_flags(),
        {"key": str, "on": object, "off": object, "schema": (dict, type(None)), "expected_revision": int},
        _fit_values,
        _values_changes,
    ),
    "flag.archive": Kind(
        _archive_title,
        _of_flag,
        _archived,
        _of_flags(),
        {"key": str, "expected_revision": int},
    ),
    "flag.salt": Kind(
        lambda _environment, payload: f"Salt {payload['key']} anew: {payload['salt']}",
        _of_flag,
        _salt,
        _of_flags(),
        {"key": str, "salt": str, "expected_revision": int},
    ),
    "flag.requires": Kind(
        lambda _environment, payload: f"{payload['key']} requires {', '.join(payload['requires']) or 'no other flag'}",
        _of_flag,
        _requires,
        _of_flags(),
        {"key": str, "requires": list, "expected_revision": int},
        _fit_requires,
    ),
    "flag.override": Kind(
        lambda _environment, payload: f"Force {payload['key']} {payload['variant']}",
        _of_flag,
        _override,
        _of_flags(),
        {"key": str, "variant": str},
        _fit_variant,
    ),
    "flag.override_clear": Kind(
        lambda _environment, payload: f"Lift the override of {payload['key']}",
        _of_flag,
        _override_cleared,
        _of_flags(restores=True),
        {"key": str},
    ),
    "flag.value_force": Kind(
        lambda _environment, payload: f"Force {payload['key']} to {said(payload['value'])}",
        _of_flag,
        _forced,
        _of_flags(),
        {"key": str, "value": object},
        changes=lambda environment, payload: forcing.changes(environment, payload["key"], payload["value"]),
    ),
    "flag.value_restore": Kind(
        lambda _environment, payload: f"Put {payload['key']} back as it was",
        _of_flag,
        _restored,
        _of_flags(restores=True),
        {"key": str, "before": dict},
        _fit_before,
    ),
    "flag.scoped_override": Kind(
        lambda _environment, payload: f"Force {payload['key']} {payload['variant']} for some devices",
        _of_flag,
        _scoped,
        _of_flags(),
        {"key": str, "variant": str, "constraints": list},
        _fit_variant,
    ),
    "flag.scoped_override_clear": Kind(
        lambda _environment, payload: f"Lift override {payload['number']} of {payload['key']}",
        _of_flag,
        _scoped_cleared,
        _of_flags(restores=True),
        {"key": str, "number": int},
    ),
    "flag.reenable": Kind(
        lambda _environment, payload: f"Lift the overrides of {', '.join(payload['keys'])}",
        lambda _environment, payload: f"flag:{payload['keys'][0]}",
        _reenabled,
        _of_flags(restores=True),
        {"keys": list},
        _fit_keys,
    ),
    "rollback.undo": Kind(
        _undo_title,
        lambda _environment, payload: f"rollback:{payload['rollback']}",
        _rollback_undone,
        _of_undo,
        {"rollback": int},
        changes=_undo_changes,
    ),
    "group.members": Kind(
        lambda _environment, payload: f"{len(payload['members'])} devices in {payload['key']}",
        lambda _environment, payload: f"group:{payload['key']}",
        _members,
        _of_group,
        {"key": str, "members": list, "expected_revision": int},
        _fit_members,
    ),
    "experiment.start": Kind(
        lambda _environment, payload: f"Start the A/B test {payload['key']} on {payload['flag']}",
        lambda _environment, payload: f"experiment:{payload['key']}",
        _experiment,
        _of_experiment,
        {"flag": str, "key": str, "title": str, "hypothesis": str, "arms": list},
        _fit_arms,
    ),
    "experiment.end": Kind(
        lambda _environment, payload: f"End the A/B test {payload['key']}",
        lambda _environment, payload: f"experiment:{payload['key']}",
        _experiment_ended,
        _of_experiment,
        {"key": str},
    ),
    "phase.start": Kind(
        _phase_title,
        lambda _environment, payload: f"phase:{payload['release']}:{payload['number']}",
        _phase,
        _of_phase,
        {"release": int, "number": int, "jump": bool, "disagrees": (str, type(None))},
        _fit_phase,
        seen=_phase_seen,
    ),
    "waiver": Kind(
        lambda environment, payload: waivers.title(_release(environment, payload), payload["box"]),
        lambda _environment, payload: f"check:{payload['release']}:{payload['box']}",
        _waiver,
        _of_waiver,
        {"release": int, "box": str, "owner": str, "expires_at": str},
        _fit_waiver,
    ),
}
