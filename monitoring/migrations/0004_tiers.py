"""Rollups by tier: partitioned by width, then by time, so that what is too old is dropped and not deleted.

The rows so far stand in the tier of their width; the rollup takes them over from there.
"""

from django.db import migrations, models

# width, span of a partition and how long rows are kept, in seconds
TIERS = ((10, 3_600, 10_800), (60, 21_600, 180_000), (600, 86_400, 2_764_800), (3_600, 2_592_000, 34_560_000))
TABLE = """
CREATE SEQUENCE monitoring_rollup_id_seq AS bigint;
SELECT setval('monitoring_rollup_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM monitoring_rolluppartial));
CREATE TABLE monitoring_rollup_new (
    id bigint NOT NULL DEFAULT nextval('monitoring_rollup_id_seq'),
    series_id bigint NOT NULL,
    bucket_at timestamptz NOT NULL,
    width_seconds smallint NOT NULL,
    count bigint NOT NULL,
    total double precision NOT NULL,
    squares double precision NOT NULL,
    low double precision NOT NULL,
    high double precision NOT NULL,
    buckets bytea NOT NULL
) PARTITION BY LIST (width_seconds);
ALTER SEQUENCE monitoring_rollup_id_seq OWNED BY monitoring_rollup_new.id;
"""
TIER = """
CREATE TABLE monitoring_rollup_{width} PARTITION OF monitoring_rollup_new FOR VALUES IN ({width})
    PARTITION BY RANGE (bucket_at);
CREATE TABLE monitoring_rollup_{width}_other PARTITION OF monitoring_rollup_{width} DEFAULT;
"""
SWITCH = """
INSERT INTO monitoring_rollup_new (id, series_id, bucket_at, width_seconds, count, total, squares, low, high, buckets)
SELECT id, series_id, bucket_at, width_seconds, count, total, squares, low, high, buckets FROM monitoring_rolluppartial;
DROP TABLE monitoring_rolluppartial;
ALTER TABLE monitoring_rollup_new RENAME TO monitoring_rolluppartial;
ALTER TABLE monitoring_rolluppartial
    ADD PRIMARY KEY (id, width_seconds, bucket_at),
    ADD CONSTRAINT monitoring_partial_holds_something CHECK (count > 0 AND low <= high),
    ADD FOREIGN KEY (series_id) REFERENCES monitoring_series (id);
CREATE INDEX monitoring_partial_window ON monitoring_rolluppartial (series_id, bucket_at);
"""
# Only the owner of a table may make and drop its partitions; the application may ask for it.
KEEP = """
CREATE FUNCTION monitoring_partitions_keep(
    tier int, span bigint, keep bigint, moment timestamptz, ahead int, rolled bigint, OUT made int, OUT dropped int
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    parent text := 'monitoring_rollup_' || tier;
    other text := parent || '_other';
    current bigint := floor(extract(epoch FROM moment) / span);
    place bigint;
    part text;
    waits bool;
BEGIN
    made := 0;
    dropped := 0;
    FOR place IN current .. current + ahead LOOP
        part := parent || '_' || place * span;
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', other);
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, parent);
        EXECUTE format(
            'WITH moved AS (DELETE FROM %I WHERE bucket_at >= $1 AND bucket_at < $2 RETURNING *) '
            'INSERT INTO %I SELECT * FROM moved', other, part
        ) USING to_timestamp(place * span), to_timestamp((place + 1) * span);
        EXECUTE format(
            'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            parent, part, to_timestamp(place * span), to_timestamp((place + 1) * span)
        );
        made := made + 1;
    END LOOP;
    FOR part, place IN
        SELECT c.relname, substring(c.relname FROM '[0-9]+$')::bigint
          FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
         WHERE i.inhparent = to_regclass(parent) AND c.relname ~ '_[0-9]+$'
    LOOP
        CONTINUE WHEN to_timestamp(place + span + keep) > moment;
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I WHERE id > $1)', part) INTO waits USING rolled;
        CONTINUE WHEN waits;
        EXECUTE format('DROP TABLE %I', part);
        dropped := dropped + 1;
    END LOOP;
END
$$;
"""
FIRST = "SELECT monitoring_partitions_keep({0}, {1}, {2}, now(), 1, 0);"


class Migration(migrations.Migration):

    dependencies = [
        ("monitoring", "0003_otlp"),
    ]

    operations = [
        migrations.RunSQL(
            [TABLE, *(TIER.format(width=tier[0]) for tier in TIERS), SWITCH, KEEP, *(FIRST.format(*tier) for tier in TIERS)],
            state_operations=[
                migrations.RemoveConstraint(model_name="rolluppartial", name="monitoring_partial_width"),
                migrations.RemoveIndex(model_name="rolluppartial", name="monitoring_partial_age"),
            ],
        ),
        migrations.CreateModel(
            name="RolledUp",
            fields=[
                ("width_seconds", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("rolled_id", models.BigIntegerField()),
            ],
        ),
    ]
