"""Drills: press a kill switch on one group, count who obeys, give back what stood before. A killed worker loses nothing.

Lock order: the environment's revision, the flag, the drill, then the chain's head.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models import Exists, OuterRef, Subquery

from hawkops.core import clock
from hawkops.core.errors import Conflict, HawkOpsError, NotFound
from hawkops.history.actors import Actor
from hawkops.history.services import Change, change
from rollout.domain import drills as domain
from rollout.domain.drills import Outcome, State
from rollout.models import CensusDevice, Drill, DrillDevice, EnvironmentFlags, Flag, TargetGroup
from rollout.selectors import drills as selectors
from rollout.services.flags import SWITCHES
from rollout.services.locking import flags_locked, next_revision, undrilled
from rollout.services.overrides import DRILL

log = logging.getLogger(__name__)

ITSELF = Actor.rule("drill")


def drills_start(
    *,
    environment: str,
    flags: Iterable[str] = (),
    minutes: int = domain.MINUTES,
    actor: Actor,
    reason: str = "",
    request_id: str = "",
) -> list[Drill]:
    """Drill kill switches on the internal group, one after another; all five when none is named. The first is pressed.

    Raises Conflict, and presses nothing, where a press would prove nothing: nobody in the group is active, or a flag is
    under an override or is being drilled already.
    """
    minutes = domain.minutes_checked(minutes)
    keys = domain.flags_checked(flags, SWITCHES)
    reason = reason.strip().replace("\x00", "")[:300] or DRILL
    series, at = uuid4(), clock.now()
    with transaction.atomic():
        with change(actor=actor, environment=environment, reason=reason, request_id=request_id) as this:
            state, stored = flags_locked(environment, keys)
            standing = Drill.objects.filter(environment=environment, flag__in=keys, state__in=domain.STANDING)
            if running := standing.first():
                raise Conflict(f"{running.flag} is being drilled already. Wait until that is over, or stop it.")
            if forced := [key for key in keys if stored[key].override_variant]:
                raise Conflict(
                    f"{', '.join(forced)} {'is' if len(forced) == 1 else 'are'} under an override already, so a drill "
                    "would prove nothing. Lift what is in force on the emergency page first."
                )
            made = [
                Drill(
                    environment=environment,
                    flag=key,
                    variant=stored[key].safe_variant,
                    group=domain.GROUP,
                    series=series,
                    minutes=minutes,
                    reason=reason,
                    by=actor.label,
                    asked_at=at,
                )
                for key in keys
            ]
            Drill.objects.bulk_create(made)
            if why := _press(made[0], state, stored[keys[0]], this):
                raise Conflict(why)
            if later := keys[1:]:
                this.record("drill.asked", subject=f"drill:{made[0].pk}", after={"waiting": later, "minutes": minutes})
        _entered(made[0], this)
    return made


def drill_stop(*, environment: str, pk: int, actor: Actor, reason: str = "", request_id: str = "") -> Drill:
    """End a drill now and give back what stood before; what waits behind it is not pressed. Raises Conflict when over."""
    found = selectors.drill(environment, pk)
    if found is None:
        raise NotFound(f"There is no drill {pk} in {environment}.")
    reason = reason.strip().replace("\x00", "")[:300] or "Drill stopped"
    with change(actor=actor, environment=environment, reason=reason, request_id=request_id) as this:
        state, stored = flags_locked(environment, [found.flag])
        found = _locked(pk)
        if found.state not in domain.STANDING:
            raise Conflict(f"Drill {pk} ended already: {found.outcome}.")
        if found.state == State.PRESSED:
            _restore(found, state, stored[found.flag], Outcome.STOPPED, this, by=actor.label)
        _cancel(found, Outcome.STOPPED, "Stopped by hand.", this, by=actor.label)
    found.refresh_from_db()
    return found


def drills_due() -> None:
    """Count, restore and press whatever is due. Running twice or late does no harm; one drill can't stop another."""
    for found in selectors.due():
        try:
            _due(found)
        except HawkOpsError as error:
            log.error("drill.refused", extra={"drill": found.pk, "why": error.message})


def _due(found: Drill) -> None:
    now = clock.now()
    if found.state == State.WAITING:
        _press_next(found)
    elif found.state == State.PRESSED and found.restores_at is not None:
        counted = _count(found)
        flag = Flag.objects.get(environment=found.environment, key=found.flag)
        outcome = domain.ended(counted, restores_at=found.restores_at, now=now)
        if outcome is not None or not _stands(flag, found):
            _end(found.pk, outcome or Outcome.TAKEN_OVER)
    elif found.state == State.RESTORED:
        _look_back(found, now)


def _press_next(found: Drill) -> None:
    """Press a drill whose turn it is: those before it of the same press are over."""
    before = Drill.objects.filter(series=found.series, pk__lt=found.pk, state__in=domain.OPEN)
    if before.exists():
        return
    with transaction.atomic():
        with change(
            actor=ITSELF, environment=found.environment, reason=found.reason, cause=_first_entry(found)
        ) as this:
            state, stored = flags_locked(found.environment, [found.flag])
            drill = _locked(found.pk)
            if drill.state != State.WAITING:
                return
            why = _emergency(drill, stored[drill.flag]) or _press(drill, state, stored[drill.flag], this)
            if why:
                _close(drill, Outcome.REFUSED, f"Not pressed. {why}", this)
        if drill.state == State.PRESSED:
            _entered(drill, this)


def _emergency(drill: Drill, flag: Flag) -> str:
    """Say what keeps a drill from being pressed by itself: an override on its flag, or a press in earnest meanwhile."""
    if flag.override_variant:
        return f"{flag.key} is under an override, so a drill would prove nothing."
    forced = Flag.objects.filter(environment=drill.environment, key__in=SWITCHES, override_at__gte=drill.asked_at)
    pressed = forced.exclude(override_variant="").first()
    return f"{pressed.key} was pressed in earnest meanwhile." if pressed else ""


def _press(drill: Drill, state: EnvironmentFlags, flag: Flag, this: Change) -> str:
    """Force the flag on the group at a new revision; return why it can't be done, empty when it is."""
    group = TargetGroup.objects.filter(environment=drill.environment, key=drill.group).first()
    if group is None:
        return f"There is no group {drill.group} in {drill.environment}. Make it, and put your own devices into it."
    found = selectors.audience(drill.environment, drill.group)
    if not found.devices:
        return _nobody(drill, found)
    before, at = flag.state(), clock.now()
    drill.number = max((one["number"] for one in flag.scoped_overrides), default=0) + 1
    made: dict[str, Any] = {
        "number": drill.number,
        "variant": drill.variant,
        "reason": drill.reason,
        "by": drill.by,
        "at": at.isoformat(),
        "constraints": [],
        "group": drill.group,
    }
    flag.scoped_overrides = [*flag.scoped_overrides, made]
    drill.revision = next_revision(state)
    # the flag's own revision stays: nothing of it was edited, so no plan holds and no form is out of date
    flag.save(update_fields=["scoped_overrides"])
    drill.state, drill.pressed_at = State.PRESSED.value, at
    drill.restores_at = at + timedelta(minutes=drill.minutes)
    drill.devices, drill.simulated = len(found.devices), found.simulated
    drill.uncounted, drill.unreachable = found.uncounted, found.unreachable
    drill.save()
    DrillDevice.objects.bulk_create(
        [DrillDevice(drill=drill, device_id=device, simulated=simulated) for device, simulated in found.devices],
        batch_size=5_000,
    )
    after = {**flag.state(), "drill": drill.pk, "devices": drill.devices, "environment_revision": drill.revision}
    this.record("flag.drilled", subject=f"flag:{drill.flag}", before=before, after=after, reason=drill.reason)
    return ""


def _nobody(drill: Drill, found: selectors.Audience) -> str:
    said = []
    if found.uncounted:
        said.append(f"{found.uncounted} simulated, which don't count in {drill.environment}")
    if found.unreachable:
        said.append(f"{found.unreachable} silent for longer than a lease")
    beside = f" ({', '.join(said)})" if said else ""
    return f"No device of {drill.group} is active{beside}, so a press would prove nothing."


def _end(pk: int, outcome: Outcome) -> None:
    """End a drill that is pressed by itself."""
    environment, key = Drill.objects.values_list("environment", "flag").get(pk=pk)
    with change(actor=ITSELF, environment=environment, reason=f"Drill: {outcome}") as this:
        state, stored = flags_locked(environment, [key])
        drill = _locked(pk)
        if drill.state != State.PRESSED:
            return
        this.cause = drill.entry
        if not _restore(drill, state, stored[key], outcome, this):
            _cancel(drill, Outcome.TAKEN_OVER, f"Not pressed: {key} was pressed in earnest meanwhile.", this)


def _restore(
    drill: Drill, state: EnvironmentFlags, flag: Flag, outcome: Outcome, this: Change, *, by: str = ""
) -> bool:
    """Take the drill's override off the flag and nothing else; False when a press in earnest has done so already."""
    counted = _count(drill)
    drill.refresh_from_db()
    if not _stands(flag, drill):
        at = _pressed_in_earnest_at(flag, drill)
        drill.ended_at = at
        said = f"{flag.key} was pressed in earnest, which ended the drill; {_obeyed(drill, counted)}."
        _close(drill, Outcome.TAKEN_OVER, said, this)
        return False
    before = flag.state()
    flag.scoped_overrides = undrilled(flag)
    drill.restored_revision = next_revision(state)
    flag.save(update_fields=["scoped_overrides"])
    drill.state, drill.outcome, drill.ended_at = State.RESTORED.value, outcome.value, clock.now()
    drill.ended_by, drill.sentence = by, _sentence(drill, counted, outcome)
    drill.save()
    after = {**flag.state(), "drill": drill.pk, "environment_revision": drill.restored_revision, **_state(drill)}
    this.record("flag.drill_ended", subject=f"flag:{drill.flag}", before=before, after=after)
    return True


def _look_back(found: Drill, now: datetime) -> None:
    """Count who is back; the drill is over when all are, or after as long as it was given."""
    _mark(found, found.restored_revision or 0, "back_at")
    moments = sorted(at for at in found.members.values_list("back_at", flat=True) if at)
    all_back = len(moments) >= found.devices
    if not all_back and found.ended_at is not None and now < found.ended_at + timedelta(minutes=found.minutes):
        Drill.objects.filter(pk=found.pk, state=State.RESTORED).update(back=len(moments))
        return
    with change(
        actor=ITSELF, environment=found.environment, reason="Devices counted after the drill", cause=found.entry
    ) as this:
        drill = _locked(found.pk)
        if drill.state != State.RESTORED:
            return
        drill.back, drill.back_at = len(moments), moments[-1] if moments and all_back else None
        drill.state = State.OVER.value
        drill.save(update_fields=["back", "back_at", "state"])
        drill.members.all().delete()
        this.record("drill.over", subject=f"drill:{drill.pk}", after=_state(drill))


def _cancel(drill: Drill, outcome: Outcome, said: str, this: Change, *, by: str = "") -> None:
    """End what still waits of the same press."""
    waiting = Drill.objects.select_for_update(no_key=True).filter(
        series=drill.series, state=State.WAITING, pk__gte=drill.pk
    )
    for one in waiting.order_by("pk"):
        one.ended_by = by
        _close(one, outcome, said, this)


def _close(drill: Drill, outcome: Outcome, said: str, this: Change) -> None:
    """Let a drill be over that restored nothing."""
    was = drill.state
    drill.state, drill.outcome, drill.sentence = State.OVER.value, outcome.value, said[:500]
    drill.ended_at = drill.ended_at or clock.now()
    drill.save()
    drill.members.all().delete()
    this.record("drill.ended", subject=f"drill:{drill.pk}", before={"state": was}, after=_state(drill))


def _locked(pk: int) -> Drill:
    return Drill.objects.select_for_update(no_key=True).get(pk=pk)


def _stands(flag: Flag, drill: Drill) -> bool:
    """Say whether the drill's override still stands on the flag."""
    return any(one.get("group") and one["number"] == drill.number for one in flag.scoped_overrides)


def _pressed_in_earnest_at(flag: Flag, drill: Drill) -> datetime:
    """Return when a drill was taken over; now when what took it over is lifted already."""
    times = [datetime.fromisoformat(one["at"]) for one in flag.scoped_overrides]
    times += [flag.override_at] if flag.override_at else []
    return min((at for at in times if drill.pressed_at and at >= drill.pressed_at), default=clock.now())


def _mark(drill: Drill, revision: int, field: str) -> None:
    """Keep when devices came to obey a revision, before a later one takes that moment's place in the census."""
    obeys = CensusDevice.objects.filter(
        environment=drill.environment,
        device_id=OuterRef("device_id"),
        obeyed_revision__gte=revision,
        obeyed_at__isnull=False,
    )
    drill.members.filter(Exists(obeys), **{field: None}).update(**{field: Subquery(obeys.values("obeyed_at")[:1])})


def _count(drill: Drill) -> domain.Counted:
    """Count who obeys, and keep the moments at which the shares were reached. A share that was reached stays."""
    _mark(drill, drill.revision or 0, "obeyed_at")
    moments = tuple(at for at in drill.members.values_list("obeyed_at", flat=True) if at)
    counted = domain.Counted(drill.devices, moments)
    reached = {f"obeyed_{share}_at": domain.share_at(moments, drill.devices, share) for share in domain.SHARES}
    Drill.objects.filter(pk=drill.pk, state=State.PRESSED).update(
        obeyed=counted.obeyed, obeyed_all_at=counted.all_at, **reached
    )
    return counted


def _sentence(drill: Drill, counted: domain.Counted, outcome: Outcome) -> str:
    said = _obeyed(drill, counted)
    if outcome is Outcome.OBEYED and counted.all_at and drill.pressed_at:
        return f"{said}, the last one after {(counted.all_at - drill.pressed_at).total_seconds():.1f} s."
    if outcome is Outcome.TIME_OVER:
        return f"{said} within {drill.minutes} min, so {drill.devices - counted.obeyed} did not."
    return f"Stopped by hand; {said} by then."


def _obeyed(drill: Drill, counted: domain.Counted) -> str:
    simulated = f" ({drill.simulated} simulated)" if drill.simulated else ""
    return f"{counted.obeyed} of {drill.devices} active devices of {drill.group}{simulated} obeyed"


def _state(drill: Drill) -> dict[str, Any]:
    """What the history records of a drill that ended."""
    times = ("pressed_at", "obeyed_50_at", "obeyed_95_at", "obeyed_99_at", "obeyed_all_at", "ended_at", "back_at")
    return {
        "flag": drill.flag,
        "group": drill.group,
        "outcome": drill.outcome,
        "sentence": drill.sentence,
        "devices": drill.devices,
        "obeyed": drill.obeyed,
        "back": drill.back,
        **{name: at.isoformat() for name in times if (at := getattr(drill, name))},
    }


def _first_entry(drill: Drill) -> int | None:
    """Return the entry of the press with which the series began."""
    return Drill.objects.filter(series=drill.series).order_by("pk").values_list("entry", flat=True).first()


def _entered(drill: Drill, this: Change) -> None:
    """Keep the entry of a press, which has its number only once it is appended."""
    drill.entry = next(entry.seq for entry in this.entries if entry.verb == "flag.drilled")
    Drill.objects.filter(pk=drill.pk).update(entry=drill.entry)
