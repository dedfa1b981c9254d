"""The two sides of a comparison: devices that LiteRT is served to, and those beside them that it is not. Pure."""

from enum import StrEnum


class Arm(StrEnum):
    """Which side of the comparison a device is on, by the variant of `litert_enabled` it was served."""

    TREATMENT = "treatment"
    CONTROL = "control"


VARIANTS = {
    "on": Arm.TREATMENT,
    "treatment": Arm.TREATMENT,
    "off": Arm.CONTROL,
    "safe": Arm.CONTROL,
    "control": Arm.CONTROL,
}


def arm_of(variant: str) -> Arm | None:
    """Return the side that a variant means; None when the device did not say one."""
    return VARIANTS.get(variant)


def belongs(variant: str, wanted: Arm | None) -> bool:
    """Whether a device served this variant is on the wanted side; None wants both.

    A device that did not say counts as treatment: an app that forgets the attribute must not blind the rules that protect
    its users. It is never control, which is what a treatment is measured against.
    """
    if wanted is None:
        return True
    said = arm_of(variant)
    return said is wanted or (said is None and wanted is Arm.TREATMENT)
