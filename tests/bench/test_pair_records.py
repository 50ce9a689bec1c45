from bench.pair_records import microseconds, ways


def test_each_way_to_keep_a_pair_is_measured() -> None:
    measured = microseconds(rounds=1, calls=1)
    assert list(measured) == list(ways())
    assert all(each > 0 for each in measured.values())
