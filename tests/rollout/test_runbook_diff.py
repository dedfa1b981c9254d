"""How two versions of the runbook are compared: what people read of boxes, phases and limits that changed."""

from rollout.domain.adoption import Signature, missing, valid
from rollout.domain.runbook import Runbook
from rollout.domain.runbook_diff import Kind, Line, diff, text_diff
from rollout.runbook.loading import CURRENT, loads

TEXT = CURRENT.read_text(encoding="utf-8")
BEFORE = loads(TEXT.encode(), name="a").runbook


def changed(*replacements: tuple[str, str]) -> Runbook:
    """The bundled runbook with texts replaced, each once."""
    text = TEXT
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new, 1)
    return loads(text.encode(), name="b").runbook


def found(after: Runbook, section: str) -> dict[str, tuple[Kind, tuple[Line, ...]]]:
    """The changes of one section by title."""
    (only,) = [one for one in diff(BEFORE, after) if one.title == section]
    return {change.title: (change.kind, change.lines) for change in only.changes}


def test_diff__same__is_empty() -> None:
    assert diff(BEFORE, changed()) == ()


def test_diff__head_and_version_table__name_their_fields() -> None:
    after = changed(
        ("  next_review: 2025-02-09", "  next_review: 2025-08-09"),
        ("approvers: [Engineering Manager, ", "approvers: [CTO, "),
        ("  - {version: 1.0.1,", "  - {version: 1.0.1, dated: 2025-03-01,"),
    )
    assert found(after, "The document")["About it"][1] == (
        Line("next review", "2025-02-09", "2025-08-09"),
        Line("approvers", "Engineering Manager", "CTO"),
    )
    assert found(after, "Version table") == {"1.0.1": (Kind.CHANGED, (Line("date", "", "2025-03-01"),))}


def test_diff__limits_of_a_box_and_of_what_a_gate_expects__before_and_after() -> None:
    after = changed(
        ("limits: {below: 2000000000}", "limits: {below: 1800000000}"), ("at_least: 243}", "at_least: 300}")
    )
    boxes = found(after, "Boxes and gates")
    assert boxes == {
        "Memory usage under 2 GB": (
            Kind.CHANGED,
            (Line("limit", *_below(2_000_000_000, 1_800_000_000)),),
        ),
        "Performance tests": (Kind.CHANGED, (Line("expects, CPU: limit", "at least 243", "at least 300"),)),
    }


def test_diff__what_comes_after_a_phase__has_sections_of_its_own() -> None:
    after = changed(
        ("criteria: [validation-cpu]", "criteria: [validation-cpu, decision-throughput]"),
        ("title: Security compliance", "title: Compliance"),
        ('arguments: {last-24h: "on"}\n        valid_for: 24h', 'arguments: {last-24h: "on"}\n        valid_for: 12h'),
    )
    assert found(after, "Boxes of the validation") == {
        "CPU performance": (Kind.CHANGED, (Line("criteria", "", "decision-throughput"),))
    }
    assert found(after, "Groups of compliance")["Compliance"][1] == (
        Line("title", "Security compliance", "Compliance"),
    )
    assert found(after, "Boxes of compliance") == {
        "Audit trail complete": (Kind.CHANGED, (Line("valid for", "24 h", "12 h"),))
    }
    before = TEXT[: TEXT.index("# What must hold after each phase")]
    sections = {one.title for one in diff(loads(before.encode(), name="old").runbook, BEFORE)}
    assert {"Boxes of compliance", "Boxes of the validation", "Boxes at the end of a phase"} <= sections


def _below(*values: int) -> tuple[str, ...]:
    return tuple("below " + f"{value:,}".replace(",", "\u202f") for value in values)


def test_diff__expectation_of_a_gate_gone__is_one_line() -> None:
    fallback = "          - {key: fallback, title: Cloud fallback, metric: litert.fallback.duration, below: 2}\n"
    _, lines = found(changed((fallback, "")), "Boxes and gates")["Performance tests"]
    assert lines == (Line("expects, Cloud fallback", "litert.fallback.duration, below 2", ""),)


def test_diff__box_added_removed_and_moved_to_another_group() -> None:
    box = TEXT[TEXT.index("      - key: compliance") : TEXT.index("  - key: infrastructure")]
    moved = TEXT.replace(box, "\n").replace("  - key: flags\n", f"{box}  - key: flags\n".replace("\n\n", "\n"), 1)
    after = loads(moved.encode(), name="b").runbook
    assert found(after, "Boxes and gates")["Compliance requirements verified"] == (
        Kind.CHANGED,
        (Line("group", "Environment preparation: security", "Environment preparation: infrastructure"),),
    )
    gone = loads(TEXT.replace(box, "\n").encode(), name="b").runbook
    kind, lines = found(gone, "Boxes and gates")["Compliance requirements verified"]
    assert kind is Kind.REMOVED
    assert Line("valid for", "30 d", "") in lines
    (section,) = diff(gone, BEFORE)
    assert [change.kind for change in section.changes] == [Kind.ADDED]
    assert Line("valid for", "", "30 d") in section.changes[0].lines


def test_diff__group_renamed__is_one_change_and_no_move_of_its_boxes() -> None:
    after = changed(("    title: Code quality gates", "    title: Quality"))
    (section,) = diff(BEFORE, after)
    assert section.title == "Groups of the checklist"
    assert section.changes[0].lines == (Line("title", "Code quality gates", "Quality"),)


def test_diff__phase__percentages_spans_and_criteria() -> None:
    after = changed(
        ("    to_percent: 5\n", "    to_percent: 10\n"),
        ("    from_percent: 5\n", "    from_percent: 10\n"),
        ("{at_least: 3d, at_most: 7d}", "{at_least: 2d, at_most: 7d}"),
        ("title: Error rate below 1 %,", "title: Error rate below 0.5 %,"),
        ("      - {title: No trouble with backend switching, by: [phase-switching]}\n", ""),
    )
    phases = found(after, "Phases")
    kind, lines = phases["2. Limited beta"]
    assert kind is Kind.CHANGED
    assert lines[:2] == (Line("to", "5\u202f%", "10\u202f%"), Line("minimum", "3 d", "48 h"))
    assert {(line.before, line.after) for line in lines[2:]} >= {
        ("Error rate below 1 %", "Error rate below 0.5 %"),
        ("phase-switching", ""),
    }
    assert any("No trouble with backend switching" in line.label + line.before for line in lines)
    assert phases["3. Broader rollout"] == (Kind.CHANGED, (Line("from", "5\u202f%", "10\u202f%"),))


def test_diff__arguments_of_a_script__as_they_are_typed() -> None:
    after = changed(('{standard: "SOC2,GDPR"}', '{standard: "SOC2"}'))
    kind, lines = found(after, "Boxes and gates")["Compliance requirements verified"]
    assert (kind, lines) == (Kind.CHANGED, (Line("arguments", "--standard=SOC2,GDPR", "--standard=SOC2"),))


def test_diff__boxes_in_another_order__is_one_change() -> None:
    text = TEXT[TEXT.index("      - key: models_signed") : TEXT.index("      - key: encryption")]
    swapped = TEXT.replace(text, "", 1).replace("      - key: audit_logging", f"{text}      - key: audit_logging", 1)
    assert [kind for kind, _ in found(loads(swapped.encode(), name="b").runbook, "Boxes and gates").values()] == [
        Kind.CHANGED
    ]


def test_text_diff__says_where_and_what() -> None:
    assert text_diff("a\nb\nc\n", "a\nB\nc\n") == [
        ("at", "@@ -1,3 +1,3 @@"),
        ("", "a"),
        ("del", "b"),
        ("add", "B"),
        ("", "c"),
    ]
    assert text_diff("a", "a") == []


def test_adoption__signature_of_another_text__does_not_count() -> None:
    old, new = Signature("security", "person:1", "old"), Signature("devops", "person:2", "new")
    assert missing(("engineering", "security", "devops"), valid((old, new), "new")) == ("engineering", "security")
