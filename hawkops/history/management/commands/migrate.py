"""`migrate`, by the owner of the tables. Then the application's role gets its rights; altering entries is not one."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.core.management.commands.migrate import Command as DjangoMigrate
from django.db import connections
from psycopg import sql

from hawkops.history.models import Checkpoint, HistoryEntry


class Command(DjangoMigrate):
    """Migrate the alias `owner` when there is one, and grant."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Change one default."""
        super().add_arguments(parser)
        if "owner" in settings.DATABASES:
            ArgumentParser.set_defaults(parser, database="owner")

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate, then grant."""
        super().handle(*args, **options)
        if options["database"] == "owner":
            grant()


def grant() -> None:
    """Give the application's role what it needs and no more. Safe to repeat."""
    role = sql.Identifier(str(settings.DATABASES["default"]["USER"]))
    kept = sql.SQL(", ").join(sql.Identifier(model._meta.db_table) for model in (HistoryEntry, Checkpoint))
    statements = (
        sql.SQL("GRANT USAGE ON SCHEMA public TO {role}"),
        sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"),
        sql.SQL("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}"),
        sql.SQL("REVOKE UPDATE, DELETE, TRUNCATE ON {kept} FROM {role}"),
    )
    with connections["owner"].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement.format(role=role, kept=kept))
