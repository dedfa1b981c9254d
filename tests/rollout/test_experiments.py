"""A/B tests: dividing whom a flag serves on, what raises exposure, who is counted, and what the arms measured."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import mmh3
import numpy as np
import pytest
from django.db import transaction
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.erasure import erasers
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from monitoring.models import PanelHour
from rollout.domain.bucketing import BUCKETS
from rollout.domain.evaluation import evaluate, explain
from rollout.domain.experiments import Arm, Experiment, arms_checked, experiment
from rollout.domain.flags import Flag, FlagType, Override, Snapshot, raises_exposure
from rollout.domain.targeting import Context, Rule
from rollout.models import CensusDevice, Exposure, Proposal, Release
from rollout.models import Experiment as Stored
from rollout.models import Flag as StoredFlag
from rollout.selectors import experiments as selectors
from rollout.selectors.census import reach
from rollout.services import experiments as services
from rollout.services import flags, overrides
from rollout.services.flags import flags_seed
from rollout.services.proposals import change_or_propose
from rollout.services.raising import NeedsApproval, Refused
from tests.rollout.conftest import Gateway
from tests.rollout.test_checks import ask
from tests.rollout.test_checks import begin as begin
from tests.rollout.test_gateway import bulk, wait_for
from tests.rollout.walking import approve, furnish, signers

SYSTEM = Actor.system("test")
As = Callable[[object], Client]
AB = Experiment("ab", "experiment.ab", (Arm("control", 1, False), Arm("b", 3, True)))
LITERT = Flag("litert_enabled", FlagType.BOOLEAN, True, False, "off", 50_000, "s")


def at(flag: Flag, device: str, **more: Any) -> tuple[str, Any, str]:
    """What a device is told: variant, value, reason."""
    found = evaluate(Snapshot("demo", 1, {flag.key: flag}), flag.key, Context(device, more))
    return found.told, found.value, found.reason


# ---- dividing ----


def test_arm__is_flagds_fractional_evaluation() -> None:
    """Preimages of flagd's own boundary cases: the published hash is what places a device."""
    halves = Experiment("x", "s", (Arm("low", 1, 0), Arm("high", 1, 1)))
    for number in range(200):
        place = mmh3.hash(f"s:device-{number}", 0, False)
        assert halves.arm(f"device-{number}").variant == ("low" if place < 2**31 else "high")


def test_arm__weights__share_out_devices_as_they_say() -> None:
    found = Counter(AB.arm(f"device-{number}").variant for number in range(8_000))
    # chi-square with 1 degree of freedom: above 10.83 by chance once in a thousand, and these keys are fixed
    assert sum((found[name] - many) ** 2 / many for name, many in (("control", 2_000), ("b", 6_000))) < 10.83


def test_arm__independent_of_who_was_let_in() -> None:
    """The arms have a salt of their own: of the first percent of devices a quarter is control, too."""
    first = [
        f"d{number}" for number in range(40_000) if at(replace(LITERT, thousandths=5_000), f"d{number}")[0] != "off"
    ]
    control = sum(AB.arm(key).variant == "control" for key in first)
    assert len(first) > 1_500
    assert abs(control / len(first) - 0.25) < 0.05


@given(st.integers(0, BUCKETS), st.integers(0, BUCKETS), st.integers(0, 10_000))
def test_percentage__raised__moves_nobody_to_another_arm(low: int, high: int, number: int) -> None:
    low, high = sorted((low, high))
    tested = replace(LITERT, experiment=AB)
    before = at(replace(tested, thousandths=low), f"device-{number}")[0]
    after = at(replace(tested, thousandths=high), f"device-{number}")[0]
    assert before in ("off", after)


def test_evaluate__divides_only_whom_rules_and_percentage_serve_on() -> None:
    tested = replace(LITERT, thousandths=BUCKETS, experiment=AB)
    key = next(f"device-{n}" for n in range(50) if AB.arm(f"device-{n}").variant == "control")
    assert at(tested, key) == ("control", False, "SPLIT")
    assert at(tested, "") == ("on", True, "STATIC"), "without a key nobody is divided"
    assert at(replace(tested, pinned={key: "on"}), key) == ("on", True, "TARGETING_MATCH")
    assert at(replace(tested, override=Override("on", "x")), key) == ("on", True, "STATIC")
    assert at(replace(tested, override=Override("off", "x")), key) == ("off", False, "DISABLED")
    assert at(replace(tested, rules=(Rule("off"),)), key)[0] == "off"
    assert at(replace(tested, thousandths=0, rules=(Rule("on"),)), key) == ("control", False, "SPLIT")
    said, steps = explain(Snapshot("demo", 1, {"litert_enabled": tested}), "litert_enabled", Context(key, {}))
    assert (said.variant, said.arm) == ("off", "control")
    assert steps[-1].sentence == "A/B test ab: arm control"


def test_evaluate__a_flag_that_requires_it__is_off_where_the_arm_gets_the_off_value() -> None:
    tested = replace(LITERT, thousandths=BUCKETS, experiment=AB)
    gpu = Flag("gpu", FlagType.BOOLEAN, True, False, "off", BUCKETS, "g", requires=("litert_enabled",))
    snapshot = Snapshot("demo", 1, {"litert_enabled": tested, "gpu": gpu})
    for number in range(40):
        key = f"device-{number}"
        assert evaluate(snapshot, "gpu", Context(key, {})).value is (AB.arm(key).variant == "b")


# ---- raising, as a table ----

NUMBER = Flag("tunable", FlagType.FLOAT, 0.3, 0.1, "off", 50_000, "s")


def divided(*values: Any) -> Experiment:
    """An A/B test with these values."""
    return Experiment("t", "t", tuple(Arm("abcd"[place], 1, value) for place, value in enumerate(values)))


TESTED = replace(NUMBER, experiment=divided(0.3, 0.5))


@pytest.mark.parametrize(
    ("before", "after", "raises"),
    [
        # an A/A test, and one whose arms get the on or the safe value, move nobody away from either
        (NUMBER, replace(NUMBER, experiment=divided(0.3, 0.3)), False),
        (NUMBER, replace(NUMBER, experiment=divided(0.3, 0.1)), False),
        # a value that nobody had
        (NUMBER, replace(NUMBER, experiment=divided(0.3, 0.5)), True),
        # ending it: on is new to the arm that had another value
        (replace(NUMBER, experiment=divided(0.3, 0.1)), NUMBER, True),
        (replace(NUMBER, experiment=divided(0.3, 0.5)), NUMBER, True),
        (replace(NUMBER, experiment=divided(0.3, 0.3)), NUMBER, False),
        # nobody is reached
        (replace(NUMBER, thousandths=0), replace(NUMBER, thousandths=0, experiment=divided(0.3, 0.5)), False),
        # reached again after everybody was forced on
        (
            replace(NUMBER, override=Override("on", "x"), experiment=divided(0.3, 0.5)),
            replace(NUMBER, experiment=divided(0.3, 0.5)),
            True,
        ),
        # a test under way changes nothing about raising and lowering
        (
            replace(NUMBER, experiment=divided(0.3, 0.5)),
            replace(NUMBER, thousandths=10, experiment=divided(0.3, 0.5)),
            False,
        ),
        (
            replace(NUMBER, experiment=divided(0.3, 0.5)),
            replace(NUMBER, thousandths=60_000, experiment=divided(0.3, 0.5)),
            True,
        ),
        # true is not 1
        (
            replace(NUMBER, type=FlagType.JSON, on=1, off=0),
            replace(NUMBER, type=FlagType.JSON, on=1, off=0, experiment=divided(1, True)),
            True,
        ),
    ],
)
def test_raises_exposure__a_test_starts_or_ends(before: Flag, after: Flag, raises: bool) -> None:
    assert raises_exposure(before, after) is raises


# ---- bad input ----


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ([Arm("a", 1, True)], "2 to 8 arms"),
        ([Arm("a", 1, True), Arm("a", 1, True)], "Two arms are called a"),
        ([Arm("A b", 1, True), Arm("b", 1, True)], "is no name of an arm"),
        ([Arm("a", 0, True), Arm("b", 1, True)], "weight of a is 0"),
        ([Arm("control", 1, True), Arm("b", 1, True)], "counts as control everywhere"),
        ([Arm("treatment", 1, False), Arm("b", 1, True)], "counts as treatment everywhere"),
    ],
)
def test_arms_checked__bad_ones__say_what_to_do(arms: list[Arm], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        arms_checked(arms, off=False, safe=False)


def test_arms_checked__a_flag_that_is_safe_when_on__takes_only_arms_alike() -> None:
    with pytest.raises(InvalidInput, match="safe value is its on value"):
        arms_checked([Arm("a", 1, True), Arm("control", 1, False)], off=False, safe=True)
    assert len(arms_checked([Arm("a", 1, True), Arm("b", 1, True)], off=False, safe=True)) == 2


def test_experiment__document__comes_back_the_same() -> None:
    assert experiment(AB.document) == AB
    assert experiment(None) is None


# ---- services ----


def begun(flag: str = "litert_enabled", key: str = "ab", environment: str = "demo", *arms: Arm) -> Any:
    """Start a test."""
    return services.experiment_start(
        environment=environment,
        flag=flag,
        key=key,
        title="Half of them",
        hypothesis="",
        arms=arms or (Arm("control", 1, False), Arm("b", 1, None)),
        actor=SYSTEM,
        reason="To know",
    )


@pytest.mark.django_db
def test_start_and_end__one_entry_each__and_the_flag_carries_it() -> None:
    flags_seed(actor=SYSTEM)
    started = begun()
    row = StoredFlag.objects.get(environment="demo", key="litert_enabled")
    assert row.domain().experiment == Experiment("ab", "experiment.ab", (Arm("control", 1, False), Arm("b", 1, True)))
    assert (started.verb, started.subject, started.after["revision"]) == (
        "experiment.started",
        "experiment:ab",
        row.revision,
    )
    with pytest.raises(Conflict, match="divided by the A/B test ab already"):
        begun(key="other")
    ended = services.experiment_end(environment="demo", key="ab", actor=SYSTEM, reason="b is better")
    assert ended is not None
    assert ended.verb == "experiment.ended"
    row.refresh_from_db()
    assert row.experiment is None
    stored = Stored.objects.get()
    assert (stored.conclusion, stored.ended_at is not None) == ("b is better", True)
    assert services.experiment_end(environment="demo", key="ab", actor=SYSTEM, reason="again") is None
    with pytest.raises(Conflict, match="There was an A/B test ab already"):
        begun()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"key": "Ab"}, "small letters"),
        ({"key": "start"}, "can't be called start"),
        (
            {"flag": "litert_switch_cooldown_ms", "arms": (Arm("a", 1, True), Arm("b", 1, None))},
            "a: true is not a number",
        ),
        (
            {"flag": "litert_switching_threshold", "arms": (Arm("a", 1, float("nan")), Arm("b", 1, None))},
            "nan is not",
        ),
        ({"arms": (Arm("cloud", 1, False), Arm("b", 1, None))}, "call it control"),
    ],
)
def test_start__bad_input__changes_nothing(given: dict[str, Any], said: str) -> None:
    flags_seed(actor=SYSTEM)
    seq = Head.objects.get().seq
    with pytest.raises(InvalidInput, match=said):
        begun(given.get("flag", "litert_enabled"), given.get("key", "ab"), "demo", *given.get("arms", ()))
    assert (Head.objects.get().seq, Stored.objects.count()) == (seq, 0)


@pytest.mark.django_db
def test_start__a_new_value_in_production__waits_for_a_second_person_and_ending_does_too() -> None:
    furnish()
    StoredFlag.objects.filter(environment="production", key="litert_switch_cooldown_ms").update(
        thousandths=50_000, safe_variant="off", schema=None
    )
    arms = (Arm("a", 1, None), Arm("b", 1, 90_000))
    with pytest.raises(NeedsApproval):
        begun("litert_switch_cooldown_ms", "cooldown", "production", *arms)
    assert not Stored.objects.exists()
    maker, *others = signers()
    payload = {
        "flag": "litert_switch_cooldown_ms",
        "key": "cooldown",
        "title": "Longer cooldown",
        "hypothesis": "",
        "arms": [one.document for one in arms],
    }
    proposed = change_or_propose(
        kind="experiment.start", environment="production", payload=payload, actor=Actor.person(maker), reason="To know"
    )
    assert isinstance(proposed, Proposal)
    assert approve(proposed, others[0]).state == "applied"
    assert Stored.objects.get().arms[1] == {"variant": "b", "weight": 1, "value": 90_000}
    ending = change_or_propose(
        kind="experiment.end",
        environment="production",
        payload={"key": "cooldown"},
        actor=Actor.person(maker),
        reason="Known",
    )
    assert isinstance(ending, Proposal), "the on value is new to b"
    assert approve(ending, others[0]).state == "applied"
    assert Stored.objects.get().ended_at is not None


@pytest.mark.django_db
def test_start__on_litert_in_production__with_values_of_its_own__meets_the_gates_too() -> None:
    furnish()
    StoredFlag.objects.filter(environment="production", key="litert_gpu_backend").update(
        thousandths=50_000, type="string", on="x", off="y"
    )
    with pytest.raises(Refused, match="Gates"):
        begun("litert_gpu_backend", "ab", "production", Arm("a", 1, "x"), Arm("b", 1, "z"))


# ---- who is counted ----


@pytest.mark.fresh_database
def test_gateway__exposes_devices_once_and_tells_their_arms(gateway: Gateway) -> None:
    begun()
    keys = [f"device-{number}" for number in range(24)]
    wait_for(lambda: _told(gateway, keys[0])["variant"] in ("control", "b"))
    told = {key: _told(gateway, key) for key in keys}
    running = Stored.objects.get().domain()
    for key, said in told.items():
        arm = running.arm(key)
        assert (said["variant"], said["value"], said["reason"]) == (arm.variant, arm.value, "SPLIT")
    wait_for(lambda: Exposure.objects.count() == len(keys))
    wait_for(lambda: reach("demo", "litert_enabled") == sum(one["value"] for one in told.values()))
    assert {one.device_id: one.arm for one in Exposure.objects.all()} == {
        key: said["variant"] for key, said in told.items()
    }
    first = Exposure.objects.get(device_id=keys[0]).first_at
    single = gateway.url + "/ofrep/v1/evaluate/flags/litert_enabled"
    answer = httpx.post(single, json={"context": {"targetingKey": "alone"}}, headers=gateway.auth)
    assert answer.json()["variant"] == running.arm("alone").variant
    wait_for(lambda: Exposure.objects.filter(device_id="alone").exists())
    # under a kill nobody is exposed, and nothing that was counted is lost
    overrides.kill(environment="demo", actor=SYSTEM, reason="")
    wait_for(lambda: _told(gateway, "late")["variant"] == "off")
    assert Exposure.objects.get(device_id=keys[0]).first_at == first
    assert not Exposure.objects.filter(device_id="late").exists()
    with transaction.atomic():
        for erase in erasers().values():
            erase("demo", keys[0])
    assert not Exposure.objects.filter(device_id=keys[0]).exists()


def _told(gateway: Gateway, device: str) -> dict[str, Any]:
    """What a device is told about LiteRT."""
    found: dict[str, Any] = next(one for one in bulk(gateway, device).json()["flags"] if one["key"] == "litert_enabled")
    return found


# ---- what they measured ----


def exposed(
    arm: str, count: int, *, environment: str = "demo", simulated: bool = False, key: str = "ab", hours: int = 30
) -> list[str]:
    """Expose devices to an arm, as gateways would."""
    ids = [f"{arm}-{number}" for number in range(count)]
    Exposure.objects.bulk_create(
        Exposure(
            environment=environment,
            experiment=key,
            device_id=one,
            arm=arm,
            simulated=simulated,
            first_at=clock.now() - timedelta(hours=hours),
        )
        for one in ids
    )
    return ids


def measured(ids: list[str], metric: str, totals: Any, *, count: int = 4, outcome: str = "", hours: int = 20) -> None:
    """Let devices have measured something, usually within their day."""
    PanelHour.objects.bulk_create(
        PanelHour(
            environment="demo",
            hour_at=(clock.now() - timedelta(hours=hours)).replace(minute=0, second=0, microsecond=0),
            device_id=one,
            device_class="x",
            simulated=False,
            metric=metric,
            outcome=outcome,
            count=count,
            total=float(total) * count,
            low=0.0,
            high=0.0,
        )
        for one, total in zip(ids, totals, strict=True)
    )


@pytest.mark.django_db
def test_results__a_slower_arm__is_worse_and_one_alike_is_not() -> None:
    flags_seed(actor=SYSTEM)
    begun()
    random = np.random.default_rng(7)
    control, other = exposed("control", 400), exposed("b", 400)
    measured(control, "litert.prefill.throughput", random.normal(1_000, 200, 400))
    measured(other, "litert.prefill.throughput", random.normal(800, 200, 400))
    measured(control, "app.session.duration", random.normal(100, 20, 400))
    measured(other, "app.session.duration", random.normal(100, 20, 400))
    # before they were exposed: not theirs
    measured(other, "litert.decode.throughput", random.normal(1, 0.1, 400), hours=40)
    found = selectors.results(Stored.objects.get())
    assert not found.mismatch
    measures = {measure.key: (measure, lines) for measure, lines in found.measures}
    assert set(measures) == {"litert.prefill.throughput", "app.session.duration"}
    slower = selectors.compared(*measures["litert.prefill.throughput"], measures["litert.prefill.throughput"][1][1])
    assert slower is not None
    assert slower.word == "worse"
    assert slower.interval.low < -0.2 < slower.interval.high < 0
    same = selectors.compared(*measures["app.session.duration"], measures["app.session.duration"][1][1])
    assert same is not None
    assert same.word == ""
    assert [row.reporting for row in found.arms] == [400, 400]


@pytest.mark.django_db
def test_results__shares__count_devices_without_a_crash_as_zero() -> None:
    flags_seed(actor=SYSTEM)
    begun()
    control, other = exposed("control", 60), exposed("b", 60)
    for ids in (control, other):
        measured(ids, "app.sessions", [1] * 60, count=10)
    measured(other[:30], "app.crashes", [1] * 30, count=5)
    ((measure, lines),) = selectors.results(Stored.objects.get()).measures
    assert measure.key == "crashes"
    assert [(line.devices, line.mean) for line in lines] == [(60, 0.0), (60, 0.25)]
    found = selectors.compared(measure, lines, lines[1])
    assert found is not None
    assert (found.word, found.relative) == ("worse", False)


@pytest.mark.django_db
def test_results__an_arm_that_stops_reporting__is_a_mismatch_though_exposed_as_shared_out() -> None:
    flags_seed(actor=SYSTEM)
    begun()
    control, other = exposed("control", 200), exposed("b", 200)
    measured(control, "app.session.duration", [1] * 200)
    measured(other[:100], "app.session.duration", [1] * 100)
    found = selectors.results(Stored.objects.get())
    assert (found.exposed.mismatch, found.reporting.mismatch, found.mismatch) == (False, True, True)


@pytest.mark.django_db
def test_results__a_day_that_is_not_over__has_a_mean_and_no_part_in_an_interval() -> None:
    flags_seed(actor=SYSTEM)
    begun()
    for arm, mean in (("control", 100), ("b", 200)):
        measured(exposed(arm, 50, hours=10), "app.session.duration", [mean] * 50, hours=8)
    ((measure, lines),) = selectors.results(Stored.objects.get()).measures
    assert [line.mean for line in lines] == [100.0, 200.0]
    assert selectors.compared(measure, lines, lines[1]) is None


@pytest.mark.django_db
def test_results__nobody_yet__says_nothing() -> None:
    flags_seed(actor=SYSTEM)
    begun()
    found = selectors.results(Stored.objects.get())
    assert (found.devices, found.measures, found.mismatch, found.first_at) == (0, (), False, None)


# ---- the box ----


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ((0, 0), Verdict.NO_DATA),
        ((8, 7), Verdict.INSUFFICIENT),
        ((30, 0), Verdict.FAIL),
        ((60, 58), Verdict.PASS),
        ((200, 90), Verdict.FAIL),
    ],
)
def test_ab_framework__an_a_a_test__passes_when_both_arms_got_their_share(
    begin: Callable[..., Release], counts: tuple[int, int], verdict: Verdict
) -> None:
    release = begin("staging")
    assert ask(release, "ab_framework").verdict is Verdict.NO_DATA
    begun("ai_fallback_to_cloud", "aa", "staging", Arm("a", 1, None), Arm("b", 1, None))
    for arm, count in zip("ab", counts, strict=True):
        exposed(arm, count, environment="staging", key="aa")
    exposed("c", 50, environment="staging", simulated=True, key="aa")
    found = ask(release, "ab_framework")
    assert found.verdict is verdict, found.sentence
    if verdict is Verdict.PASS:
        assert found.expires_at is not None
        assert found.expires_at < clock.now() + timedelta(days=14)


@pytest.mark.django_db
def test_ab_framework__a_test_of_everybody__stands_while_its_devices_are_seen(begin: Callable[..., Release]) -> None:
    release = begin("staging")
    begun("ai_fallback_to_cloud", "aa", "staging", Arm("a", 1, None), Arm("b", 1, None))
    ids = [one for arm in "ab" for one in exposed(arm, 30, environment="staging", key="aa")]
    Exposure.objects.update(first_at=clock.now() - timedelta(days=20))
    found = ask(release, "ab_framework")
    assert found.verdict is Verdict.NO_DATA, "nobody was exposed lately, nor seen"
    seen_at = clock.now() - timedelta(hours=1)
    CensusDevice.objects.bulk_create(
        CensusDevice(environment="staging", device_id=one, first_seen_at=seen_at, last_seen_at=seen_at) for one in ids
    )
    found = ask(release, "ab_framework")
    assert (found.verdict, found.measured_at) == (Verdict.PASS, seen_at), found.sentence
    assert found.expires_at == seen_at + timedelta(days=14)
    services.experiment_end(environment="staging", key="aa", actor=SYSTEM, reason="Enough")
    assert ask(release, "ab_framework").verdict is Verdict.NO_DATA, "nobody is told an arm any more"


@pytest.mark.django_db
def test_ab_framework__a_test_of_different_values__is_none(begin: Callable[..., Release]) -> None:
    release = begin("staging")
    StoredFlag.objects.filter(environment="staging", key="litert_enabled").update(thousandths=BUCKETS)
    begun("litert_enabled", "ab", "staging")
    exposed("control", 40, environment="staging")
    exposed("b", 40, environment="staging")
    assert ask(release, "ab_framework").verdict is Verdict.NO_DATA


# ---- pages ----


@pytest.mark.django_db
def test_page__a_form_with_a_mistake__comes_back_as_typed_and_a_good_one_starts(
    person: Callable[..., Any], client_as: As
) -> None:
    flags_seed(actor=SYSTEM)
    # arms leave a value that is safe for everybody
    StoredFlag.objects.filter(key="litert_switching_threshold").update(safe_variant="off", schema=None)
    client = client_as(person("rel", Role.RELEASER))
    typed = {
        "flag": "litert_switching_threshold",
        "key": "threshold",
        "title": "Earlier switching",
        "hypothesis": "Fewer stalls",
        "arm": ["now", "earlier", "", ""],
        "weight": ["1", "1", "", ""],
        "value": ["", "fast", "", ""],
        "reason": "To know",
    }
    back = client.post("/demo/experiments/start", typed)
    assert back.status_code == 422
    page = back.content.decode()
    assert "earlier: &#x27;fast&#x27; is not a number" in page
    assert 'value="fast"' in page
    assert "Fewer stalls" in page
    typed["value"] = ["", "0.2", "", ""]
    made = client.post("/demo/experiments/start", typed)
    assert (made.status_code, made["Location"]) == (303, "/demo/experiments/threshold")
    shown = client.get(made["Location"]).content.decode()
    assert "Earlier switching" in shown
    assert "no device is exposed yet" in shown
    assert "threshold" in client.get("/demo/flags/litert_switching_threshold").content.decode()
    ended = client.post("/demo/experiments/threshold/end", {"reason": "Not better"})
    assert ended.status_code == 303
    assert "Not better" in client.get("/demo/experiments/threshold").content.decode()
    assert HistoryEntry.objects.filter(verb__startswith="experiment.").count() == 2


@pytest.mark.django_db
def test_percentage__while_a_test_runs__may_change_and_keeps_it() -> None:
    flags_seed(actor=SYSTEM)
    begun()
    flags.flag_percentage_set(environment="demo", key="litert_enabled", percent=20, actor=SYSTEM, reason="Less")
    assert StoredFlag.objects.get(environment="demo", key="litert_enabled").experiment is not None
