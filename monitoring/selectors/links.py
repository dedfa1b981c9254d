"""Reading where dashboards stand elsewhere."""

from monitoring.models import DashboardLink


def dashboard_links(environment: str) -> dict[str, str]:
    """Return the addresses by dashboard; those that stand here only are absent. One query."""
    return dict(DashboardLink.objects.filter(environment=environment).values_list("board", "url"))
