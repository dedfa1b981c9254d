"""The deployment procedure: its steps as the runbook types them, their order, and what each kind of step keeps."""

import pytest

from hawkops.core.errors import InvalidInput
from hawkops.core.verdicts import Verdict
from hawkops.scripts.entries import script
from rollout.domain.procedure import Mark, StepKind, StepState, state
from rollout.runbook.loading import CURRENT, load, loads
from rollout.services.flags import LITERT_FLAGS, SWITCHES
from tests.scripts.test_verbatim import LINES

TEXT = CURRENT.read_text(encoding="utf-8")


# ---- the runbook's data ----


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
        ("{track: internal}", "{track: 3}", "arguments must be a mapping of texts"),
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
