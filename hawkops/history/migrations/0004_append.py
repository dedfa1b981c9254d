"""One statement appends all entries of a transaction; checkpoints are as unalterable as entries."""

from django.db import migrations

FORWARD = """
-- Appends entries and gives back what the chain made of each. `drafts` is a list of objects; `tail` is the canonical JSON
-- of a row behind its moment, as it is hashed. Deferred foreign keys are checked first: they would lock after the head.
-- The moment is the caller's; who had to wait for the head counts the wait, and a neighbour's clock that is a little
-- ahead is followed, so that moments rise with the sequence.
CREATE FUNCTION history_append(given_at timestamptz, drafts jsonb)
RETURNS TABLE (seq bigint, at timestamptz, previous_hash varchar, hash varchar) LANGUAGE plpgsql AS $$
DECLARE
  head history_head%ROWTYPE;
  draft jsonb;
  moment timestamptz := given_at;
  moment_text text;
BEGIN
  SET CONSTRAINTS ALL IMMEDIATE;
  SELECT * INTO head FROM history_head h WHERE h.id = 1 FOR UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    SELECT * INTO STRICT head FROM history_head h WHERE h.id = 1 FOR UPDATE;
    moment := given_at + (clock_timestamp() - statement_timestamp());
  END IF;
  IF head.at > moment AND head.at < moment + interval '5 seconds' THEN
    moment := head.at;
  END IF;
  moment_text := to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"');
  FOR draft IN SELECT * FROM jsonb_array_elements(drafts) LOOP
    seq := head.seq + 1;
    at := moment;
    previous_hash := head.hash;
    hash := encode(sha256(convert_to(
      head.hash || '[' || seq || ',"' || moment_text || '",' || (draft ->> 'tail'), 'UTF8')), 'hex');
    INSERT INTO history_historyentry (seq, at, environment, actor, verb, subject, before_text, after_text, reason,
                                      request_id, cause_id, hidden, commitment, previous_hash, hash)
    VALUES (history_append.seq, moment, draft ->> 'environment', draft ->> 'actor', draft ->> 'verb',
            draft ->> 'subject', draft ->> 'before', draft ->> 'after', draft ->> 'reason', draft ->> 'request_id',
            (draft ->> 'cause')::bigint, (draft ->> 'hidden')::boolean, draft ->> 'commitment',
            history_append.previous_hash, history_append.hash);
    INSERT INTO history_personal (entry_id, salt, label)
    VALUES (history_append.seq, decode(draft ->> 'salt', 'hex'), draft ->> 'label');
    head.seq := seq;
    head.hash := hash;
    RETURN NEXT;
  END LOOP;
  UPDATE history_head h SET seq = head.seq, hash = head.hash, at = moment WHERE h.id = 1;
END $$;

CREATE TRIGGER history_checkpoint_no_update_delete BEFORE UPDATE OR DELETE ON history_checkpoint
  FOR EACH ROW EXECUTE FUNCTION history_refuse();
CREATE TRIGGER history_checkpoint_no_truncate BEFORE TRUNCATE ON history_checkpoint
  FOR EACH STATEMENT EXECUTE FUNCTION history_refuse();
"""

BACKWARD = """
DROP TRIGGER history_checkpoint_no_truncate ON history_checkpoint;
DROP TRIGGER history_checkpoint_no_update_delete ON history_checkpoint;
DROP FUNCTION history_append(timestamptz, jsonb);
"""


class Migration(migrations.Migration):
    dependencies = [("history", "0003_proof")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
