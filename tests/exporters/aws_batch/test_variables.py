from hypothesis import given
from hypothesis import strategies as st

from xcs_exporters.aws_batch.variables import as_intrinsic, as_properties, literal, variables_in

hostile = st.lists(st.sampled_from(["${", "}", "!", "${ImageUri}", "${!x}", "$", "{", "a", "${AWS::Region}", "\n"])).map("".join)


@given(hostile | st.text())
def test_literal_text_comes_back_and_holds_no_variable(text):
    assert as_intrinsic(literal(text)) == text
    assert list(variables_in(literal(text))) == []


def test_variables_become_what_cloudformation_calls_them():
    assert as_intrinsic("${ImageUri}") == {"Ref": "ImageUri"}
    assert as_intrinsic("${JobRole.Arn}") == {"Fn::GetAtt": ["JobRole", "Arn"]}
    assert as_intrinsic("${StoreUri}/cache") == {"Fn::Sub": "${StoreUri}/cache"}
    assert as_intrinsic("plain") == "plain"


def test_fields_get_a_capital_and_names_do_not():
    request = {"retryStrategy": {"attempts": 2}, "tags": {"xcs:pipeline": "p"}, "parameters": {"params": "{}"}, "command": ["${A}"]}
    assert as_properties(request) == {
        "RetryStrategy": {"Attempts": 2},
        "Tags": {"xcs:pipeline": "p"},
        "Parameters": {"params": "{}"},
        "Command": [{"Ref": "A"}],
    }


def test_variables_are_found_wherever_they_are():
    assert list(variables_in({"a": ["${One}", {"b": "x${Two.Arn}${!Three}"}], "c": 4})) == ["One", "Two"]
