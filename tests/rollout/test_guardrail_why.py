"""Guardrails say why, in a dry run they only write down that they would have acted, and a past minute can be looked at."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.apps import apps
from django.core import serializers

from hawkops.core import clock
from hawkops.core.access import Role as Person
from hawkops.core.verdicts import Verdict
from hawkops.history.models import Head, HistoryEntry
from monitoring.domain.arms import Arm
from monitoring.domain.criteria import Criterion, criterion
from monitoring.domain.statistics.spending import spend
from monitoring.models import PanelHour
from rollout.domain import guardrail_reasons as reasons
from rollout.domain.guardrail_reasons import Said
from rollout.domain.guardrails import Guardrail, Judges, Line, Role, guardrail
from rollout.domain.reading import Unfit
from rollout.models import Flag, GuardrailBand, GuardrailState, PhaseRun, RunbookVersion
from rollout.selectors import guardrail_looks, guardrail_states
from rollout.selectors.phases import held
from rollout.services import guardrails as services
from tests.rollout.test_guardrails import Walk, an_hour_later, healthy, measured, said, walk

__all__ = ["walk"]
pytestmark = pytest.mark.django_db
RAIL = Guardrail("errors", "Failed inferences", Role.GUARDRAIL, Judges.CRITERION, "validation-error-rate", 1)
FEWER = {"have": 400, "need": 1_200, "per_hour": 100.0}


def ratio(**changes: Any) -> Criterion:
    return criterion(
        {
            "key": "validation-error-rate",
            "title": "Error rate",
            "purpose": "validation",
            "metric": "litert.inferences",
            "not_outcomes": ["ok"],
            "of": "litert.inferences",
            "aggregate": "ratio",
            "window": "24h",
            "comparator": "<",
            "threshold": "1 %",
            "serves": "the runbook",
            **changes,
        }
    )


def explained(verdict: Verdict, *lines: Line, rail: Guardrail = RAIL, **known: Any) -> Any:
    shares = spend({"errors": 1.0, "crashes": 1.0}, ("x",))
    at = datetime.fromisoformat("2026-11-30T15:05:00+00:00")
    return reasons.why(Said(rail, verdict, "said", lines, **known), ratio(), shares, next_at=at)


def flat(words: object) -> str:
    return str(words).replace("\u202f", " ")


# ---- why ----


def test_why__too_few_devices__says_how_many_settle_it_when_and_its_part_of_the_false_alarms() -> None:
    line = Line("1st hour", "", Verdict.INSUFFICIENT, "few", -0.1, 0.02, 0.3, relative=True, own=(0.001, 0.004, 0.02))
    found = explained(Verdict.INSUFFICIENT, line, progress=FEWER)
    numbers = {name: flat(value) for name, value in found.numbers}
    assert numbers["Devices"] == "400 of 1 200 devices that settle it, in about 8 h at their pace"
    assert numbers["Change"] == "+2.0 % (from −10.0 % to +30.0 %), 1st hour"
    assert numbers["Value"] == "0.4 % (from 0.1 % to 2 %), 1st hour"
    assert numbers["False alarms"] == (
        "0.4 %, of 1 % for all guardrails of a phase, however often looked at; 0.1 % for all devices in their first hour"
    )
    assert flat(found.turns[0]) == "It passes when the whole interval lies within 5 % worse and keeps the limit."
    assert found.turns[1] == "Values count when an hour is closed: next at 15:05 UTC."
    assert flat(found.formula) == (
        "mean of litert.inferences without outcome ok ÷ litert.inferences per device, treatment ÷ control − 1 ≤ +5 %, "
        "and of the treatment < 1 %"
    )
    change, value = found.bands
    assert (change.limits, change.zero, change.bad) == ((0.05,), 0.0, False)
    assert (value.limits, value.zero, value.bad) == ((0.01,), None, False)


def test_why__a_limit_missed_while_the_change_is_fine__marks_the_one_that_is() -> None:
    line = Line("1st hour", "", Verdict.FAIL, "missed", -0.02, 0.0, 0.02, relative=True, own=(0.03, 0.04, 0.05))
    change, value = explained(Verdict.FAIL, line).bands
    assert (change.bad, value.bad) == (False, True)


@pytest.mark.parametrize("judges", [Judges.REPORTING, Judges.SAMPLE_RATIO])
@pytest.mark.parametrize("verdict", list(Verdict))
def test_why__what_compares_no_values__has_formula_and_turns_for_every_verdict(
    judges: Judges, verdict: Verdict
) -> None:
    rail = Guardrail("reporting", "Silent", Role.SIGNAL, judges)
    found = explained(verdict, rail=rail)
    assert "p > 0.001" in found.formula
    assert found.turns
    assert found.bands == ()


def test_guardrail__dry_run__is_read_and_never_of_a_watch() -> None:
    data = {"key": "errors", "title": "E", "criterion": "c", "role": "guardrail", "level": 2, "dry_run": True}
    rail = guardrail(data, ())
    assert (rail.dry_run, rail.acts, rail.holds, rail.would) == (True, False, False, "rolled back by level 2")
    with pytest.raises(Unfit, match="watch does nothing"):
        guardrail({**data, "role": "watch", "level": 0}, ())
    with pytest.raises(Unfit, match="true or false"):
        guardrail({**data, "dry_run": "yes"}, ())


# ---- dry runs ----


def in_dry_run(run: PhaseRun, *keys: str) -> None:
    """Let guardrails of the phase's runbook be dry runs, as its data says it."""
    version = run.release.runbook
    document = {
        **version.document,
        "guardrails": [
            {**one, "dry_run": True} if one["key"] in keys else one for one in version.document["guardrails"]
        ],
    }
    RunbookVersion.objects.filter(pk=version.pk).update(document=document, digest=f"dry-{version.digest}"[:64])
    run.release.runbook.refresh_from_db()


def everything() -> dict[str, str]:
    """Every row of every table but the history's own, what guardrails keep of themselves, and sessions."""
    without = {
        "GuardrailState",
        "GuardrailBand",
        "HistoryEntry",
        "Head",
        "Verification",
        "Session",
        "LogEntry",
        "Personal",
        "ActorName",
    }
    models = [one for one in apps.get_models() if one.__name__ not in without and one._meta.managed]
    return {one.__name__: serializers.serialize("json", one._default_manager.order_by("pk")) for one in models}


def test_dry_run__a_guardrail_that_would_kill__writes_one_entry_with_when_and_why_and_changes_nothing(
    walk: Walk,
) -> None:
    run = walk()
    in_dry_run(run, "crashes")
    found = healthy(run)
    measured(run, found[Arm.TREATMENT][:60], "app.crashes", [3] * 60)
    PhaseRun.objects.filter(pk=run.pk).update(classes=["x"])
    before, seq = everything(), Head.objects.get().seq
    services.guardrails_due()
    assert everything() == before
    (entry,) = HistoryEntry.objects.filter(seq__gt=seq)
    assert (entry.verb, entry.subject) == ("guardrail.would_have_acted", f"guardrail:{run.release_id}:3:crashes")
    state = GuardrailState.objects.get(run=run, key="crashes")
    assert state.acted_at is not None
    words = f"Would have rolled back by level 3 at {state.acted_at:%H:%M} UTC because 1st hour:"
    assert entry.reason.startswith(words)
    assert (entry.after["would"], entry.after["dry_run"]) == ("rolled back by level 3", True)
    assert "Guardrails" not in held(run)
    assert (need := guardrail_states.need(run)) is not None
    assert need.met
    an_hour_later()
    an_hour_later()
    assert Head.objects.get().seq == seq + 1, "once for each phase"


def test_dry_run__fails_again_after_it_recovered__says_when_it_would_have_acted_the_first_time(walk: Walk) -> None:
    run = walk()
    in_dry_run(run, "crashes")
    found = healthy(run)
    measured(run, found[Arm.TREATMENT][:60], "app.crashes", [3] * 60)
    services.guardrails_due()
    first = GuardrailState.objects.get(run=run, key="crashes").acted_at
    crashes = PanelHour.objects.filter(metric="app.crashes")
    kept = list(crashes)
    crashes.delete()
    GuardrailBand.objects.all().delete()  # as had it been measured so
    an_hour_later()
    PanelHour.objects.bulk_create(kept)
    GuardrailBand.objects.all().delete()
    an_hour_later()
    verbs = HistoryEntry.objects.filter(verb__startswith="guardrail.").order_by("seq").values_list("verb", flat=True)
    assert list(verbs) == ["guardrail.would_have_acted", "guardrail.recovered", "guardrail.failed"]
    assert GuardrailState.objects.get(run=run, key="crashes").acted_at == first
    assert Flag.objects.get(environment="demo", key="litert_enabled").override_variant == ""


def test_dry_run__ends_while_it_fails__acts_with_the_next_look(walk: Walk) -> None:
    run = walk()
    before = run.release.runbook.document
    in_dry_run(run, "crashes")
    found = healthy(run)
    measured(run, found[Arm.TREATMENT][:60], "app.crashes", [3] * 60)
    services.guardrails_due()
    assert Flag.objects.get(environment="demo", key="litert_enabled").override_variant == ""
    RunbookVersion.objects.filter(pk=run.release.runbook_id).update(document=before, digest="live")
    services.guardrails_due()
    assert Flag.objects.get(environment="demo", key="litert_enabled").override_variant == "off"
    state = GuardrailState.objects.get(run=run, key="crashes")
    assert (state.did_act, state.would) == (True, "")


def test_dry_run__of_a_signal__holds_no_step(walk: Walk) -> None:
    run = walk()
    in_dry_run(run, "latency")
    found = healthy(run)
    for row in PanelHour.objects.filter(metric="gen_ai.client.operation.duration", device_id__in=found[Arm.TREATMENT]):
        row.total *= 1.4
        row.save()
    services.guardrails_due()
    assert said(run)["latency"] == "FAIL"
    assert "Guardrails" not in held(run)
    entry = HistoryEntry.objects.get(verb="guardrail.would_have_acted")
    assert entry.reason.startswith("Would have held the next step at ")


# ---- a past minute ----


def test_then__looks_at_what_was_known_and_leaves_no_trace(walk: Walk) -> None:
    run = walk(hours=8)
    found = healthy(run, hours=2)
    late = measured_late(run, found)
    services.guardrails_due()
    assert said(run)["errors"] == "FAIL", "the second band of ages is bad"
    seq = Head.objects.get().seq
    early = {one.guardrail.key: one for one in guardrail_looks.then(run, late - timedelta(hours=4))}
    assert early["errors"].said is not None
    assert early["errors"].said.verdict is not Verdict.FAIL, "then only the first hour was known, which was fine"
    now = {one.guardrail.key: one for one in guardrail_looks.then(run, clock.now())}
    kept = {one.guardrail.key: one for one in guardrail_looks.now(run)}
    for key, one in now.items():
        was = kept[key].said
        assert one.said is not None
        assert was is not None
        assert (one.said.verdict, one.said.sentence) == (was.verdict, was.sentence)
    first = datetime.fromisoformat(run.served[0]["at"])
    assert guardrail_looks.then(run, first - timedelta(minutes=1)) == []
    assert Head.objects.get().seq == seq


def measured_late(run: PhaseRun, found: dict[Arm, list[str]]) -> datetime:
    """Let the treatment's inferences fail from its second hour on; return when that age is over."""
    first = -(-int(datetime.fromisoformat(run.served[0]["at"]).timestamp()) // 3600)
    for arm, ids in found.items():
        for step in range(2, 6):
            rows = [("ok", 100)] + ([("timeout", 20)] if arm is Arm.TREATMENT else [])
            PanelHour.objects.bulk_create(
                PanelHour(
                    environment="demo", hour_at=datetime.fromtimestamp((first + step) * 3600, tz=UTC), device_id=one,
                    device_class="x", simulated=False, metric="litert.inferences", outcome=outcome, count=10,
                    total=float(total), low=0.0, high=0.0,
                )
                for one in ids
                for outcome, total in rows
            )  # fmt: skip
    return datetime.fromtimestamp((first + 6) * 3600, tz=UTC)


def test_page_and_api__look_back_say_why_and_what_was_written_down(walk: Walk, person: Any, client_as: Any) -> None:
    run = walk()
    in_dry_run(run, "errors")
    found = healthy(run)
    treated = found[Arm.TREATMENT]
    measured(run, treated, "litert.inferences", [8] * len(treated), outcome="timeout")
    random = np.random.default_rng(5)
    for arm, mean in ((Arm.CONTROL, 4.7), (Arm.TREATMENT, 3.0)):
        measured(run, found[arm], "app.user.satisfaction", random.normal(mean, 0.3, len(found[arm])) * 10)
    services.guardrails_due()
    client = client_as(person("viewer", Person.VIEWER))
    address = f"/demo/releases/{run.release_id}/guardrails"
    page = client.get(address).content.decode()
    assert "dry run: halve" in page
    assert "Would have rolled back by level 1 at" in page
    assert "Would have held the next step at" in page
    assert page.count("guardrail.would_have_acted") == 2
    assert 'id="why-rail-errors"' in page
    assert "style=" not in page
    then = (clock.now() - timedelta(hours=3, minutes=30)).strftime("%Y-%m-%dT%H:%M")
    past = client.get(f"{address}?at={then}").content.decode()
    assert "as of" in past
    assert "guardrail.would_have_acted" not in past
    assert "still to come" in client.get(f"{address}?at=2999-01-01T00:00").content.decode()
    assert "No phase was under way" in client.get(f"{address}?at=2020-01-01T00:00").content.decode()

    api = f"/api/v1/demo/releases/{run.release_id}/guardrails"
    rows = {one["key"]: one for one in client.get(api).json()["guardrails"]}
    assert (rows["errors"]["dry_run"], rows["errors"]["would"]) == (True, "rolled back by level 1")
    assert rows["errors"]["why"]["formula"].startswith("mean of litert.inferences without outcome")
    answer = client.get(f"{api}?at={then}").json()
    assert answer["replayed_at"] is not None
    assert {one["acted_at"] for one in answer["guardrails"]} == {None}
    assert client.get(f"{api}?at=soon").status_code == 400
