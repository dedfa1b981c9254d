"""Secrets at rest: sealed, opened, rotated to a new key with nothing lost, and said when nothing opens them."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command

from hawkops.core.sealing import Unsealable, resealed, seal, sealed_columns, unseal
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from incidents.domain.routing import Topic
from incidents.models import Channel
from incidents.services.channels import Rules, channel_create
from monitoring.domain.criteria import Severity

OLD, NEW = "o" * 60, "n" * 60


def test_seal__rotated__opens_under_the_new_key_alone(settings: Any) -> None:
    settings.SECRET_KEY = OLD
    sealed = seal("hush")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    assert unseal(sealed) == "hush"
    fresh = resealed(sealed)
    assert fresh != sealed and resealed(fresh) == fresh
    settings.SECRET_KEY_FALLBACKS = []
    assert unseal(fresh) == "hush"
    with pytest.raises(Unsealable):
        unseal(sealed)


@pytest.mark.django_db
def test_secrets_rotate__channels__are_sealed_anew_once_and_what_is_lost_is_named(settings: Any) -> None:
    assert {model for model, _names in sealed_columns()} >= {Channel}
    settings.SECRET_KEY = OLD
    rules = Rules(list(Topic), list(Severity))
    made = [
        channel_create(
            environment="demo",
            name=name,
            kind="email",
            address=f"{name}@example.com",
            rules=rules,
            actor=Actor.system("t"),
        )[0]
        for name in ("first", "second")
    ]
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    call_command("secrets_rotate")
    assert HistoryEntry.objects.filter(verb="secret.resealed").count() == 2
    settings.SECRET_KEY_FALLBACKS = []
    assert unseal(Channel.objects.get(pk=made[0].pk).address) == "first@example.com"
    call_command("secrets_rotate")
    assert HistoryEntry.objects.filter(verb="secret.resealed").count() == 2
    settings.SECRET_KEY = "another" * 10
    with pytest.raises(CommandError, match=f"No key opens channel:{made[0].pk}, channel:{made[1].pk}"):
        call_command("secrets_rotate")
