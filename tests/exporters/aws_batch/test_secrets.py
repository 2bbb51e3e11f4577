import pytest

from xcs_exporters.aws_batch.secrets import is_reference, name_variable, read_action, readable_arns, value_from

SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:openai-AbCdEf"
PARAMETER = "arn:aws:ssm:eu-central-1:123456789012:parameter/team/openai"


@pytest.mark.parametrize("reference", ["openai-key", "team/openai_key", SECRET, f"{SECRET}:key::", PARAMETER])
def test_names_and_arns_are_references(reference):
    assert is_reference(reference)


@pytest.mark.parametrize("reference", ["", "a b", "${Token}", "arn:aws:s3:::bucket", "key\n", "sécret", "x" * 501, f"{SECRET} x"])
def test_other_text_is_not(reference):
    assert not is_reference(reference)


def test_an_arn_is_read_as_given_and_only_it_may_be_read():
    assert value_from(f"{SECRET}:key::") == f"{SECRET}:key::"
    assert readable_arns(f"{SECRET}:key::") == (SECRET,)
    assert read_action(SECRET) == "secretsmanager:GetSecretValue"


def test_parameter_store_has_a_permission_of_its_own():
    assert readable_arns(PARAMETER) == (PARAMETER,)
    assert read_action(PARAMETER) == "ssm:GetParameters"


def test_a_name_is_a_parameter_of_the_template():
    begin = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${SecretOpenaiKey97aba2}"
    assert value_from("openai-key") == begin
    assert readable_arns("openai-key") == (begin, f"{begin}-??????")


def test_names_that_look_alike_get_different_parameters():
    assert len({name_variable(name) for name in ("openai-key", "openai/key", "openaiKey", "OpenaiKey")}) == 4
    assert name_variable("@" * 400).isalnum()
