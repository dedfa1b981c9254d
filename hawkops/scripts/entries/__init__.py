"""Every script of the runbook, in the runbook's order of use."""

from hawkops.core.errors import NotFound
from hawkops.scripts.catalogue import Script
from hawkops.scripts.entries import deployment, emergency, performance, rollback, security, trouble, validation

_ALL = (
    *performance.GATE,
    *deployment.ALL,
    *emergency.ALL,
    *performance.ALL,
    *security.ALL,
    *trouble.ALL,
    *rollback.ALL,
    *validation.ALL,
)

CATALOGUE: dict[str, Script] = {script.name: script for script in _ALL}


def script(name: str) -> Script:
    """Return a catalogue entry. Raises NotFound."""
    try:
        return CATALOGUE[name]
    except KeyError:
        raise NotFound(f"There is no script {name!r} in the catalogue.") from None
