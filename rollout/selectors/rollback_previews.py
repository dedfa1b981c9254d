"""What a rollback would do now: which flags change and how, and how many active devices lose what."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rollout.domain import rollback as domain
from rollout.domain import targeting as rules
from rollout.domain.rollback import Level
from rollout.domain.targeting import Constraint
from rollout.models import Flag, PhaseRun, Release
from rollout.selectors import census, flags, targeting
from rollout.selectors.phases import phase_of, run_under_way
from rollout.selectors.releases import release_running

# of more active devices that run LiteRT, half of them is said instead of asking each
ASKED_MOST = 20_000


@dataclass(frozen=True)
class Change:
    """One flag, as it stands and as it would."""

    flag: str
    before: str
    after: str


@dataclass(frozen=True)
class Loss:
    """How many active devices lose a flag's `on`, how many of them simulated, and how many keep it."""

    flag: str
    devices: int = 0
    simulated: int = 0
    kept: int = 0
    # not each device was asked
    about: bool = False


@dataclass(frozen=True)
class Preview:
    """A level before it is pressed. Without changes there is nothing left to do."""

    level: Level
    changes: tuple[Change, ...] = ()
    losses: tuple[Loss, ...] = ()

    @property
    def devices(self) -> int:
        """How many devices lose something, at most: of the flag that most are served."""
        return max((one.devices for one in self.losses), default=0)


@dataclass(frozen=True)
class Cohort:
    """A cohort that an override would reach: how many devices of each flag, and of these how many simulated."""

    where: str
    losses: tuple[Loss, ...]


@dataclass(frozen=True)
class Walk:
    """The phase under way, which a rollback pauses."""

    release: Release
    run: PhaseRun
    flag: str


def walk(environment: str) -> Walk | None:
    """Return the phase under way; None without one."""
    release = release_running(environment)
    run = run_under_way(release) if release is not None else None
    phase = phase_of(release, run.number) if release is not None and run is not None else None
    return Walk(release, run, phase.flag) if release is not None and run is not None and phase is not None else None


def halve(environment: str, key: str) -> Preview:
    """Return what halving a flag's percentage does. A pass over the active devices, or a count where they are many."""
    flag = flags.flag(environment, key)
    if flag is None or flag.override_variant:
        return Preview(Level.HALVE)
    shares, thousandths = domain.halved(flag.rules, flag.thousandths)
    changes = tuple(Change(key, before, after) for before, after in _shares(flag, thousandths))
    if not changes:
        return Preview(Level.HALVE)
    devices, simulated = _served(environment, [key]).get(key, (0, 0))
    if devices > ASKED_MOST:
        loss = Loss(key, devices - devices // 2, simulated - simulated // 2, devices // 2, about=True)
        return Preview(Level.HALVE, changes, (loss,))
    now = targeting.snapshot(environment)
    after = replace(now.flags[key], rules=tuple(map(rules.rule, shares)), thousandths=thousandths)
    found = targeting.reach(now, key, after)
    return Preview(Level.HALVE, changes, (Loss(key, found.left, found.left_simulated, found.on, found.estimated),))


def disable(environment: str, keys: Sequence[str]) -> Preview:
    """Return what disabling flags everywhere does. Two queries."""
    return _forced(environment, Level.DISABLE, dict.fromkeys(keys, "off"))


def kill(environment: str, litert: str, fallback: str) -> Preview:
    """Return what a kill does: who runs LiteRT loses it, and everybody gets the fallback. Two queries."""
    return _forced(environment, Level.KILL, {litert: "off", fallback: "on"})


def cohorts(
    environment: str, keys: Sequence[str], wanted: Iterable[Sequence[Constraint]]
) -> tuple[list[Cohort], list[Loss]]:
    """Count the devices that overrides for cohorts reach: each cohort's, and all of them together. One query.

    A device in two cohorts counts in both of them, and once in all.
    """
    given = [tuple(one) for one in wanted]
    each = [{key: Loss(key) for key in keys} for _ in given]
    together = {key: Loss(key) for key in keys}
    for said, on, simulated, devices in census.served(environment, keys):
        meets = [all(one.matches(said) for one in where) for where in given]
        for key in on:
            for own, inside in zip([*each, together], [*meets, any(meets)], strict=True):
                own[key] = _counted(own[key], devices, simulated=simulated, loses=inside)
    found = [Cohort(" and ".join(map(str, where)), tuple(own.values())) for where, own in zip(given, each, strict=True)]
    return found, list(together.values())


def _counted(loss: Loss, devices: int, *, simulated: bool, loses: bool) -> Loss:
    if not loses:
        return replace(loss, kept=loss.kept + devices)
    return replace(loss, devices=loss.devices + devices, simulated=loss.simulated + devices * simulated)


def _forced(environment: str, level: Level, wanted: dict[str, str]) -> Preview:
    known = {flag.key: flag for flag in flags.flags(environment) if flag.key in wanted}
    moving = {key: flag for key, flag in known.items() if flag.override_variant != wanted[key]}
    served = _served(environment, [key for key in moving if wanted[key] == "off"])
    changes = tuple(Change(key, _stands(flag), f"forced {wanted[key]}") for key, flag in moving.items())
    return Preview(level, changes, tuple(Loss(key, *counts) for key, counts in served.items()))


def _served(environment: str, keys: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return of each flag how many active devices were served it, and how many of them are simulated."""
    found = dict.fromkeys(keys, (0, 0))
    for _said, on, simulated, devices in census.served(environment, found):
        for key in on:
            all_of, those = found[key]
            found[key] = (all_of + devices, those + devices * simulated)
    return found


def _stands(flag: Flag) -> str:
    """Say what a flag serves, in words."""
    if flag.override_variant:
        return f"forced {flag.override_variant}"
    said = [f"{len(flag.rules)} rule{'s' if len(flag.rules) > 1 else ''}"] if flag.rules else []
    return " and ".join([*said, f"{flag.percent:g} % of devices"])


def _shares(flag: Flag, thousandths: int) -> list[tuple[str, str]]:
    """Return the shares that would change, in words."""
    found = []
    for document in flag.rules:
        before = rules.rule(document)
        if before.variant == "on" and before.thousandths:
            found.append((f"{before.percent:g} % of {before.audience}", f"{before.thousandths // 2 / 1000:g} %"))
    if flag.thousandths:
        found.append((f"{flag.percent:g} % of devices", f"{thousandths / 1000:g} %"))
    return found
