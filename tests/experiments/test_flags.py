"""The launcher as its users meet it: a program in a shell."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

TOY = pathlib.Path(__file__).with_name("toy.py")


def start(workdir, *flags):
    command = [sys.executable, str(TOY), f"--workdir={workdir}", *flags]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=workdir.parent,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )


def finish(process, timeout=120):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def toy(workdir, *flags):
    return finish(start(workdir, "--preset=smoke", *flags))


def test_from_an_empty_directory_to_done(tmp_path):
    workdir = tmp_path / "run"
    code, out, err = toy(workdir)
    assert (code, err) == (0, "")
    for words in ("seeds 0 to 2", "compiling", "HOLDS: It arrives."):
        assert words in out
    names = {p.name for p in workdir.iterdir()}
    assert {"config.json", "metrics.jsonl", "checkpoints", "results.json", "results.npz"} <= names
    assert {p.name for p in (workdir / "figures").iterdir()} == {"toy.png", "toy.svg"}
    found = json.loads((workdir / "results.json").read_text())
    assert found["experiment"] == "toy" and found["steps"] == 100 and found["num_seeds"] == 3
    assert found["claims"][0]["verdict"] == "holds"
    before = (workdir / "results.json").read_bytes()
    code, out, err = toy(workdir)
    assert (code, err) == (0, "") and "compiling" not in out and "HOLDS" in out
    assert (workdir / "results.json").read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--num-seeds=3"], "Unknown command line flag 'num-seeds'. Did you mean: num_seeds"),
        (["--rate=7"], "--rate must lie in (0, 1], not 7.0"),
        (["--steps=many"], "--steps=many"),
        (["--steps=0"], "--steps must be at least 1"),
        (["--noise=loud"], "should be one of <normal|none>"),
        (["there"], "unexpected argument 'there'"),
        (["--platform=abacus"], "no devices for --platform=abacus"),
        (["--preset=huge"], "should be one of <smoke|quick|full>"),
        (["--bad_step=33"], "not finite at step 33 of seed 0; last good checkpoint: "),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, flags, said):
    code, _, err = toy(tmp_path / "run", *flags)
    assert code == 2
    assert err.count("\n") == 1
    assert said in err


def test_a_differing_flag_is_named_and_nothing_is_lost(tmp_path):
    toy(tmp_path / "run")
    before = (tmp_path / "run" / "results.json").read_bytes()
    code, _, err = toy(tmp_path / "run", "--rate=0.3")
    assert code == 2 and "--rate is 0.3 now and was 0.1" in err
    assert (tmp_path / "run" / "results.json").read_bytes() == before


def test_help_lists_every_flag_with_its_default(tmp_path):
    code, out, err = toy(tmp_path / "run", "--help")
    assert (code, err) == (0, "")
    for words in (
        "A noisy walk",
        "--rate=<float> share of the way that a step goes (default: 0.1)",
        "--noise=<normal|none>",
        "(smoke: 100, quick: 200, full: 400)",
        "--[no]tensorboard",
    ):
        assert words in " ".join(out.split())
    assert not (tmp_path / "run").exists()


def wait_for(path, seconds=60):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_with_a_checkpoint_and_exit_code_0(tmp_path, number):
    workdir = tmp_path / "run"
    flags = ("--pause=0.01", "--steps=100000", "--checkpoint_every=5")
    process = start(workdir, "--preset=smoke", *flags)
    wait_for(workdir / "checkpoints" / "5")
    second = toy(workdir, *flags)  # meanwhile another one tries
    assert second[0] == 2 and f"in use by process {process.pid}" in second[2]
    process.send_signal(number)
    code, out, err = finish(process)
    assert (code, err) == (0, "")
    stopped_at = int(re.search(r"stopped at step (\d+) of 100000", out)[1])
    assert (workdir / "checkpoints" / str(stopped_at)).is_dir()
    assert not (workdir / "DONE").exists()
    process = start(workdir, "--preset=smoke", *flags[:1], f"--steps={stopped_at + 5}")
    code, out, _ = finish(process)
    assert code == 0 and f"continuing at step {stopped_at}" in out
    assert (workdir / "DONE").exists()


def test_two_processes_train_like_one(tmp_path):
    """Over loopback, one device each; both are killed should they hang."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = ("--preset=smoke", f"--coordinator_address={address}", "--num_processes=2")
    processes = [start(tmp_path / "two", *flags, f"--process_id={i}") for i in range(2)]
    try:
        for process in processes:
            assert finish(process)[0] == 0
    finally:
        for process in processes:
            process.kill()
    assert toy(tmp_path / "one", "--num_devices=1")[0] == 0
    rows = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert len(rows[0]) == len(rows[1])
    for one, two in zip(*rows, strict=True):
        assert two == pytest.approx(one, rel=1e-5)
