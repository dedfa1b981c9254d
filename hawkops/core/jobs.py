"""A job is named here and bound to a task higher up, so that services need not import tasks."""

from dataclasses import dataclass
from typing import Any

from celery import current_app
from django.db import transaction


@dataclass(frozen=True)
class Job:
    """A task by its name, and the queue it belongs to (`critical`, `alerts`, `scripts` or `health`)."""

    name: str
    queue: str

    def enqueue(self, **kwargs: Any) -> None:
        """Send the task once the present transaction has committed; a rolled back change sends nothing.

        A broker that can't be reached costs nothing acknowledged: sweepers find the row and send it again.
        """
        transaction.on_commit(lambda: self._send(kwargs), robust=True)

    def _send(self, kwargs: dict[str, Any]) -> None:
        current_app.send_task(self.name, kwargs=kwargs, queue=self.queue, retry=False)
