"""What a solution would do: what it changes, how many devices it reaches, and whether somebody else must say yes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hawkops.core import clock
from hawkops.core.errors import InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.scripts.catalogue import Script
from hawkops.scripts.models import Run
from hawkops.scripts.own import catalogue
from hawkops.scripts.selectors import dry_run_passed
from hawkops.scripts.services import DRY_RUN_COUNTS_FOR
from incidents.domain.troubleshooting import Driver, Problem, Solution, SolutionKind, constraint_of, driver_bound
from incidents.selectors.troubleshooting import drivers, run_of
from rollout.domain import flags as flag_domain
from rollout.domain.flags import OFF, ON, Override, raises_exposure
from rollout.domain.policy import decide
from rollout.domain.values import said
from rollout.selectors import census
from rollout.selectors import flags as flag_selectors
from rollout.selectors.flags import Stored
from rollout.services.forcing import wanted_values
from rollout.services.raising import Authority, question


@dataclass(frozen=True)
class Preview:
    """A solution before its press. `lack` says why it can't be pressed; empty when it can."""

    solution: Solution
    changes: str = ""
    now: str = ""
    reach: int = 0
    active: int = 0
    # it is so already
    stands: bool = False
    # why somebody else must say yes first; empty where it happens at once
    waits: str = ""
    lack: str = ""
    # the value that the live data propose, and the drivers that say so
    proposed: str = ""
    drivers: tuple[Driver, ...] = ()
    script: Script | None = None
    # a dry run that allows the real one, and the newest of either
    rehearsed: bool = False
    run: Run | None = None


def previews(environment: str, problem: Problem, *, actor: Actor) -> list[Preview]:
    """Return every solution of a problem with what it would do now. A few queries for each."""
    flags = {one.key: one for one in flag_selectors.flags(environment)}
    keys = [one.flag for one in problem.solutions if one.flag in flags]
    reaches = census.reaches(environment, keys) if keys else {}
    active = census.active_count(environment)
    return [_preview(environment, one, flags, reaches, active, actor) for one in problem.solutions]


def _preview(
    environment: str, one: Solution, flags: Mapping[str, Stored], reaches: Mapping[str, int], active: int, actor: Actor
) -> Preview:
    if one.kind is SolutionKind.SCRIPT:
        return _of_script(environment, one)
    flag = flags.get(one.flag)
    if flag is None:
        return Preview(one, lack=f"There is no flag {one.flag} in {environment}. Run manage.py seed.")
    if one.kind is SolutionKind.SCOPED:
        return _of_scoped(environment, one, flag, active, actor)
    try:
        value = command_number(flag) if one.kind is SolutionKind.COMMAND else one.value
        wanted, variant = wanted_values(flag, value)
    except InvalidInput as unfit:
        return Preview(one, lack=unfit.message)
    on = reaches.get(one.flag, 0)
    stands = one.kind is SolutionKind.FLAG and flag.override_variant == variant and wanted.on == flag.on
    after = replace(flag.domain(), on=wanted.on, off=wanted.off, override=Override(variant, ""))
    served = active - on if variant == ON else on
    if wanted.on != flag.on or one.kind is SolutionKind.COMMAND:
        served = active
    return Preview(
        one,
        changes=f"{one.flag} is forced to {said(value)} on every device",
        now=_now(flag),
        reach=0 if stands else served,
        active=active,
        stands=stands,
        waits=_waits(environment, flag, after, actor),
    )


def _now(flag: Stored) -> str:
    known = flag.domain()
    if flag.override_variant:
        return f"forced to {said(known.value(flag.override_variant))}"
    percent = flag.thousandths / 1000
    if flag.rules or 0 < percent < 100:
        return f"{said(known.value(ON))} by its rules or to {percent:g} %, else {said(known.value(OFF))}"
    return said(known.value(ON if percent else OFF))


def _waits(environment: str, flag: Stored, after: flag_domain.Flag, actor: Actor) -> str:
    if not raises_exposure(flag.domain(), after):
        return ""
    decision = decide(question(environment, {flag.key: False}, Authority.of(actor)))
    return "" if decision.allowed else decision.sentence


def _of_scoped(environment: str, one: Solution, flag: Stored, active: int, actor: Actor) -> Preview:
    found = tuple(drivers(environment)) if one.proposes else ()
    proposed = driver_bound(found) or one.bound
    reach = 0
    if proposed:
        meets, on = census.meeting(environment, [constraint_of(one, proposed)], served=one.flag)
        reach = on if one.variant == OFF else meets - on
    served = census.reaches(environment, [one.flag])[one.flag]
    title = "GPU driver" if one.attribute == "device.gpu.driver" else one.attribute
    override = Override(one.variant, "", (constraint_of(one, proposed or "1"),))
    after = replace(flag.domain(), scoped=(override, *flag.domain().scoped))
    return Preview(
        one,
        changes=f"{one.flag} is forced {one.variant} where {title} {one.operator} the version below",
        now=f"served to {served} of {active} active devices",
        reach=reach,
        active=active,
        proposed=proposed,
        drivers=found,
        waits=_waits(environment, flag, after, actor),
    )


def _of_script(environment: str, one: Solution) -> Preview:
    script = catalogue().get(one.script)
    if script is None:
        return Preview(one, lack=f"There is no script {one.script} in the catalogue any more.")
    arguments = dict(one.arguments)
    rehearsed = not script.changes_anything or rehearsal(environment, script, arguments) is not None
    runs = [run_of(environment, one.script, arguments, dry=dry) for dry in (True, False)]
    newest = max((run for run in runs if run is not None), key=lambda run: run.pk, default=None)
    return Preview(one, changes=script.means, now="this host", script=script, rehearsed=rehearsed, run=newest)


def rehearsal(environment: str, script: Script, arguments: dict[str, str]) -> Run | None:
    """Return the dry run that allows a script to change something now; None when there is none."""
    try:
        digest = script.program_digest()
    except NotFound:
        return None
    since = clock.now() - DRY_RUN_COUNTS_FOR
    return dry_run_passed(environment, script.name, arguments, digest, since=since)


def command_number(flag: Stored) -> int:
    """Return the next number of a command: one that no device has seen."""
    return int(flag.on) + 1
