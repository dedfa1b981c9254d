"""Names that devices chose never become formulas, and reading a file gives them back."""

import pytest

from hawkops.core.spreadsheet import harmless, meant
from rollout.members import as_csv, from_csv


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "＝1", "'=1", "''=1", "'", "'x", "plain", ""])
def test_harmless__what_would_be_a_formula__is_a_text_and_comes_back(text: str) -> None:
    assert not harmless(text).startswith(("=", "+", "-", "@", "\t", "＝"))
    assert meant(harmless(text)) == text


def test_harmless__numbers__stay_numbers() -> None:
    assert [harmless(-1.5), harmless(None), harmless(3)] == [-1.5, None, 3]


def test_members__taken_along_and_back__are_the_same() -> None:
    members = ["=cmd|' /C calc'!A0", "'=x", "-device", 'dev,"1"', "@here", "plain"]
    file = "".join(as_csv(members))
    assert "'=cmd" in file and "'-device" in file
    assert list(from_csv(file.encode())) == members
