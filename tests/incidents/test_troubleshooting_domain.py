"""The guide as data, the table of what helped, the proposed driver, and what a form types. Without a database."""

from dataclasses import replace
from typing import Any

import pytest

from hawkops.core.errors import InvalidInput
from hawkops.core.verdicts import Verdict
from hawkops.scripts.entries import CATALOGUE
from incidents.domain.problem_form import document_typed, fields, typed_fields
from incidents.domain.troubleshooting import (
    Driver,
    Helped,
    Measured,
    Moved,
    Presence,
    driver_bound,
    measured_of,
    moved,
    outcome,
    presence,
)
from incidents.guide.loading import loads, problem_of, runbook_problems
from rollout.domain.flags import FlagType

SWITCHES = Measured("switches", "Switches", Verdict.FAIL, "", 14.0, 10.0, "14", "≤ 10", 240, 12)
WELL = replace(SWITCHES, verdict=Verdict.PASS, value=3.0, said="3", count=52)
SILENT = replace(SWITCHES, verdict=Verdict.NO_DATA, value=None, said="", count=0)
FEW = replace(SWITCHES, verdict=Verdict.INSUFFICIENT)
OTHER = replace(WELL, key="other", title="Other")


def test_guide__runbook__has_its_four_problems_with_scripts_as_it_writes_them() -> None:
    found = {one.key: [row.words for row in one.diagnosis] for one in runbook_problems()}
    assert found == {
        "models_not_loading": ["scripts/check-model-integrity.sh", "scripts/check-storage-permissions.sh", "df"],
        "high_memory": [
            "scripts/monitor-memory-usage.sh --duration=10m",
            "scripts/check-memory-leaks.sh --component=litert",
        ],
        "frequent_switching": ["scripts/analyze-backend-switching.sh --last-1h"],
        "poor_gpu": ["scripts/check-gpu-drivers.sh", "scripts/check-gpu-memory.sh"],
    }
    for one in runbook_problems():
        named = [(row.script, row.arguments) for row in one.diagnosis]
        for script, arguments in [*named, *((row.script, row.arguments) for row in one.solutions if row.script)]:
            CATALOGUE[script].command_arguments(dict(arguments))


@pytest.mark.parametrize(
    "text,why",
    [
        ("version: 2\nproblems: []", "line 1: version is 1"),
        ("version: 1\nproblems: []", "line 2: needs problems, a list"),
        ("version: 1\nproblems: [{key: a_b, title: x, symptoms: [{key: s, title: t}]}]", "a symptom is one of"),
        (
            "version: 1\nproblems:\n  - {key: a, title: x, symptoms: [{key: s, title: t, reads: {metric: nonsense}}]}",
            "line 3",
        ),
        ("version: 1\nproblems: [{key: a, title: x, symptoms: [{key: s, reading: cloud-share, limit: 5 %}]}]", "title"),
        (
            "version: 1\nproblems: [{key: a, title: x, symptoms: [{key: s, title: t, reading: cloud-share}]}]",
            "is no limit",
        ),
        ("version: 1\nproblems: 7", "needs problems, a list"),
        ("[]", "must be a mapping"),
    ],
)
def test_guide__garbage__names_file_and_line(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=r"guide\.yaml, line") as refused:
        loads(text.encode(), name="guide.yaml")
    assert why in str(refused.value)


def test_measured__written_and_read__is_the_same() -> None:
    assert measured_of(SWITCHES.document()) == SWITCHES


@pytest.mark.parametrize(
    "symptoms,wanted",
    [
        ([SWITCHES, WELL], Presence.PRESENT),
        ([WELL, SILENT], Presence.ABSENT),
        ([SILENT, FEW], Presence.UNKNOWN),
        ([SILENT, replace(WELL, lines=True)], Presence.UNKNOWN),
        ([replace(WELL, lines=True)], Presence.ABSENT),
        ([], Presence.UNKNOWN),
    ],
)
def test_presence__one_symptom_is_enough__and_silence_says_nothing(symptoms: list[Measured], wanted: Presence) -> None:
    assert presence(symptoms) is wanted


@pytest.mark.parametrize(
    "before,after,wanted",
    [
        (SWITCHES, WELL, Moved.GONE),
        (WELL, SWITCHES, Moved.CAME),
        (WELL, WELL, Moved.WELL),
        (SWITCHES, replace(SWITCHES, value=12.0), Moved.BETTER),
        (SWITCHES, replace(SWITCHES, value=13.9), Moved.SAME),
        (SWITCHES, replace(SWITCHES, value=20.0), Moved.WORSE),
        (SWITCHES, SILENT, Moved.UNKNOWN),
        (SILENT, SWITCHES, Moved.UNKNOWN),
        (FEW, WELL, Moved.UNKNOWN),
        (replace(SWITCHES, value=10.0), replace(SWITCHES, value=10.0), Moved.SAME),
        (replace(SWITCHES, value=10.0), SWITCHES, Moved.WORSE),
    ],
)
def test_moved__every_pair__has_its_word(before: Measured, after: Measured, wanted: Moved) -> None:
    assert moved(before, after) is wanted


@pytest.mark.parametrize(
    "before,after,obeying,active,wanted",
    [
        ([SWITCHES], [WELL], 12, 12, Helped.HELPED),
        ([SWITCHES], [WELL], None, 0, Helped.HELPED),
        ([SWITCHES], [WELL], 5, 12, Helped.EARLY),
        ([SWITCHES], [WELL], 6, 12, Helped.HELPED),
        ([SWITCHES], [WELL], 0, 0, Helped.NO_DATA),
        ([SWITCHES], [SWITCHES], 12, 12, Helped.NOT),
        ([SWITCHES], [replace(SWITCHES, value=99.0)], 12, 12, Helped.WORSE),
        ([SWITCHES, OTHER], [WELL, replace(OTHER, verdict=Verdict.FAIL, value=12.0)], 12, 12, Helped.WORSE),
        ([SWITCHES], [SILENT], 12, 12, Helped.NO_DATA),
        ([SWITCHES, OTHER], [SILENT, OTHER], 12, 12, Helped.NO_DATA),
        ([SWITCHES, replace(SWITCHES, key="x")], [SILENT, replace(SWITCHES, key="x")], 12, 12, Helped.NOT),
        ([WELL], [WELL], 12, 12, Helped.NOT),
        ([SILENT], [SILENT], 12, 12, Helped.NO_DATA),
        ([], [], 12, 12, Helped.NO_DATA),
    ],
)
def test_outcome__table__worst_move_speaks(
    before: list[Measured], after: list[Measured], obeying: int | None, active: int, wanted: Helped
) -> None:
    found = outcome(before, after, obeying=obeying, active=active, minutes=10)
    assert found.helped is wanted, found.sentence
    assert found.sentence.startswith("After 10 min:")


def test_outcome__sentence__has_numbers_devices_and_sample() -> None:
    found = outcome([SWITCHES], [WELL], obeying=11, active=12, minutes=30)
    assert found.sentence == (
        "After 30 min: 11 of 12 active devices obey. Switches: 14 before (240 observations of 12 devices), 3 after"
        " (52 observations of 12 devices), wanted ≤ 10: gone."
    )


def driver(version: str, gpu: float, cpu: float = 200.0) -> Driver:
    return Driver(version, 1, gpu, cpu)


@pytest.mark.parametrize(
    "rows,wanted",
    [
        ([driver("500", 90), driver("512.4", 100), driver("535", 300), driver("600", 500)], "535"),
        ([driver("2.9", 90), driver("2.10", 300)], "2.10"),
        ([driver("r38p1-01eac0", 90), driver("r44p0", 300)], "r44p0"),
        ([driver("500", 90), driver("400", 300)], ""),
        ([driver("500", 300)], ""),
        ([driver("unreadable", 90), driver("535", 300)], ""),
        ([], ""),
    ],
)
def test_driver_bound__lowest_fine_version_above_every_slow_one(rows: list[Driver], wanted: str) -> None:
    assert driver_bound(rows) == wanted


TYPES = {"litert_aggressive_gc": FlagType.BOOLEAN, "litert_max_concurrent_inferences": FlagType.INTEGER}
TYPED = {
    "title": ["Phones run hot"],
    "symptom": ["criterion:alert-memory", "", "pattern:memory-warning"],
    "limit": ["1500 MB", "", "3"],
    "script": ["scripts/monitor-memory-usage.sh", ""],
    "arguments": ["--duration=5m", ""],
    "solution": [
        "flag:litert_max_concurrent_inferences", "flag:litert_aggressive_gc", "scoped:litert_gpu_backend",
        "script:scripts/clear-model-cache.sh", "",
    ],
    "value": ["1", "on", "off where device.gpu.driver is below 512", "--force", ""],
    "name": ["One at a time", "", "", "", ""],
}  # fmt: skip


def test_form__typed__makes_a_problem_and_shows_it_again() -> None:
    document = document_typed(TYPED, TYPES)
    assert document["key"] == "phones_run_hot"
    made = problem_of(document)
    assert [(one.criterion, one.pattern, one.limit) for one in made.symptoms] == [
        ("alert-memory", "", "1500 MB"),
        ("", "memory-warning", "3"),
    ]
    assert made.diagnosis[0].words == "scripts/monitor-memory-usage.sh --duration=5m"
    assert [(one.kind, one.value, one.bound) for one in made.solutions] == [
        ("flag", 1, ""),
        ("flag", True, ""),
        ("scoped", None, "512"),
        ("script", None, ""),
    ]
    assert made.solutions[0].title == "One at a time" and made.solutions[3].arguments == {"force": "on"}
    shown = fields(made)
    again = {
        "title": [shown["title"]],
        "key": [made.key],
        "symptom": [row[0] for row in shown["symptoms"]],
        "limit": [row[1] for row in shown["symptoms"]],
        "script": [row[0] for row in shown["diagnosis"]],
        "arguments": [row[1] for row in shown["diagnosis"]],
        "solution": [row[0] for row in shown["solutions"]],
        "value": [row[1] for row in shown["solutions"]],
        "name": [row[2] for row in shown["solutions"]],
    }
    assert document_typed(again, TYPES) == {**document, "solutions": document_typed(again, TYPES)["solutions"]}
    assert problem_of(document_typed(again, TYPES)) == made
    assert typed_fields(TYPED)["symptoms"][0] == ("criterion:alert-memory", "1500 MB")
    assert len(fields(None)["symptoms"]) == 4


@pytest.mark.parametrize(
    "change,why",
    [
        ({"symptom": ["nonsense"]}, "choose a criterion or a log pattern"),
        ({"symptom": ["criterion:"]}, "choose a criterion"),
        ({"arguments": ["duration=5m"]}, "is no argument"),
        ({"solution": ["magic:x"]}, "choose a flag"),
        ({"solution": ["flag:nonsense"]}, "There is no flag 'nonsense'"),
        ({"solution": ["flag:litert_aggressive_gc"], "value": ["maybe"]}, "is true or false"),
        ({"value": ["many"]}, "is not a number"),
        ({"value": [""]}, "say which value"),
        ({"solution": ["scoped:x"], "value": ["off below 512"]}, "off where device.gpu.driver is below 512"),
        ({"solution": ["scoped:x"], "value": ["maybe where a is b"]}, "write on or off"),
        ({"solution": ["scoped:x"], "value": ["off where mood is bad"]}, "devices say device.soc"),
    ],
)
def test_form__garbage__is_refused_with_a_sentence(change: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        document_typed({**TYPED, **change}, TYPES)
    assert why in str(refused.value)
