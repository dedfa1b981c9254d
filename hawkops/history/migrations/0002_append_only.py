"""The database's own rules: entries are never altered, each is announced when it commits, and there is one head."""

from django.db import migrations

from hawkops.history.domain.chain import GENESIS

FORWARD = """
CREATE FUNCTION history_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'The change history is append-only: % on % is refused.', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER history_no_update_delete BEFORE UPDATE OR DELETE ON history_historyentry
  FOR EACH ROW EXECUTE FUNCTION history_refuse();
CREATE TRIGGER history_no_truncate BEFORE TRUNCATE ON history_historyentry
  FOR EACH STATEMENT EXECUTE FUNCTION history_refuse();

-- Commit and announcement can't disagree. Heartbeats are not announced: they would wake every page.
CREATE FUNCTION history_announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('hawkops_live', json_build_object(
    'topic', 'history', 'environment', NEW.environment, 'seq', NEW.seq,
    'verb', NEW.verb, 'subject', left(NEW.subject, 200))::text);
  RETURN NULL;
END $$;

CREATE TRIGGER history_announce AFTER INSERT ON history_historyentry
  FOR EACH ROW WHEN (NOT NEW.hidden) EXECUTE FUNCTION history_announce();
"""

BACKWARD = """
DROP TRIGGER history_announce ON history_historyentry;
DROP TRIGGER history_no_truncate ON history_historyentry;
DROP TRIGGER history_no_update_delete ON history_historyentry;
DROP FUNCTION history_announce();
DROP FUNCTION history_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [("history", "0001_initial")]

    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.RunSQL(
            f"INSERT INTO history_head (id, seq, hash) VALUES (1, 0, '{GENESIS}')", "DELETE FROM history_head"
        ),
    ]
