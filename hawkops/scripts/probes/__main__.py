"""`python -m hawkops.scripts.probes NAME`: what the runbook's scripts call when the answer lies on this host or a device."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence

from hawkops.fleet.model.signature import artefact
from hawkops.scripts.probes import (
    cluster,
    core_ai,
    device_state,
    findings,
    gradle,
    integrity,
    limits,
    memory_watch,
    play,
    repeating,
    results,
    target,
)
from hawkops.scripts.probes.benchmark import benchmark, minutes_and_seconds
from hawkops.scripts.probes.measuring import (
    Exit,
    Reading,
    Subject,
    Unmeasurable,
    declared_backends,
    fallback,
    subject,
)

# These print one integer, which the runbook compares.
NUMBERS: dict[str, tuple[limits.Limit, Callable[[Subject], Reading]]] = {
    "cpu": (limits.CPU, lambda what: target.throughput(what, "cpu")),
    "gpu": (limits.GPU, lambda what: target.throughput(what, "gpu")),
    "npu": (limits.NPU, lambda what: target.throughput(what, "npu")),
    "memory": (limits.MEMORY, lambda what: target.memory(what, "cpu")),
    "switching": (limits.SWITCHING, lambda what: target.switching(what, declared_backends())),
    "fallback": (limits.FALLBACK, fallback),
}

# These take the words of the tool whose name they bear.
TYPED: dict[str, Callable[[Sequence[str]], Iterable[findings.Finding]]] = {
    "kubectl": cluster.run,
    "gradle": gradle.build,
    "app-folder": device_state.app_folder,
}


def say(words: str) -> None:
    """Say something to a person, beside the number."""
    print(words, file=sys.stderr, flush=True)


def number(name: str, device: str) -> Exit:
    """Measure one thing on the target, print its integer (0 when there is none) and judge it."""
    limit, measure = NUMBERS[name]
    what: Subject | None = None
    try:
        what = target.subject(device)
        reading = measure(what)
    except Unmeasurable as lack:
        reading = Reading(name, limit.unit, name, None, str(lack), lack.broken)
    outcome = limits.judged(reading, limit)
    results.append(reading, limit, outcome, what)
    if reading.value is None:
        print(0, flush=True)
        say(f"{name}: {'failed' if reading.broken else 'could not measure'}: {reading.sentence}")
        return outcome
    about = f"{what.name} on {what.where}" if what else "this host"
    worth = what.caveats if what else ""
    print(limit.shown(reading.value), flush=True)
    say(f"{name}: {limit.shown(reading.value)} {limit.unit} ({limit.goal}), {about}{worth}")
    return outcome


def _with_model(look: Callable[[Subject], Iterable[findings.Finding]]) -> Exit:
    try:
        what = subject()
    except Unmeasurable as lack:
        finding = (findings.failed if lack.broken else findings.unmeasured)("Model", str(lack))
        return findings.report([finding])
    return findings.report(findings.of(what.described(), look(what)))


def _model_integrity(given: argparse.Namespace) -> Exit:
    what = artefact()
    return findings.report(
        [integrity.signature_finding(what), *integrity.subject_findings(what, given.environment or _environment())]
    )


def _check_integrity(_given: argparse.Namespace) -> Exit:
    what = artefact()
    found = [*integrity.structure_findings(what), integrity.signature_finding(what)]
    return findings.report([*found, *integrity.subject_findings(what, _environment())])


def _environment() -> str:
    """Whose devices a run speaks of; empty when somebody types the script by hand."""
    return os.environ.get("HAWKOPS_ENVIRONMENT", "")


def _typed(given: argparse.Namespace) -> Exit:
    return findings.report(TYPED[given.name]([word for word in given.words if word != "--"]))


def _watched(given: argparse.Namespace) -> Exit:
    if given.interval < 1:
        raise ValueError("watch at most once a second")
    found = repeating.watch(given.command, every_seconds=given.interval, duration_seconds=given.duration)
    return findings.report([found])


def main() -> int:
    """Run one probe."""
    parser = argparse.ArgumentParser(prog="probes", description="Look at real LiteRT, its model and its device.")
    commands = parser.add_subparsers(dest="name", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], Exit]) -> argparse.ArgumentParser:
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        return command

    of_device = "a serial that `adb devices` lists, or host; else the only device that is attached, else this host"
    for name in NUMBERS:
        measured = add(name, lambda given: number(given.name, given.device))
        # cloud AI is asked from here, whatever is attached
        measured.set_defaults(device=target.HOST)
        if name != "fallback":
            measured.add_argument("--device", default="", help=of_device)
    whole = add(
        "performance",
        lambda given: benchmark(given.environment, given.duration, declared_backends(), device=given.device),
    )
    whole.add_argument("--device", default="", help=of_device)
    usual = _environment() or "demo"
    whole.add_argument("--environment", choices=["production", "staging", "demo"], default=usual)
    whole.add_argument("--duration", type=minutes_and_seconds, default=0.0, help="for example 90s, 60m or 2h")
    add("core-ai", lambda _: findings.report(core_ai.core()))
    add("cloud-ai", lambda _: findings.report([core_ai.cloud()]))
    add("local-ai", lambda _: _with_model(lambda what: [core_ai.local(what)]))
    add("comprehensive-ai", lambda _: findings.report(core_ai.comprehensive()))
    signed = add("model-integrity", _model_integrity)
    signed.add_argument("--environment", choices=["production", "staging", "demo"])
    add("check-model", _check_integrity)
    cache = add(
        "clear-cache",
        lambda given: findings.report(integrity.cache_clear(artefact(), force=given.force, dry_run=given.dry_run)),
    )
    cache.add_argument("--force", action="store_true")
    fetch = add(
        "redownload",
        lambda given: findings.report(integrity.redownload(artefact(), dry_run=given.dry_run)),
    )
    fetch.add_argument("--verify-integrity", action="store_true", help="the runbook's word: it is always verified")
    watch = add("watch-memory", lambda given: _with_model(lambda what: memory_watch.watched(what, given.duration)))
    watch.add_argument("--duration", type=minutes_and_seconds, default=60.0)
    leaks = add("memory-leaks", lambda given: _with_model(memory_watch.leaks))
    leaks.add_argument("--component", choices=["litert"], default="litert")
    add("storage", lambda _: findings.report(device_state.storage()))
    add("gpu-drivers", lambda _: findings.report(device_state.gpu_drivers()))
    add("gpu-memory", lambda _: findings.report(device_state.gpu_memory()))
    store = add("play-deploy", lambda given: findings.report(play.deploy(given.track, dry_run=given.dry_run)))
    store.add_argument("--track", default="internal")
    back = add(
        "play-rollback",
        lambda given: findings.report(play.rollback(given.version, given.track, dry_run=given.dry_run)),
    )
    back.add_argument("--version", default="previous", help="previous, or a version code")
    back.add_argument("--track", default="production")
    for name in TYPED:
        add(name, _typed).add_argument("words", nargs=argparse.REMAINDER)
    again = add("watch", _watched)
    again.add_argument("-n", "--interval", type=float, default=10.0)
    again.add_argument("--duration", type=minutes_and_seconds)
    again.add_argument("command")
    for changing in (cache, fetch, store, back):
        changing.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    given = parser.parse_args()
    try:
        return int(given.run(given))
    except ValueError as error:
        say(str(error))
        return Exit.MISUSED


if __name__ == "__main__":
    sys.exit(main())
