from functools import partial

import pytest

from xcs_airflow.errors import ExportError
from xcs_airflow.exporting import target_settings
from xcs_exporters.aws_batch.settings import AwsBatchSettings

read_settings = partial(target_settings.read_settings, AwsBatchSettings, "aws-batch")


def test_everything_has_a_default():
    assert read_settings({}) == AwsBatchSettings()


def test_settings_are_read():
    chosen = read_settings(
        {"region": "eu-central-1", "store": "s3://bucket/a/b", "subnets": ["subnet-0a1b2c3d"], "spot": True, "env": {"A": "1"}}
    )
    assert (chosen.region, chosen.store, chosen.subnets, chosen.spot) == ("eu-central-1", "s3://bucket/a/b", ("subnet-0a1b2c3d",), True)


def test_an_unknown_setting_is_refused_with_the_nearest_name():
    with pytest.raises(ExportError) as caught:
        read_settings({"regoin": "eu-central-1"})
    (finding,) = caught.value.findings
    assert (finding.code, finding.hint) == ("XCS503", "did you mean 'region'?")


def test_every_finding_is_told():
    with pytest.raises(ExportError) as caught:
        read_settings({"store": "folder", "max_vcpus": 0, "queues": "q"})
    assert [finding.code for finding in caught.value.findings] == ["XCS503"] * 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("store", "s3://bucket/with/slash/"),
        ("store", "s3://bucket/$(id)"),
        ("image", "image; rm -rf"),
        ("image", "image\nx"),
        ("image", "image\n"),
        ("queue", "queue-name"),
        ("region", "europe"),
        ("subnets", ["net-1"]),
        ("log_retention_days", 2),
        ("env", {"AWS_BATCH_X": "1"}),
        ("env", {"OPENAI_API_KEY": "text"}),
        ("env", {"a-b": "1"}),
        ("env", {"A": "\0"}),
        ("env", {"A": "{{resolve:ssm:x}}"}),
    ],
)
def test_values_that_cannot_be_used_are_refused(name, value):
    with pytest.raises(ExportError) as caught:
        read_settings({name: value})
    assert caught.value.code == "XCS503"
