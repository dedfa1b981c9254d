"""A/B tests: started and ended. The flag's row carries what runs, so that a gateway learns of it as of any other change."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from monitoring.domain import arms as sides
from rollout.domain.experiments import Arm, arms_checked
from rollout.domain.experiments import Experiment as Running
from rollout.domain.flags import OFF, ON, FlagType
from rollout.domain.values import unmet, value_checked
from rollout.models import Experiment, Flag
from rollout.services.flags import LITERT
from rollout.services.locking import flags_locked, flags_save, reason_given
from rollout.services.raising import Authority

TITLE_MOST, HYPOTHESIS_MOST = 120, 2_000


def experiment_start(
    *,
    environment: str,
    flag: str,
    key: str,
    title: str,
    hypothesis: str,
    arms: Sequence[Arm],
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Divide the devices that a flag serves `on` among weighted arms, from now on. Without values: an A/A test.

    Raises InvalidInput for arms that can't be, Conflict where a test runs on the flag or one was called so before, and
    Refused where an arm's value would be new to some.
    """
    key, title, hypothesis = key.strip(), title.strip(), hypothesis.strip()
    _named(key, title, hypothesis)
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state, flags = flags_locked(environment, [flag])
        row = flags[flag]
        if row.experiment:
            raise Conflict(f"{flag} is divided by the A/B test {row.experiment['key']} already; end that first.")
        if Experiment.objects.filter(environment=environment, key=key).exists():
            raise Conflict(f"There was an A/B test {key} already; give this one a key of its own.")
        running = Running(key, f"experiment.{key}", _arms(row, arms))
        row.experiment = running.document
        flags_save(state, [row], authority=authority or Authority.of(actor))
        made = Experiment.objects.create(
            environment=environment,
            key=key,
            title=title,
            hypothesis=hypothesis,
            flag=flag,
            salt=running.salt,
            arms=running.document["arms"],
            started_at=clock.now(),
            started_by=actor.label,
        )
        this.record("experiment.started", subject=f"experiment:{key}", after=_state(made, row.revision))
    return this.entry


def experiment_end(
    *,
    environment: str,
    key: str,
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """End a test: its devices get the flag's `on` value again. The reason is its conclusion. None when it has ended.

    Raises Refused where `on` would be new to some.
    """
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        found = Experiment.objects.filter(environment=environment, key=key).first()
        if found is None:
            raise NotFound(f"There is no A/B test {key!r} in {environment}.")
        state, flags = flags_locked(environment, [found.flag])
        found = Experiment.objects.select_for_update(no_key=True).get(pk=found.pk)
        if found.ended_at is not None:
            return None
        row = flags[found.flag]
        before = _state(found, row.revision)
        row.experiment = None
        flags_save(state, [row], authority=authority or Authority.of(actor))
        found.ended_at, found.ended_by, found.conclusion = clock.now(), actor.label, reason_given(reason)
        found.save(update_fields=["ended_at", "ended_by", "conclusion"])
        this.record("experiment.ended", subject=f"experiment:{key}", before=before, after=_state(found, row.revision))
    return this.entry


def arms_read(arms: Sequence[tuple[str, str, object]]) -> list[Arm]:
    """Return arms from what was typed: name, weight in digits, and a value (None: the flag's own `on` value).

    Raises InvalidInput.
    """
    found = []
    for variant, weight, value in arms:
        if not weight.strip().isdecimal() or len(weight.strip()) > 6:
            raise InvalidInput(f"The weight of {variant or 'an arm'} is a whole number.")
        found.append(Arm(variant.strip(), int(weight), value))
    return found


def _named(key: str, title: str, hypothesis: str) -> None:
    plain = key.replace("-", "").replace("_", "")
    if not plain or len(key) > 60 or not plain.isalnum() or not key.isascii() or key != key.lower():
        raise InvalidInput("The key of an A/B test has 1 to 60 small letters, digits, dashes and underscores.")
    if key == "start":
        raise InvalidInput("An A/B test can't be called start: its page could not be opened.")
    if not title or len(title) > TITLE_MOST or not title.isprintable():
        raise InvalidInput(f"Give the test a title of at most {TITLE_MOST} characters.")
    if len(hypothesis) > HYPOTHESIS_MOST or "\x00" in hypothesis:
        raise InvalidInput(f"The hypothesis has at most {HYPOTHESIS_MOST} characters.")


def _arms(row: Flag, arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """Return a flag's arms with their values. Raises InvalidInput."""
    flag = row.domain()
    on = flag.value(ON)
    valued = [Arm(one.variant, one.weight, on if one.value is None else one.value) for one in arms]
    valued = [replace(one, value=_fitting(FlagType(row.type), one)) for one in valued]
    for one in valued:
        if why := unmet(row.schema, one.value) if row.schema else "":
            raise InvalidInput(f"The value of {one.variant} does not meet the flag's schema. {why}")
    checked = arms_checked(valued, off=flag.value(OFF), safe=flag.value(flag.safe_variant))
    for one in checked:
        if row.key == LITERT and one.value == flag.value(OFF) and sides.arm_of(one.variant) is None:
            raise InvalidInput(
                f"The arm {one.variant} gets no LiteRT; call it control, so that its devices are not taken for treated."
            )
    return checked


def _fitting(kind: FlagType, arm: Arm) -> Any:
    """Return an arm's value in the flag's type. Raises InvalidInput."""
    if kind is FlagType.BOOLEAN:
        if not isinstance(arm.value, bool):
            raise InvalidInput(f"{arm.variant}: the flag is boolean, so the value is true or false.")
        return arm.value
    return value_checked(kind, arm.variant, arm.value)


def _state(found: Experiment, revision: int) -> dict[str, object]:
    return {
        "title": found.title,
        "hypothesis": found.hypothesis,
        "flag": found.flag,
        "arms": found.arms,
        "running": found.ended_at is None,
        "revision": revision,
    }
