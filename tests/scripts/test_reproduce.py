"""One command for all experiments, tried on a project whose experiments are toys."""

import contextlib
import importlib
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from dl_lectures.errors import UsageError

ROOT = pathlib.Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("reproduce", ROOT / "scripts" / "reproduce.py")
reproduce = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reproduce)
EXPERIMENTS = reproduce.discover(ROOT / "experiments")
TOYS = {"early": (3,), "broken": (5,), "late": (10, 11)}
CRASH = "def run(config, options):\n    raise RuntimeError('no luck')\n"


def add_toy(project, name, slides, *changes):
    source = (ROOT / "tests" / "experiments" / "toy.py").read_text()
    for before, after in (("(0,)", str(slides)), ('"toy"', f'"{name}"'), *changes):
        assert before in source
        source = source.replace(before, after)
    (project / "experiments" / f"{name}.py").write_text(source)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the script with three small experiments, one of which crashes."""
    folder = tmp_path_factory.mktemp("project")
    for path in ("scripts/reproduce.py", *(f"experiments/{n}.py" for n in ("common", "flags"))):
        (folder / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    (folder / "experiments" / "__init__.py").touch()
    for name, slides in TOYS.items():
        add_toy(folder, name, slides)
    add_toy(folder, "broken", (5,), ("def report", f"{CRASH}\n\ndef report"))
    return folder


def start(project, *args):
    return subprocess.Popen(
        [sys.executable, "scripts/reproduce.py", "--preset=smoke", "--out=out", *args],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


def read(project):
    """The ledger, times aside."""
    document = json.loads((project / "out" / "ledger.json").read_text())
    for row in (*document["claims"], *document["experiments"]):
        row.pop("seconds", None)
    return document


@pytest.fixture(scope="module")
def whole(project):
    return finish(start(project, "--all", "--jobs=2", "--write_expected"))


@pytest.fixture
def copy(project, whole, tmp_path):
    return shutil.copytree(project, tmp_path / "copy")


def test_a_broken_experiment_costs_only_its_row(project, whole):
    code, said = whole
    assert code == 3, said
    document = read(project)
    experiments = document["experiments"]
    assert [(e["experiment"], e["status"]) for e in experiments] == [
        ("early", "done"),
        ("broken", "failed"),
        ("late", "done"),
    ]
    assert experiments[1]["error"] == "RuntimeError: no luck (exit code 1)"
    assert experiments[2]["slides"] == [10, 11]
    assert experiments[0]["command"] == (
        "python -m experiments.early --preset=smoke --workdir=out/early"
    )
    assert [row["claim_id"] for row in document["claims"]] == ["toy_arrives", "", "toy_arrives"]
    assert "Traceback" in (project / "out" / "broken.log").read_text()
    for path in ("early/figures/early.png", "late/DONE", "ledger.md", "report.html"):
        assert (project / "out" / path).stat().st_size > 0


def test_it_says_what_goes_on_and_ends_with_the_ledger(whole):
    lines = whole[1].splitlines()
    assert {"early: started", "broken: started", "late: started"} <= set(lines)
    assert "2 jobs share the cores: seconds are not comparable" in lines
    assert any(line.startswith("late: finished in ") for line in lines)
    verdict = next(i for i, line in enumerate(lines) if line.endswith(" early"))
    assert lines[verdict].split() == ["HOLDS", "3", "early"]
    assert lines[verdict + 1].strip() == "It arrives."
    assert lines[verdict + 2].strip().startswith("distance to the target <= 0.2: 0.0")
    assert "2 holds, 1 failed" in lines
    assert "\x1b" not in whole[1]


def test_again_it_runs_only_what_was_not_finished_or_is_asked_for_anew(copy):
    """One is mended and one has another preset by now, of which the expected results tell."""
    add_toy(copy, "broken", (5,))
    add_toy(copy, "late", (10, 11), ('("smoke", 100)', '("smoke", 120)'))
    code, said = finish(start(copy, "--all", "--jobs=2", "--check"))
    assert "early: finished before" in said
    assert "broken: started" in said and "late: started" in said
    steps = {e["experiment"]: e["steps"] for e in read(copy)["experiments"]}
    assert steps == {"early": 100, "broken": 100, "late": 120}
    assert code == 3
    drift = [line for line in said.splitlines() if line.startswith("DRIFT")]
    assert drift == [
        "DRIFT broken: not among the expected results; --write_expected adds it",
        "DRIFT late: steps is 120, expected 100",
    ]


def test_replot_draws_and_trains_nothing(copy):
    figures = copy / "out" / "early" / "figures"
    shutil.rmtree(figures)
    (copy / "out" / "late" / "results.json").unlink()
    before = (copy / "out" / "early" / "results.json").read_bytes()
    code, said = finish(start(copy, "--slides=3,8-11", "--replot"))
    assert {path.name for path in figures.iterdir()} == {"early.png", "early.svg"}
    assert (copy / "out" / "early" / "results.json").read_bytes() == before
    assert "started" not in said
    assert [e["status"] for e in read(copy)["experiments"]] == ["done", "missing"]
    assert code == 3


def test_as_expected_and_a_changed_number(copy):
    code, said = finish(start(copy, "--only=early", "--check"))
    assert code == 0, said
    assert "as in " in said
    path = copy / "out" / "early" / "results.json"
    document = json.loads(path.read_text())
    document["claims"][0] |= {"value": 0.5, "ci95": [0.4, 0.6]}
    path.write_text(json.dumps(document))
    code, said = finish(start(copy, "--only=early", "--replot", "--check"))
    assert code == 3
    assert "DRIFT early: toy_arrives: the verdict is FAILS, expected HOLDS" in said
    assert read(copy)["claims"][0]["verdict"] == "fails"


def wait_for_checkpoint(folder, least):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if any(name.isdigit() and int(name) >= least for name in os.listdir(folder)):
                return
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint of step {least} in {folder}")


@pytest.fixture
def slow(project, whole, tmp_path):
    """A copy in which one experiment is to be run again, and takes its time."""
    copy = shutil.copytree(project, tmp_path / "copy")
    shutil.rmtree(copy / "out" / "late")
    pause = ("if config.pause", "if True"), ("time.sleep(config.pause)", "time.sleep(0.01)")
    add_toy(copy, "late", (10, 11), *pause)
    return copy


def start_and_wait(project, step):
    """Starts it and waits for a checkpoint; returns the process and the id of its child."""
    process = start(project, "--only=late")
    wait_for_checkpoint(project / "out" / "late" / "checkpoints", step)
    return process, int((project / "out" / "late" / ".lock").read_text())


def assert_same_ledger(project, undisturbed):
    ours, theirs = read(project), read(undisturbed)
    for part in ("experiments", "claims"):
        expected = [x for x in theirs[part] if x["experiment"] == "late"]
        assert len(expected) == 1 and ours[part] == expected


def test_stopped_and_killed_it_continues_to_the_same_ledger(project, slow):
    process, _ = start_and_wait(slow, 25)
    process.send_signal(signal.SIGTERM)
    code, said = finish(process)
    assert code == 3
    assert "late: stopped after" in said
    assert said.splitlines()[-1] == (
        "stopped; continue with: python scripts/reproduce.py --preset=smoke --out=out --only=late"
    )
    assert [row["verdict"] for row in read(slow)["claims"]] == ["missing"]
    process, child = start_and_wait(slow, 50)
    process.kill()
    os.kill(child, signal.SIGKILL)
    finish(process)
    assert not (slow / "out" / "late" / "DONE").exists()
    code, said = finish(start(slow, "--only=late"))
    assert code == 0, said
    assert "continuing at step" in (slow / "out" / "late.log").read_text()
    assert_same_ledger(slow, project)


def test_killed_alone_it_waits_for_the_experiment_that_survived(project, slow):
    process, _ = start_and_wait(slow, 25)
    process.kill()
    finish(process)
    code, said = finish(start(slow, "--only=late"))
    assert code == 0, said
    assert "late: waiting for the process that works on it" in said
    assert_same_ledger(slow, project)


def test_a_real_experiment_from_run_to_report(tmp_path):
    args = ["--only=vae", "--preset=smoke", f"--out={tmp_path / 'out'}"]
    process = subprocess.run(
        [sys.executable, ROOT / "scripts" / "reproduce.py", *args],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode in (0, 3), process.stderr
    document = json.loads((tmp_path / "out" / "ledger.json").read_text())
    assert [(e["experiment"], e["status"]) for e in document["experiments"]] == [("vae", "done")]
    claims = json.loads((tmp_path / "out" / "vae" / "results.json").read_text())["claims"]
    assert [row["verdict"] for row in document["claims"]] == [c["verdict"] for c in claims]
    assert (tmp_path / "out" / "vae" / "figures" / "vae.png").exists()


def test_experiments_are_the_modules_with_slides_and_presets():
    found = []
    for path in (ROOT / "experiments").glob("*.py"):
        module = importlib.import_module(f"experiments.{path.stem}")
        if hasattr(module, "SLIDES") and hasattr(module, "PRESETS"):
            found.append((path.stem, module.SLIDES))
    assert dict(EXPERIMENTS) == dict(found)
    slides = [experiment.slides for experiment in EXPERIMENTS]
    assert slides == sorted(slides)


def test_an_experiment_that_cannot_be_parsed_is_seen(tmp_path):
    (tmp_path / "bad.py").write_text("SLIDES = (3,\n")
    (tmp_path / "common.py").write_text("SLIDES_OF = 3\n")
    assert reproduce.discover(tmp_path) == [("bad", ())]


@pytest.mark.parametrize(
    ("text", "slides"),
    [
        ("10-16", {10, 11, 12, 13, 14, 15, 16}),
        ("3,5,10-12", {3, 5, 10, 11, 12}),
        ("7 , 2-2", {2, 7}),
    ],
)
def test_lists_of_slides(text, slides):
    assert reproduce.parse_slides(text) == slides


@pytest.mark.parametrize("text", ["a", "5-3", "1,,2", "-3", "1-2-3", "99999"])
def test_bad_lists_of_slides(text):
    with pytest.raises(UsageError, match="--slides must be like"):
        reproduce.parse_slides(text)


def test_slides_choose_what_makes_one_of_them_run():
    chosen = [e.name for e in reproduce.choose(EXPERIMENTS, False, [], "11-12,31")]
    assert chosen == ["vanishing_gradient", "input_conflict", "vae"]
    assert reproduce.choose(EXPERIMENTS, True, [], "") == EXPERIMENTS


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "give one of --all, --only"),
        (["--all", "--only=vae"], "give one of"),
        (["--only=vae,gone"], "no experiment 'gone'; there are "),
        (["--slides=900-901"], "no experiment for these; there are some for 3-6, "),
        (["--slides=1:2"], "--slides must be like"),
        (["--all", "--preset=slow"], "--preset"),
        (["--all", "--jobs=0"], "--jobs"),
        (["--all", "--steps=3"], "steps"),
        (["vae"], "unexpected argument 'vae'"),
        (["--all", "--check", "--write_expected"], "exclude each other"),
        (["--all", "--out=/dev/null/x"], "choose another --out"),
    ],
)
def test_bad_usage_is_one_line(args, words, capsys):
    assert reproduce.main(["reproduce.py", *args]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("error: ") and words in err


def test_help_names_every_flag(capsys):
    assert reproduce.main(["reproduce.py", "--help"]) == 0
    said = capsys.readouterr().out
    for name in ("all", "only", "slides", "preset", "replot", "jobs", "out", "check"):
        assert f"--{name}" in said or f"--[no]{name}" in said
    assert "Exit codes" in said


@pytest.mark.parametrize(
    ("log", "code", "line"),
    [
        ("error: a bad flag\n", 2, "a bad flag (exit code 2)"),
        ("Traceback\n  x\nValueError: a\nmore of it\n", 1, "ValueError: a (exit code 1)"),
        ("a.b.XlaRuntimeError: full\n\n", 1, "a.b.XlaRuntimeError: full (exit code 1)"),
        ("something\n", 1, "something (exit code 1)"),
        ("", 1, "no output (exit code 1)"),
        ("step 3", -9, "ended by SIGKILL (out of memory?)"),
    ],
)
def test_the_line_that_says_why(log, code, line):
    assert reproduce.error_line(log, code) == line
