import json
import os
import subprocess
import sys

import pytest

from dl_lectures.errors import UsageError
from dl_lectures.reporting import workdir

RECORD = {
    "experiment": "toy",
    "config": {"rate": 0.1},
    "options": {"seed": 0, "steps": 100, "workdir": "a"},
    "versions": {"jax": "1"},
}
FREE = {"steps", "workdir"}


def test_a_second_process_is_told_who_holds_it(tmp_path):
    hold = "import pathlib, sys; from dl_lectures.reporting import workdir\n"
    hold += "with workdir.locked(pathlib.Path(sys.argv[1])): print('held', flush=True); input()"
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"in use by process {process.pid}"):
            with workdir.locked(tmp_path):
                pass
        process.kill()  # the lock goes with its process
    with workdir.locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
    with workdir.locked(tmp_path):
        pass


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write in .*choose another --workdir"):
        with workdir.locked(tmp_path / "file"):
            pass


def test_the_same_configuration_passes_and_free_flags_may_change(tmp_path):
    workdir.settle_config(tmp_path, RECORD, FREE)
    longer = RECORD | {"options": {"seed": 0, "steps": 200, "workdir": "b"}}
    workdir.settle_config(tmp_path, longer, FREE)
    assert json.loads((tmp_path / "config.json").read_text()) == longer


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": {"rate": 0.2}}, "--rate is 0.2 now and was 0.1"),
        ({"config": {"rate": 0.1, "width": 3}}, "--width is 3 now and was None"),
        ({"options": {"seed": 1, "steps": 100}}, "--seed is 1 now and was 0"),
        ({"experiment": "other"}, "--experiment is 'other' now and was 'toy'"),
    ],
)
def test_another_configuration_is_refused_by_flag(tmp_path, change, said):
    workdir.settle_config(tmp_path, RECORD, FREE)
    with pytest.raises(UsageError, match=said):
        workdir.settle_config(tmp_path, RECORD | change, FREE)
    assert json.loads((tmp_path / "config.json").read_text()) == RECORD


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"config'])
def test_a_damaged_config_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match=r"cannot read .*config\.json"):
        workdir.settle_config(tmp_path, RECORD, FREE)


def test_done_is_for_so_many_steps(tmp_path):
    assert not workdir.is_done(tmp_path, 100)
    workdir.mark_done(tmp_path, 100)
    assert workdir.is_done(tmp_path, 100)
    assert not workdir.is_done(tmp_path, 101)
