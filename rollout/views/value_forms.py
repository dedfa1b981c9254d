"""A flag's values as a form: what stands, what was typed, and what is wrong beside which field. Works without JavaScript."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.http import QueryDict

from hawkops.core.errors import HawkOpsError
from rollout.domain import values as domain
from rollout.domain.flags import OFF, ON, FlagType
from rollout.domain.values import FieldUnfit, Values
from rollout.models import Flag
from rollout.services.values import standing as values_of


@dataclass(frozen=True)
class ValueForm:
    """What the form holds as texts, and why that can't be kept: beside a field, or as a whole."""

    kind: str
    on: str
    off: str
    schema: str
    reason: str = ""
    revision: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    refusal: str = ""

    @property
    def steps(self) -> str:
        """How a number's field counts; empty where a text is typed."""
        return {FlagType.INTEGER.value: "1", FlagType.FLOAT.value: "any"}.get(self.kind, "")

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to change about the values."""
        return self.kind == FlagType.BOOLEAN

    @property
    def texts(self) -> tuple[tuple[str, str], ...]:
        """Both variants with their texts."""
        return ((ON, self.on), (OFF, self.off))

    @property
    def schema_rows(self) -> int:
        """How many lines the schema's field shows."""
        return min(max(self.schema.count("\n") + 1, 4), 14)

    @property
    def rows(self) -> int:
        """How many lines a text's field shows."""
        longest = max(text.count("\n") + 1 for text in (self.on, self.off))
        return min(max(longest, 4 if self.kind == FlagType.JSON else 1), 14)

    def read(self) -> Values:
        """Return what was typed as values. Raises FieldUnfit for the first field that can't be read."""
        kind = FlagType(self.kind)
        return Values(
            domain.value_typed(kind, ON, self.on),
            domain.value_typed(kind, OFF, self.off),
            domain.schema_typed(self.schema),
        )


def standing(flag: Flag) -> ValueForm:
    """Return the form as the flag stands."""
    found = values_of(flag)
    return ValueForm(
        flag.type, domain.typed(found.on), domain.typed(found.off), domain.typed(found.schema), "", str(flag.revision)
    )


def typed(given: QueryDict, kind: str, *, refused: HawkOpsError | None = None) -> ValueForm:
    """Return the form as it was typed, with why it was refused."""
    errors = {refused.field: refused.sentence} if isinstance(refused, FieldUnfit) else {}
    return ValueForm(
        kind,
        given.get("on", ""),
        given.get("off", ""),
        given.get("schema", ""),
        given.get("reason", ""),
        given.get("revision", ""),
        errors=errors,
        refusal="" if refused is None or errors else refused.message,
    )
