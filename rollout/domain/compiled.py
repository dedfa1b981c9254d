"""A snapshot made ready for many evaluations: every answer that a flag can give is built once, then only chosen.

`evaluation` stays the meaning; a property holds both against each other. Pure, as that is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rollout.domain.bucketing import BUCKETS, bucket
from rollout.domain.evaluation import (
    DISABLED,
    SPLIT,
    STATIC,
    TARGETING_MATCH,
    UNKNOWN,
    Evaluation,
    KeyMissing,
    UnknownFlag,
    evaluate,
    in_arm,
    safe,
)
from rollout.domain.flags import OFF, ON, Flag, Snapshot
from rollout.domain.targeting import VALUES_MOST, Constraint, Context, Kind, Operator, number, text, version

# Says whether what a device says of itself meets a condition.
Test = Callable[[Mapping[str, Any]], bool]
# Chooses a flag's answer: (targeting key, what the device says, the places chosen so far) → place among its answers.
Choose = Callable[[str, Mapping[str, Any], Sequence[int]], int]
# How the percentage says that it serves `on`.
PERCENTAGE = ("100 % of devices", "bucket within the percentage")
# Every flag's first two answers.
NOT_ELIGIBLE, SAFE = 0, 1


class FlagAnswers:
    """All answers that one flag can give, each at its place."""

    def __init__(self, flag: Flag) -> None:
        self.flag = flag
        missing = Evaluation(flag.key, OFF, flag.value(OFF), UNKNOWN, "no targeting key: not eligible")
        self.all: list[Evaluation] = [missing, safe(flag)]
        # by what an answer says; the value follows from the variant
        self._places: dict[tuple[str, str, str, int], int] = {}

    def place(self, answer: Evaluation) -> int:
        """Return where an answer stands, now or from now on."""
        said = (answer.variant, answer.reason, answer.why, answer.rule)
        found = self._places.get(said)
        if found is None:
            found = self._places[said] = len(self.all)
            self.all.append(answer)
        return found

    def say(self, variant: str, reason: str, why: str, *, rule: int = 0) -> int:
        """Keep an answer and return its place."""
        return self.place(Evaluation(self.flag.key, variant, self.flag.value(variant), reason, why, rule))


class Compiled:
    """One snapshot's flags, ready. Answers that don't depend on the device are chosen once, here."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.answers = [FlagAnswers(flag) for flag in snapshot.flags.values()]
        self._at = {key: index for index, key in enumerate(snapshot.flags)}
        # what doesn't depend on the device; the others are overwritten by each device's own
        self._always = [NOT_ELIGIBLE] * len(self.answers)
        # those that do, each after what it requires
        self._chosen: list[tuple[int, Choose]] = []
        self._done: set[int] = set()
        for index in range(len(self.answers)):
            self._compile(index, ())
        # a bulk answer is told from another by the places of these alone
        self.depending = tuple(index for index, _ in self._chosen)
        choosing = dict(self._chosen)
        self._needed = [
            [(one, choosing[one]) for one in self.depending if one in self._needs(index, set())]
            for index in range(len(self.answers))
        ]

    def places(self, key: str, said: Mapping[str, Any]) -> list[int]:
        """Return the place of every flag's answer; without a targeting key NOT_ELIGIBLE where one is needed."""
        found = self._always.copy()
        for index, choose in self._chosen:
            found[index] = choose(key, said, found)
        return found

    def evaluate_all(self, context: Context) -> list[Evaluation]:
        """Evaluate every flag, as `evaluation.evaluate_all` does."""
        places = self.places(context.targeting_key, context.attributes)
        return [answers.all[place] for answers, place in zip(self.answers, places, strict=True)]

    def evaluate(self, key: str, context: Context) -> Evaluation:
        """Evaluate one flag, as `evaluation.evaluate` does. Raises UnknownFlag and KeyMissing as that."""
        at = self._at.get(key)
        if at is None:
            raise UnknownFlag(key)
        found = self._always.copy()
        for index, choose in self._needed[at]:
            found[index] = choose(context.targeting_key, context.attributes, found)
        if found[at] == NOT_ELIGIBLE:
            raise KeyMissing(key)
        return self.answers[at].all[found[at]]

    def _needs(self, index: int, found: set[int]) -> set[int]:
        """Collect the flag and everything that it requires, and what that requires."""
        if index not in found:
            found.add(index)
            for required in self.answers[index].flag.requires:
                if required in self._at:
                    self._needs(self._at[required], found)
        return found

    def _compile(self, index: int, above: tuple[int, ...]) -> None:
        if index in self._done:
            return
        flag = self.answers[index].flag
        for required in flag.requires:
            other = self._at.get(required)
            # a circle is found out when it is asked, as evaluation does
            if other is not None and other not in (*above, index):
                self._compile(other, (*above, index))
        if index in self._done:
            return
        self._done.add(index)
        found = self._flag(index)
        if isinstance(found, int):
            self._always[index] = found
        else:
            self._chosen.append((index, found))

    def _flag(self, index: int) -> int | Choose:
        """Return the place of a flag's only answer, or what chooses among several."""
        answers, flag = self.answers[index], self.answers[index].flag
        if self.snapshot.lockdown:
            return answers.say(flag.safe_variant, DISABLED, "lockdown")
        if flag.override is not None:
            reason = DISABLED if flag.override.variant == OFF else STATIC
            return answers.say(flag.override.variant, reason, f"emergency override: {flag.override.reason}")
        if any(self._at.get(one) not in (None, *self._done) for one in flag.requires):
            return self._as_evaluated(answers)
        scoped = []
        for one in flag.scoped:
            where = " and ".join(map(str, one.constraints))
            reason = DISABLED if one.variant == OFF else STATIC
            place = answers.say(one.variant, reason, f"emergency override where {where}: {one.reason}")
            scoped.append((tests(one.constraints), place))
        required, refused = self._required(answers)
        if refused is not None:
            rest: int | Choose = refused
        else:
            rest = _divided(answers, _own(answers, self.snapshot.groups))
        return _behind(scoped, required, rest)

    def _required(self, answers: FlagAnswers) -> tuple[list[tuple[int, list[Evaluation], int]], int | None]:
        """Return what must be looked at for each device, and the answer when something required is never on."""
        looked: list[tuple[int, list[Evaluation], int]] = []
        for key in answers.flag.requires:
            place = answers.say(OFF, DISABLED, f"requires {key}")
            other = self._at.get(key)
            if other is None:
                return looked, place
            if any(other == index for index, _ in self._chosen):
                looked.append((other, self.answers[other].all, place))
            elif self.answers[other].all[self._always[other]].variant != ON:
                return looked, place
        return looked, None

    def _as_evaluated(self, answers: FlagAnswers) -> Choose:
        """Evaluate at each asking, for what has no compiled form; what it answers is kept too."""

        def choose(key: str, said: Mapping[str, Any], _places: Sequence[int]) -> int:
            try:
                return answers.place(evaluate(self.snapshot, answers.flag.key, Context(key, said)))
            except KeyMissing:
                return NOT_ELIGIBLE

        return choose


def _behind(
    scoped: list[tuple[tuple[Test, ...], int]], required: list[tuple[int, list[Evaluation], int]], rest: int | Choose
) -> int | Choose:
    """Put overrides for some devices, and what must be on, ahead of the rest."""
    if not scoped and not required:
        return rest

    def choose(key: str, said: Mapping[str, Any], places: Sequence[int]) -> int:
        for conditions, place in scoped:
            for test in conditions:
                if not test(said):
                    break
            else:
                return place
        for index, answers, refused in required:
            other = places[index]
            if other == NOT_ELIGIBLE:
                return NOT_ELIGIBLE
            if answers[other].variant != ON:
                return refused
        return rest if isinstance(rest, int) else rest(key, said, places)

    return choose


def _own(answers: FlagAnswers, groups: Mapping[str, frozenset[str]]) -> int | Choose:
    """Return what chooses by the flag itself: pinned devices, rules in order, percentage, off."""
    flag = answers.flag
    pinned = {key: answers.say(variant, TARGETING_MATCH, "pinned device") for key, variant in flag.pinned.items()}
    rules = []
    for number_, rule in enumerate(flag.rules, 1):
        place = answers.say(rule.variant, TARGETING_MATCH, f"rule {number_}: {rule}", rule=number_)
        members = groups.get(rule.group, frozenset()) if rule.group else None
        keyed = bool(rule.group) or 0 < rule.thousandths < BUCKETS
        if keyed or rule.thousandths > 0:
            rules.append((tests(rule.constraints), members, rule.thousandths, keyed, place))
    percentage = flag.thousandths
    within = beyond = NOT_ELIGIBLE
    if percentage <= 0:
        end = answers.say(OFF, STATIC, "0 % of devices")
    elif percentage >= BUCKETS:
        end = answers.say(ON, STATIC, "100 % of devices")
    else:
        end = NOT_ELIGIBLE
        within = answers.say(ON, SPLIT, "bucket within the percentage")
        beyond = answers.say(OFF, SPLIT, "bucket beyond the percentage")
    if not pinned and not rules and end != NOT_ELIGIBLE:
        return end
    salt = flag.salt

    def choose(key: str, said: Mapping[str, Any], _places: Sequence[int]) -> int:
        if key and key in pinned:
            return pinned[key]
        unkeyed, hashed = False, -1
        for conditions, members, thousandths, keyed, place in rules:
            for test in conditions:
                if not test(said):
                    break
            else:
                if keyed and not key:
                    unkeyed = True
                elif members is not None and key not in members:
                    continue
                elif thousandths >= BUCKETS:
                    return place
                elif thousandths > 0:
                    if hashed < 0:
                        hashed = bucket(salt, key)
                    if hashed < thousandths:
                        return place
        if unkeyed:
            return NOT_ELIGIBLE
        if end != NOT_ELIGIBLE or not key:
            return end
        if hashed < 0:
            hashed = bucket(salt, key)
        return within if hashed < percentage else beyond

    return choose


def _divided(answers: FlagAnswers, rest: int | Choose) -> int | Choose:
    """Put whoever gets `on` by a rule or the percentage into an arm of the A/B test that runs, if one does."""
    running = answers.flag.experiment
    if running is None:
        return rest
    arms: dict[int, dict[str, int]] = {}
    for place, said in enumerate(list(answers.all)):
        # of all that was said so far only these divide devices, none of them an override's or a pinned device's
        if said.variant == ON and (said.rule or said.why in PERCENTAGE):
            arms[place] = {arm.variant: answers.place(in_arm(answers.flag, running, arm, said)) for arm in running.arms}
    if not arms or (isinstance(rest, int) and rest not in arms):
        return rest

    def choose(key: str, said: Mapping[str, Any], places: Sequence[int]) -> int:
        place = rest if isinstance(rest, int) else rest(key, said, places)
        divided = arms.get(place)
        return divided[running.arm(key).variant] if divided and key else place

    return choose


def tests(constraints: tuple[Constraint, ...]) -> tuple[Test, ...]:
    """Return a test for each constraint, its values read once."""
    return tuple(_test(one) for one in constraints)


def _test(constraint: Constraint) -> Test:
    attribute, kind, operator = constraint.attribute, constraint.kind, constraint.operator
    compared: Callable[[Any], Any] = (lambda said: version(str(said))) if kind is Kind.VERSION else number
    if operator in (Operator.IS, Operator.IS_NOT):
        read: Callable[[Any], Any] = text if kind is Kind.TEXT else compared
        values = frozenset(one for one in map(read, constraint.values) if one is not None)
        wanted = operator is Operator.IS

        def among(attributes: Mapping[str, Any]) -> bool:
            said = attributes.get(attribute)
            if said is None or said == "":
                return False
            if isinstance(said, list):
                return any(read(one) in values for one in said[:VALUES_MOST]) is wanted
            return (read(said) in values) is wanted

        return among
    mine = compared(constraint.values[0])
    if mine is None:
        return lambda _attributes: False
    at_least = operator is Operator.AT_LEAST

    def against(attributes: Mapping[str, Any]) -> bool:
        said = attributes.get(attribute)
        theirs = None if said is None or said == "" else compared(said)
        return theirs is not None and bool(theirs >= mine if at_least else theirs < mine)

    return against
