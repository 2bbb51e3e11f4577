import gc
import threading

import pytest

from xcs_airflow.garbage import collected_seldom


@pytest.fixture(autouse=True)
def _own_thresholds():
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def test_python_looks_less_often_while_the_block_runs():
    with collected_seldom():
        assert gc.get_threshold()[0] > 10_000
    assert gc.get_threshold() == (700, 10, 10)


def test_the_last_of_blocks_side_by_side_restores_what_was():
    first_may_end, first_ended = threading.Event(), threading.Event()

    def first():
        with collected_seldom():
            first_may_end.wait(20)
        first_ended.set()

    thread = threading.Thread(target=first)
    thread.start()
    while gc.get_threshold()[0] == 700:
        pass
    with collected_seldom():
        first_may_end.set()
        first_ended.wait(20)
        assert gc.get_threshold()[0] > 10_000
    thread.join()
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("own", [0, 1_000_000])
def test_a_collector_that_looks_less_already_is_left_alone(own):
    gc.set_threshold(own, 10, 10)
    with collected_seldom():
        assert gc.get_threshold()[0] == own
