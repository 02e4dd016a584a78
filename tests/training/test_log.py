"""The log: one row a value, none twice, and a picture of the curves."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from vipe.training.log import RunLog


def test_rows_are_values(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run")
    log.write("train", 1, {"loss": 2.5, "tokens": 100.0})
    log.write("held_out", 1, {"scenes/loss": 1 / 3})
    assert log.rows() == [
        {"split": "train", "step": "1", "name": "loss", "value": "2.5"},
        {"split": "train", "step": "1", "name": "tokens", "value": "100"},
        {"split": "held_out", "step": "1", "name": "scenes/loss", "value": "0.333333"},
    ]
    assert (tmp_path / "run" / "log.csv").read_text().startswith("split,step,name,value\n")


def test_what_came_after_the_checkpoint_is_dropped(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for step in range(1, 6):
        log.write("train", step, {"loss": float(step)})
    again = RunLog(tmp_path, resume_at=3)
    assert [row["step"] for row in again.rows()] == ["1", "2", "3"]
    again.write("train", 4, {"loss": 9.0})
    assert [(row["step"], row["value"]) for row in again.rows()][-1] == ("4", "9")
    assert RunLog(tmp_path).rows() == [], "a run from the start"
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_a_row_that_was_cut_off_is_dropped(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.write("train", 1, {"loss": 2.5})
    whole = log.path.read_text()
    for cut in ("train,2,lo", "train,2", "tra", "train,2,loss,"):
        log.path.write_text(whole + cut)
        assert len(RunLog(tmp_path, resume_at=5).rows()) == 1
    log.path.write_text("")
    assert RunLog(tmp_path, resume_at=5).rows() == []


def test_the_curves_are_drawn(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.plot()  # with nothing in it
    for step in range(1, 130):
        log.write("train", step, {"loss": 3 / step, "alignment_loss": 2.0})
        if step % 50 == 0:
            log.write("held_out", step, {"scenes/loss": 1.0, "scenes/colour": step / 200})
    log.plot()
    with Image.open(log.picture) as picture:
        assert picture.format == "PNG"
        assert picture.width > 500
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "loss.png"]
