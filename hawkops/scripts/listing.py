"""The catalogue as the README lists it."""

from hawkops.scripts.catalogue import Argument
from hawkops.scripts.entries import CATALOGUE

BEGIN, END = "<!-- scripts: printed by `manage.py scripts_table` -->", "<!-- /scripts -->"


def table() -> str:
    """Return every script as a table in Markdown, between the marks that the README has around it."""
    rows = ["| script | options | what its result means |", "| --- | --- | --- |"]
    for entry in CATALOGUE.values():
        options = " ".join(f"`{_option(argument)}`" for argument in entry.arguments)
        means = f"{'**Changes something.** ' if entry.changes_anything else ''}{entry.means}"
        rows.append(f"| `{entry.name}` | {options or '–'} | {means} |")
    return "\n".join((BEGIN, *rows, END))


def _option(argument: Argument) -> str:
    value = "" if argument.switch else "=…"
    return f"--{argument.name}{value}"
