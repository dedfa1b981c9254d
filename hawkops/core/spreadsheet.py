"""Texts that others chose, in files that a spreadsheet opens: none becomes a formula, and reading gives them back."""

from typing import Any

# what a spreadsheet takes for the beginning of a formula
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def harmless(value: Any) -> Any:
    """Return what may be written into a cell: a text that would be a formula gets an apostrophe. Numbers stay."""
    return f"'{value}" if isinstance(value, str) and value.lstrip("'").startswith(FORMULA) else value


def meant(text: str) -> str:
    """Return the text that `harmless` wrote."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(FORMULA) else text
