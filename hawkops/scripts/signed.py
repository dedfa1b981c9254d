"""Which columns of this app say by name who did something."""

from hawkops.core.erasure import Signed
from hawkops.scripts.models import Run, Schedule

SIGNED = (Signed(Run, ("requested_by",)), Signed(Schedule, ("made_by",)))
