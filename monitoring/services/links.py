"""Writing where dashboards stand elsewhere."""

from collections.abc import Mapping

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator

from hawkops.core.errors import InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.services import change
from monitoring.models import DashboardLink

URL_LENGTH_MOST = 300
_checked = URLValidator(schemes=["http", "https"])


def dashboard_links_save(
    *, environment: str, links: Mapping[str, str], actor: Actor, reason: str = "", request_id: str = ""
) -> dict[str, str]:
    """Put these addresses in the place of those that stand; an empty one means here. Raises InvalidInput."""
    wanted = {board: url.strip() for board, url in links.items() if url.strip()}
    for board, url in wanted.items():
        try:
            _checked(url)
        except ValidationError as error:
            raise InvalidInput(f"{url!r} is no address for {board}: write one that begins with https://.") from error
        if len(url) > URL_LENGTH_MOST:
            raise InvalidInput(f"The address for {board} is longer than {URL_LENGTH_MOST} characters.")
    with change(actor=actor, environment=environment, reason=reason.strip()[:300], request_id=request_id) as this:
        rows = DashboardLink.objects.select_for_update(no_key=True).filter(environment=environment)
        before = {row.board: row.url for row in rows}
        if before == wanted:
            raise InvalidInput("Nothing differs from what stands now.")
        rows.exclude(board__in=wanted).delete()
        for board, url in wanted.items():
            DashboardLink.objects.update_or_create(environment=environment, board=board, defaults={"url": url})
        this.record("dashboards.linked", subject="dashboards:links", before=before, after=wanted)
    return wanted
