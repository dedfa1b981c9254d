"""Revisions after a restore: devices may have seen newer ones than the backup holds, and none may ever come twice."""

from django.db import transaction

from hawkops.core import clock
from rollout.models import EnvironmentFlags

# more than an installation makes in its life, and nothing beside what 63 bits hold
MARGIN = 1_000_000


@transaction.atomic
def revisions_jump(*, margin: int = MARGIN) -> dict[str, int]:
    """Let every environment's revision jump ahead; return what they are now. Flags stay as they are.

    Whoever restores writes it down; gateways look at revisions every few seconds.
    """
    found = {}
    for state in EnvironmentFlags.objects.select_for_update(no_key=True).order_by("environment"):
        state.revision += margin
        state.changed_at = clock.now()
        state.save(update_fields=["revision", "changed_at"])
        found[state.environment] = state.revision
    return found
