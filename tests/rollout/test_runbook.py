"""The runbook as data: what stands in it, and errors that name their line."""

from datetime import date, timedelta

import pytest

from hawkops.core.errors import InvalidInput
from monitoring import thresholds
from monitoring.domain.criteria import Purpose
from rollout.evidence.registry import CHECKS
from rollout.runbook.loading import CURRENT, load, loads

TEXT = CURRENT.read_text(encoding="utf-8")


def test_load__bundled_runbook__holds_nineteen_boxes_three_gates_four_phases() -> None:
    runbook = load().runbook
    boxes = [box for group in runbook.checklist for box in group.boxes if not group.gates]
    gates = [box for group in runbook.checklist for box in group.boxes if group.gates]
    assert [len(group.boxes) for group in runbook.checklist] == [5, 5, 5, 4, 3]
    assert (len(boxes), len(gates)) == (19, 3)
    assert [(p.from_percent, p.to_percent) for p in runbook.phases] == [(0, 1), (1, 5), (5, 25), (25, 100)]
    assert [p.lasts for p in runbook.phases] == ["24 to 48 h", "3 to 7 d", "7 to 14 d", "14 to 28 d"]
    assert all(len(p.criteria) == 4 for p in runbook.phases)
    assert (runbook.version, runbook.next_review) == ("1.0.0", date(2025, 2, 9))
    assert runbook.approvers == ("Engineering Manager", "Security Team", "DevOps Team")
    assert [version.version for version in runbook.versions] == ["1.0.0", "1.0.1"]


def test_load__performance_gate__has_the_runbooks_six_limits() -> None:
    found = load().runbook.box("performance_tests")
    assert found is not None
    limits = {one.key: (one.limit.at_least, one.limit.below) for one in found[1].expects}
    assert limits == {
        "cpu": (243, None),
        "gpu": (1876, None),
        "npu": (5836, None),
        "memory": (None, 2e9),
        "switching": (None, 0.5),
        "fallback": (None, 2),
    }
    assert found[1].valid_for == timedelta(hours=24)


def test_load__every_box__ticks_itself_by_a_known_check_or_says_what_brings_one() -> None:
    for _, box in load().runbook.boxes():
        assert (box.by in CHECKS) != bool(box.comes_with), box.key


def test_load__after_each_phase__four_boxes_of_compliance_thirteen_of_validation_and_two_scripts() -> None:
    runbook = load().runbook
    for name, sizes in (("compliance", [4]), ("validation", [5, 4, 4]), ("conclusion", [2])):
        assert [len(group.boxes) for group in getattr(runbook, name)] == sizes
    stored = {one.key for one in thresholds.load(thresholds.FILE) if one.purpose is Purpose.VALIDATION}
    judged = {key for group in runbook.validation for box in group.boxes for key in box.criteria}
    assert judged == stored - {"validation-engagement"}, "engagement is the rollback's, no box of this list"


def test_loads__a_text_from_before_the_validation__has_none() -> None:
    old = loads(TEXT[: TEXT.index("# What must hold after each phase")].encode(), name="old.yaml").runbook
    assert (old.after_phases, len(list(old.boxes()))) == ((), 22)


@pytest.mark.parametrize(
    "old,new,words",
    [
        ("    by: backends_tested", "    buy: backends_tested", "'buy' is not known here"),
        ("        valid_for: 1h", "        valid_for: soon", "'soon' is not a span"),
        ("        kind: criterion", "        kind: hope", "'hope' is not one of script"),
        ("      - key: encryption", "      - key: models_signed", "two boxes 'models_signed'"),
        ("      - key: encryption", "      - key: Encryption!", "is not a key"),
        ("  next_review: 2025-02-09", "  next_review: 2025-02-30", "is not a date"),
        ("    from_percent: 5", "    from_percent: 6", "begins where the one before it ended"),
        ("    to_percent: 100", "    to_percent: 101", "from 0 to 100"),
        ("        by: alert_endpoints", "        means: again", "'means' stands here twice"),
        ("        by: alert_endpoints\n", "", "needs `by`, or `comes_with`"),
        ('{standard: "SOC2,GDPR"}', "{standard: 2}", "'standard' needs a text in quotation marks"),
        ('{check-all-components: "on"}', "{check-all-components: on}", "needs a text in quotation marks"),
        ('{check-all-components: "on"}', "all", "arguments must be a mapping"),
        ("    strategy: GRADUAL", "    strategy: [GRADUAL", "expected"),
        ("  owner: Engineering Team", "  owner:", "needs owner, a text"),
        ("      - key: validated_cpu", "      - key: compliance_audit", "two boxes 'compliance_audit'"),
        ("  - key: validated_users", "  - key: security", "two groups 'security'"),
        ("criteria: [validation-cpu]", "criteria: validation-cpu", "criteria must be a list of texts"),
        ("at_least: 243}", "at_least: 243, lines: [CPU]}", "is expected, or lines of the script"),
    ],
)
def test_loads__something_wrong__names_file_and_line(old: str, new: str, words: str) -> None:
    assert old in TEXT
    with pytest.raises(InvalidInput) as refused:
        loads(TEXT.replace(old, new, 1).encode(), name="runbook.yaml")
    place, _, message = refused.value.message.partition(": ")
    assert words in message
    name, _, line = place.partition(", line ")
    changed = TEXT[: TEXT.index(old)].count("\n") + 1
    assert name == "runbook.yaml"
    assert abs(int(line) - changed) <= 8, (line, changed)


@pytest.mark.parametrize("text", [b"", b"[]", b"\x00", b"a: &x [*x]", b"- " * 40, b"runbook: 3", b"x" * 2_000_000])
def test_loads__no_runbook_at_all__is_refused_in_words(text: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"runbook\.yaml"):
        loads(text, name="runbook.yaml")
