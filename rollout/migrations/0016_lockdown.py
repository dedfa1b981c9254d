
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('rollout', '0015_guardrail_bands'),
    ]

    operations = [
        migrations.CreateModel(
            name='Lockdown',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('environment', models.CharField(choices=[('production', 'production'), ('staging', 'staging'), ('demo', 'demo')], max_length=20)),
                ('severity', models.CharField(choices=[('low', 'low'), ('medium', 'medium'), ('high', 'high'), ('critical', 'critical')], default='high', max_length=10)),
                ('reason', models.CharField(default='Security incident detected', max_length=300)),
                ('by', models.CharField(max_length=150)),
                ('reference', models.CharField(max_length=60)),
                ('at', models.DateTimeField()),
                ('entry', models.BigIntegerField(null=True)),
                ('asked_by', models.CharField(blank=True, max_length=150)),
                ('asked_reference', models.CharField(blank=True, max_length=60)),
                ('asked_at', models.DateTimeField(null=True)),
                ('asked_reason', models.CharField(blank=True, max_length=300)),
                ('lifted_by', models.CharField(blank=True, max_length=150)),
                ('lifted_reference', models.CharField(blank=True, max_length=60)),
                ('lifted_at', models.DateTimeField(null=True)),
            ],
            options={
                'ordering': ['-pk'],
                'constraints': [models.UniqueConstraint(condition=models.Q(('lifted_at', None)), fields=('environment',), name='rollout_one_lockdown_stands'), models.CheckConstraint(condition=models.Q(('severity__in', ('low', 'medium', 'high', 'critical'))), name='rollout_lockdown_severity'), models.CheckConstraint(condition=models.Q(('lifted_at', None), ('asked_at__isnull', False), _connector='OR'), name='rollout_lockdown_asked')],
            },
        ),
    ]
