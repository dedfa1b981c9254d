"""Partitions are made and dropped one by one, each in a transaction of its own, so that one that is slow or busy
takes no other back; a partition is locked before anybody looks whether it may go."""

from django.db import migrations

# An advisory lock, any number of our own: one worker at a time makes or drops.
KEEPERS = 0x70617274
MAKE = """
CREATE FUNCTION monitoring_partition_make(tier int, span bigint, begins bigint, most int) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    parent text := 'monitoring_rollup_' || tier;
    other text := parent || '_other';
    part text := parent || '_' || begins;
    since timestamptz := to_timestamp(begins);
    until timestamptz := to_timestamp(begins + span);
    many bigint;
BEGIN
    PERFORM pg_advisory_xact_lock({keepers});
    IF to_regclass(part) IS NOT NULL THEN
        RETURN 'stands';
    END IF;
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %I WHERE bucket_at >= $1 AND bucket_at < $2 LIMIT $3) AS few', other)
       INTO many USING since, until, most + 1;
    IF many > most THEN
        RETURN 'crowded';
    END IF;
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', other);
    -- whoever made it while we waited is seen for certain only now
    IF to_regclass(part) IS NOT NULL THEN
        RETURN 'stands';
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, parent);
    EXECUTE format(
        'WITH moved AS (DELETE FROM %I WHERE bucket_at >= $1 AND bucket_at < $2 RETURNING *) '
        'INSERT INTO %I SELECT * FROM moved', other, part
    ) USING since, until;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, since, until);
    RETURN 'made';
END
$$;
"""
DROP = """
CREATE FUNCTION monitoring_partition_drop(
    tier int, span bigint, begins bigint, keep bigint, moment timestamptz, rolled bigint
) RETURNS bool
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    parent text := 'monitoring_rollup_' || tier;
    part text := parent || '_' || begins;
    waiting text := format('SELECT EXISTS (SELECT FROM %I WHERE id > $1)', part);
    waits bool;
BEGIN
    PERFORM pg_advisory_xact_lock({keepers});
    IF to_regclass(part) IS NULL OR to_timestamp(begins + span + keep) > moment THEN
        RETURN false;
    END IF;
    -- first without a lock: what waits for the next tier may wait for long
    EXECUTE waiting INTO waits USING rolled;
    IF waits THEN
        RETURN false;
    END IF;
    -- in the order in which everybody else locks them
    EXECUTE format('LOCK TABLE ONLY %I IN ACCESS EXCLUSIVE MODE', parent);
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', part);
    EXECUTE waiting INTO waits USING rolled;
    IF waits THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE %I', part);
    RETURN true;
EXCEPTION WHEN undefined_table THEN
    -- somebody else dropped it while we waited
    RETURN false;
END
$$;
"""
OLD = "DROP FUNCTION monitoring_partitions_keep(int, bigint, bigint, timestamptz, int, bigint);"


class Migration(migrations.Migration):

    dependencies = [
        ("monitoring", "0009_panel_payloads"),
    ]

    operations = [
        migrations.RunSQL([MAKE.replace("{keepers}", str(KEEPERS)), DROP.replace("{keepers}", str(KEEPERS)), OLD]),
    ]
