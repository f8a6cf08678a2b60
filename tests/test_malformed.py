"""Two hundred malformed inputs to the command line: each gets one sentence and exit code 2, and nothing is written."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from isthmus import AnomalyDetector, Autoencoder, Training
from isthmus.errors import DoctorWarning
from isthmus.interfaces.cli import cli

pytestmark = pytest.mark.slow

GOOD = "age,town,since,member\n" + "".join(
    f"{20 + i % 50},{('Oslo', 'Bergen')[i % 2]},2021-01-{1 + i % 28:02d},{'yes' if i % 3 else 'no'}\n"
    for i in range(60)
)


def truncated_parquet() -> bytes:
    import io

    whole = io.BytesIO()
    pl.DataFrame({"age": range(50)}).write_parquet(whole)
    return whole.getvalue()


def files() -> Iterator[tuple[str, bytes]]:
    """Files that no table can be read from, by their name."""
    text = GOOD.encode()
    yield "empty.csv", b""
    yield "header_only.csv", text.split(b"\n")[0] + b"\n"
    yield "blank_lines.csv", b"\n\n   \n\n"
    yield "nul.csv", text[:200] + b"\0\0\0" + text[200:]
    yield "latin1.csv", text + "31,Tromsø,2021-01-02,yes\n".encode("latin-1")
    yield "utf16.csv", GOOD.encode("utf-16")
    yield "twice.csv", text.replace(b"town", b"age", 1)
    yield "word.docx", b"PK\3\4" + bytes(range(256))
    yield "no_ending", text
    yield "wrong.xlsx", text
    yield "not_gzipped.csv.gz", text
    yield "not_parquet.parquet", text
    yield "not_json.ndjson", text
    yield "infinite.csv", text + b"inf,Oslo,2021-01-02,yes\n"
    yield "overflow.csv", text + b"1e999,Oslo,2021-01-02,yes\n"
    parquet = truncated_parquet()
    for share in range(1, 10):
        yield f"cut{share}.parquet", parquet[: len(parquet) * share // 10]
    generator = random.Random(0)
    for number in range(20):
        yield f"noise{number}.csv", bytes(generator.randrange(256) for _ in range(400)) + b"\0"
        yield f"noise{number}.parquet", bytes(generator.randrange(256) for _ in range(400))
        yield f"noise{number}.ndjson", bytes(generator.randrange(256) for _ in range(400))
    for number in range(20):
        lines = GOOD.splitlines()
        lines[5 + number] += ",surplus"
        yield f"ragged{number}.csv", "\n".join(lines).encode()
    for number, wrong in enumerate(["{", "[1, 2]", "7", '"word"', '{"age": }', '{"age": 1}{', "nul", '{"age"', "{}}"]):
        yield f"bad{number}.ndjson", b'{"age": 1}\n{"age": 2}\n' + wrong.encode() + b"\n"


def drifted() -> Iterator[tuple[str, bytes]]:
    """Tables that do not fit the model: its columns were age, town, since, member."""
    lines = GOOD.splitlines()
    header, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
    for gone in range(4):
        kept = [place for place in range(4) if place != gone]
        yield f"without_{header[gone]}.csv", _csv([header[i] for i in kept], [[row[i] for i in kept] for row in rows])
    for number in range(10):
        yield f"extra{number}.csv", _csv([*header, f"new{number}"], [[*row, "1"] for row in rows])
    for number in range(10):
        renamed = [f"{name}{number}" if place == number % 4 else name for place, name in enumerate(header)]
        yield f"renamed{number}.csv", _csv(renamed, rows)
    for number in range(20):
        wrong = [list(row) for row in rows]
        wrong[number][0] = ("old", "twelve", "3x", "--", "1,2".replace(",", ";"))[number % 5]
        yield f"words_for_numbers{number}.csv", _csv(header, wrong)
    for number in range(5):
        wrong = [list(row) for row in rows]
        wrong[number][2] = "someday"
        yield f"words_for_dates{number}.csv", _csv(header, wrong)


def _csv(header: list[str], rows: list[list[str]]) -> bytes:
    return "\n".join(",".join(row) for row in [header, *rows]).encode()


SETTINGS = [
    f"--{name}={value}"
    for name, values in {
        "n-components": ("0", "-3", "two", "1.5", ""),
        "variant": (
            "sprase",
            "top_k(k=0)",
            "l1_sparse(weight=-1)",
            "denoising(damage='fog')",
            "top_k(",
            "masked(share=2)",
        ),
        "network": ("desne", "dense(widths=(0,))", "dense(activation='rule')", "dense(depth=3)", "dense(dropout=1.5)"),
        "likelihood": ("gausian", "normal(scale=-1)", "normal(scale='wide')", "mixed(numeric='cauchy')"),
        "max-epochs": ("0", "-1", "many", "2.5"),
        "batch-size": ("0", "-1", "huge"),
        "optimizer": ("adman", "sgd(momentun=0.9)", "cosine"),
        "learning-rate": ("0", "-1", "fast", "nan"),
        "schedule": ("cosien", "adam"),
        "weight-decay": ("-1", "some"),
        "l1": ("-1", "x"),
        "clip": ("0", "-1"),
        "validation": ("1", "1.5", "-0.1", "half"),
        "patience": ("0", "-1", "none at all"),
        "precision": ("half", "64"),
        "device": ("gpu", "tpu:0"),
        "data-type": ("tabels", "tables(scaling='wide')", "tables(max_categories=0)"),
        "contamination": ("0", "0.6", "-1", "auto"),
        "threshold": ("quantil", "conformal(rate=2)", "fixed(value=)"),
        "seed": ("-1", "x"),
    }.items()
    for value in values
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("malformed")
    (here / "good.csv").write_text(GOOD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoctorWarning)
        model = AnomalyDetector(Autoencoder(2, training=Training(max_epochs=1)), random_state=0)
        model.fit(str(here / "good.csv")).save(here / "model.safetensors")
    return here


def refuse(folder: Path, *words: str) -> None:
    """One sentence on standard error, exit code 2, no file written."""
    before = sorted(path.name for path in folder.iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exit_code == 2, (words, done.exit_code, done.stdout, done.stderr)
    complaints = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(complaints) == 1 and len(complaints[0]) > 20, (words, done.stderr)
    assert "Traceback" not in done.output and done.stdout == "", (words, done.output)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_unreadable_files(folder: Path, tmp_path: Path) -> None:
    cases = list(files())
    for name, data in cases:
        (tmp_path / name).write_bytes(data)
        refuse(folder, "fit", str(tmp_path / name), "--quiet", "-o", str(folder / "new.safetensors"))
    assert len(cases) >= 100


def test_tables_that_do_not_fit_the_model(folder: Path, tmp_path: Path) -> None:
    cases = list(drifted())
    for name, data in cases:
        (tmp_path / name).write_bytes(data)
        refuse(folder, "detect", str(folder / "model.safetensors"), str(tmp_path / name))
    assert len(cases) >= 45


def test_settings_that_cannot_be(folder: Path) -> None:
    for setting in SETTINGS:
        good, new = str(folder / "good.csv"), str(folder / "new.safetensors")
        refuse(folder, "fit", good, "--for", "detect", "--quiet", "--max-epochs=1", setting, "-o", new)
    assert len(SETTINGS) >= 60


def test_there_are_two_hundred() -> None:
    assert len(list(files())) + len(list(drifted())) + len(SETTINGS) >= 200
    assert np.unique([name for name, _ in [*files(), *drifted()]]).size == len(list(files())) + len(list(drifted()))
