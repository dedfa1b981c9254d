"""Which columns of this app say by name who did something."""

from hawkops.accounts.models import LegalHold
from hawkops.core.erasure import Signed

SIGNED = (Signed(LegalHold, ("by", "lifted_by")),)
