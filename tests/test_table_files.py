"""Tables in files: what is read is what was written, and what is damaged is refused in one sentence."""

from __future__ import annotations

import datetime
import gzip
import io
import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from isthmus.data.tables import Tables
from isthmus.errors import DataError, StorageError

FRAME = pl.DataFrame(
    {
        "age": [39, 50, None, 28],
        "pay": [1.5, -2.25, 1e9, None],
        "name": ["Anna, the 1st", 'B "x"', "two\nlines", "Zoë"],
        "member": [True, False, None, True],
        "since": [datetime.date(2020, 1, 31), None, datetime.date(1969, 7, 20), datetime.date(2024, 2, 29)],
        "seen": [datetime.datetime(2020, 1, 31, 5, 6, 7), None, *[datetime.datetime(2021, 1, 1, 1, 1, 1, 250)] * 2],
    }
)
ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".ndjson", ".jsonl", ".json", ".ndjson.gz")


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_written_is_read(tmp_path: Path, ending: str) -> None:
    Tables.write(FRAME, tmp_path / f"table{ending}")
    back = Tables.read(tmp_path / f"table{ending}")
    assert back.equals(FRAME)
    assert back.schema == FRAME.schema
    assert [path.name for path in tmp_path.iterdir()] == [f"table{ending}"]  # no temporary file stays


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_fitted_file_gives_the_tensors_of_its_frame(tmp_path: Path, ending: str) -> None:
    Tables.write(FRAME, tmp_path / f"table{ending}")
    tables = Tables().fit(str(tmp_path / f"table{ending}"))
    of_file = tables.batch(tables.open(tmp_path / f"table{ending}"), slice(None))
    of_frame = tables.batch(tables.open(FRAME), slice(None))
    assert of_file.x.equal(of_frame.x)
    assert of_file.weight is not None and of_frame.weight is not None and of_file.weight.equal(of_frame.weight)
    assert isinstance(tables.from_tensor(of_file.x), pl.DataFrame)


@pytest.mark.parametrize("make", [pl.DataFrame.to_pandas, pl.DataFrame.to_arrow, pl.DataFrame.lazy])
def test_every_frame_can_be_written(tmp_path: Path, make: object) -> None:
    Tables.write(make(FRAME), tmp_path / "table.parquet")  # type: ignore[operator]
    back = Tables.read(tmp_path / "table.parquet")
    assert back.columns == FRAME.columns
    assert back["name"].equals(FRAME["name"])
    assert back["age"].cast(pl.Float64).equals(FRAME["age"].cast(pl.Float64))
    assert back["member"].cast(pl.Boolean).equals(FRAME["member"])
    assert back["since"].cast(pl.Date).equals(FRAME["since"])
    assert back["seen"].cast(pl.Datetime("us")).equals(FRAME["seen"])


def test_arrays_are_written_with_plain_names(tmp_path: Path) -> None:
    Tables.write(np.array([[1.0, 2.5], [3.0, np.nan]]), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == "x0,x1\n1.0,2.5\n3.0,\n"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_separators_and_line_ends_are_found(tmp_path: Path, separator: str, newline: str) -> None:
    rows = [["a", "b", "c"], ["1", "x y", "2.5"], ["2", "it's", "-1e3"]]
    (tmp_path / "table.csv").write_bytes(newline.join(separator.join(row) for row in rows).encode())
    assert Tables.read(tmp_path / "table.csv").rows() == [(1, "x y", 2.5), (2, "it's", -1000.0)]


def read(tmp_path: Path, text: str | bytes, name: str = "table.csv") -> pl.DataFrame:
    (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    frame: pl.DataFrame = Tables.read(tmp_path / name)
    return frame


@pytest.mark.parametrize("word", ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "?", "   ", '""'])
def test_missing_words_are_missing(tmp_path: Path, word: str) -> None:
    frame = read(tmp_path, f"n,t\n1,a\n{word},{word}\n2.5,b\n")
    assert frame["n"].to_list() == [1.0, None, 2.5]
    assert frame["t"].to_list() == ["a", None, "b"]


@pytest.mark.parametrize(
    ("cells", "dtype", "first"),
    [
        (["1", "-2", "+3"], pl.Int64, 1),
        (["1", "2.5", ".5", "1e-3", "7."], pl.Float64, 1.0),
        (["9223372036854775807", "1"], pl.Int64, 2**63 - 1),
        (["9223372036854775808", "1"], pl.Float64, 2.0**63),
        (["007", "123"], pl.String, "007"),  # a code, not a number
        (["1.2.3", "4"], pl.String, "1.2.3"),
        (["1,5", "2"], pl.String, "1,5"),
        (["true", "False"], pl.Boolean, True),
        (["yes", "no"], pl.String, "yes"),
        (["2021-03-04", "1899-12-31"], pl.Date, datetime.date(2021, 3, 4)),
        (["2021-02-30", "2021-03-04"], pl.String, "2021-02-30"),
        (["2021-03-04T05:06", "2021-03-04 05:06:07.5"], pl.Datetime("us"), datetime.datetime(2021, 3, 4, 5, 6)),
        (
            ["2021-03-04T05:06:07Z", "2021-03-04T05:06:07+02:00"],
            pl.Datetime("us", "UTC"),
            datetime.datetime(2021, 3, 4, 5, 6, 7, tzinfo=datetime.UTC),
        ),
        (["  12 ", "13"], pl.Int64, 12),
        (["  word ", "b"], pl.String, "word"),
    ],
)
def test_text_becomes_the_type_that_it_spells(
    tmp_path: Path, cells: list[str], dtype: pl.DataType, first: object
) -> None:
    frame = read(tmp_path, "a,b\n" + "".join(f'"{cell}",x\n' for cell in cells))
    assert frame["a"].dtype == dtype
    assert frame["a"][0] == first


def test_decimal_commas_are_understood_where_another_sign_separates(tmp_path: Path) -> None:
    assert read(tmp_path, "a;b\n1,5;x\n-2;y\n")["a"].to_list() == [1.5, -2.0]


def test_quotes_may_hold_separators_and_lines(tmp_path: Path) -> None:
    frame = read(tmp_path, 'a,b\n"1,2\n3","x ""y"" z"\n"",2\n')
    assert frame.rows() == [("1,2\n3", 'x "y" z'), (None, "2")]


def test_blank_lines_are_passed_over_but_a_lone_column_may_have_gaps(tmp_path: Path) -> None:
    assert read(tmp_path, "a,b\n\n1,2\n   \n3,4\n\n\n").rows() == [(1, 2), (3, 4)]
    assert read(tmp_path, "a\n1\n\n3\n")["a"].to_list() == [1, None, 3]


def test_columns_without_a_name_get_one(tmp_path: Path) -> None:
    assert read(tmp_path, ",a\n0,5\n1,6\n").columns == ["column 1", "a"]


def test_a_byte_order_mark_is_no_part_of_the_name(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n").columns == ["a", "b"]


def test_rows_are_checked_across_the_pieces_of_a_long_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.data._csv.PIECE", 7)
    rows = [(number, "x" * (number % 11) + ('\n"q", ' if number % 3 == 0 else ""), number / 8) for number in range(60)]
    text = "".join(f'{a},"{b.replace(chr(34), chr(34) * 2)}",{c}\n' for a, b, c in rows)
    frame = read(tmp_path, "a,b,c\n" + text)
    assert frame["a"].to_list() == [row[0] for row in rows]
    assert frame["c"].to_list() == [row[2] for row in rows]
    with pytest.raises(DataError, match=r"has 2 cells in line 82, where the header has 3"):
        read(tmp_path, "a,b,c\n" + text + "1,2\n")


def test_a_column_of_codes_stays_text_in_a_later_file(tmp_path: Path) -> None:
    read(tmp_path, "code,n\n" + "7,1\n8b,2\n" * 20, "train.csv")
    read(tmp_path, "code,n\n7,1\n", "later.csv")
    tables = Tables().fit(tmp_path / "train.csv")
    x = tables.batch(tables.open(tmp_path / "later.csv"), slice(None)).x
    assert tables.describe(0, x[0]) == "7"


@pytest.mark.parametrize(
    ("sent", "rows"),
    [
        (b"a,b\n1,x\n", [(1, "x")]),
        (b'{"a": 1, "b": "x"}\n', [(1, "x")]),
        (b' [{"a": 1, "b": "x"}]', [(1, "x")]),
        (gzip.compress(b"a;b\n1;x\n", mtime=0), [(1, "x")]),
    ],
)
def test_standard_input_is_told_by_its_first_bytes(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, rows: list[tuple[object, ...]]
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(sent)))
    assert Tables.read("-").rows() == rows


def test_json_rows_may_lack_keys_and_mix_kinds(tmp_path: Path) -> None:
    frame = read(tmp_path, '{"a": 1, "t": "x"}\n\n{"a": 2.5, "t": 3, "d": "2020-01-01"}\n{"a": NaN}\n', "t.ndjson")
    assert frame.rows() == [
        (1.0, "x", None),
        (2.5, "3", datetime.date(2020, 1, 1)),
        (None, None, None),
    ]


# ---- damage --------------------------------------------------------------------------------------------------------

PARQUET = io.BytesIO()
FRAME.write_parquet(PARQUET)
GOOD = PARQUET.getvalue()

DAMAGED: list[tuple[str, bytes, str]] = [
    ("empty.csv", b"", "is empty"),
    ("blank.csv", b" \n\n  \n", "is empty"),
    ("mark.csv", b"\xef\xbb\xbf", "is empty"),
    ("header.csv", b"a,b\n", "no rows"),
    ("header2.csv", b"a,b", "no rows"),
    ("header3.csv", b"a,b\n\n\n", "no rows"),
    ("nul.csv", b"a,b\n1,2\n1,\x00\n", "NUL byte in line 3"),
    ("zeros.csv", b"\x00" * 1000, "NUL byte in line 1"),
    ("junk.csv", bytes(range(256)) * 20, "NUL byte"),
    ("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(1, 256)), "not UTF-8"),
    ("utf16.csv", "a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    ("utf16be.csv", b"\xfe\xff" + "a,b\n1,2\n".encode("utf-16-be"), "UTF-16"),
    ("latin.csv", "a,b\n1,x\n2,Zo\xeb\n".encode("latin-1"), "not UTF-8: byte 0xeb in line 3"),
    ("cut.csv", "a,b\n1,é".encode()[:-1], "not UTF-8: byte 0xc3 in line 2"),
    ("twice.csv", b"a,b,a\n1,2,3\n", "2 columns named 'a'"),
    ("twice2.csv", b"a, a\n1,2\n", "2 columns named 'a'"),
    ("short.csv", b"a,b,c\n1,2,3\n1,2\n", "2 cells in line 3, where the header has 3"),
    ("long.csv", b"a,b\n1,2\n1,2,3\n", "3 cells in line 3, where the header has 2"),
    ("long2.csv", b"a\n1\n1,2\n", "2 cells in line 3"),
    ("first.csv", b"a,b\n1,2,3\n1,2\n", "3 cells in line 2"),
    ("quoted.csv", b'a,b\n"1\n2",3\n4\n', "1 cells in line 4"),
    ("open.csv", b'a,b\n1,2\n"3,4\n5,6\n', "line 3 that is never closed"),
    ("open2.csv", b'a,"b\n1,2\n', "line 1 that is never closed"),
    ("inch.csv", b'a,b\n5" pipe,1\n', "never closed"),
    ("giant.csv", b"a,b\n1," + b"x" * (20 * 2**20) + b"\n", "20.0 MB in column 'b'"),
    ("giant2.csv", b"x" * (20 * 2**20) + b"\n1\n", ""),
    ("giant3.csv", b'a,b\n1,"' + b"x\n" * (10 * 2**20) + b'"\n', "20.0 MB"),
    ("short.tsv", b"a\tb\n1\t2\n1\n3\t4\n", "1 cells in line 3"),
    ("nul.tsv", b"a\tb\n\x00\t2\n", "NUL byte"),
    ("plain.csv.gz", b"a,b\n1,2\n", "no gzip file"),
    ("cut.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 1000, mtime=0)[:-20], "damaged gzip"),
    ("flip.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)[:-6] + b"\x00" * 6, "damaged gzip"),
    ("magic.csv.gz", b"\x1f\x8b", "damaged gzip"),
    ("junk.csv.gz", b"\x1f\x8b" + b"junk" * 100, "damaged gzip"),
    ("empty.csv.gz", gzip.compress(b"", mtime=0), "is empty"),
    ("bomb.csv.gz", gzip.compress(b"\x00" * (64 * 2**20), mtime=0), "NUL bytes"),
    ("empty.parquet", b"", ""),
    ("text.parquet", b"a,b\n1,2\n", "no Parquet file"),
    ("cut.parquet", GOOD[:-30], "no Parquet file"),
    ("magic.parquet", b"PAR1PAR1PAR1", "damaged Parquet"),
    ("footer.parquet", b"PAR1" + b"\x00" * 40 + b"\xff\xff\xff\x7fPAR1", "damaged Parquet"),
    ("middle.parquet", GOOD[:4] + b"\xff" * (len(GOOD) - 12) + GOOD[-8:], "damaged Parquet"),
    ("empty.ndjson", b"", "is empty"),
    ("blank.ndjson", b"\n\n", "is empty"),
    ("csv.ndjson", b"a,b\n1,2\n", "line 1: this is no JSON"),
    ("cut.ndjson", b'{"a": 1}\n{"a": \n', "line 2: this is no JSON"),
    ("list.ndjson", b'{"a": 1}\n[1, 2]\n', "line 2: a row is a JSON object"),
    ("number.ndjson", b"5\n", "line 1: a row is a JSON object"),
    ("null.ndjson", b'{"a": 1}\nnull\n', "line 2: a row is a JSON object"),
    ("twice.ndjson", b'{"a": 1, "a": 2}\n', "'a' stands there more than once"),
    ("nested.ndjson", b'{"a": {"b": 1}}\n', "column 'a' holds a record"),
    ("array.ndjson", b'{"a": 1}\n{"a": [1]}\n', "column 'a' holds a list"),
    ("deep.ndjson", b"[" * 100_000, "no JSON"),
    ("deep2.ndjson", b'{"a":' * 100_000, "no JSON"),
    ("nul.ndjson", b'{"a": "\x00"}\n', "NUL byte in line 1"),
    ("latin.ndjson", '{"a": "é"}\n'.encode("latin-1"), "not UTF-8"),
    ("nothing.ndjson", b"{}\n{}\n", "no rows with values"),
    ("nothing.json", b"[]", "no rows with values"),
    ("scalar.json", b"[1]", "row 0"),
    ("word.json", b'"a"', "a row is a JSON object"),
    ("wide.json", b'{"a": 1}{"a": 2}', "no JSON"),
    ("table.xlsx", b"PK\x03\x04", "an ending that is no table's"),
    ("table", b"a,b\n1,2\n", "an ending that is no table's"),
]


@pytest.mark.parametrize(("name", "data", "words"), DAMAGED, ids=[case[0] for case in DAMAGED])
def test_damage_is_refused_in_one_sentence(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    started = time.perf_counter()
    with pytest.raises(DataError) as caught:
        Tables.read(tmp_path / name)
    assert time.perf_counter() - started < 10  # two seconds on a machine with nothing else to do
    sentence(str(caught.value), name)
    assert words in str(caught.value)


def sentence(text: str, name: str) -> None:
    assert name in text
    assert "\n" not in text and text.endswith(".") and len(text) < 500
    assert "Traceback" not in text and "polars" not in text.replace("pytest", "")


def test_places_that_are_no_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for place, words in [
        (tmp_path / "absent.csv", "does not exist"),
        (tmp_path / "folder.csv", "is a directory"),
        (tmp_path, "is a directory"),
        (tmp_path / "absent" / "table.csv", "does not exist"),
        ("bad\0name.csv", "cannot be opened"),
        ("n" * 5000 + ".csv", "cannot be opened"),
    ]:
        with pytest.raises(DataError, match=words):
            Tables.read(place)


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    Tables.write(FRAME, tmp_path / "table.csv")
    before = (tmp_path / "table.csv").read_bytes()
    with pytest.raises(DataError, match="write it as .parquet"):
        Tables.write(pl.DataFrame({"a": [[1], [2]]}), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes() == before
    (tmp_path / "folder.csv").mkdir()
    for place in (tmp_path / "absent" / "table.csv", tmp_path / "folder.csv"):
        with pytest.raises(StorageError):
            Tables.write(FRAME, place)
    for wrong in (tmp_path / "table.xyz", "-"):
        with pytest.raises(DataError):
            Tables.write(FRAME, wrong)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.csv", "table.csv"]


def test_a_cell_that_no_longer_fits_is_named(tmp_path: Path) -> None:
    read(tmp_path, "n,yes,day\n" + "1,0,2020-01-01\n2.5,1,2020-01-02\n" * 5, "train.csv")
    tables = Tables().fit(tmp_path / "train.csv")
    for text, words in [
        ("n,yes,day\n1,0,2020-01-01\nabc,1,2020-01-01\n", r"column 'n' holds the text 'abc' in row 1 .* had numbers"),
        ("n,yes,day\n1,7,2020-01-01\n", r"column 'yes' holds 7 in row 0 .* only no \(0\) and yes \(1\)"),
        ("n,yes,day\n1,maybe,2020-01-01\n", r"column 'yes' holds the text 'maybe' in row 0"),
        ("n,yes,day\n1,0,soon\n", r"column 'day' holds the text 'soon' in row 0 .* had dates"),
        ("n,yes,day\n1,0,12\n", r"column 'day' holds numbers, where training had dates"),
        ("n,yes,day\ninf,0,2020-01-01\n", r"column 'n' holds an infinite value in row 0"),
        ("n,yes,day\n1e400,0,2020-01-01\n", r"column 'n' holds an infinite value in row 0"),
        ("n,yes\n1,0\n", r"lacks the column 'day', which training had; add what is missing\."),
        ("n,yes,day,z\n1,0,2020-01-01,1\n", r"has the column 'z', which training did not have; drop what is new\."),
    ]:
        read(tmp_path, text, "later.csv")
        with pytest.raises(DataError, match=words):
            tables.open(tmp_path / "later.csv")


@pytest.mark.slow
def test_wide_and_long_files_are_read_in_seconds(tmp_path: Path) -> None:
    names = ",".join(f"c{place}" for place in range(20_000))
    assert read(tmp_path, names + "\n" + ",".join(["1"] * 20_000) + "\n").width == 20_000
    assert read(tmp_path, "a,b\n" + "1,x\n" * 300_000).height == 300_000


def test_json_numbers_beyond_64_bits_stay_numbers(tmp_path: Path) -> None:
    frame = read(tmp_path, json.dumps({"a": 2**70}) + "\n" + json.dumps({"a": 1}) + "\n", "t.ndjson")
    assert frame["a"].to_list() == [2.0**70, 1.0]
