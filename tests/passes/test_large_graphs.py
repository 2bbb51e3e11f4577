"""Ten thousand operations are no reason to wait for minutes."""

from xcs_airflow.ir import Graph, Operation
from xcs_airflow.passes import LLMGraphEnhancer

from .toys import llm, plain


def test_ten_thousand_operations_are_optimised():
    operations: list[Operation] = [plain("load", "words", items=50, distinct_items=40)]
    for index in range(9_999):
        again = index % 9_000
        operations.append(llm(f"c{index}", f"{again}: ", each=operations[again // 3].id, temperature=0, max_tokens=8))
    result = LLMGraphEnhancer().enhance(Graph(operations))
    assert len(result) == len(operations) - 999
    assert all(operation.batch is not None for operation in result if operation.kind == "llm")
