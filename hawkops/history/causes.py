"""The cause graph: from the first cause of an entry down to everything it led to, bounded at each node and in all."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

from django.db import connection

from hawkops.core.templatetags.look import SPACE, spoken
from hawkops.history.models import HistoryEntry

UP_MOST = 40  # causes of causes
BRANCHES_MOST, NODES_MOST, LEVELS_MOST = 8, 120, 12


@dataclass
class Node:
    """One entry in the graph. `after` is how long after its cause it came; `more` says that it led to more than is drawn."""

    entry: HistoryEntry
    after: timedelta | None = None
    effects: list["Node"] = field(default_factory=list)
    more: bool = False
    here: bool = False
    # on the way from the first cause to the entry that is looked at
    leads: bool = False

    @property
    def delay(self) -> str:
        """How long after its cause it came: +2.1 s."""
        seconds = (self.after or timedelta()).total_seconds()
        sign = "−" if seconds < 0 else "+"
        size = abs(seconds)
        if size < 1:
            return f"{sign}{size * 1000:.0f}{SPACE}ms"
        return f"{sign}{size:.1f}{SPACE}s" if size < 60 else f"{sign}{spoken(timedelta(seconds=size))}"


@dataclass(frozen=True)
class Graph:
    """The tree below the first cause; `cut` says that it has causes before it that are not drawn."""

    root: Node
    cut: bool
    nodes: int


def graph(entry: HistoryEntry, *, readable: Sequence[str]) -> Graph:
    """Return the graph around an entry, of the environments that may be read. A query for each level."""
    places = ["", *readable]
    way, cut = _way(entry, places)
    root = Node(way[0], here=way[0].pk == entry.pk, leads=True)
    spine = {one.pk: following for one, following in pairwise(way)}
    level, nodes = [root], 1
    for depth in range(len(way) + LEVELS_MOST):
        found = _effects([node.entry.pk for node in level], places)
        following: list[Node] = []
        for node in level:
            rows = found.get(node.entry.pk, [])
            ahead = spine.get(node.entry.pk)
            node.more = len(rows) > BRANCHES_MOST
            shown = rows[:BRANCHES_MOST]
            if nodes + len(following) >= NODES_MOST:
                node.more, shown = bool(rows), []
            if ahead is not None and all(row.pk != ahead.pk for row in shown):
                shown = [*shown, ahead]
            node.effects = [
                Node(
                    row,
                    after=row.at - node.entry.at,
                    here=row.pk == entry.pk,
                    leads=ahead is not None and row.pk == ahead.pk,
                )
                for row in shown
            ]
            following += node.effects
        nodes += len(following)
        level = following
        if not level:
            break
        if depth == len(way) + LEVELS_MOST - 1:
            for node in level:
                node.more = True
    return Graph(root, cut, nodes)


def _way(entry: HistoryEntry, places: Sequence[str]) -> tuple[list[HistoryEntry], bool]:
    """Return the causes down to the entry, first cause first, and whether there are more that are not drawn."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE way(seq, cause, step) AS (
              SELECT seq, cause_id, 0 FROM history_historyentry WHERE seq = %s
              UNION ALL
              SELECT e.seq, e.cause_id, step + 1 FROM way JOIN history_historyentry e ON e.seq = way.cause
               WHERE step < %s AND e.environment = ANY(%s) AND e.seq < way.seq
            ) SELECT seq, cause FROM way ORDER BY step DESC
            """,
            [entry.pk, UP_MOST, list(places)],
        )
        found = cursor.fetchall()
    rows = HistoryEntry.objects.select_related("personal").in_bulk([seq for seq, _ in found])
    return [rows[seq] for seq, _ in found], found[0][1] is not None


def _effects(causes: Sequence[int], places: Sequence[str]) -> dict[int, list[HistoryEntry]]:
    """Return what each cause led to, oldest first, one more than is drawn of each."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT cause, e.seq FROM unnest(%s::bigint[]) AS cause, LATERAL (
              SELECT seq FROM history_historyentry WHERE cause_id = cause AND environment = ANY(%s) ORDER BY seq LIMIT %s
            ) AS e
            """,
            [list(causes), list(places), BRANCHES_MOST + 1],
        )
        pairs = cursor.fetchall()
    rows = HistoryEntry.objects.select_related("personal").in_bulk([seq for _, seq in pairs])
    found: dict[int, list[HistoryEntry]] = {}
    for cause, seq in pairs:
        found.setdefault(cause, []).append(rows[seq])
    return found
