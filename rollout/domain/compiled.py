"""A snapshot made ready for many evaluations: every answer that a flag can give is built once, then only chosen.

`evaluation` stays the meaning; a property holds both against each other. Pure, as that is.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollout.domain.bucketing import BUCKETS, HASHES, hash32, limit, salted
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
# How every condition of a snapshot came out, each at its place.
Outcomes = tuple[bool, ...]
# Every flag's first two answers.
NOT_ELIGIBLE, SAFE = 0, 1
# Stands where an answer would while the targeting key still decides.
OPEN = -1
# Fleets have few different outcomes; a snapshot that gets more settles them anew.
SETTLED_MOST = 1_024


@dataclass(frozen=True)
class Settle:
    """A flag that asks conditions: by how they came out only one answer is left, or what chooses among several.

    It looks at the places of what the flag requires, which are settled before.
    """

    left: Callable[[Outcomes, Sequence[int]], int | Choose]


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


class Settled:
    """A snapshot for all devices whose conditions come out alike: only the targeting key decides the rest."""

    def __init__(self, places: list[int], choosing: list[tuple[int, Choose]]) -> None:
        self._places = places
        self._choosing = choosing

    def places(self, key: str, said: Mapping[str, Any]) -> list[int]:
        """Return the place of every flag's answer; without a targeting key NOT_ELIGIBLE where one is needed."""
        found = self._places.copy()
        for index, choose in self._choosing:
            found[index] = choose(key, said, found)
        return found

    def place(self, at: int, needed: Collection[int], key: str, said: Mapping[str, Any]) -> int:
        """Return the place of one flag's answer, choosing only for the flags that it needs."""
        found = self._places.copy()
        for index, choose in self._choosing:
            if index in needed:
                found[index] = choose(key, said, found)
        return found[at]


class Compiled:
    """One snapshot's flags, ready. Answers that don't depend on the device are chosen once, here."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.answers = [FlagAnswers(flag) for flag in snapshot.flags.values()]
        self._at = {key: index for index, key in enumerate(snapshot.flags)}
        # what doesn't depend on the device; the others are overwritten by each device's own
        self._always = [NOT_ELIGIBLE] * len(self.answers)
        # every condition of any flag once, and where it stands
        self._tests: list[Test] = []
        self._test_at: dict[Constraint, int] = {}
        # those that depend on the device, each after what it requires
        self._depending: dict[int, Choose | Settle] = {}
        self._settled: dict[tuple[bool, ...], Settled] = {}
        self._done: set[int] = set()
        for index in range(len(self.answers)):
            self._compile(index, ())
        # a bulk answer is told from another by the places of these alone
        self.depending = tuple(self._depending)
        # the attributes that some condition asks for
        self.attributes = frozenset(constraint.attribute for constraint in self._test_at)
        self._needed = [self._needs(index, set()) for index in range(len(self.answers))]

    def settled(self, said: Mapping[str, Any]) -> Settled:
        """Ask every condition of what a device says of itself; return what its targeting key still decides.

        Devices whose conditions come out alike share it.
        """
        outcomes = tuple([test(said) for test in self._tests])
        found = self._settled.get(outcomes)
        if found is None:
            if len(self._settled) >= SETTLED_MOST:
                self._settled.clear()
            found = self._settled[outcomes] = self._settle(outcomes)
        return found

    def places(self, key: str, said: Mapping[str, Any]) -> list[int]:
        """Return the place of every flag's answer; without a targeting key NOT_ELIGIBLE where one is needed."""
        return self.settled(said).places(key, said)

    def evaluate_all(self, context: Context) -> list[Evaluation]:
        """Evaluate every flag, as `evaluation.evaluate_all` does."""
        places = self.places(context.targeting_key, context.attributes)
        return [answers.all[place] for answers, place in zip(self.answers, places, strict=True)]

    def evaluate(self, key: str, context: Context) -> Evaluation:
        """Evaluate one flag, as `evaluation.evaluate` does. Raises UnknownFlag and KeyMissing as that."""
        if key not in self._at:
            raise UnknownFlag(key)
        return self.chosen(key, self.settled(context.attributes), context)

    def chosen(self, key: str, settled: Settled, context: Context) -> Evaluation:
        """Evaluate one flag for a device that is settled already. Raises KeyMissing."""
        at = self._at[key]
        place = settled.place(at, self._needed[at], context.targeting_key, context.attributes)
        if place == NOT_ELIGIBLE:
            raise KeyMissing(key)
        return self.answers[at].all[place]

    def _settle(self, outcomes: tuple[bool, ...]) -> Settled:
        places, choosing = self._always.copy(), []
        for index, depends in self._depending.items():
            found = depends.left(outcomes, places) if isinstance(depends, Settle) else depends
            if isinstance(found, int):
                places[index] = found
            else:
                places[index] = OPEN
                choosing.append((index, found))
        return Settled(places, choosing)

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
            self._depending[index] = found

    def _flag(self, index: int) -> int | Choose | Settle:
        """Return the place of a flag's only answer, or what chooses among several."""
        answers, flag = self.answers[index], self.answers[index].flag
        if self.snapshot.lockdown:
            return answers.say(flag.safe_variant, DISABLED, "lockdown")
        if flag.override is not None:
            reason = DISABLED if flag.override.variant == OFF else STATIC
            return answers.say(flag.override.variant, reason, flag.override.why)
        if any(self._at.get(one) not in (None, *self._done) for one in flag.requires):
            return self._as_evaluated(answers)
        scoped = []
        for one in flag.scoped:
            reason = DISABLED if one.variant == OFF else STATIC
            members = self.snapshot.groups.get(one.group, frozenset()) if one.group else None
            place = answers.say(one.variant, reason, one.why)
            scoped.append((self._numbered(one.constraints), members, place))
        required, refused = self._required(answers)
        own = _divided(answers, self._own(answers)) if refused is None else refused
        return _behind(scoped, required, own)

    def _numbered(self, constraints: tuple[Constraint, ...]) -> tuple[int, ...]:
        """Return where the conditions' outcomes stand."""
        for one in constraints:
            if one not in self._test_at:
                self._test_at[one] = len(self._tests)
                self._tests.append(_test(one))
        return tuple(self._test_at[one] for one in constraints)

    def _own(self, answers: FlagAnswers) -> int | Settle:
        """Return what chooses by the flag itself: pinned devices, rules in order, percentage, off."""
        flag = answers.flag
        pinned = {key: answers.say(variant, TARGETING_MATCH, "pinned device") for key, variant in flag.pinned.items()}
        rules: list[tuple[tuple[int, ...], _Step]] = []
        for number_, rule in enumerate(flag.rules, 1):
            place = answers.say(rule.variant, TARGETING_MATCH, f"rule {number_}: {rule}", rule=number_)
            members = self.snapshot.groups.get(rule.group, frozenset()) if rule.group else None
            rules.append((self._numbered(rule.constraints), _Step(members, rule.thousandths, place)))
        percentage = None
        if flag.thousandths <= 0:
            end = answers.say(OFF, STATIC, "0 % of devices")
        elif flag.thousandths >= BUCKETS:
            end = answers.say(ON, STATIC, "100 % of devices")
        else:
            within = answers.say(ON, SPLIT, "bucket within the percentage")
            percentage = _Step(None, flag.thousandths, within)
            end = answers.say(OFF, SPLIT, "bucket beyond the percentage")
        if not pinned and not rules and percentage is None:
            return end
        salt = salted(flag.salt)

        def left(outcomes: Outcomes, _places: Sequence[int]) -> int | Choose:
            steps = [step for numbers, step in rules if all(outcomes[one] for one in numbers)]
            return _by_key(salt, pinned, steps, percentage, end)

        return Settle(left)

    def _required(self, answers: FlagAnswers) -> tuple[list[tuple[int, list[Evaluation], int]], int | None]:
        """Return what must be looked at for each device, and the answer when something required is never on."""
        looked: list[tuple[int, list[Evaluation], int]] = []
        for key in answers.flag.requires:
            place = answers.say(OFF, DISABLED, f"requires {key}")
            other = self._at.get(key)
            if other is None:
                return looked, place
            if other in self._depending:
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
    scoped: list[tuple[tuple[int, ...], frozenset[str] | None, int]],
    required: list[tuple[int, list[Evaluation], int]],
    rest: int | Settle,
) -> int | Settle:
    """Put overrides for some devices, and what must be on, ahead of the rest."""
    if not scoped and not required:
        return rest

    def left(outcomes: Outcomes, places: Sequence[int]) -> int | Choose:
        drilled: list[tuple[frozenset[str], int]] = []
        for numbers, members, place in scoped:
            if all(outcomes[one] for one in numbers):
                if members is None:
                    return _members_first(drilled, place)
                drilled.append((members, place))
        return _members_first(drilled, undrilled(outcomes, places))

    def undrilled(outcomes: Outcomes, places: Sequence[int]) -> int | Choose:
        still = []
        for index, answers, refused in required:
            if places[index] == OPEN:
                still.append((index, answers, refused))
            elif answers[places[index]].variant != ON:
                if not still:
                    return refused
                return _required_first(still, refused)
        after = rest.left(outcomes, places) if isinstance(rest, Settle) else rest
        return _required_first(still, after) if still else after

    return Settle(left)


def _members_first(drilled: list[tuple[frozenset[str], int]], rest: int | Choose) -> int | Choose:
    """Put the members of drilled groups ahead of the rest; a device without a key is in no group."""
    if not drilled:
        return rest

    def choose(key: str, said: Mapping[str, Any], places: Sequence[int]) -> int:
        for members, place in drilled:
            if key in members:
                return place
        return rest if isinstance(rest, int) else rest(key, said, places)

    return choose


def _required_first(required: list[tuple[int, list[Evaluation], int]], rest: int | Choose) -> Choose:
    def choose(key: str, said: Mapping[str, Any], places: Sequence[int]) -> int:
        for index, answers, refused in required:
            other = places[index]
            if other == NOT_ELIGIBLE:
                return NOT_ELIGIBLE
            if answers[other].variant != ON:
                return refused
        return rest if isinstance(rest, int) else rest(key, said, places)

    return choose


@dataclass(frozen=True)
class _Step:
    """Serve a place to a share of the devices that are members; of all devices when `members` is None."""

    members: frozenset[str] | None
    thousandths: int
    place: int

    @property
    def keyed(self) -> bool:
        """Whether it needs a targeting key."""
        return self.members is not None or 0 < self.thousandths < BUCKETS

    @property
    def everybody(self) -> bool:
        """Whether it takes whoever comes to it, with or without a key."""
        return self.members is None and self.thousandths >= BUCKETS


def _by_key(
    salt: str, pinned: Mapping[str, int], rules: list[_Step], percentage: _Step | None, end: int
) -> int | Choose:
    """Return what chooses by the targeting key: pinned devices, the rules that are left, the percentage, the end."""
    certain = next((number for number, step in enumerate(rules) if step.everybody), None)
    if certain is not None:
        keyless = end = rules[certain].place
        rules, percentage = rules[:certain], None
    else:
        keyless = NOT_ELIGIBLE if percentage or any(step.keyed for step in rules) else end
    steps = [step for step in [*rules, percentage] if step is not None and step.thousandths > 0]
    if not pinned and not steps and keyless == end:
        return end
    if not pinned and len(steps) == 1 and steps[0].members is None:
        return _split(salt, limit(steps[0].thousandths), steps[0].place, end, keyless)
    shares = [(step.members, limit(step.thousandths), step.place) for step in steps]

    def choose(key: str, _said: Mapping[str, Any], _places: Sequence[int]) -> int:
        if not key:
            return keyless
        if key in pinned:
            return pinned[key]
        hashed = -1
        for members, below, place in shares:
            if members is None or key in members:
                if below >= HASHES:
                    return place
                if hashed < 0:
                    hashed = hash32(salt + key, 0, False)
                if hashed < below:
                    return place
        return end

    return choose


def _divided(answers: FlagAnswers, rest: int | Settle) -> int | Settle:
    """Put whoever gets `on` by a rule or the percentage into an arm of the A/B test that runs, if one does."""
    running = answers.flag.experiment
    if running is None:
        return rest
    arms: dict[int, dict[str, int]] = {}
    for place, said in enumerate(list(answers.all)):
        # of all that was said so far only these divide devices, none of them an override's or a pinned device's
        if said.variant == ON and (said.rule or said.why in PERCENTAGE):
            arms[place] = {arm.variant: answers.place(in_arm(answers.flag, running, arm, said)) for arm in running.arms}

    def divide(found: int | Choose) -> int | Choose:
        if isinstance(found, int) and found not in arms:
            return found

        def choose(key: str, said: Mapping[str, Any], places: Sequence[int]) -> int:
            place = found if isinstance(found, int) else found(key, said, places)
            divided = arms.get(place)
            return divided[running.arm(key).variant] if divided and key else place

        return choose

    if isinstance(rest, int):
        return Settle(lambda _outcomes, _places: divide(rest)) if rest in arms else rest
    return Settle(lambda outcomes, places: divide(rest.left(outcomes, places)))


def _split(salt: str, below: int, within: int, beyond: int, keyless: int) -> Choose:
    def choose(key: str, _said: Mapping[str, Any], _places: Sequence[int]) -> int:
        if not key:
            return keyless
        return within if hash32(salt + key, 0, False) < below else beyond

    return choose


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
