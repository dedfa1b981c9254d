import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('monitoring', '0005_panel'),
    ]

    operations = [
        migrations.CreateModel(
            name='StoredPattern',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=60, unique=True)),
                ('document', models.JSONField()),
                ('seed', models.JSONField(null=True)),
                ('revision', models.IntegerField(default=1)),
                ('changed_at', models.DateTimeField()),
                ('changed_by', models.CharField(max_length=120)),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='LogCursor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source', models.CharField(choices=[('app log', 'app log'), ('security log', 'security log'), ('device logs', 'device logs')], max_length=20)),
                ('environment', models.CharField(blank=True, max_length=20)),
                ('revision', models.BigIntegerField(default=0)),
                ('read_at', models.DateTimeField(null=True)),
                ('line_id', models.BigIntegerField(default=0)),
                ('path', models.CharField(blank=True, max_length=1000)),
                ('inode', models.CharField(blank=True, max_length=24)),
                ('offset', models.BigIntegerField(default=0)),
                ('size', models.BigIntegerField(default=0)),
                ('head_bytes', models.IntegerField(default=0)),
                ('head_digest', models.CharField(blank=True, max_length=16)),
                ('trouble', models.CharField(blank=True, max_length=300)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('source', 'environment'), name='monitoring_cursor_once')],
            },
        ),
        migrations.CreateModel(
            name='PatternSample',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('environment', models.CharField(blank=True, max_length=20)),
                ('source', models.CharField(choices=[('app log', 'app log'), ('security log', 'security log'), ('device logs', 'device logs')], max_length=20)),
                ('at', models.DateTimeField()),
                ('line', models.CharField(max_length=500)),
                ('device_id', models.CharField(blank=True, max_length=200)),
                ('simulated', models.BooleanField(default=False)),
                ('pattern', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='samples', to='monitoring.storedpattern')),
            ],
            options={
                'indexes': [models.Index(fields=['pattern', 'environment', '-id'], name='monitoring_pattern_newest')],
            },
        ),
        migrations.CreateModel(
            name='PatternCount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('environment', models.CharField(blank=True, max_length=20)),
                ('minute_at', models.DateTimeField()),
                ('simulated', models.BooleanField(default=False)),
                ('count', models.BigIntegerField()),
                ('pattern', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='counts', to='monitoring.storedpattern')),
            ],
            options={
                'indexes': [models.Index(fields=['minute_at'], name='monitoring_pattern_age')],
                'constraints': [models.UniqueConstraint(fields=('pattern', 'environment', 'minute_at', 'simulated'), name='monitoring_pattern_minute'), models.CheckConstraint(condition=models.Q(('count__gt', 0)), name='monitoring_pattern_counted')],
            },
        ),
    ]
