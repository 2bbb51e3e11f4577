"""The printed form."""

from xcs_airflow.ir import Constant, Graph, ListOf, Operation, RecordOf, Ref, print_graph

SMALL = """\
graph small(path="tickets.jsonl") schedule='0 6 * * *':
  %tickets = pipeline:load(path=$path) [items 240]  # pipeline.py:4
  %classify = map llm openai/gpt-4.1-mini(ticket=each %tickets) [max 8 t 0 cached batch=concurrent:openai×16]  # pipeline.py:9
  %summarise = map llm openai/gpt-4.1-mini(ticket=each %tickets) [max 8 t 0 cached batch=concurrent:openai×16]  # pipeline.py:9
  %report = pipeline:report(teams=%classify, lines=%summarise, title="Daily")  # pipeline.py:20
  return %report"""


def test_a_graph_prints_one_line_per_operation(graph):
    assert str(graph) == SMALL


def test_notes_stand_before_the_place(graph):
    line = print_graph(graph, {"report": "$0.01"}).splitlines()[-2]
    assert line.endswith('title="Daily")  $0.01  # pipeline.py:20')


def test_hostile_text_cannot_break_a_line(graphs):
    text = print_graph(graphs["hostile"]().replace(source=None))
    operations = [line for line in text.split("\n") if line.startswith("  %")]
    assert len(operations) == 2
    assert "\r" not in text
    assert "\0" not in text


def test_values_print_as_they_are_written():
    value = RecordOf(fields={"all": ListOf(items=(Ref(operation="a", path=("x", 0)), Constant(constant="é")))})
    graph = Graph([Operation(id="a", func="m:f", when=Ref(operation="a"))], output=value)
    assert print_graph(graph).splitlines()[1:] == ["  %a = m:f() when %a", '  return {"all": [%a["x"][0], "\\u00e9"]}']
