import itertools

from tests.fakes.serving import serving, wait_until
from understudy.demo.flywheel.live import LiveTraffic
from understudy.demo.flywheel.workload import Workload
from understudy.demo.options import Model
from understudy.demo.teacher import create_teacher
from understudy.demo.teacher_wire import MODEL


def test_requests_flow_while_something_else_is_done_and_none_is_left_afterwards() -> None:
    workload = Workload(1, 10, 10)
    with serving(create_teacher()) as url:
        live = LiveTraffic(Model(f"{url}/v1", MODEL), workload.traffic("trial"))
        with live.flowing():
            wait_until(lambda: len(live.replies) >= 30)
        assert not live.is_under_way
        replies = live.replies
    assert all(reply.is_right for reply in replies)
    sent = [reply.task.id for reply in replies]
    drawn = [task.id for task in itertools.islice(workload.traffic("trial"), len(sent))]
    assert sorted(sent) == sorted(drawn)


def test_a_server_that_is_gone_is_told_as_requests_without_an_answer() -> None:
    live = LiveTraffic(Model("http://127.0.0.1:1/v1", MODEL), Workload(1, 10, 10).traffic("trial"))
    with live.flowing():
        wait_until(lambda: len(live.replies) >= 4)
    assert all(reply.error for reply in live.replies)
