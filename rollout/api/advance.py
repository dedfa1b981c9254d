"""`/api/v1/ENVIRONMENT/may-advance`: every line that the running release's next phase takes."""

from django.http import HttpRequest
from ninja import Router, Schema

from hawkops.accounts.api import asks
from hawkops.core.access import Scope
from hawkops.core.api import WhyOut, why_out
from hawkops.core.verdicts import Verdict
from rollout.selectors.advance import Advance, may_advance

router = Router(tags=["Releases"])


class LineOut(Schema):
    """One thing that must pass."""

    group: str
    key: str
    title: str
    verdict: Verdict
    blocks: bool
    waived: bool
    sentence: str
    why: WhyOut


class AdvanceOut(Schema):
    """Whether the running release may go on; only PASS lets it."""

    environment: str
    release: int
    name: str
    app_version: str
    verdict: Verdict
    may_advance: bool
    headline: str
    lines: list[LineOut]


@router.get("/{environment}/may-advance", response=AdvanceOut, **asks(Scope.READ))
def advance(request: HttpRequest, environment: str) -> AdvanceOut:
    """What the running release's next phase takes, line by line; 404 when no release is under way."""
    return advance_out(may_advance(environment))


def advance_out(found: Advance) -> AdvanceOut:
    """Return it as the API and the command say it."""
    return AdvanceOut(
        environment=found.release.environment,
        release=found.release.pk,
        name=found.release.name,
        app_version=found.release.app_version,
        verdict=found.verdict,
        may_advance=found.verdict is Verdict.PASS,
        headline=found.headline,
        lines=[
            LineOut(
                group=line.group,
                key=line.key,
                title=line.title,
                verdict=line.verdict,
                blocks=line.blocks,
                waived=line.waived,
                sentence=line.sentence,
                why=why_out(line.why),
            )
            for line in found.lines
        ],
    )
