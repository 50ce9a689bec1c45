import re
from pathlib import Path

import msgspec

from tests.understudy.flywheel.making import first, good_run, result, turn
from understudy.demo.flywheel.page import main, page, this_machine, write

PICTURE = Path("pictures/flywheel.png")


def test_the_page_says_what_was_run_where_and_when() -> None:
    text = page(good_run(), PICTURE)
    assert "`./dev flywheel --generations 3`" in text
    assert "2026-11-27" in text
    assert "2 cores of a processor" in text
    assert "18:20" in text
    assert "![Shares and cost per generation](pictures/flywheel.png)" in text


def test_the_page_has_a_row_per_generation_and_says_why_one_was_refused() -> None:
    text = page(good_run(), PICTURE)
    rows = re.findall(r"^\| ([0-3] [a-z ]+) \|", text, re.MULTILINE)
    assert rows == ["0 first", "1 promoted", "2 refused", "3 promoted"]
    assert "Generation 2, refused: the bill is not shown to be lower" in text


def test_every_table_has_as_many_cells_in_each_line() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", page(good_run(), PICTURE), re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_the_page_tells_what_does_not_hold() -> None:
    assert "**fails**" not in page(good_run(), PICTURE)
    assert page(result([first(), turn(1, 60)]), PICTURE).count("**fails**") == 1


def test_the_page_of_an_earlier_run_is_written_from_its_result(tmp_path: Path) -> None:
    run = good_run()
    saved = tmp_path / "flywheel.json"
    saved.write_bytes(msgspec.json.encode(run))
    path = tmp_path / "docs" / "flywheel.md"
    main([str(saved), str(path)])
    assert path.read_text() == page(run, PICTURE)
    picture = tmp_path / "docs" / "pictures" / "flywheel.svg"
    first_drawn = picture.read_bytes()
    assert picture.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    write(run, path)
    assert picture.read_bytes() == first_drawn


def test_the_machine_is_described_by_its_cores_and_processor() -> None:
    assert re.match(r"\d+ cores of \S.*, no GPU, \w+, Python 3\.", this_machine())
