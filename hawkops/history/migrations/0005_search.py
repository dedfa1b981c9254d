"""Searching: one index that answers every filter of the history together, and the names that actors went by.

`search` holds the words of an entry with their places, and what it is as words of its own kind (`v=flag.killed`), so that
rare and common conditions meet in the index. It is no field of the model: nothing but the search reads it.
"""

from django.db import migrations, models

# Beyond this many characters a state is not searched by words: a tsvector has a limit, and appending must never fail.
FORWARD = r"""
CREATE FUNCTION history_plain(said text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN translate(said, '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', '                                ');

CREATE FUNCTION history_asked(said text, beginning boolean) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN beginning AND phraseto_tsquery('simple', history_plain(said))::text <> ''
  THEN (phraseto_tsquery('simple', history_plain(said))::text || ':*')::tsquery
  ELSE phraseto_tsquery('simple', history_plain(said)) END;

ALTER TABLE history_historyentry ADD COLUMN search tsvector GENERATED ALWAYS AS (
  to_tsvector('simple', translate(
    verb || ' ' || subject || ' ' || left(reason, 20000) || ' '
      || left(coalesce(before_text, ''), 20000) || ' ' || left(coalesce(after_text, ''), 20000),
    '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', '                                '))
  || array_to_tsvector(array_remove(ARRAY[
    'v=' || verb, 's=' || subject, 'i=' || substr(subject, strpos(subject, ':') + 1), 'a=' || actor,
    'e=' || environment, 'r=' || request_id, 'c=' || cause_id::text,
    CASE WHEN hidden THEN 'h=1' ELSE 'h=0' END], NULL))
) STORED;

-- a small list of what is not yet sorted in: whoever appends may have to sort it in, and holds the chain's head then
CREATE INDEX history_search ON history_historyentry USING gin (search) WITH (gin_pending_list_limit = 256);

INSERT INTO history_actorname (label, actor)
  SELECT DISTINCT p.label, e.actor FROM history_personal p JOIN history_historyentry e ON e.seq = p.entry_id;

CREATE FUNCTION history_names_add() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO history_actorname (label, actor)
    SELECT DISTINCT n.label, e.actor FROM fresh n JOIN history_historyentry e ON e.seq = n.entry_id
    ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER history_names_add AFTER INSERT ON history_personal REFERENCING NEW TABLE AS fresh
  FOR EACH STATEMENT EXECUTE FUNCTION history_names_add();

-- a name that was erased from every entry is gone here too
CREATE FUNCTION history_names_drop() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM history_actorname n USING (SELECT DISTINCT label FROM stale) o
    WHERE n.label = o.label AND NOT EXISTS (
      SELECT 1 FROM history_personal p JOIN history_historyentry e ON e.seq = p.entry_id
      WHERE p.label = n.label AND e.actor = n.actor);
  RETURN NULL;
END $$;
CREATE TRIGGER history_names_drop AFTER DELETE ON history_personal REFERENCING OLD TABLE AS stale
  FOR EACH STATEMENT EXECUTE FUNCTION history_names_drop();

CREATE FUNCTION history_names_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO history_actorname (label, actor)
    SELECT DISTINCT n.label, e.actor FROM fresh n JOIN history_historyentry e ON e.seq = n.entry_id
    ON CONFLICT DO NOTHING;
  DELETE FROM history_actorname n USING (SELECT DISTINCT label FROM stale) o
    WHERE n.label = o.label AND NOT EXISTS (
      SELECT 1 FROM history_personal p JOIN history_historyentry e ON e.seq = p.entry_id
      WHERE p.label = n.label AND e.actor = n.actor);
  RETURN NULL;
END $$;
CREATE TRIGGER history_names_change AFTER UPDATE ON history_personal REFERENCING OLD TABLE AS stale NEW TABLE AS fresh
  FOR EACH STATEMENT EXECUTE FUNCTION history_names_change();
"""

BACKWARD = """
DROP TRIGGER history_names_change ON history_personal;
DROP TRIGGER history_names_drop ON history_personal;
DROP TRIGGER history_names_add ON history_personal;
DROP FUNCTION history_names_change();
DROP FUNCTION history_names_drop();
DROP FUNCTION history_names_add();
ALTER TABLE history_historyentry DROP COLUMN search;
DROP FUNCTION history_asked(text, boolean);
DROP FUNCTION history_plain(text);
"""


class Migration(migrations.Migration):
    dependencies = [("history", "0004_append")]

    operations = [
        migrations.CreateModel(
            name="ActorName",
            fields=[
                ("pk", models.CompositePrimaryKey("label", "actor", blank=True, editable=False, primary_key=True, serialize=False)),
                ("label", models.CharField(max_length=150)),
                ("actor", models.CharField(max_length=80)),
            ],
        ),
        migrations.AddIndex(
            model_name="personal",
            index=models.Index(fields=["label"], name="history_personal_label"),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
