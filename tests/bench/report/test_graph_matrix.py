"""The image of many graphs: well-formed, and every share that is worth a number is in it."""

from xml.etree import ElementTree

from atdc.graph.task_graph import TaskGraph
from atdc.tasks import TASK_NAMES
from atdc_bench.experiments.statistics import graph_statistics
from atdc_bench.report.graph_matrix import graph_matrices_svg


def test_shares_are_written_where_they_are() -> None:
    graphs = [TaskGraph(((), (0,), (), (), (), (1,)))] * 3 + [TaskGraph.independent(6)]
    result = {"qualities": {"1": {"graphs": {"codebook": graph_statistics(graphs, TASK_NAMES)}}}}
    svg = graph_matrices_svg(result)
    root = ElementTree.fromstring(svg)
    numbers = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text") if (text.text or "").isdigit()]
    assert sorted(numbers) == sorted(["75", "75", "100", "25", "100", "100", "100", "25"])
