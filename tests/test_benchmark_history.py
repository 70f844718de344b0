"""The history of benchmarks: entries, the table, and what got worse."""

import json

import _common
import history
import pytest


def write(path, *ratios):
    for ratio in ratios:
        figures = {"narrow, CVAE, seconds": ratio, "narrow, CVAE, memory": 2}
        _common.record(path, "scale", figures)


def test_entry_says_where_its_ratios_come_from(tmp_path):
    path = tmp_path / "history.jsonl"
    write(path, 1.23456, 2)
    entry, second = map(json.loads, path.read_text().splitlines())
    assert entry["figures"] == {
        "narrow, CVAE, seconds": 1.2346,
        "narrow, CVAE, memory": 2,
    }
    assert second["figures"]["narrow, CVAE, seconds"] == 2
    assert set(entry["versions"]) == {"python", "numpy", "torch", "scikit-learn"}
    assert entry["machine"]["cores"] >= 1
    assert entry["commit"]
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_file_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _common.record(None, "scale", {"narrow, CVAE, seconds": 1})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "ratios, fails", [([4], 0), ([4, 6], 0), ([4, 6.1], 1), ([9, 4, 4], 0)]
)
def test_last_ratio_is_compared_with_the_one_before(ratios, fails, tmp_path):
    path = tmp_path / "history.jsonl"
    write(path, *ratios)
    sentences = history.grown(history.read(path))
    assert len(sentences) == fails
    assert all("narrow, CVAE, seconds is 6.10" in text for text in sentences)


def test_table_and_figure_have_every_ratio(tmp_path):
    path = tmp_path / "history.jsonl"
    write(path, 1, 2, 3, 4, 5)
    entries = history.read(path)
    lines = history.table(entries).splitlines()
    assert "| 2.00 | 3.00 | 4.00 | 5.00 |" in lines[2]
    assert len(lines) == 4
    history.draw(entries, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_every_recorded_figure_has_a_bound():
    entries = history.read()
    assert entries
    kinds = {name.rsplit(", ", 1)[1] for e in entries for name in e["figures"]}
    assert kinds <= set(history.ALLOWED)
