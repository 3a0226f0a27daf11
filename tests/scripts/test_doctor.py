"""What the doctor says of packages, faults, memory and time; and the whole of it in a shell."""

import importlib.metadata
import importlib.util
import io
import pathlib
import shutil
import subprocess
import sys
import tomllib

import jax
import pytest
import rich.console

from dl_lectures.data import text
from dl_lectures.errors import UsageError
from dl_lectures.reporting import plotting
from dl_lectures.rl import dqn
from dl_lectures.training import devices
from experiments import dqn as dqn_experiment

ROOT = pathlib.Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("doctor", ROOT / "scripts" / "doctor.py")
doctor = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(doctor)


def statuses(rows):
    return {row.topic: row.status for row in rows}


def test_packages_are_held_against_the_pins():
    pins = [
        "# a comment",
        "jax==0.10.2",
        "    # via flax",
        "numpy==2.4.6 ; python_full_version < '3.0'",
        "six==1.17.0",
        "Matplotlib_Fontja==1.1.0",
        "chex==0.1.92",
    ]
    installed = {"jax": "0.10.2", "six": "1.16.0"}
    rows = doctor.packages(pins, {"matplotlib-fontja": "ja"}, installed.get)
    assert rows[0].words == "1 of 4 as pinned"  # numpy's marker excludes it
    assert statuses(rows[1:]) == {"six": "note", "Matplotlib_Fontja": "note", "chex": "wrong"}
    words = {row.topic: row.words for row in rows}
    assert "1.16.0 differs from the pin ==1.17.0" in words["six"]
    assert words["Matplotlib_Fontja"].endswith(f"pip install -e '{ROOT}[ja]'")
    assert words["chex"].endswith(f"pip install -r {ROOT / 'requirements.txt'}")


def test_versions_outside_of_the_ranges_are_wrong():
    installed = {"gymnax": "0.0.9", "jax": "0.10.3"}
    rows = doctor.ranges(["jax >=0.10.2,<0.11", "gymnax >=1.0.1,<2", "rich >=14"], installed.get)
    assert statuses(rows) == {"gymnax": "wrong"}


@pytest.mark.parametrize(("version", "status"), [("3.10.9", "wrong"), ("3.13.1", "ok")])
def test_python(version, status):
    assert doctor.python(version, ">=3.11,<3.14").status == status


@pytest.mark.parametrize(
    ("version", "backend", "found"),
    [
        ("0.11.1", "cpu", ["wrong"]),
        ("0.11.1", "gpu", []),
        ("0.11.2", "cpu", []),
        ("0.11.0", "gpu", ["note"]),
        ("0.10.2", "cpu", ["note"]),
        ("0.8.1", "cpu", []),
        (None, "cpu", []),
    ],
)
def test_known_faults_of_jaxlib(version, backend, found):
    assert [row.status for row in doctor.jaxlib(version, backend)] == found


def test_extras_and_requirements_of_setup_cfg():
    section = {"ja": "\n# A font.\nmatplotlib-fontja >=1.1", "dev": "\nruff\nMatplotlib_fontja"}
    assert doctor.extras(section) == {"matplotlib-fontja": "ja", "ruff": "dev"}
    assert doctor.requirement_lines("\n# why\njax >=0.10\n\nsix\n") == ["jax >=0.10", "six"]


def test_replay_takes_what_arrays_take(monkeypatch):
    """Against the bytes of a state that was really made."""
    state = dqn.make(dqn_experiment.PRESETS["smoke"].config).init(jax.random.key(0))
    arrays = jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))
    keys = [x for x in arrays if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)]
    assert not keys  # environments carry none
    assert devices.num_bytes(state) == sum(x.nbytes for x in arrays)
    monkeypatch.setattr(doctor, "free_memory", lambda: 10 * devices.num_bytes(state))
    one_seed, *_ = doctor.replay(num_seeds=1)
    many, *_ = doctor.replay(num_seeds=100)
    assert one_seed.status == "ok" and "for 1 seeds" in one_seed.words
    assert many.status == "note" and "fewer --num_seeds" in many.words


def test_data_sets_that_are_missing_say_how_to_get_them(monkeypatch, tmp_path):
    def load(name):
        raise UsageError(f"{name} is missing; install it with: pip install {name}")

    monkeypatch.setattr(text, "load", load)
    monkeypatch.setenv("DL_LECTURES_DATA", str(tmp_path))
    rows = {row.topic: row for row in doctor.data_sets()}
    assert rows["data names"].words.endswith("pip install names")
    assert rows["data names"].status == "note"
    assert rows["data japanese_sentences"].status == "wrong"  # a default
    assert rows["data mnist"].status == "note"
    assert rows["data mnist"].words.endswith(f"--pack-destination {tmp_path}")
    assert rows["data digits"].status == "ok"
    assert "1,437 images" in rows["data digits"].words


@pytest.mark.parametrize(("has_font", "status"), [(True, "ok"), (False, "note")])
def test_fonts(monkeypatch, has_font, status):
    monkeypatch.setattr(plotting, "has_japanese", lambda: has_font)
    assert doctor.fonts().status == status


def test_half_as_fast_takes_twice_as_long():
    table = {"reference": {"steps_per_second": 1_000.0}, "seconds": {"quick": {"vae": 25}}}
    assert doctor.predictions(table, 500.0) == {"quick": {"vae": 50.0}}
    assert doctor.duration(50.0) == "50 s"
    assert doctor.duration(150.0) == "2.5 min"
    assert doctor.duration(None) == "not measured"


def test_the_probe_measures_for_as_long_as_it_is_told():
    rates = [doctor.probe(0.1) for _ in range(2)]
    assert all(100 < rate < 1e7 for rate in rates)


def test_the_table_of_seconds_names_experiments_and_presets():
    table = tomllib.loads((ROOT / "scripts" / "minutes.toml").read_text())
    assert set(table["seconds"]) <= set(doctor.PRESETS)
    assert {name for by_name in table["seconds"].values() for name in by_name} <= set(
        doctor.experiments()
    )
    assert {"language_model", "vae"} <= set(doctor.experiments())
    assert not {"common", "flags", "__init__"} & set(doctor.experiments())
    assert table["reference"]["steps_per_second"] > 0


def test_a_check_that_fails_costs_only_its_row(monkeypatch):
    def fail():
        raise RuntimeError("no luck")

    monkeypatch.setattr(doctor, "space", fail)
    monkeypatch.setattr(doctor, "_configured_devices", lambda: [])
    monkeypatch.setattr(doctor, "data_sets", lambda: [])
    rows = doctor.examine(num_seeds=1)
    row = next(row for row in rows if row.topic == "space")
    assert (row.status, row.words) == ("wrong", "RuntimeError: no luck")
    assert rows[-1].topic.startswith("replay, dqn ")


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("note", 0), ("wrong", 1)])
def test_exit_code(monkeypatch, capsys, status, code):
    monkeypatch.setattr(doctor, "examine", lambda num_seeds: [doctor.Row("x", status, "y[z]")])
    monkeypatch.setattr(doctor, "probe", lambda: 1.0)
    assert doctor.main(["doctor.py"]) == code
    out = capsys.readouterr().out
    assert "y[z]" in out  # no markup
    assert ("nothing essential is wrong" in out) == (code == 0)


def test_bad_usage_is_one_line(capsys):
    for args in (["--num_seeds=-1"], ["--seeds=3"], ["now"]):
        assert doctor.main(["doctor.py", *args]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
    assert doctor.main(["doctor.py", "--help"]) == 0
    assert "--num_seeds" in capsys.readouterr().out


def test_whole_in_an_empty_directory_with_a_pin_that_is_missing(tmp_path):
    project, empty = tmp_path / "project", tmp_path / "empty"
    (project / "scripts").mkdir(parents=True)
    empty.mkdir()
    for name in ("scripts/doctor.py", "scripts/minutes.toml", "setup.cfg"):
        shutil.copy(ROOT / name, project / name)
    six = importlib.metadata.version("six")
    (project / "requirements.txt").write_text(f"six=={six}\nno-such-package==1.0\n")
    done = subprocess.run(
        [sys.executable, str(project / "scripts" / "doctor.py"), "--num_seeds=64"],
        cwd=empty,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    assert done.returncode == 1
    assert "1 of 2 as pinned" in done.stdout
    assert "no-such-package" in done.stdout.splitlines()[-1]
    for words in ("for 64 seeds", "data tatoeba", "compile cache", "devices", "probe: "):
        assert words in done.stdout
    assert list(empty.iterdir()) == []  # nothing was written


def test_long_words_are_folded_not_cut():
    console = rich.console.Console(width=40, file=io.StringIO())
    doctor.show([doctor.Row("data", "note", "pip install " + "x" * 60)], console)
    assert console.file.getvalue().count("x") == 60
