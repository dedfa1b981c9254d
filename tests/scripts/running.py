"""A run that is under way, and what it says."""

from hawkops.core import clock
from hawkops.history.actors import Actor
from hawkops.scripts import services
from hawkops.scripts.models import Run


def started() -> Run:
    """Return a run that a worker has taken."""
    run = services.run_request(
        environment="demo",
        name="scripts/test-cpu-performance.sh",
        arguments={},
        actor=Actor("person:1", "releaser-1"),
        send=False,
    )
    taken = services.run_start(run_id=run.pk)
    assert taken is not None
    return taken


def say(run: Run, *texts: str) -> None:
    """Let it say some more."""
    first = Run.objects.get(pk=run.pk).output_lines + 1
    lines = [(first + index, clock.now(), "stdout", text) for index, text in enumerate(texts)]
    services.run_output_append(run=run, lines=lines)
