"""Signed checkpoints, and what a verification was held against."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('history', '0002_append_only'),
    ]

    operations = [
        migrations.CreateModel(
            name='Checkpoint',
            fields=[
                ('size', models.BigIntegerField(primary_key=True, serialize=False)),
                ('at', models.DateTimeField()),
                ('note', models.TextField()),
                ('nodes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=64), size=None)),
            ],
            options={
                'ordering': ['-size'],
            },
        ),
        migrations.AddField(
            model_name='head',
            name='at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='verification',
            name='checkpoint_size',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='verification',
            name='checkpoints',
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='verification',
            name='witnessed_seq',
            field=models.BigIntegerField(null=True),
        ),
    ]
