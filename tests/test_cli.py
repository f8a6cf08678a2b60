"""The command line, as somebody at a keyboard or a script meets it."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

import isthmus
from isthmus import AnomalyDetector, Autoencoder, Training
from isthmus.interfaces.cli import cli

CODE = "from isthmus.interfaces.cli import main; main()"
QUICK = ("--max-epochs", "3", "--n-components", "2", "--seed", "0")
HEAVY = ("torch", "sklearn", "polars", "numpy", "scipy", "pandas", "pydantic")


def run(*words: str, stdin: str | bytes | None = None, env: dict[str, str] | None = None) -> Result:
    return CliRunner(env={"COLUMNS": "80"} | (env or {})).invoke(cli, list(words), input=stdin)


def process(*words: str, stdin: bytes = b"", env: dict[str, str] | None = None, cwd: Path | None = None) -> Any:
    return subprocess.run(
        [sys.executable, "-c", CODE, *words],
        input=stdin,
        capture_output=True,
        env=environment(env),
        cwd=cwd,
        timeout=120,
    )


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    ours = {"PYTHONPATH": str(Path(isthmus.__file__).parents[1]), "COLUMNS": "80", "OMP_NUM_THREADS": "1"}
    return os.environ | ours | (more or {})


def table(n: int = 80, seed: int = 0) -> pl.DataFrame:
    """A height, its double, a word that says whether it is large, a gap here and there."""
    random = np.random.default_rng(seed)
    height = random.normal(size=n)
    return pl.DataFrame(
        {
            "height": height,
            "double": [None if i % 17 == 3 else 2 * value for i, value in enumerate(height)],
            "size": ["large" if value > 0 else "small" for value in height],
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, an odd one, a plain autoencoder and a detector, made once."""
    path = tmp_path_factory.mktemp("cli")
    table().write_csv(path / "table.csv")
    odd = table(12, seed=1)
    odd[5, "double"] = -40.0
    odd.write_csv(path / "odd.csv")
    quick = Training(max_epochs=40, batch_size=16)
    model = Autoencoder(2, training=quick, random_state=0, verbose=False)
    with pytest.warns(isthmus.errors.DoctorWarning):
        model.fit(table()).save(path / "plain.safetensors")
        AnomalyDetector(model, contamination=0.05).fit(table()).save(path / "detect.safetensors")
    return path


def error_of(result: Result, code: int) -> str:
    """The one line of an error."""
    assert result.exit_code == code, (result.exit_code, result.stderr, result.exception)
    lines = result.stderr.splitlines()
    assert "Traceback" not in result.output and lines, result.stderr
    assert lines[-1].startswith("error: ") and lines[-1].rstrip().endswith((".", "?")), lines
    assert sum(line.startswith("error: ") for line in lines) == 1
    return lines[-1]


# ---- help, and what must come at once


def test_help_names_every_command_and_task() -> None:
    said = run("--help").stdout
    for command in ("fit", "detect", "encode", "reconstruct", "generate", "info", "demo", "completion"):
        assert f"\n  {command} " in said
    assert run().stdout == said and run().exit_code == 0


@pytest.mark.parametrize("command", cli.list_commands(None))  # type: ignore[arg-type]
def test_every_help_has_examples_and_fits_80_columns(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0 and "Examples:\n" in result.stdout
    examples = result.stdout.partition("Examples:\n")[2]
    assert f"isthmus {command}" in examples
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["fit", "--help"], 0),
        (["fit", "--for", "detect", "--help"], 0),
        (["detect", "--help"], 0),
        (["completion", "bash"], 0),
        (["fit", "x.csv", "--print-config"], 0),
        (["fit", "x.csv", "-o", "y", "--variant", "sprase"], 2),
        (["fit", "no-such-file.csv", "-o", "y"], 2),
        (["detekt"], 2),
        (["info", "no-such-file"], 3),
    ],
)
def test_nothing_heavy_is_loaded_to_say(words: list[str], code: int) -> None:
    script = (
        "import sys\nfrom isthmus.interfaces.cli import main\ntry:\n    main()\nfinally:\n"
        f"    print('LOADED', sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, env=environment())
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1] == "LOADED []"


def test_version() -> None:
    assert run("--version").stdout == f"isthmus {isthmus.__version__}\n"


# ---- the way through


def test_fit_with_a_task_then_every_verb(folder: Path, tmp_path: Path) -> None:
    model, data = str(tmp_path / "m.safetensors"), str(folder / "table.csv")
    fitted = run("fit", data, "--for", "detect", "--contamination", "0.2", "-o", model, *QUICK)
    assert fitted.exit_code == 0 and fitted.stdout == "" and "saved" in fitted.stderr
    loaded = isthmus.load(model)
    assert isinstance(loaded, AnomalyDetector) and loaded.contamination == 0.2 and loaded.random_state == 0
    assert loaded.autoencoder_.n_components == 2 and loaded.autoencoder_.training.max_epochs == 3
    for words in (
        ("detect", model, data),
        ("encode", model, data),
        ("reconstruct", model, data),
        ("generate", model),
        ("info", model),
    ):
        done = run(*words)
        assert done.exit_code == 0 and done.stdout, done.stderr


def test_fit_does_what_python_does(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    words = ("--variant", "denoising", "--variant", "l1_sparse(weight=0.01)", "--optimizer", "sgd", "--l1", "1e-3")
    assert run("fit", str(folder / "table.csv"), "-o", str(path), *QUICK, *words, "-q").exit_code == 0
    training = Training(max_epochs=3, optimizer="sgd", l1=1e-3)
    variants = ["denoising", "l1_sparse(weight=0.01)"]
    ours = Autoencoder(2, variant=variants, training=training, random_state=0, verbose=False)
    with pytest.warns(isthmus.errors.DoctorWarning):
        ours.fit(pl.read_csv(folder / "table.csv"))
    assert np.array_equal(isthmus.load(path).transform(table()), ours.transform(table()))


def test_fit_says_what_became_of_it_in_json(folder: Path, tmp_path: Path) -> None:
    result = run("fit", str(folder / "table.csv"), "-o", str(tmp_path / "m"), *QUICK, "--json", "-q")
    said = json.loads(result.stdout)
    assert (said["n_samples"], said["epochs"], said["n_components"], said["kind"]) == (80, 3, 2, "Autoencoder")
    assert result.stderr == ""


def test_detect_prints_the_oddest_row_first_and_why(folder: Path) -> None:
    result = run("detect", str(folder / "detect.safetensors"), str(folder / "odd.csv"))
    lines = result.stdout.splitlines()
    assert result.exit_code == 0 and " of 12 rows are odd" in lines[0]
    assert lines[3].split()[0] == "5" and "-40" in result.stdout
    assert max(map(len, lines)) <= 80


def test_detect_writes_all_rows_to_a_file_and_the_oddest_to_stderr(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv.gz"
    result = run("detect", str(folder / "detect.safetensors"), str(folder / "odd.csv"), "-o", str(out))
    assert result.stdout == "" and "rows are odd" in result.stderr
    assert pl.read_csv(out)["row"].to_list() == list(range(12))
    quiet = run("detect", str(folder / "detect.safetensors"), str(folder / "odd.csv"), "-o", str(out), "-q")
    assert quiet.output == "" and quiet.exit_code == 0


def test_detect_json_lines_hold_the_scores(folder: Path) -> None:
    result = run("detect", str(folder / "detect.safetensors"), str(folder / "odd.csv"), "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    model = isthmus.load(folder / "detect.safetensors")
    assert np.allclose(
        [row["score"] for row in rows], -model.score_samples(str(folder / "odd.csv")), rtol=0, atol=1e-12
    )
    assert [row["odd"] for row in rows] == (model.predict(str(folder / "odd.csv")) == -1).tolist()


def test_detect_can_fail_where_rows_are_odd(folder: Path, tmp_path: Path) -> None:
    model, usual = str(folder / "detect.safetensors"), tmp_path / "usual.csv"
    assert run("detect", model, str(folder / "odd.csv"), "--fail-if-odd").exit_code == 5
    scores = isthmus.load(model).predict(table())
    table()[int(np.flatnonzero(scores == 1)[0])].write_csv(usual)
    assert run("detect", model, str(usual), "--fail-if-odd").exit_code == 0


def test_encode_gives_the_codes(folder: Path) -> None:
    result = run("encode", str(folder / "plain.safetensors"), str(folder / "table.csv"))
    rows = list(csv.reader(io.StringIO(result.stdout)))
    expected = isthmus.load(folder / "plain.safetensors").transform(table())
    assert rows[0] == ["autoencoder0", "autoencoder1"]
    assert np.allclose(np.array(rows[1:], dtype=float), expected, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".ndjson", ".csv.gz"])
def test_reconstruct_by_ending(folder: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"out{ending}"
    assert (
        run("reconstruct", str(folder / "plain.safetensors"), str(folder / "table.csv"), "-o", str(out)).exit_code == 0
    )
    from isthmus.data import Tables

    expected = isthmus.load(folder / "plain.safetensors").reconstruct(table())
    assert Tables.read(out)["size"].to_list() == expected["size"].to_list()
    assert np.allclose(Tables.read(out)["height"], expected["height"])


def test_generate_is_repeatable_with_a_seed(folder: Path) -> None:
    words = ("generate", str(folder / "plain.safetensors"), "-n", "7")
    first, again, other = (run(*words, "--seed", seed).stdout for seed in ("1", "1", "2"))
    assert first == again != other
    rows = list(csv.DictReader(io.StringIO(first)))
    assert len(rows) == 7 and {row["size"] for row in rows} <= {"large", "small"}
    lines = run(*words, "--json").stdout.splitlines()
    assert len(lines) == 7 and set(json.loads(lines[0])) == {"height", "double", "size"}


def test_a_model_of_arrays_writes_rows_too(tmp_path: Path) -> None:
    with pytest.warns(isthmus.errors.DoctorWarning):
        model = Autoencoder(1, training=Training(max_epochs=2), random_state=0).fit(np.eye(6)[:, :3])
    model.save(tmp_path / "m")
    assert run("generate", str(tmp_path / "m"), "-n", "2").stdout.splitlines()[0] == "x0,x1,x2"


def test_standard_input_is_read_once_for_everything(folder: Path, tmp_path: Path) -> None:
    data = (folder / "table.csv").read_bytes()
    model = str(tmp_path / "m")
    assert run("fit", "-", "--for", "detect", "-o", model, *QUICK, stdin=data).exit_code == 0
    piped = run("detect", model, "-", "--json", stdin=data).stdout
    assert piped == run("detect", model, str(folder / "table.csv"), "--json").stdout and piped.count("\n") == 80
    lines = "".join(json.dumps(row) + "\n" for row in table().to_dicts())
    assert run("detect", model, "-", "--json", stdin=lines).stdout == piped


def test_info_tells_what_the_model_says(folder: Path) -> None:
    said = json.loads(run("info", str(folder / "detect.safetensors"), "--json").stdout)
    model = isthmus.load(folder / "detect.safetensors")
    assert said["kind"] == "AnomalyDetector" and said["isthmus"] == isthmus.__version__
    assert said["columns"] == [{"name": f.name, "kind": f.kind} for f in model.autoencoder_.data_.schema]
    module = model.autoencoder_.module_
    assert said["n_weights"] == sum(value.numel() for value in module.state_dict().values())
    assert said["epochs"] == len(model.autoencoder_.history_)
    assert said["last_epoch"]["loss"] == model.autoencoder_.history_["loss"][-1]
    assert said["findings"] == [str(finding) for finding in model.autoencoder_.doctor_]
    text = run("info", str(folder / "detect.safetensors")).stdout
    assert "AnomalyDetector" in text and "size: categorical" in text and "contamination = 0.05" in text


def test_info_is_quick_and_needs_no_torch(folder: Path) -> None:
    start, heavy = CODE.replace("main()", ""), f"set({HEAVY!r}) & set(sys.modules)"
    code = f"import sys\n{start}\ntry:\n    main()\nfinally:\n    assert not {heavy}"
    command = [sys.executable, "-c", code, "info", str(folder / "detect.safetensors")]
    assert subprocess.run(command, capture_output=True, env=environment()).returncode == 0


def test_a_dry_run_trains_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    words = ("fit", str(folder / "table.csv"), "--dry-run", "--for", "detect", "--n-components", "2", "-o", str(out))
    said = json.loads(run(*words, "--json").stdout)
    assert not out.exists() and (said["n_samples"], said["n_components"]) == (80, 2)
    assert [column["kind"] for column in said["columns"]] == ["numeric", "numeric", "categorical"]
    plain = (*words[:3], *words[5:])  # without --for detect, whose default is another
    weights = isthmus.load(folder / "plain.safetensors").module_.parameters()
    assert json.loads(run(*plain, "--json").stdout)["n_parameters"] == sum(one.numel() for one in weights)
    assert said["n_parameters"] > sum(one.numel() for one in weights)
    text = run(*words).stdout
    assert "Mixed" in text and "categorical" in text
    assert run("fit", str(folder / "table.csv"), "--dry-run").exit_code == 0  # needs no -o


# ---- configuration


def test_config_then_variables_then_options(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        'max-epochs = 5\n[fit]\nl1 = 0.25\nfor = "detect"\ncontamination = 0.2\nvariant = ["vae"]\n[encode]\n'
    )

    def settings(*words: str, **env: str) -> Any:
        return tomllib.loads(run("fit", "--config", str(config), "--print-config", *words, env=env).stdout)["fit"]

    plain = settings()
    assert (plain["max_epochs"], plain["l1"], plain["for"], plain["contamination"]) == (5, 0.25, "detect", 0.2)
    assert settings(ISTHMUS_L1="0.5")["l1"] == 0.5
    assert settings("--l1", "0.75", ISTHMUS_L1="0.5")["l1"] == 0.75
    spaced = settings(ISTHMUS_VARIANT="denoising(damage='masking(share=0.5)') l1_sparse")
    assert spaced["variant"] == ["denoising(damage='masking(share=0.5)')", "l1_sparse"]
    assert settings(ISTHMUS_SEED="4")["random_state"] == settings("--random-state", "4")["random_state"] == 4


def test_what_print_config_prints_is_the_same_config(tmp_path: Path) -> None:
    words = (
        "fit",
        "x.csv",
        "-o",
        "ü.st",
        "--for",
        "detect",
        "--threshold",
        "conformal(rate=0.1)",
        "--patience",
        "none",
    )
    first = run(*words, "--variant", "denoising(damage='swap')", "--learning-rate", "3e-4", "--print-config").stdout
    (tmp_path / "c.toml").write_text(first)
    assert run("fit", "--config", str(tmp_path / "c.toml"), "--print-config").stdout == first
    assert tomllib.loads(first)["fit"]["patience"] == "none"


def test_none_is_passed_on_as_none(folder: Path, tmp_path: Path) -> None:
    assert run("fit", str(folder / "table.csv"), "-o", str(tmp_path / "m"), *QUICK, "--patience", "none").exit_code == 0
    assert isthmus.load(tmp_path / "m").training.patience is None


# ---- streams


def test_quiet_and_verbose(folder: Path, tmp_path: Path) -> None:
    words = ("fit", str(folder / "table.csv"), "-o", str(tmp_path / "m"), *QUICK)
    assert run(*words, "--quiet").output == ""
    said = run(*words).stderr.splitlines()
    assert any(line.startswith("note: column 'double' has missing values") for line in said)
    assert not any("Warning" in line or ".py:" in line for line in said)


def test_no_color_and_dumb_terminals_get_no_escape_codes(folder: Path) -> None:
    words = ("detect", str(folder / "detect.safetensors"), str(folder / "odd.csv"))
    assert "\x1b[" in run(*words, env={"FORCE_COLOR": "1", "TERM": "xterm"}).stdout
    for env in ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, {"TERM": "dumb", "FORCE_COLOR": "1"}, {}):
        assert "\x1b" not in run(*words, env=env).output


def test_columns_is_honoured(folder: Path) -> None:
    words = ("detect", str(folder / "detect.safetensors"), str(folder / "odd.csv"))
    narrow = run(*words, env={"COLUMNS": "50"}).stdout.splitlines()[1:]
    assert max(map(len, narrow)) <= 50 < max(map(len, run(*words, env={"COLUMNS": "100"}).stdout.splitlines()[1:]))


def test_what_a_cell_says_is_not_obeyed_by_the_terminal(tmp_path: Path, folder: Path) -> None:
    odd = table(12).with_columns(size=pl.lit("\x1b[2Jgone"))
    odd.write_csv(tmp_path / "evil.csv")
    result = run("detect", str(folder / "detect.safetensors"), str(tmp_path / "evil.csv"))
    assert result.exit_code == 0 and "\x1b" not in result.output


@pytest.mark.slow
def test_a_closed_pipe_is_no_error(folder: Path, tmp_path: Path) -> None:
    pl.concat([table()] * 400).write_csv(tmp_path / "long.csv")
    isthmus_ = f"{sys.executable} -c '{CODE}'"
    command = f"{isthmus_} encode {folder}/plain.safetensors {tmp_path}/long.csv | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment(), timeout=120)
    assert done.stdout.splitlines() == ["autoencoder0,autoencoder1", "141"] and done.stderr == ""


@pytest.mark.slow
def test_ascii_streams_do_not_end_a_run(folder: Path, tmp_path: Path) -> None:
    odd = table(12).with_columns(size=pl.lit("größer"))
    odd.write_csv(tmp_path / "wörter.csv")
    done = process(
        "detect", str(folder / "detect.safetensors"), str(tmp_path / "wörter.csv"), env={"PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == 0, done.stderr


# ---- stopping


def started(*words: str, cwd: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-c",
        CODE,
        "fit",
        *words,
        "--max-epochs",
        "1000000",
        "--patience",
        "none",
        "--seed",
        "0",
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(), cwd=cwd)


@pytest.mark.slow
def test_ctrl_c_in_training_saves_the_best_so_far(folder: Path, tmp_path: Path) -> None:
    run_ = started(str(folder / "table.csv"), "-o", "m", cwd=tmp_path)
    assert run_.stderr is not None
    run_.stderr.readline(), run_.stderr.readline()  # read, and the first note
    time.sleep(3)
    run_.send_signal(signal.SIGINT)
    said = run_.communicate(timeout=60)[1]
    assert run_.returncode == 130 and "Traceback" not in said
    assert said.splitlines()[-1] == "stopped by Ctrl-C: the best weights so far are in m"
    model = isthmus.load(tmp_path / "m")
    assert len(model.history_) > 0 and "stopped by hand" in model.history_.ended


@pytest.mark.slow
def test_sigterm_writes_the_checkpoint_and_the_same_command_goes_on(folder: Path, tmp_path: Path) -> None:
    words = (str(folder / "table.csv"), "-o", "m", "--checkpoint", "state")
    run_ = started(*words, cwd=tmp_path)
    assert run_.stderr is not None
    run_.stderr.readline()
    time.sleep(3)
    run_.send_signal(signal.SIGTERM)
    said = run_.communicate(timeout=60)[1]
    assert run_.returncode == 143 and not (tmp_path / "m").exists()
    assert said.splitlines()[-1].startswith("error: stopped by SIGTERM; 'state' holds the state")
    assert (tmp_path / "state").exists() and [path.name for path in tmp_path.iterdir()] == ["state"]
    again = started(*words, cwd=tmp_path)
    assert again.stderr is not None
    assert again.stderr.readline() == "going on from the checkpoint state\n"
    time.sleep(3)
    again.send_signal(signal.SIGINT)
    assert again.communicate(timeout=60) and again.returncode == 130


@pytest.mark.slow
def test_sigterm_without_a_checkpoint(folder: Path, tmp_path: Path) -> None:
    run_ = started(str(folder / "table.csv"), "-o", "m", cwd=tmp_path)
    assert run_.stderr is not None
    run_.stderr.readline()
    run_.send_signal(signal.SIGTERM)
    assert run_.communicate(timeout=60)[1].splitlines()[-1] == "error: stopped by SIGTERM; nothing was saved."
    assert run_.returncode == 143 and list(tmp_path.iterdir()) == []


# ---- errors


FIT = ("fit", "{table}", "-o", "{out}")
USAGE: dict[str, tuple[str, ...]] = {
    "'detekt' is no command; did you mean 'detect'?": ("detekt",),
    "'xyzzy' is no command; see": ("xyzzy",),
    "there is no option --halp": ("--halp",),
    "the argument DATA is missing": ("fit",),
    "the option -o MODEL is missing": ("fit", "{table}"),
    "--max-epoch; did you mean --max-epochs?": (*FIT, "--max-epoch", "3"),
    "--contamination belongs to the task detect: add --for detect": (*FIT, "--contamination", "0.1"),
    "no option --contamnation; --contamination belongs to": (*FIT, "--contamnation", "0.1"),
    "--for is 'detct'; did you mean 'detect'?": (*FIT, "--for", "detct"),
    "--for is '', which is unknown. Known: classify, cluster, colorize": (*FIT, "--for", ""),
    "option '--for' requires an argument": (*FIT, "--for"),
    "option '--l1' requires an argument": (*FIT, "--l1"),
    "unexpected extra argument": (*FIT, "more"),
    "--l1 is 'much'; it must be a number": (*FIT, "--l1", "much"),
    "l1 is -1; it must be a number at least 0": (*FIT, "--l1", "-1"),
    "--l1 is 'nan'": (*FIT, "--l1", "nan"),
    "--learning-rate is 'inf'": (*FIT, "--learning-rate", "inf"),
    "learning_rate is 0; it must be a number above 0": (*FIT, "--learning-rate", "0"),
    "validation is 1; it must be": (*FIT, "--validation", "1"),
    "--max-epochs is 'many'; it must be a whole number or 'auto'": (*FIT, "--max-epochs", "many"),
    "max_epochs is 0; it must be a whole number of at least 1": (*FIT, "--max-epochs", "0"),
    "--max-epochs is '1.5'": (*FIT, "--max-epochs", "1.5"),
    "batch_size is -4": (*FIT, "--batch-size", "-4"),
    "--patience is 'auto'": (*FIT, "--patience", "auto"),
    "--n-components is 'two'": (*FIT, "--n-components", "two"),
    "n_components is 0; it must be a whole number of at least 1": (*FIT, "--n-components", "0"),
    "--random-state is 'x'; it must be a whole number or none": (*FIT, "--seed", "x"),
    "--random-state is '1.5'": (*FIT, "--random-state", "1.5"),
    "--variant is 'sprase'; did you mean 'l1_sparse'?": (*FIT, "--variant", "sprase"),
    "write a name, or name(setting=value)": (*FIT, "--variant", "top_k("),
    "l1_sparse has no setting 'wieght'; did you mean 'weight'?": (*FIT, "--variant", "l1_sparse(wieght=1)"),
    "cannot read the settings in top_k(os.system": (*FIT, "--variant", "top_k(os.system('x'))"),
    "weight of l1_sparse is 'a'": (*FIT, "--variant", "l1_sparse(weight='a')"),
    "both own the bottleneck": (*FIT, "--variant", "top_k", "--variant", "vae"),
    "importance_weighted needs variational": (*FIT, "--variant", "importance_weighted"),
    "--network is 'dnse'; did you mean 'dense'?": (*FIT, "--network", "dnse"),
    "--network is 'custom', which is unknown": (*FIT, "--network", "custom"),
    "--likelihood is 'norml'; did you mean 'normal'?": (*FIT, "--likelihood", "norml"),
    "--optimizer is 'adm'; did you mean 'adam'?": (*FIT, "--optimizer", "adm"),
    "--optimizer is 'cosine', which is unknown": (*FIT, "--optimizer", "cosine"),
    "--schedule is 'cosin'; did you mean 'cosine'?": (*FIT, "--schedule", "cosin"),
    "--data-type is 'table'; did you mean 'tables'?": (*FIT, "--data-type", "table"),
    "--threshold is 'conform'; did you mean 'conformal'?": (*FIT, "--for", "detect", "--threshold", "conform"),
    "contamination is 0.7; it must be a share above 0": (*FIT, "--for", "detect", "--contamination", "0.7"),
    "precision is 'float8'; it must be one of": (*FIT, "--precision", "float8"),
    "device is 'gpu'": (*FIT, "--device", "gpu"),
    "'nothing.csv' does not exist": ("fit", "nothing.csv", "-o", "{out}"),
    "did you mean": ("fit", "{folder}/tabel.csv", "-o", "{out}"),
    "is of no kind that is known (images, series, tables)": ("fit", "{folder}/plain.safetensors", "-o", "{out}"),
    "is also read; give the result a name of its own": ("fit", "{table}", "-o", "{table}"),
    "which is a directory; give the path of a file": ("fit", "{table}", "-o", "{folder}"),
    "which is no plain file": ("fit", "{table}", "-o", "/dev/null"),
    "-o is -, but a model is a file of its own": ("fit", "{table}", "-o", "-"),
    "--config 'none.toml' cannot be read": (*FIT, "--config", "none.toml"),
    "--config '{table}' cannot be read": (*FIT, "--config", "{table}"),
    "holds an Autoencoder, and detect needs an AnomalyDetector": ("detect", "{plain}", "{table}"),
    "the model comes first, then the data": ("encode", "{table}", "{plain}"),
    "MODEL is -, but a model is read from a file": ("encode", "-", "{table}"),
    "give one of them": ("encode", "{plain}", "{table}", "--json", "-o", "{out}.csv"),
    "a table's name ends in .csv": ("encode", "{plain}", "{table}", "-o", "{out}.xlsx"),
    "-o is '{plain}', which is also read": ("encode", "{plain}", "{table}", "-o", "{plain}"),
    "--n-samples is 0; it must be": ("generate", "{plain}", "-n", "0"),
    "--n-samples is 'ten'": ("generate", "{plain}", "-n", "ten"),
    "n_rows is 0; it must be a whole number of at least 1": ("detect", "{detect}", "{table}", "--n-rows", "0"),
    "shell is 'tcsh'": ("completion", "tcsh"),
    "which is a file; give a directory": ("demo", "--into", "{table}"),
    "is not in the range": ("demo", "--seed", "-1"),
}


@pytest.mark.parametrize("sentence", USAGE)
def test_a_wrong_command_line_is_one_sentence_and_exit_2(sentence: str, folder: Path, tmp_path: Path) -> None:
    names = {name: str(folder / f"{name}.safetensors") for name in ("plain", "detect")}
    names |= {"table": str(folder / "table.csv"), "folder": str(folder), "out": str(tmp_path / "out")}
    before = {path: path.read_bytes() for path in folder.iterdir()}
    said = error_of(run(*(word.format(**names) for word in USAGE[sentence])), 2)
    assert sentence.format(**names) in said, said
    assert {path: path.read_bytes() for path in folder.iterdir()} == before and list(tmp_path.iterdir()) == []


BAD_TABLES: dict[str, bytes] = {
    "empty": b"",
    "only spaces": b"  \n\n",
    "a header alone": b"height,double,size\n",
    "a short row": b"height,double,size\n1,2,small\n1,2\n",
    "a long row": b"height,double,size\n1,2,small,9\n",
    "an open quote": b'height,double,size\n1,2,"small\n',
    "NUL bytes": b"height,double,size\n1,\0,small\n",
    "Latin-1": "height,double,size\n1,2,gr\u00f6\u00dfer\n".encode("latin-1"),
    "UTF-16": "height,double,size\n1,2,small\n".encode("utf-16"),
    "a repeated name": b"height,height,size\n1,2,small\n",
    "a missing column": b"height,size\n1,small\n",
    "another column": b"height,double,size,more\n1,2,small,3\n",
    "a word for a number": b"height,double,size\ntall,2,small\n",
    "an infinite value": b"height,double,size\ninf,2,small\n",
    "broken JSON": b'{"height": 1,\n',
    "no Parquet": b"PAR1 and then nothing",
    "no gzip": b"\x1f\x8b and then nothing",
}


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_a_bad_table_is_one_sentence_and_exit_2(kind: str, folder: Path) -> None:
    error_of(run("detect", str(folder / "detect.safetensors"), "-", stdin=BAD_TABLES[kind]), 2)


def test_a_bad_config_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    wrong = {
        "l1 = ": "cannot be read",
        "l1 = 'much'": "--l1 is 'much'",
        "lernrate = 1": "did you mean 'learning_rate'",
        "[fti]\nl1 = 1": "did you mean 'fit'",
        "for = 'detct'": "did you mean 'detect'",
        "variant = 3": "--variant is '3'",
        "l1 = [1, 2]": "--l1 is",
        "max_epochs = true": "--max-epochs is 'True'",
        "l1 = {}": "did you mean",
    }
    for text, sentence in wrong.items():
        config.write_text(text)
        said = error_of(run("fit", str(folder / "table.csv"), "-o", str(tmp_path / "m"), "--config", str(config)), 2)
        assert sentence in said or text == "l1 = {}", (text, said)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "text", "directory"])
def test_a_model_that_is_refused_is_exit_3(damage: str, folder: Path, tmp_path: Path) -> None:
    path, whole = tmp_path / "m", (folder / "detect.safetensors").read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    contents = {"empty": b"", "cut": whole[:-9], "flipped": flipped, "text": b"height,size\n1,2\n"}
    if damage == "directory":
        path.mkdir()
    elif damage in contents:
        path.write_bytes(contents[damage])
    for words in (("info", str(path)), ("detect", str(path), str(folder / "table.csv")), ("generate", str(path))):
        error_of(run(*words), 3)


def test_an_output_that_cannot_be_written_is_known_before_training(folder: Path, tmp_path: Path) -> None:
    started_ = time.monotonic()
    said = error_of(
        run("fit", str(folder / "table.csv"), "-o", str(tmp_path / "no" / "m"), "--max-epochs", "1000000"), 4
    )
    assert "its directory does not exist" in said and time.monotonic() - started_ < 10
    error_of(run("fit", str(folder / "table.csv"), "-o", str(tmp_path / "m"), "--checkpoint", "/no/state"), 4)
    error_of(run("encode", str(folder / "plain.safetensors"), str(folder / "table.csv"), "-o", "/no/x.csv"), 4)


def test_what_is_unexpected_asks_to_be_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus.interfaces import building

    def broken(*_: object) -> None:
        raise KeyError("some\nthing")

    monkeypatch.setattr(building, "learned", broken)
    words = ("generate", str(folder / "plain.safetensors"))
    assert "defect of Isthmus" in error_of(run(*words), 1)
    shown = run(*words, "--traceback")
    assert shown.exit_code == 1 and "Traceback" in shown.stderr and shown.stderr.splitlines()[-1].startswith("error: ")
    monkeypatch.setattr(building, "learned", lambda *_: (_ for _ in ()).throw(MemoryError()))
    assert "not enough memory" in error_of(run(*words), 4)


# ---- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    said = run("completion", shell).stdout
    assert "_ISTHMUS_COMPLETE" in said and "isthmus" in said


@pytest.mark.slow
def test_completion_knows_commands_options_and_names() -> None:
    def complete(line: str, word: int) -> str:
        env = {"_ISTHMUS_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(word)}
        return str(process(env=env).stdout.decode())

    assert "detect" in complete("isthmus de", 1)
    assert "--contamination" in complete("isthmus fit --for detect --cont", 4)
    assert "denoising" in complete("isthmus fit --variant de", 3)
