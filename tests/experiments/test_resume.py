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
# One run for each kind of learner; the first word is its experiment.
RUNS = {
    "language_model": "language_model --steps=240",
    "vae": "vae --steps=600",
    "gan": "gan_ring --steps=600 --runs=r1 --spectral_norm --ema_decay=0.9 "
    "--num_discriminator_updates=2",
    "dqn": "dqn --steps=600",
    "rainbow": "dqn --steps=300 --double --dueling --noisy --prioritized --n_step=3 "
    "--distribution=c51",
    "pqn": "minatar --steps=600",
    "ppo": "locomotion --steps=400 --env=Pendulum-v1",
    "tabular_control": "tabular_control --steps=400",
    "long_term_memory": "long_term_memory --steps=400",  # of several parts
}


def start(run, workdir):
    experiment, *flags = RUNS[run].split()
    command = [sys.executable, "-m", f"experiments.{experiment}", f"--workdir={workdir}"]
    command += ["--preset=smoke", "--num_devices=2", "--log_every=20", "--eval_every=400"]
    command += ["--checkpoint_every=20", *flags]
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


def run_until_killed(run, workdir, delay):
    """Starts or continues a run and kills it `delay` seconds after a checkpoint of its own.

    Returns whether it was still at work.
    """
    before = newest_checkpoint(workdir)
    process = start(run, workdir)
    while process.poll() is None and newest_checkpoint(workdir) <= before:
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("run", RUNS)
def test_killed_and_continued_equals_undisturbed(tmp_path, run):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(run, whole).wait(300) == 0
    rng = random.Random()  # any moment must do
    kills = sum(run_until_killed(run, killed, rng.uniform(0, 0.3)) for _ in range(3))
    assert kills >= 2
    assert start(run, killed).wait(300) == 0
    found = [json.loads((path / "results.json").read_text()) for path in (whole, killed)]
    assert found[0]["state_sha256"] == found[1]["state_sha256"]
    assert found[0]["metrics"] == found[1]["metrics"]
    logs = [(path / "metrics.jsonl").read_bytes() for path in (whole, killed)]
    assert logs[0] == logs[1]
