import random

import pytest

from routing.promise.detector import (
    DEFERRED_STEPS,
    FALSE_ALARMS,
    STEPS,
    SUSPICIOUS,
    Detector,
    new_detector,
)


@pytest.mark.parametrize("steps", [STEPS, DEFERRED_STEPS])
@pytest.mark.parametrize("reference", [0.01, 0.05, 0.5, 0.98])
def test_a_loss_at_the_reference_adds_one_in_the_mean(
    reference: float, steps: tuple[float, ...]
) -> None:
    detector = Detector(reference, steps, (3.0,) * len(steps))
    lost, kept = detector.after(1.0).statistic, detector.after(0.0).statistic
    assert reference * lost + (1.0 - reference) * kept == pytest.approx(4.0)


@pytest.mark.parametrize("loss", [0.25, 0.5])
def test_a_part_of_a_loss_counts_as_the_same_part(loss: float) -> None:
    detector = new_detector(0.05)
    none, whole = detector.after(0.0).statistic, detector.after(1.0).statistic
    assert detector.after(loss).statistic == pytest.approx(none + loss * (whole - none))


def test_it_remembers_the_highest_on_the_way() -> None:
    detector = new_detector(0.05).after(1.0).after(1.0)
    later = detector.after(0.0).after(0.0)
    assert later.statistic < detector.statistic == later.highest


def test_a_student_that_got_worse_is_suspicious_first_and_found_then() -> None:
    detector, generator, since = new_detector(0.05), random.Random(4), None
    for count in range(1, 400):
        detector = detector.after(float(generator.random() < 0.15))
        if since is None and detector.is_suspicious:
            since = count
        if detector.has_alarmed(4_000, FALSE_ALARMS):
            break
    assert since is not None
    assert detector.highest >= SUSPICIOUS
    assert since < count < 300  # the study: 95% of runs within 255 labels or so


@pytest.mark.parametrize(("highest", "alarmed"), [(399_999.0, False), (400_000.0, True)])
def test_an_alarm_is_raised_at_the_labels_over_the_rate(highest: float, alarmed: bool) -> None:
    detector = Detector(0.05, STEPS, (0.0,) * 4, highest)
    assert detector.has_alarmed(4_000, FALSE_ALARMS) is alarmed


def test_with_hardly_any_labels_an_alarm_takes_evidence_all_the_same() -> None:
    assert not Detector(0.05, STEPS, (0.0,) * 4, 99.0).has_alarmed(0.0, FALSE_ALARMS)


@pytest.mark.parametrize(("said", "taken"), [(0.0, 1e-4), (0.3, 0.3), (1.02, 0.98)])
def test_the_reference_lies_where_risks_can_be_larger(said: float, taken: float) -> None:
    assert new_detector(said).reference == taken


@pytest.mark.simulated
def test_seldom_anything_is_found_where_nothing_changed() -> None:
    found, generator = 0, random.Random(5)
    for _ in range(100):
        detector = new_detector(0.1)
        for _ in range(200):
            detector = detector.after(float(generator.random() < 0.1))
        found += detector.has_alarmed(200, 0.1)
    assert found <= 10  # 1 in 10 is the bound, of 100 runs; it is not tight
