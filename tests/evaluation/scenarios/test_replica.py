from evaluation.scenarios.guard import Guard
from evaluation.scenarios.replica import MOST_WAITING_REPORTS, Counts, Replica, Told
from routing.steering import Grade, Sample, Standing
from tests.evaluation.scenarios.made_up import WIDE

STANDING = Standing(1, 1, 0.5, audit=0.1)
CAPPED = Standing(2, 1, 0.5, cap_pico=3_600_000, shares={"gateway-3.1": 0.5})
GRADE = Grade(0.7, 0.0, 0.1, 0.1, 1, is_kept=True)


def test_a_report_has_the_grades_that_were_due() -> None:
    replica = Replica(0, STANDING, Guard(WIDE))
    replica.expect(GRADE, 5)
    for second in (4, 5, 6):
        replica.report(second, second + 1.0, Counts(judged=second), Told((Sample(0.7),)))
    reports = replica.tell()
    assert [(each.sequence, each.judged, len(each.grades)) for each in reports] == [
        (1, 4, 0), (2, 5, 1), (3, 6, 0),
    ]  # fmt: skip
    assert reports[1].grades[0] is GRADE
    assert replica.tell() == []


def test_waiting_reports_are_bounded() -> None:
    replica = Replica(0, STANDING, Guard(WIDE))
    for second in range(MOST_WAITING_REPORTS + 7):
        replica.report(second, second + 1.0, Counts(), Told())
    assert [each.sequence for each in replica.tell()][:1] == [8]


def test_one_that_fell_comes_back_as_another_reporter() -> None:
    replica = Replica(2, STANDING, Guard(WIDE))
    replica.expect(GRADE, 5)
    replica.report(4, 5.0, Counts(), Told())
    replica.fall()
    replica.rise(CAPPED)
    replica.report(5, 6.0, Counts(), Told())
    (report,) = replica.tell()
    assert (report.replica, report.sequence, report.grades) == ("gateway-2.2", 1, ())


def test_its_part_of_a_cap_is_its_own() -> None:
    ours, theirs = Replica(3, STANDING, Guard(WIDE)), Replica(4, STANDING, Guard(WIDE))
    for replica in (ours, theirs):
        replica.follow(STANDING, 0.0)
        assert replica.cap is None
        for second in range(101):
            replica.follow(CAPPED, float(second))
    assert ours.cap is not None
    assert theirs.cap is not None
    assert ours.cap.may_spend(100 * 450, 100.0)
    assert not ours.cap.may_spend(1000, 100.0)
    assert not theirs.cap.may_spend(1, 100.0)
