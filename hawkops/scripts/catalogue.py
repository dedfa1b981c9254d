"""What a catalogue entry says of a script: its arguments, its limits, what its result means. `entries` holds them all."""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from hawkops.core.environments import Environment
from hawkops.core.errors import InvalidInput, NotFound

MEGABYTE = 1_000_000
# the runbook's programs; a team's folder may hold others, and others of the same name
BUNDLED = Path(__file__).resolve().parent / "bin"
ON, OFF = ("on", "1", "yes", "true"), ("off", "0", "no", "false")
DURATION = re.compile(r"([1-9]\d{0,4})([smh])")
SECONDS = {"s": 1, "m": 60, "h": 3600}


def a_duration(text: str) -> str:
    """Accept 30s, 10m, 48h."""
    if not DURATION.fullmatch(text):
        raise InvalidInput(f"{text!r} is not a duration; write 30s, 10m or 48h.")
    return text


def an_environment(text: str) -> str:
    """Accept the name of an environment."""
    if text not in list(Environment):
        raise InvalidInput(f"{text!r} is not an environment; use {', '.join(Environment)}.")
    return text


def a_word(text: str) -> str:
    """Accept a name: a track, an incident, a version."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise InvalidInput(f"{text!r} is no name: letters, digits, dots and dashes, 64 at most.")
    return text


@dataclass(frozen=True)
class Argument:
    """One option. `check` returns the accepted text or raises InvalidInput; a switch takes no value."""

    name: str
    help: str
    check: Callable[[str], str] = str
    default: str = ""
    choices: tuple[str, ...] = ()
    switch: bool = False
    required: bool = False
    # several values, separated by commas or spaces: the option is repeated
    many: bool = False

    def parse(self, text: str) -> list[str]:
        """Return the option as it is passed, a word for each value; no word when it is left out. Raises InvalidInput."""
        text = text.strip()
        if not text and self.required:
            raise InvalidInput(f"--{self.name} is needed: {self.help}.")
        if not text or (self.switch and text in OFF):
            return []
        if self.switch:
            if text not in ON:
                raise InvalidInput(f"--{self.name} is a switch; give it no value.")
            return [f"--{self.name}"]
        values = re.split(r"[\s,]+", text) if self.many else [text]
        return [f"--{self.name}={self.check(value)}" for value in values]


@dataclass(frozen=True)
class Measurement:
    """What a script measures: its name in the result file, and how people say it."""

    name: str
    title: str
    unit: str
    factor: float = 1.0


@dataclass(frozen=True)
class Script:
    """A catalogue entry."""

    name: str
    title: str
    means: str
    group: str
    measurements: tuple[Measurement, ...] = ()
    arguments: tuple[Argument, ...] = ()
    timeout_seconds: int = 300
    memory_bytes: int = 6_000 * MEGABYTE
    # processor time of each of its processes; 0: four processors' worth of its time limit
    cpu_seconds: int = 0
    changes_anything: bool = False
    idempotent: bool = True
    # what it needs for itself: runs that name the same thing wait for each other, in every environment
    concurrency: str = ""
    # whether --duration says how long it runs (and not how far back it looks)
    lasts: bool = False
    # whether it looks into this installation, and so gets the addresses and keys that it needs
    installation: bool = False

    @property
    def path(self) -> Path:
        """Where the program stands: in the team's folder, else among the runbook's."""
        own = Path(settings.SCRIPTS_DIR) / self.name
        return own if own.is_file() else BUNDLED / self.name

    @property
    def concurrency_key(self) -> str:
        """What only one run at a time may use; empty when it is in nobody's way. What changes something runs alone."""
        return self.concurrency or (self.name if self.changes_anything else "")

    def time_limit(self, given: dict[str, str]) -> int:
        """Return after how many seconds a run is ended: the entry's limit, on top of a duration that was asked for."""
        asked = DURATION.fullmatch(given.get("duration", "").strip()) if self.lasts else None
        return self.timeout_seconds + (int(asked[1]) * SECONDS[asked[2]] if asked else 0)

    def program_digest(self) -> str:
        """Return the SHA-256 of the program as it stands. Raises NotFound when there is none."""
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError:
            raise NotFound(f"The program {self.path} is missing. HAWKOPS_SCRIPTS_DIR names the folder.") from None

    def given(self, words: Iterable[str]) -> dict[str, str]:
        """Read options as they are typed on a shell (`--a=1`, `--a 1`, `--switch`). Raises InvalidInput."""
        kinds = {argument.name: argument for argument in self.arguments}
        found: dict[str, list[str]] = {}
        left = iter(words)
        for word in left:
            name, has_value, value = word.removeprefix("--").partition("=")
            if not word.startswith("--") or not name:
                raise InvalidInput(f"{word!r} is no option of {self.name}; options are written --name=value.")
            if name not in kinds:
                raise InvalidInput(self._unknown(name))
            if not has_value:
                value = ON[0] if kinds[name].switch else next(left, "")
            if not value:
                raise InvalidInput(f"--{name} needs a value: {kinds[name].help}.")
            found.setdefault(name, []).append(value)
        for name, values in found.items():
            if len(values) > 1 and not kinds[name].many:
                raise InvalidInput(f"--{name} stands there {len(values)} times; it takes one value.")
        return {name: ",".join(values) for name, values in found.items()}

    def _unknown(self, name: str) -> str:
        return (
            f"{self.name} has no option --{name}; it has {', '.join(sorted(a.name for a in self.arguments)) or 'none'}."
        )

    def command_arguments(self, given: dict[str, str], *, dry_run: bool = False) -> list[str]:
        """Return the validated options as a list. Raises InvalidInput for an unknown or unfit one.

        A script that changes something gets `--dry-run` for its dry run; others change nothing and have none.
        """
        known = {argument.name for argument in self.arguments}
        if unknown := sorted(set(given) - known):
            raise InvalidInput(self._unknown(unknown[0]))
        if dry_run and not self.changes_anything:
            raise InvalidInput(f"{self.name} changes nothing, so it has no dry run; just run it.")
        parsed = (argument.parse(given.get(argument.name, argument.default)) for argument in self.arguments)
        return [word for words in parsed for word in words] + ["--dry-run"] * dry_run
