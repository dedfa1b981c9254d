"""Reading the guide's file; every error names the file and its line."""

from functools import cache
from pathlib import Path

from hawkops.core import located
from hawkops.core.errors import InvalidInput
from incidents.domain.troubleshooting import Problem, problem, problems
from rollout.domain.reading import Unfit

FILE = Path(__file__).with_name("problems.yaml")


@cache
def runbook_problems() -> tuple[Problem, ...]:
    """Return the runbook's problems, in its order."""
    return loads(FILE.read_bytes(), name=FILE.name)


def loads(text: bytes, *, name: str) -> tuple[Problem, ...]:
    """Read and check a guide. Raises InvalidInput that says `file, line N: what is wrong`."""
    document = located.read(text, name=name)
    try:
        return problems(document.data)
    except Unfit as unfit:
        raise document.refusal(unfit.path, unfit.message) from unfit


def problem_of(data: object) -> Problem:
    """Read one problem, of a team say. Raises InvalidInput with a sentence."""
    try:
        return problem(data, ())
    except Unfit as unfit:
        where = ".".join(str(part) for part in unfit.path)
        raise InvalidInput(f"{where}: {unfit.message}." if where else f"{unfit.message}.") from unfit
