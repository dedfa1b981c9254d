"""`manage.py bench faults [NAME …]`. Runs before Django is configured: it brings an installation of its own."""

import argparse
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from hawkops.bench.faults import clocks, databases, killed, network, rounds, versions
from hawkops.bench.faults.rounds import Named
from hawkops.bench.faults.table import Result, Verdict, table

FAULTS: dict[str, Named] = {
    one.name: one for family in (killed, databases, network, versions, clocks) for one in family.FAULTS
}


def main(arguments: Sequence[str]) -> int:
    """Try the faults and print the table; 1 when something was lost or does not work again."""
    parser = argparse.ArgumentParser(prog="manage.py bench faults", description="Hurt an installation of its own.")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    wanted = parser.parse_args(arguments).faults or list(FAULTS)
    if unknown := sorted(set(wanted) - {*FAULTS}):
        parser.error(f"there is no fault {unknown[0]!r}; there are {', '.join(FAULTS)}")
    results: list[Result] = []
    with (
        tempfile.TemporaryDirectory(prefix="hawkops-faults-") as folder,
        rounds.ready(Path(folder), _say) as (
            system,
            load,
        ),
    ):
        for number, name in enumerate(wanted):
            _say(f"{datetime.now(tz=UTC):%H:%M:%S} {FAULTS[name].title}")
            results.append(rounds.held(system, load, FAULTS[name], number, _say))
            _say(f"    {' · '.join(cell for cell in results[-1].cells()[2:] if cell)}")
    _say("")
    _say(table(results))
    return 1 if any(one.verdict is Verdict.FAIL for one in results) else 0


def _say(line: str) -> None:
    print(line, flush=True)
