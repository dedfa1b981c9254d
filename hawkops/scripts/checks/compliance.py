"""Compliance: a catalogue of controls, each mapped to evidence that HawkOps holds, and marked where it can't know."""

import argparse
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import yaml
from django.conf import settings

from hawkops.accounts.models import LoginLink, RoleGrant, User
from hawkops.core import clock
from hawkops.core.errors import InvalidInput
from hawkops.fleet.model.signature import artefact
from hawkops.history.models import HistoryEntry, Personal
from hawkops.history.services import history_verify
from hawkops.scripts.checks import audit, encryption, security
from hawkops.scripts.probes import findings
from hawkops.scripts.probes.findings import Finding, failed, passed
from hawkops.scripts.probes.integrity import signature_finding
from hawkops.scripts.probes.measuring import Exit

CONTROLS = Path(__file__).with_name("controls.yaml")
OUTSIDE = "➖"


def options(parser: argparse.ArgumentParser) -> None:
    """Add the standards."""
    parser.add_argument("--standard", action="append", required=True, help="SOC2 or GDPR; may be repeated")


def compliance(given: argparse.Namespace) -> Iterator[Finding]:
    """Judge every control of the standards that evidence here can speak for; list the others."""
    controls = yaml.safe_load(CONTROLS.read_text())
    if unknown := [name for name in given.standard if name.upper() not in controls]:
        raise InvalidInput(f"{unknown[0]!r} is no standard in the catalogue; there are {', '.join(controls)}.")
    facts.cache_clear()
    for standard in dict.fromkeys(name.upper() for name in given.standard):
        outside = 0
        for control in controls[standard]:
            title = f"{standard} {control['id']} {control['title']}"
            if "outside" in control:
                outside += 1
                print(f"{OUTSIDE} {title}: outside HawkOps. {control['outside']}", flush=True)
                continue
            yield judged(title, [facts()[name]() for name in control["evidence"]])
        judged_many = len(controls[standard]) - outside
        print(f"{standard}: {judged_many} controls judged, {outside} are outside HawkOps", flush=True)


def judged(title: str, evidence: list[Finding]) -> Finding:
    """Judge one control by its evidence; the sentence names what speaks for and against it."""
    outcome = findings.together(finding.outcome for finding in evidence)
    against = [finding for finding in evidence if finding.outcome is not Exit.PASSED]
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
    """Everybody who may enter holds a role, and nobody enters by Django's own staff flags."""
    flagged = User.objects.filter(is_active=True, is_staff=True).count()
    if flagged:
        return failed("Roles", f"{flagged} people carry Django's staff flag, which no role grants")
    return passed(
        "Roles", f"{RoleGrant.objects.count()} grants to {User.objects.filter(is_active=True).count()} people"
    )


def grants_recorded() -> Finding:
    """Every grant that stands was recorded when it was made."""
    people = set(RoleGrant.objects.values_list("user_id", flat=True))
    subjects = [f"person:{pk}" for pk in people]
    recorded = HistoryEntry.objects.filter(subject__in=subjects, verb__startswith="person.")
    missing = people - {int(subject.split(":")[1]) for subject in recorded.values_list("subject", flat=True)}
    if missing:
        return failed("Grants", f"no entry in the history for {len(missing)} people who hold roles")
    return passed("Grants", f"the roles of {len(people)} people are in the history")


def inactive_have_no_access() -> Finding:
    """Who left holds no role and no link that still signs in."""
    gone = User.objects.filter(is_active=False)
    holding = gone.filter(grants__isnull=False).distinct().count()
    links = LoginLink.objects.filter(user__in=gone, used_at=None, expires_at__gt=clock.now()).count()
    if holding or links:
        return failed("Leavers", f"{holding} inactive people still hold roles, {links} of their links still sign in")
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
    return passed("History", f"{found.head_seq} entries verify")


def history_append_only() -> Finding:
    """Nobody below a superuser can alter it."""
    return _whole("History", [audit.rights(), audit.trigger()])


def telemetry_closed_list() -> Finding:
    """Telemetry holds only a closed list of dimensions, so no content and no personal text is stored."""
    # the tables are upper apps'; what they may hold is asked of the database
    from django.apps import apps

    fields = {field.name for field in apps.get_model("monitoring", "Series")._meta.fields}
    free = fields & {"body", "text", "prompt", "content", "user", "email", "name"}
    if free:
        return failed("Telemetry", f"series carry {', '.join(sorted(free))}")
    return passed("Telemetry", f"{len(fields) - 1} fixed dimensions; other attributes are dropped at the door")


def personal_apart_from_proof() -> Finding:
    """Names stand apart from the hashed rows as salted commitments, so that erasing one keeps the proof."""
    without = HistoryEntry.objects.filter(commitment="").count()
    if without:
        return failed("Erasure", f"{without} entries carry no commitment")
    return passed("Erasure", f"{Personal.objects.count()} names stand apart, behind salted commitments")
