"""A run that is killed again and again ends in the same bits as one that nobody disturbed."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FLAGS = {
    "language_model": ("--steps=240",),
    "vae": ("--steps=600",),
    "dqn": ("--steps=600",),
    "long_term_memory": ("--steps=400",),  # of several parts
}


def start(experiment, workdir):
    command = [sys.executable, "-m", f"experiments.{experiment}", f"--workdir={workdir}"]
    command += ["--preset=smoke", "--num_devices=2", "--log_every=20", "--eval_every=400"]
    command += ["--checkpoint_every=20", *FLAGS[experiment]]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)


def newest_checkpoint(workdir):
    """Steps of the newest checkpoint, those of all parts added up; -1 before the first."""
    folders = [workdir / "checkpoints", *workdir.glob("parts/*/checkpoints")]
    steps = [
        max((int(name) for name in os.listdir(folder) if name.isdigit()), default=-1)
        for folder in folders
        if folder.is_dir()
    ]
    known = [step for step in steps if step >= 0]
    return sum(known) if known else -1


def run_until_killed(experiment, workdir, delay):
    """Starts or continues a run and kills it `delay` seconds after a checkpoint of its own.

    Returns whether it was still at work.
    """
    before = newest_checkpoint(workdir)
    process = start(experiment, workdir)
    while process.poll() is None and newest_checkpoint(workdir) <= before:
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("experiment", FLAGS)
def test_killed_and_continued_equals_undisturbed(tmp_path, experiment):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(experiment, whole).wait(300) == 0
    rng = random.Random()  # any moment must do
    kills = sum(run_until_killed(experiment, killed, rng.uniform(0, 0.3)) for _ in range(3))
    assert kills >= 2
    assert start(experiment, killed).wait(300) == 0
    found = [json.loads((path / "results.json").read_text()) for path in (whole, killed)]
    assert found[0]["state_sha256"] == found[1]["state_sha256"]
    assert found[0]["metrics"] == found[1]["metrics"]
    logs = [(path / "metrics.jsonl").read_bytes() for path in (whole, killed)]
    assert logs[0] == logs[1]
