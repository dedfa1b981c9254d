"""The deployment procedure: its steps as the runbook types them, their order, and what each kind of step keeps."""

from collections.abc import Callable
from typing import Any

import pytest

from hawkops.core import clock
from hawkops.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from hawkops.scripts import services as scripts
from hawkops.scripts.entries import script
from hawkops.scripts.models import Run, State
from rollout.domain.procedure import Mark, StepKind, StepState, state
from rollout.evidence.registry import CHECKS
from rollout.evidence.shape import Question
from rollout.models import CensusDevice, EnvironmentFlags, Flag, Release, ReleaseStep
from rollout.runbook.loading import CURRENT, load, loads
from rollout.selectors import procedure as selectors
from rollout.selectors import releases as releases_read
from rollout.selectors.configuration import configuration
from rollout.selectors.flags import flag_percentages, revision
from rollout.services import procedure as services
from rollout.services import releases
from rollout.services.flags import SWITCHES, flags_seed
from rollout.services.overrides import flag_override_clear, flag_override_set, kill
from rollout.services.raising import LITERT_FLAGS
from tests.scripts.test_verbatim import LINES

TEXT = CURRENT.read_text(encoding="utf-8")


# ---- the runbook's data ----


def stands(key: str, **fields: Any) -> None:
    """Let a flag of production be like this, as data that is there."""
    Flag.objects.filter(environment="production", key=key).update(**fields)


def test_load__procedure__is_the_runbooks_three_phases_in_its_order() -> None:
    runbook = load().runbook
    assert [(phase.number, phase.title, len(phase.steps)) for phase in runbook.procedure] == [
        (1, "Infrastructure deployment", 5),
        (2, "Application deployment", 4),
        (3, "Feature flag preparation", 2),
    ]
    assert [step.line or step.kind for step in runbook.steps()] == [
        "kubectl apply -f monitoring/production-monitoring.yaml",
        "./scripts/verify-monitoring-stack.sh",
        "EnvironmentConfigManager().loadConfiguration(Environment.PRODUCTION)",
        "./scripts/deploy-security-stack.sh",
        "./scripts/validate-security-config.sh",
        "./gradlew :androidApp:assembleRelease -Penvironment=production",
        "./scripts/deploy-to-play-store.sh --track=internal",
        "./scripts/production-smoke-tests.sh",
        "./scripts/verify-core-ai.sh",
        StepKind.FLAGS,
        StepKind.DRILL,
    ]
    zeroed, drilled = list(runbook.steps())[-2:]
    assert zeroed.flags == LITERT_FLAGS
    assert set(drilled.flags) == set(SWITCHES)
    assert drilled.reason == "Pre-deployment test"


def test_load__steps_with_a_program__are_in_the_catalogue_and_typed_as_in_the_runbook() -> None:
    typed = {line.typed for line in LINES}
    for step in load().runbook.steps():
        if step.script:
            script(step.script).command_arguments(dict(step.arguments))
            assert step.line in typed, step.key


@pytest.mark.parametrize(
    "old,new,words",
    [
        ("        script: kubectl\n", "", "the step monitoring_deployed is a command and needs script"),
        ("        attests: I have", "        attest: I have", "'attest' is not known here"),
        ("      - key: app_deployed", "      - key: app_built", "two steps 'app_built'"),
        ("        kind: drill", "        kind: press", "'press' is not one of script, command"),
        ("        kind: drill", "        kind: script", "is a script and needs script"),
        ("  - number: 2\n    title: App", "  - number: 4\n    title: App", "phases are numbered 1, 2, 3"),
        ("{track: internal}", "{track: 3}", "needs a text in quotation marks"),
        ("        reason: Deployment procedure", "        attests: yes indeed", "is a flags and needs reason"),
    ],
)
def test_loads__procedure_with_something_wrong__names_file_and_line(old: str, new: str, words: str) -> None:
    assert old in TEXT
    with pytest.raises(InvalidInput, match=r"^runbook\.yaml, line \d+: ") as refused:
        loads(TEXT.replace(old, new, 1).encode(), name="runbook.yaml")
    assert words in refused.value.message


def test_loads__text_from_before_the_procedure__has_no_steps() -> None:
    start, end = TEXT.index("procedure:\n"), TEXT.index("# How LiteRT rolls out")
    assert loads((TEXT[:start] + TEXT[end:]).encode(), name="runbook.yaml").runbook.procedure == ()


@pytest.mark.parametrize("verdict", [None, *Verdict])
def test_state__of_a_run__only_a_real_pass_is_done(verdict: Verdict | None) -> None:
    real = state(Mark.NONE, ran=True, verdict=verdict)
    dry = state(Mark.NONE, ran=True, rehearsal=True, verdict=verdict)
    if verdict is None:
        assert (real, dry) == (StepState.RUNNING, StepState.RUNNING)
    elif verdict is Verdict.PASS:
        assert (real, dry) == (StepState.DONE, StepState.OPEN)
    else:
        assert (real, dry) == (StepState.FAILED, StepState.FAILED)
    assert state(Mark.SKIPPED, ran=True, verdict=verdict) is StepState.SKIPPED


def test_state__without_a_run__is_what_people_did() -> None:
    found = [state(mark, ran=False) for mark in Mark]
    assert found == [StepState.OPEN, StepState.RUNNING, StepState.DONE, StepState.SKIPPED]
    assert [one.is_behind for one in found] == [False, False, True, True]


# ---- the steps of a release ----

SYSTEM = Actor.system("test")
ASKER, SECOND = Actor("person:1", "releaser-1"), Actor("person:2", "approver-1")


@pytest.fixture
def begin(db: None) -> Callable[..., Release]:
    """Begin a release: `begin("staging")`."""

    def make(environment: str = "production") -> Release:
        flags_seed(actor=SYSTEM)
        releases.runbook_import(actor=SYSTEM)
        return releases.release_create(
            environment=environment,
            name="HazardHawk",
            app_version="2.4.0",
            version_code="2407",
            model_name="gemma3-1b",
            model_digest="ab" * 32,
            backends=["cpu"],
            actor=SYSTEM,
        )

    return make


def row(release: Release, key: str) -> selectors.Row:
    return next(row for row in selectors.procedure(release).rows if row.step.key == key)


def ended(run: Run, state: State = State.PASSED, summary: str = "All is well.") -> None:
    taken = scripts.run_start(run_id=run.pk)
    assert taken is not None
    scripts.run_finish(run=taken, state=state, exit_code=0, summary=summary, results=[])


def skipped_before(release: Release, key: str) -> None:
    """Skip every step before one, as two people do."""
    for one in selectors.procedure(release).rows:
        if one.step.key == key:
            return
        if not one.state.is_behind and not services.step_skip_ask(
            release=release, step=one.step.key, reason="not here", actor=ASKER
        ):
            services.step_skip_approve(release=release, step=one.step.key, actor=SECOND)


def verbs(since: int) -> list[str]:
    return list(HistoryEntry.objects.filter(seq__gt=since).order_by("seq").values_list("verb", flat=True))


def test_step_start__before_the_one_before_it__is_refused_by_name(begin: Callable[..., Release]) -> None:
    release = begin()
    seq = Head.objects.get().seq
    words = "“Verify the monitoring stack” can't begin before “Deploy the monitoring infrastructure” is done or skipped"
    with pytest.raises(Conflict, match=words):
        services.step_start(release=release, step="monitoring_verified", actor=ASKER)
    with pytest.raises(Conflict, match="can't begin before"):
        services.step_flags(release=release, step="flags_initialised", actor=ASKER)
    assert (Run.objects.count(), ReleaseStep.objects.count(), Head.objects.get().seq) == (0, 0, seq)
    assert len(selectors.unmet(release)) == 11
    assert selectors.unmet(release)[0] == "Deployment step “Deploy the monitoring infrastructure” is open."


def test_step_start__that_changes_something__goes_by_its_dry_run_and_follows_its_run(
    begin: Callable[..., Release],
) -> None:
    release = begin()
    key = "monitoring_deployed"
    assert row(release, key).act is selectors.Act.DRY_RUN
    seq = Head.objects.get().seq
    with pytest.raises(Conflict, match="needs a dry run"):
        services.step_start(release=release, step=key, actor=ASKER)
    assert (ReleaseStep.objects.count(), Head.objects.get().seq) == (0, seq)
    dry = services.step_start(release=release, step=key, dry_run=True, actor=ASKER)
    assert verbs(seq) == ["step.started", "run.requested"]
    assert row(release, key).state is StepState.RUNNING
    with pytest.raises(Conflict, match=f"Run {dry.pk} of"):
        services.step_start(release=release, step=key, dry_run=True, actor=ASKER)
    ended(dry)
    rehearsed = row(release, key)
    assert (rehearsed.state, rehearsed.act) == (StepState.OPEN, selectors.Act.RUN)
    real = services.step_start(release=release, step=key, actor=ASKER)
    requested = HistoryEntry.objects.get(verb="run.requested", subject=f"run:{real.pk}")
    assert requested.cause is not None
    assert (requested.cause.verb, requested.cause.subject) == ("step.started", f"step:{release.pk}:{key}")
    ended(real, State.NO_DATA, "kubectl is not installed.")
    failed = row(release, key)
    assert (failed.state, failed.sentence) == (
        StepState.FAILED,
        f"Run {real.pk} says NO DATA: kubectl is not installed.",
    )
    assert row(release, "monitoring_verified").waits_for == "Deploy the monitoring infrastructure"
    again = services.step_start(release=release, step=key, actor=ASKER)
    ended(again)
    assert (row(release, key).state, row(release, key).run) == (StepState.DONE, again)
    assert row(release, "monitoring_verified").act is selectors.Act.RUN
    with pytest.raises(Conflict, match="is done already"):
        services.step_start(release=release, step=key, dry_run=True, actor=ASKER)
    assert selectors.procedure(release).summary.headline == "1 of 11 deployment steps done"


def test_step_skip__production__takes_a_second_person_who_did_not_ask(begin: Callable[..., Release]) -> None:
    release = begin()
    asked: dict[str, Any] = {"release": release, "step": "monitoring_deployed"}
    seq = Head.objects.get().seq
    with pytest.raises(InvalidInput, match="Say why"):
        services.step_skip_ask(**asked, reason=" ", actor=ASKER)
    with pytest.raises(Conflict, match="Nobody asked"):
        services.step_skip_approve(**asked, actor=SECOND)
    assert not services.step_skip_ask(**asked, reason="No cluster here", actor=ASKER)
    assert row(release, "monitoring_deployed").skip_waits
    assert row(release, "monitoring_deployed").state is StepState.OPEN
    with pytest.raises(NotAllowed, match="You asked"):
        services.step_skip_approve(**asked, actor=ASKER)
    services.step_skip_approve(**asked, actor=SECOND)
    found = row(release, "monitoring_deployed")
    assert (found.state, found.sentence) == (
        StepState.SKIPPED,
        "Skipped: No cluster here. Asked for by releaser-1, approved by approver-1.",
    )
    assert verbs(seq) == ["step.skip_asked", "step.skipped"]
    assert row(release, "monitoring_verified").waits_for == ""
    assert len(selectors.unmet(release)) == 10


def test_step_skip__staging__the_asker_suffices_and_it_is_said(begin: Callable[..., Release]) -> None:
    release = begin("staging")
    seq = Head.objects.get().seq
    assert services.step_skip_ask(release=release, step="monitoring_deployed", reason="No cluster", actor=ASKER)
    assert "in staging no second person is needed" in row(release, "monitoring_deployed").sentence
    assert verbs(seq) == ["step.skipped"]


def test_step_attest__settings_changed_meanwhile__are_not_confirmed_and_open_it_again(
    begin: Callable[..., Release], settings: Any
) -> None:
    release = begin()
    key = "configuration_loaded"
    skipped_before(release, key)
    seen = configuration("production").digest
    settings.SECURITY_WEBHOOK = "https://hooks.example/secret"
    seq = Head.objects.get().seq
    with pytest.raises(Conflict, match="changed since you looked"):
        services.step_attest(release=release, step=key, digest=seen, note="as in the sheet", actor=ASKER)
    assert Head.objects.get().seq == seq
    now = configuration("production")
    assert now.said["SECURITY_WEBHOOK"] == "set"
    with pytest.raises(InvalidInput, match="Say what you compared"):
        services.step_attest(release=release, step=key, digest=now.digest, note=" ", actor=ASKER)
    services.step_attest(release=release, step=key, digest=now.digest, note="as in the sheet", actor=ASKER)
    assert verbs(seq) == ["step.attested"]
    assert row(release, key).state is StepState.DONE
    stands("litert_enabled", thousandths=5_000)
    assert row(release, key).state is StepState.DONE, "percentages belong to the rollout"
    settings.CLOUD_AI_URL = "https://user:secret@cloud.example/v1"
    moved = row(release, key)
    assert (moved.state, moved.sentence) == (
        StepState.OPEN,
        "Confirmed by releaser-1, and changed since: CLOUD_AI_URL. Confirm again.",
    )
    assert "secret" not in str(configuration("production").said)


def test_step_flags__sets_four_to_zero_in_one_change(begin: Callable[..., Release]) -> None:
    release = begin()
    for flag in LITERT_FLAGS[:2]:
        stands(flag, thousandths=5_000)
    skipped_before(release, "flags_initialised")
    seq, before = Head.objects.get().seq, revision("production")
    services.step_flags(release=release, step="flags_initialised", actor=ASKER)
    assert verbs(seq) == ["flag.percentage_set", "step.done"]
    assert revision("production") == before + 1
    assert {flag_percentages("production")[key] for key in LITERT_FLAGS} == {0.0}
    assert row(release, "flags_initialised").state is StepState.DONE


def test_step_flags__one_forced_on__is_refused_and_lowers_none(begin: Callable[..., Release]) -> None:
    release = begin()
    stands(LITERT_FLAGS[1], thousandths=5_000)
    stands("litert_enabled", override_variant="on")
    skipped_before(release, "flags_initialised")
    seq = Head.objects.get().seq
    with pytest.raises(Conflict, match="litert_enabled is forced on"):
        services.step_flags(release=release, step="flags_initialised", actor=ASKER)
    assert (flag_percentages("production")[LITERT_FLAGS[1]], Head.objects.get().seq) == (5.0, seq)


def test_step_drill__pressed_and_lifted__is_counted_by_the_checklist(begin: Callable[..., Release]) -> None:
    release = begin()
    key = "controls_tested"
    skipped_before(release, key)
    seq = Head.objects.get().seq
    known = CensusDevice.objects.create(
        environment="production", device_id="d", told_revision=1, first_seen_at=clock.now(), last_seen_at=clock.now()
    )
    services.step_drill(release=release, step=key, actor=ASKER)
    pressed = row(release, key)
    assert (pressed.state, pressed.act) == (StepState.RUNNING, selectors.Act.LIFT)
    assert {flag.key for flag in Flag.objects.filter(environment="production").exclude(override_variant="")} == set(
        SWITCHES
    )
    assert Flag.objects.get(environment="production", key="ai_fallback_to_cloud").override_variant == "on"
    with pytest.raises(Conflict, match="pressed already"):
        services.step_drill(release=release, step=key, actor=ASKER)
    flag_override_clear(environment="production", key="litert_gpu_backend", actor=SYSTEM, reason="x")
    flag_override_set(
        environment="production", key="litert_gpu_backend", variant="off", actor=SYSTEM, reason="Stability issues"
    )
    # a kill in earnest takes over what the drill pressed
    assert kill(environment="production", actor=SYSTEM, reason="Production incident")
    services.step_drill_end(release=release, step=key, actor=ASKER)
    assert verbs(seq) == [
        "flag.killed",
        "step.pressed",
        "flag.override_cleared",
        "flag.override_set",
        "flag.killed",
        "flag.reenabled",
        "step.done",
    ]
    left = Flag.objects.filter(environment="production").exclude(override_variant="")
    assert {flag.key: flag.override_reason for flag in left} == {
        "litert_enabled": "Production incident",
        "ai_fallback_to_cloud": "Production incident",
        "litert_gpu_backend": "Stability issues",
    }, "what another forced stays in force"
    assert row(release, key).state is StepState.DONE
    known.obeyed_revision, known.last_seen_at = EnvironmentFlags.objects.get(pk="production").revision, clock.now()
    known.save()
    box = releases_read.runbook(release).box("kill_switches")
    assert box is not None
    found = CHECKS["kill_switches"].ask(Question(release, box[1], "production", clock.now(), False))
    assert found.verdict is Verdict.PASS
    assert selectors.unmet(release) == []


def test_step_drill__a_switch_is_in_force__proves_nothing_and_is_refused(begin: Callable[..., Release]) -> None:
    release = begin()
    skipped_before(release, "controls_tested")
    kill(environment="production", actor=SYSTEM, reason="Production incident")
    seq = Head.objects.get().seq
    with pytest.raises(Conflict, match="prove nothing"):
        services.step_drill(release=release, step="controls_tested", actor=ASKER)
    assert Head.objects.get().seq == seq
    assert row(release, "controls_tested").state is StepState.OPEN


def test_steps__of_a_superseded_release__are_refused(begin: Callable[..., Release]) -> None:
    release = begin()
    Release.objects.filter(pk=release.pk).update(running=False)
    with pytest.raises(Conflict, match="was superseded"):
        services.step_skip_ask(release=release, step="monitoring_deployed", reason="x", actor=ASKER)
    with pytest.raises(NotFound, match="no deployment step 'nope'"):
        services.step_start(release=release, step="nope", actor=ASKER)
