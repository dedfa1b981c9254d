"""Compliance: a catalogue of controls, each mapped to evidence that HawkOps holds, and marked where it can't know."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import yaml
from django.conf import settings
from django.db.models import Q

from hawkops.accounts.models import LoginLink, RoleGrant, User
from hawkops.core import clock
from hawkops.core.errors import InvalidInput
from hawkops.fleet.model.signature import artefact
from hawkops.history.models import HistoryEntry, Personal
from hawkops.history.services import history_verify
from hawkops.scripts.checks import audit, encryption, security
from hawkops.scripts.probes import findings
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured
from hawkops.scripts.probes.integrity import signature_finding
from hawkops.scripts.probes.measuring import Exit

CONTROLS = Path(__file__).with_name("controls.yaml")
OUTSIDE = "➖"
# the verbs under which roles are given and taken, and their word for all environments
GRANTING = ("person.created", "role.changed")
EVERYWHERE = "all"
# columns that hold what devices wrote in words of their own: table, what a line of it is, columns
FREE_TEXTS = (
    ("LogLine", "log lines", ("body", "exception_message")),
    ("PatternSample", "samples of log patterns", ("line",)),
)


def options(parser: argparse.ArgumentParser) -> None:
    """Add the standards."""
    parser.add_argument("--standard", action="append", required=True, help="SOC2 or GDPR; may be repeated")


def compliance(given: argparse.Namespace) -> Iterator[Finding]:
    """Judge every control of the standards that evidence here can speak for; list the others."""
    for standard, controls in groupby(judged_controls(given.standard), key=lambda one: one.standard):
        judged_many = outside = 0
        for control in controls:
            if control.finding is None:
                outside += 1
                print(f"{OUTSIDE} {control.heading}: outside HawkOps. {control.outside}", flush=True)
            else:
                judged_many += 1
                yield control.finding
        print(f"{standard}: {judged_many} controls judged, {outside} are outside HawkOps", flush=True)


@dataclass(frozen=True)
class Control:
    """A control of a standard, and what the evidence here says of it; `outside` is why nobody here can know."""

    standard: str
    id: str
    title: str
    finding: Finding | None
    evidence: tuple[Finding, ...] = ()
    outside: str = ""

    @property
    def heading(self) -> str:
        """Its name in a list of several standards."""
        return f"{self.standard} {self.id} {self.title}"


def judged_controls(
    standards: Iterable[str], *, instead: Mapping[str, Callable[[], Finding]] | None = None
) -> Iterator[Control]:
    """Give each control of the standards, judged. `instead` gives facts another way: known already, say.

    Raises InvalidInput for a standard that the catalogue lacks.
    """
    controls = yaml.safe_load(CONTROLS.read_text())
    wanted = list(dict.fromkeys(name.upper() for name in standards))
    if unknown := [name for name in wanted if name not in controls]:
        raise InvalidInput(f"{unknown[0]!r} is no standard in the catalogue; there are {', '.join(controls)}.")
    facts.cache_clear()
    known = {**facts(), **(instead or {})}
    for standard in wanted:
        for one in controls[standard]:
            if "outside" in one:
                yield Control(standard, one["id"], one["title"], None, outside=one["outside"])
                continue
            evidence = tuple(known[name]() for name in one["evidence"])
            found = judged(f"{standard} {one['id']} {one['title']}", list(evidence))
            yield Control(standard, one["id"], one["title"], found, evidence)


def judged(title: str, evidence: list[Finding]) -> Finding:
    """Judge one control by its evidence; the sentence names what speaks for and against it."""
    outcome = findings.together(finding.outcome for finding in evidence)
    against = [finding for finding in evidence if finding.outcome not in (Exit.PASSED, None)]
    words = "; ".join(f"{finding.title}: {finding.sentence}" for finding in against or evidence)
    return Finding(title, outcome, words[:500])


@cache
def facts() -> dict[str, Callable[[], Finding]]:
    """Return the facts that controls name; each is looked up once in a run, however many controls name it."""
    found: dict[str, Callable[[], Finding]] = {
        "roles_granted": roles_granted,
        "passwords_hashed": encryption.passwords,
        "keys_hashed": encryption.device_keys,
        "grants_recorded": grants_recorded,
        "inactive_have_no_access": inactive_have_no_access,
        "login_by_default": login_by_default,
        "content_policy": content_policy,
        "transport_encrypted": transport_encrypted,
        "model_signed": lambda: signature_finding(artefact()),
        "stack_as_applied": stack_as_applied,
        "history_without_gaps": lambda: audit.silences(last_day=True),
        "history_verifies": history_verifies,
        "history_append_only": history_append_only,
        "telemetry_closed_list": telemetry_closed_list,
        "personal_apart_from_proof": personal_apart_from_proof,
    }
    return {name: cache(look) for name, look in found.items()}


def _whole(title: str, lines: Iterator[Finding] | list[Finding]) -> Finding:
    return judged(title, list(lines))


def roles_granted() -> Finding:
    """Everybody who may enter holds a role, and nobody enters by Django's own flags."""
    people = User.objects.filter(is_active=True)
    flagged = people.filter(Q(is_staff=True) | Q(is_superuser=True)).count()
    without = people.filter(grants=None).count()
    against = [f"{flagged} people carry Django's staff or superuser flag, which no role grants"] if flagged else []
    if without:
        against.append(f"{without} of {people.count()} people who may enter hold no role")
    if against:
        return failed("Roles", ", ".join(against))
    if not people:
        return unmeasured("Roles", "nobody may enter yet")
    return passed("Roles", f"{RoleGrant.objects.filter(user__in=people).count()} grants to {people.count()} people")


def grants_recorded() -> Finding:
    """The roles that each person holds are those that the history says they were given, and no others."""
    held: dict[tuple[str, str], set[str]] = {}
    for pk, role, environment in RoleGrant.objects.values_list("user_id", "role", "environment"):
        held.setdefault((f"person:{pk}", environment or EVERYWHERE), set()).add(role)
    people = {f"person:{pk}" for pk in User.objects.values_list("pk", flat=True)}
    recorded: dict[tuple[str, str], set[str]] = {}
    for entry in HistoryEntry.objects.filter(verb__in=GRANTING, subject__in=people).order_by("seq"):
        after = entry.after or {}
        recorded[entry.subject, after.get("environment", EVERYWHERE)] = set(after.get("roles", []))
    differing = [where for where in held.keys() | recorded if held.get(where, set()) != recorded.get(where, set())]
    if differing:
        who, where = min(differing)
        words = f"{len(differing)} differ from the history: {who} in {where}, say, holds "
        words += f"{_roles(held.get((who, where), set()))} and was given {_roles(recorded.get((who, where), set()))}"
        return failed("Grants", words)
    if not held:
        return unmeasured("Grants", "nobody holds a role, so there is nothing to compare")
    return passed("Grants", f"the roles of {len({who for who, _ in held})} people are those in the history")


def _roles(roles: set[str]) -> str:
    return ", ".join(sorted(roles)) or "none"


def inactive_have_no_access() -> Finding:
    """Who left holds no role and no link that still signs in."""
    gone = User.objects.filter(is_active=False)
    holding = gone.filter(grants__isnull=False).distinct().count()
    links = LoginLink.objects.filter(user__in=gone, used_at=None, expires_at__gt=clock.now()).count()
    if holding or links:
        return failed("Leavers", f"{holding} inactive people still hold roles, {links} of their links still sign in")
    if not gone:
        return unmeasured("Leavers", "nobody has left yet, so nothing shows that access ends")
    return passed("Leavers", f"{gone.count()} inactive people, none with a role or a link")


def login_by_default() -> Finding:
    """Every page asks for a session unless it is public on purpose."""
    name = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    there = name in settings.MIDDLEWARE
    return (passed if there else failed)("Sign-in", "asked for by default" if there else f"{name} is missing")


def content_policy() -> Finding:
    """Pages run no script and no style that is not ours."""
    directives = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    loose = [name for name in ("script-src", "style-src") if "'unsafe-inline'" in directives.get(name, [])]
    if loose:
        return failed("Content policy", f"unsafe-inline in {', '.join(loose)}")
    return passed("Content policy", "no inline script or style")


def transport_encrypted() -> Finding:
    """Connections are encrypted, or never leave the machine."""
    addresses = (("Console", settings.CONSOLE_URL), ("Gateway", settings.GATEWAY_URL))
    lines = [encryption.web(title, url) for title, url in addresses]
    return _whole("Transport", [*lines, encryption.database(), encryption.broker("Valkey", settings.REDIS_URL)])


def stack_as_applied() -> Finding:
    """The security configuration is the one that was applied."""
    return _whole("Security stack", security.configuration_validate(argparse.Namespace()))


def history_verifies() -> Finding:
    """The chain of the history is unbroken."""
    found = history_verify(requested_by="run-compliance-checks")
    if not found.good:
        return failed("History", f"breaks at entry {found.bad_seq}: {found.why}")
    if not found.head_seq:
        return unmeasured("History", "there is no entry yet")
    return passed("History", f"{found.head_seq} entries verify")


def history_append_only() -> Finding:
    """Nobody below a superuser can alter it."""
    return _whole("History", [audit.rights(), audit.trigger()])


def telemetry_closed_list() -> Finding:
    """Measurements hold a closed list of dimensions; whether texts of devices hold content, nobody here can know."""
    # the tables are upper apps'; what they may hold is asked of the database
    from django.apps import apps

    fields = {field.name for field in apps.get_model("monitoring", "Series")._meta.fields}
    free = fields & {"body", "text", "prompt", "content", "user", "email", "name"}
    if free:
        return failed("Telemetry", f"series carry {', '.join(sorted(free))}")
    closed = f"measurements carry {len(fields) - 1} fixed dimensions and nothing else"
    kept = [
        f"{said} ({', '.join(names)})"
        for table, said, names in FREE_TEXTS
        if apps.get_model("monitoring", table).objects.exclude(**dict.fromkeys(names, "")).exists()
    ]
    if kept:
        words = (
            f"free text is kept from {' and '.join(kept)}: whether an app writes content or names there is not known"
        )
        return unmeasured("Telemetry", f"{words}; {closed}")
    return passed("Telemetry", f"{closed}; no line of a log, whose text would be free, is kept")


def personal_apart_from_proof() -> Finding:
    """Names stand apart from the hashed rows as salted commitments, so that erasing one keeps the proof."""
    without = HistoryEntry.objects.filter(commitment="").count()
    if without:
        return failed("Erasure", f"{without} entries carry no commitment")
    if not Personal.objects.exists():
        return unmeasured("Erasure", "no name is kept yet")
    return passed("Erasure", f"{Personal.objects.count()} names stand apart, behind salted commitments")
