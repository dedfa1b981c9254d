"""What the second path does with the vital signs: read them, and tell what is wrong by itself."""

from hawkops.vitals.registry import vitals
from incidents.services.vital_alerts import Sign, vitals_follow


def look() -> list[str]:
    """Read every vital sign once and tell what is due; return the keys of what was told."""
    return vitals_follow([Sign(one.key, one.title, one.sentence, one.advice, one.failing) for one in vitals()])
