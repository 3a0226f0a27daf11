import json

import numpy as np
import pytest

from dl_lectures.errors import UsageError
from dl_lectures.training import metrics

SEEDS = np.array([7, 8])


def write(path, step, steps):
    lines = metrics.JsonLines(path, step)
    for s in steps:
        lines.write(s, SEEDS, {"loss": np.array([s, np.nan])})
    lines.close()


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_row_for_every_step_and_seed(tmp_path):
    write(tmp_path / "m.jsonl", 0, [10, 20])
    assert read(tmp_path / "m.jsonl") == [
        {"step": 10, "seed": 7, "loss": 10.0},
        {"step": 10, "seed": 8, "loss": None},
        {"step": 20, "seed": 7, "loss": 20.0},
        {"step": 20, "seed": 8, "loss": None},
    ]


@pytest.mark.parametrize("tail", ["", '{"step": 40, "se', "\n", "null\n"])
def test_continuing_leaves_neither_gap_nor_repeat(tmp_path, tail):
    write(tmp_path / "m.jsonl", 0, [10, 20, 30])
    with (tmp_path / "m.jsonl").open("a") as file:
        file.write(tail)
    write(tmp_path / "m.jsonl", 20, [30, 40])
    assert [row["step"] for row in read(tmp_path / "m.jsonl")] == [10, 10, 20, 20, 30, 30, 40, 40]


def test_unwritable_is_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"cannot write .*m\.jsonl"):
        metrics.JsonLines(tmp_path / "nowhere" / "m.jsonl", 0)


def test_full_disk_is_one_line():
    """/dev/full refuses every byte."""
    log = metrics.JsonLines.__new__(metrics.JsonLines)
    log._path, log._file = "/dev/full", open("/dev/full", "wb")
    with pytest.raises(UsageError, match="No space left on device.*the same command continues"):
        log.write(1, SEEDS, {"loss": np.zeros(2)})
    with pytest.raises(UsageError):  # the buffered row is refused again
        log.close()


def test_tensorboard_gets_the_mean_over_seeds(tmp_path):
    from tensorboardX.proto import event_pb2

    log = metrics.open_log(tmp_path, 0, tensorboard=True, is_primary=True)
    with log:
        log.write(10, SEEDS, {"loss": np.array([1.0, 3.0])})
        log.sync()
    (path,) = (tmp_path / "tensorboard").iterdir()
    content, events = path.read_bytes(), []
    while content:  # length (8 bytes), its CRC (4), event, its CRC (4)
        length = int.from_bytes(content[:8], "little")
        events.append(event_pb2.Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    values = [(e.step, v.tag, v.simple_value) for e in events for v in e.summary.value]
    assert values == [(10, "loss", 2.0)]


def test_other_processes_write_nothing(tmp_path):
    with metrics.open_log(tmp_path, 0, tensorboard=True, is_primary=False) as log:
        log.write(10, SEEDS, {"loss": np.zeros(2)})
    assert not list(tmp_path.iterdir())


def test_plain_lines_say_step_loss_speed_and_time_left(capsys):
    with metrics.Progress(100, first_step=0) as progress:
        progress.say("compiling")
        progress.update(1, 9.0, "loss 5.0")  # the first chunk warms up
        progress.update(51, 14.0, "loss 2.5")
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["compiling", "step 51/100  loss 2.5  10 steps/s  00:00:04 left"]


def test_silent_progress(capsys):
    with metrics.Progress(100, first_step=0, silent=True) as progress:
        progress.say("compiling")
        progress.update(1, 1.0, "loss 5.0")
        progress.update(100, 2.0, "loss 5.0")
    assert capsys.readouterr().out == ""
