"""`manage.py seed`: what a fresh installation starts with. Safe to repeat: it only adds what is missing."""

import json
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from hawkops.accounts.models import DeviceKey, User
from hawkops.accounts.services.credentials import device_key_create, device_key_revoke, secret_hash
from hawkops.accounts.services.people import person_create
from hawkops.accounts.services.signing import login_link_create
from hawkops.core.access import Role
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor
from incidents.services.channels import channel_seed, routes_seed
from incidents.services.escalations import policies_seed
from incidents.services.oncall import oncall_seed
from monitoring.services.criteria import criteria_seed
from monitoring.services.patterns import patterns_seed
from rollout.services.flags import flags_seed
from rollout.services.groups import groups_seed
from rollout.services.releases import release_seed, runbook_import

ACTOR = Actor.system("up")
LOCAL_KEY = "local device and simulated fleet"


class Command(BaseCommand):
    """Import the runbook, make flags, the first administrator and the local device's key."""

    help = "Import the runbook, make the runbook's flags, the first administrator and the local device's key."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One line for programs instead of sentences for people."""
        parser.add_argument("--json", action="store_true", help="print one JSON line with login_url and device_key")

    def handle(self, *args: Any, **options: Any) -> None:
        """Add what is missing."""
        flags_seed(actor=ACTOR)
        groups_seed(actor=ACTOR)
        runbook_import(actor=ACTOR)
        release_seed(actor=ACTOR)
        criteria_seed(actor=ACTOR)
        patterns_seed(actor=ACTOR)
        routes_seed(actor=ACTOR)
        policies_seed(actor=ACTOR)
        oncall_seed(actor=ACTOR)
        try:
            channel_seed(actor=ACTOR)
        except HawkOpsError as refusal:  # without a network, say: the next start tries again
            self.stderr.write(f"SLACK_WEBHOOK: {refusal.message}")
        login_url = login_link_create(user=_administrator(), actor=ACTOR)
        device_key = _device_key(settings.DATA / "device.key")
        if options["json"]:
            self.stdout.write(json.dumps({"login_url": login_url, "device_key": device_key}))
        else:
            self.stdout.write(f"Sign in once within an hour: {settings.CONSOLE_URL}{login_url}")


def _administrator() -> User:
    """The first administrator: the oldest one, or a new person named admin."""
    found = User.objects.filter(is_active=True, grants__role=Role.ADMIN.value, grants__environment="").order_by("pk")
    return found.first() or person_create(username="admin", actor=ACTOR, roles=[Role.ADMIN])


def _device_key(path: Path) -> str:
    """The local device's key: kept in a file only its owner may read, made anew when the database does not know it."""
    if path.exists():
        secret = path.read_text().strip()
        if DeviceKey.objects.filter(key_hash=secret_hash(secret), revoked_at=None).exists():
            return secret
    for lost in DeviceKey.objects.filter(environment=Environment.DEMO, name=LOCAL_KEY, revoked_at=None):
        device_key_revoke(key=lost, actor=ACTOR, reason="Its file is gone, so nobody has it")
    # it leaves this machine never, and nobody is there to renew it
    _, secret = device_key_create(environment=Environment.DEMO, name=LOCAL_KEY, lifetime=None, actor=ACTOR)
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secret)
    return secret
