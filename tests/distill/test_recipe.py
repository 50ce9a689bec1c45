import pytest

from distill.recipe import (
    CannotTrain,
    Length,
    Pace,
    Precision,
    Preference,
    Recipe,
    is_bf16,
    is_stuck,
    length_of,
    pace_of,
    preference_length_of,
)


def test_lora_learns_at_ten_times_the_rate_of_all_weights() -> None:
    assert Recipe().chosen_rate == pytest.approx(10 * Recipe(full=True).chosen_rate)
    assert Recipe(learning_rate=0.5).chosen_rate == 0.5


def test_the_scale_follows_the_rank() -> None:
    assert (Recipe().chosen_rank, Recipe().chosen_alpha) == (16, 32.0)
    assert Recipe(rank=4).chosen_alpha == 8.0
    assert Recipe(rank=4, alpha=4.0).chosen_alpha == 4.0


@pytest.mark.parametrize("options", [{"rank": 4}, {"alpha": 1.0}, {"dropout": 0.1}])
def test_lora_options_do_not_go_with_full_training(options: dict[str, float]) -> None:
    with pytest.raises(CannotTrain, match="LoRA"):
        Recipe(full=True, **options)  # type: ignore[arg-type] # of either type


def test_the_card_is_told_what_was_left_open() -> None:
    told = Recipe(preference=Preference(beta=0.2)).document()
    assert (told["rank"], told["alpha"], told["learning_rate"]) == (16, 32.0, 2e-4)
    assert told["preference"] == {"epochs": 1.0, "learning_rate": 1e-5, "beta": 0.2}
    assert "rank" not in Recipe(full=True).document()


@pytest.mark.parametrize(
    ("batch", "micro", "processes", "pace"),
    [
        (16, 8, 1, Pace(8, 2)),
        (16, 16, 1, Pace(16, 1)),
        (16, 8, 2, Pace(8, 1)),
        (16, 8, 8, Pace(2, 1)),
        (12, 8, 1, Pace(6, 2)),  # 8 does not divide 12
        (7, 4, 1, Pace(1, 7)),
        (2, 8, 1, Pace(2, 1)),
    ],
)
def test_a_step_has_the_same_rows_however_it_is_divided(
    batch: int, micro: int, processes: int, pace: Pace
) -> None:
    found = pace_of(Recipe(batch_size=batch, micro_batch_size=micro), processes)
    assert found == pace
    assert found.micro_batch_size * found.accumulation * processes == batch


@pytest.mark.parametrize(("batch", "processes"), [(16, 3), (2, 4)])
def test_a_step_that_does_not_divide_is_refused(batch: int, processes: int) -> None:
    with pytest.raises(CannotTrain, match=f"multiple of {processes}"):
        pace_of(Recipe(batch_size=batch), processes)


def test_the_length_comes_of_epochs_or_is_said() -> None:
    assert length_of(Recipe(epochs=3), rows=100) == Length(19, 1)
    assert length_of(Recipe(epochs=0.01), rows=1) == Length(1, 1)
    assert length_of(Recipe(steps=40), rows=100) == Length(40, 4)
    assert length_of(Recipe(steps=40, measure_every=7), rows=100) == Length(40, 7)
    assert preference_length_of(Preference(epochs=2), Recipe(), rows=160) == Length(20, 2)


@pytest.mark.parametrize(
    ("asked", "device", "supported", "expected"),
    [
        ("auto", "cuda", True, True),
        ("auto", "cuda", False, False),
        ("auto", "cpu", False, False),
        ("bf16", "cpu", False, True),
        ("fp32", "cuda", True, False),
    ],
)
def test_the_precision_is_what_the_device_can(
    asked: Precision, device: str, supported: bool, expected: bool
) -> None:
    assert is_bf16(asked, device, is_supported=supported) is expected


def test_bfloat16_is_refused_where_an_accelerator_has_none() -> None:
    with pytest.raises(CannotTrain, match="bf16"):
        is_bf16("bf16", "cuda", is_supported=False)


@pytest.mark.parametrize(
    ("losses", "patience", "stuck"),
    [
        ([3, 2, 1], 2, False),
        ([1, 2, 3], 2, True),
        ([1, 2, 1], 2, True),  # as good is no better
        ([2, 3, 1.9], 2, False),
        ([1, 2], 2, False),  # too early to say
        ([1, 2, 3], 0, False),
        ([], 1, False),
    ],
)
def test_patience_ends_after_as_many_measurements_without_a_better(
    losses: list[float], patience: int, stuck: bool
) -> None:
    assert is_stuck(losses, patience) is stuck
