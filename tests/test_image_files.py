"""Pictures in files: what is read is what was written, and what is damaged or hostile is refused in one sentence."""

from __future__ import annotations

import io
import json
import logging
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from isthmus.data._image_files import ImageFiles
from isthmus.data.images import Images
from isthmus.errors import DataError, SettingError, StorageError

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).parents[2] / "shared" / "data"))


def noise(*shape: int, seed: int = 0, high: int = 256, dtype: Any = np.uint8) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)


def with_palette(alpha: bool = False, grey: bool = False) -> Image.Image:
    image = Image.fromarray(noise(5, 7, high=40))
    table = noise(40, 4, seed=1)
    table[:, :3] = table[:, :1] if grey else table[:, :3]
    image.putpalette((table if alpha else table[:, :3]).tobytes(), "RGBA" if alpha else "RGB")
    return image


#: Every mode in every kind of file that holds it without loss.
EXACT: dict[str, tuple[Image.Image, tuple[str, ...]]] = {
    "1": (Image.fromarray(noise(5, 7) > 127), (".png", ".bmp", ".tif")),
    "L": (Image.fromarray(noise(5, 7)), (".png", ".bmp", ".tif")),
    "LA": (Image.fromarray(noise(5, 7, 2)), (".png", ".tif")),
    "P": (with_palette(), (".png", ".bmp", ".tif")),
    "P grey": (with_palette(grey=True), (".png", ".bmp")),
    "P alpha": (with_palette(alpha=True), (".png",)),
    "RGB": (Image.fromarray(noise(5, 7, 3)), (".png", ".bmp", ".tiff", ".webp")),
    "RGBA": (Image.fromarray(noise(5, 7, 4)), (".png", ".tif", ".webp")),
    "I;16": (Image.fromarray(noise(5, 7, high=65536, dtype=np.uint16)), (".png", ".tif")),
    "I": (Image.fromarray(noise(5, 7, high=10**6, dtype=np.int32) - 500_000), (".tif",)),
    "F": (Image.fromarray(noise(5, 7, high=1000).astype(np.float32) / 7 - 50), (".tif",)),
}
CASES = [(name, ending) for name, (_, endings) in EXACT.items() for ending in endings]


def save(image: Image.Image, path: Path, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exact = {"lossless": True, "exact": True} if path.suffix == ".webp" else {}
    image.save(path, **exact, **more)
    return path


def there_and_back(images: Images, X: Any, dtype: torch.dtype = torch.float32) -> Any:
    samples = images.open(X)
    return images.give_back(images.batch(samples, slice(None), dtype).x, samples)


def seen(path: Path) -> tuple[str, tuple[int, int], bytes]:
    """Mode, size, and the values as anybody sees them."""
    with Image.open(path) as image:
        visible = image.convert("RGBA") if image.mode == "P" else image
        return image.mode, image.size, visible.tobytes()


@pytest.mark.parametrize(("name", "ending"), CASES)
def test_what_is_written_is_what_was_read(tmp_path: Path, name: str, ending: str) -> None:
    """Through a tensor, to the last bit: mode, size, depth, palette."""
    path = save(EXACT[name][0], tmp_path / "in" / f"one{ending}")
    images = Images().fit(str(path.parent))
    back = there_and_back(images, str(path.parent), torch.float64 if name == "F" else torch.float32)
    Images.write(back, tmp_path / "out")
    assert seen(tmp_path / "out" / path.name) == seen(path)
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == [path.name]  # no temporary file stays
    assert Images.read(tmp_path / "out") == back


@pytest.mark.parametrize("name", EXACT)
def test_lists_of_images_come_back_in_their_mode(name: str) -> None:
    image = EXACT[name][0]
    before = image.tobytes()
    images = Images().fit([image, image])
    back = there_and_back(images, [image, image], torch.float64)
    assert image.tobytes() == before and image.mode == back[0].mode and image.size == back[1].size
    visible = [one.convert("RGBA").tobytes() if one.mode == "P" else one.tobytes() for one in (image, *back)]
    assert visible[0] == visible[1] == visible[2]


def test_all_modes_in_one_folder_each_come_back_in_theirs(tmp_path: Path) -> None:
    for number, (name, (image, endings)) in enumerate(EXACT.items()):
        if name not in ("I", "F"):
            save(
                image.resize((7 + number % 3, 5 + number % 2), Image.Resampling.NEAREST),
                tmp_path / f"{name}{endings[0]}",
            )
    images = Images().fit(tmp_path)
    assert images.feature_names == ["red", "green", "blue", "alpha"]
    Images.write(there_and_back(images, tmp_path), tmp_path / "out")
    for path in tmp_path.glob("*.*"):
        assert seen(tmp_path / "out" / path.name) == seen(path)


def test_cmyk_and_jpeg_keep_mode_and_look(tmp_path: Path) -> None:
    smooth = Image.linear_gradient("L").resize((40, 24))
    save(smooth.convert("CMYK"), tmp_path / "in" / "a.tif")
    save(smooth.convert("CMYK"), tmp_path / "in" / "b.jpg", quality=95)
    save(smooth.convert("RGB"), tmp_path / "in" / "c.jpg", quality=95)
    save(smooth, tmp_path / "in" / "d.jpeg", quality=95)
    images = Images().fit(tmp_path / "in")
    Images.write(there_and_back(images, tmp_path / "in"), tmp_path / "out")
    for path in (tmp_path / "in").iterdir():
        with Image.open(path) as one, Image.open(tmp_path / "out" / path.name) as other:
            assert (one.mode, one.size, one.format) == (other.mode, other.size, other.format)
            pair = [np.asarray(image.convert("RGB"), dtype=int) for image in (one, other)]
        assert np.abs(pair[0] - pair[1]).max() <= (0 if path.suffix == ".tif" else 6)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("ending", [".png", ".tif", ".webp", ".jpg"])
def test_exif_turns_are_applied(tmp_path: Path, turn: int, ending: str) -> None:
    """A photo stands as its camera says, and stays so when it is written."""
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = turn
    path = save(Image.fromarray(noise(16, 24, 3)), tmp_path / "in" / f"one{ending}", exif=exif)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    files = Images.read(tmp_path / "in")
    assert np.array_equal(files[0], upright)
    images = Images().fit(files)
    back = there_and_back(images, files)
    assert np.array_equal(back[0], upright) and images.spec.shape == (3, *upright.shape[:2])
    Images.write(back, tmp_path / "out")
    with Image.open(tmp_path / "out" / path.name) as image:
        assert image.getexif().get(0x0112, 1) == 1 and image.size == upright.shape[1::-1]


def test_profile_and_resolution_stay(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for ending in (".png", ".jpg", ".tif"):
        save(Image.fromarray(noise(4, 6, 3)), tmp_path / "in" / f"one{ending}", icc_profile=profile, dpi=(300, 200))
    images = Images().fit(tmp_path / "in")
    Images.write(there_and_back(images, tmp_path / "in"), tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        with Image.open(path) as image:
            assert image.info["icc_profile"] == profile
            assert [round(float(one)) for one in image.info["dpi"]] == [300, 200]


def test_a_colour_that_stands_for_transparent_becomes_alpha(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 9], [9, 200]], dtype=np.uint8))
    save(image, tmp_path / "one.png", transparency=9)
    images = Images().fit(tmp_path)
    assert images.feature_names == ["grey", "alpha"]
    assert there_and_back(images, tmp_path)[0].tolist() == [[[0, 255], [9, 0]], [[9, 0], [200, 255]]]


# ---- folders, patterns, lists


def make_folder(folder: Path, n: int = 4) -> list[str]:
    names = [f"{'ab'[i % 2]}/{i:02d}.png" for i in range(n)]
    for i, name in enumerate(names):
        save(Image.fromarray(noise(6 + i % 2, 8, seed=i)), folder / name)
    return sorted(names)


def test_folders_patterns_and_lists_give_names_in_order(tmp_path: Path) -> None:
    names = make_folder(tmp_path)
    (tmp_path / ".hidden").mkdir()
    save(Image.fromarray(noise(2, 2)), tmp_path / ".hidden" / "no.png")
    paths = [str(tmp_path / name) for name in names]
    assert Images.read(str(tmp_path)).names == names
    assert Images.read(str(tmp_path / "*" / "*.png")).names == names
    assert Images.read(str(tmp_path / "**" / "*")).names == names
    assert Images.read(paths[::-1]).names == names[::-1]
    assert Images.read(tmp_path / "a").names == [name[2:] for name in names if name[0] == "a"]
    assert Images.read(paths[0]).names == [names[0][2:]]
    kinds = [str(tmp_path), tmp_path, str(tmp_path / "*" / "*.png"), paths, [Path(path) for path in paths], paths[0]]
    assert all(map(Images.accepts, [*kinds, Images.read(tmp_path)]))


def test_what_is_none_of_ours_is_not_accepted(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    others = [
        str(tmp_path),
        str(tmp_path / "table.csv"),
        str(tmp_path / "*.csv"),
        "-",
        "x.parquet",
        ["a.csv"],
        [],
        3,
        None,
    ]
    assert not any(map(Images.accepts, others))
    with pytest.raises(DataError, match="holds no picture files"):
        Images().fit(tmp_path)
    with pytest.raises(DataError, match="finds no picture files"):
        Images().fit(str(tmp_path / "*.jpg"))
    with pytest.raises(DataError, match="does not exist"):
        Images().fit(str(tmp_path / "gone.png"))
    with pytest.raises(DataError, match="no plain file"):
        (tmp_path / "folder.png").mkdir()
        Images().fit([str(tmp_path / "folder.png")])


def test_other_files_in_a_folder_are_ignored_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_folder(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"\0")
    images = Images().fit(tmp_path)
    with caplog.at_level(logging.INFO, "isthmus"):
        assert len(images.open(tmp_path)) == 4
    assert "ignored, as no picture by its name: a/Thumbs.db, notes.txt" in caplog.text
    images.open(tmp_path)
    assert len(caplog.records) == 1  # it was said


@pytest.mark.parametrize("ending", [".png", ".webp", ".tif"])
def test_of_an_animated_file_the_first_picture_is_taken_and_said(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Image.fromarray(noise(6, 8, 3)), Image.fromarray(noise(6, 8, 3, seed=1))
    save(first, tmp_path / f"one{ending}", save_all=True, append_images=[second])
    images = Images().fit(tmp_path)
    with caplog.at_level(logging.INFO, "isthmus"):
        back = there_and_back(images, tmp_path)
    assert np.array_equal(back[0][..., :3], np.asarray(first))
    assert "animated" in caplog.text and f"one{ending}" in caplog.text


def test_sixteen_bits_for_each_colour_are_said_to_become_eight(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "deep.png").write_bytes(png(4, 3, depth=16, colour=2, rows=[b"\0" + bytes(range(24))] * 3))
    images = Images().fit(tmp_path)
    with caplog.at_level(logging.INFO, "isthmus"):
        assert there_and_back(images, tmp_path)[0].dtype == np.uint8
    assert "8 bits for each colour were taken of the 16 that it has: deep.png" in caplog.text


def test_mixed_sizes_stand_on_one_canvas(tmp_path: Path) -> None:
    names = make_folder(tmp_path)
    images = Images().fit(tmp_path)
    x, weight, _ = images.batch(images.open(tmp_path), slice(None))
    assert x.shape == (4, 1, 7, 8) and images.spec.free == (1, 2) and images.spec.gaps and weight is not None
    for place, name in enumerate(names):
        with Image.open(tmp_path / name) as image:
            pixels = np.asarray(image)
        height = len(pixels)
        assert np.array_equal((255 * x[place, 0, :height]).round().numpy(), pixels)
        assert bool((weight[place, 0, :height] == 1).all()) and bool((weight[place, 0, height:] == 0).all())
    back = there_and_back(images, tmp_path)
    assert [one.shape for one in back] == [one.shape for one in Images.read(tmp_path)] and back.names == names


# ---- writing


def test_results_do_not_replace_what_they_were_made_from(tmp_path: Path) -> None:
    make_folder(tmp_path)
    with pytest.raises(SettingError, match="would be replaced"):
        Images.write(Images.read(tmp_path), tmp_path)
    Images.write(Images.read(tmp_path), tmp_path / "copy")
    assert Images.read(tmp_path / "copy") == Images.read(
        [str(tmp_path / name) for name in Images.read(tmp_path).names[:4]]
    )


def test_names_never_lead_out_of_the_folder(tmp_path: Path) -> None:
    from dataclasses import replace

    files = Images().fit(np.zeros((1, 2, 2), np.uint8)).from_tensor(torch.zeros(1, 1, 2, 2), "files")
    for name in ("../evil.png", "/tmp/evil.png", "a/../../evil.png", ""):
        with pytest.raises(DataError, match="inside a folder"):
            ImageFiles([replace(files.files[0], name=name)]).write(tmp_path / "out")
    assert not list(tmp_path.rglob("*.png"))


def test_arrays_are_written_with_numbers(tmp_path: Path) -> None:
    grey, deep = noise(3, 4, 5), noise(2, 4, 5, high=65536, dtype=np.uint16)
    Images.write(grey, tmp_path / "grey")
    assert [np.array_equal(a, b) for a, b in zip(Images.read(tmp_path / "grey"), grey, strict=True)] == [True] * 3
    Images.write(deep, tmp_path / "deep")
    assert all(np.array_equal(a, b) for a, b in zip(Images.read(tmp_path / "deep"), deep, strict=True))
    Images.write([noise(2, 2, 3), noise(3, 3) > 100, np.linspace(0, 1, 6).reshape(2, 3)], tmp_path / "list")
    assert [one.dtype for one in Images.read(tmp_path / "list")] == [np.uint8, bool, np.uint8]
    Images.write(grey[:1], tmp_path / "single.bmp")
    assert np.array_equal(Images.read(tmp_path / "single.bmp")[0], grey[0])
    for wrong, words in (
        (np.full((1, 2, 2), 99.0), "from 0 to 1"),
        (noise(1, 2, 2, 3, dtype=np.uint16), "convert it to uint8"),
        (np.zeros((3, 3)), "no pictures to write"),
        ("photo", "no pictures to write"),
    ):
        with pytest.raises(DataError, match=words):
            Images.write(wrong, tmp_path / "wrong")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        Images.write(grey, tmp_path / "file" / "x")


# ---- damaged and hostile files


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int = 8, colour: int = 0, rows: Any = (), level: int = 9) -> bytes:
    """A PNG whose header may say anything."""
    packed = zlib.compressobj(level)
    data = b"".join(packed.compress(row) for row in rows) + packed.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff(tags: list[tuple[int, int, int, int]], following: int = 0, data: bytes = b"\0" * 64) -> bytes:
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following) + data


def encoded(kind: str, image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


GREY_TIFF = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 200),
             (277, 3, 1, 1), (278, 4, 1, 8), (279, 4, 1, 64)]  # fmt: skip


def tiff_with(*tags: tuple[int, int, int, int], **more: Any) -> bytes:
    kept = [tag for tag in GREY_TIFF if tag[0] not in {new[0] for new in tags}]
    return tiff([*kept, *tags], **more)


def hostile() -> Iterator[tuple[str, bytes]]:
    """Names and contents of files of which none may be used."""
    photo = Image.fromarray(noise(64, 64, 3))
    endings = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "BMP": "bmp", "TIFF": "tif"}
    for kind, ending in endings.items():
        data = encoded(kind, photo)
        for share in (0.02, 0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
            yield f"cut{share}.{ending}", data[: int(share * len(data))]
        yield f"head.{ending}", data[:12] + noise(300, seed=3).tobytes()
        yield f"nothing.{ending}", b""
        yield f"text.{ending}", b"This is no picture, it is a letter.\n" * 9
        yield f"zeros.{ending}", bytes(4096)
        yield f"page.{ending}", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
        for other in endings:
            if other != kind:
                yield f"a_{other.lower()}.{ending}", encoded(other, photo)
    yield "animation.png", encoded("GIF", photo.convert("P"))
    yield "phone.jpg", b"\0\0\0\x18ftypheic" + bytes(500)
    yield "letter.png", b"%PDF-1.7\n" + bytes(99)
    yield "archive.png", b"PK\x03\x04" + bytes(99)
    yield "layers.tif", b"8BPS" + bytes(99)
    for width, height in ((2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (1, 2**31 - 1), (100_000, 100_000), (0, 5), (5, 0)):
        yield f"claims_{width}x{height}.png", png(width, height, rows=[bytes(100)])
    # 400 megapixels that are packed into little, and 36 that are allowed but not there
    hollow = png(6_000, 6_000, rows=[noise(50_000).tobytes()])
    yield "bomb.png", png(20_000, 20_000, rows=(bytes(20_001) for _ in range(20_000)))
    yield "hollow.png", hollow[:-40_000]
    yield "broken.png", png(8, 8).replace(b"IDAT", b"IDAX")
    yield "wrong_filter.png", png(8, 2, rows=[b"\x09" + bytes(8)] * 2)
    text = b"Comment\0\0" + zlib.compress(bytes(50_000_000))
    yield "text_bomb.png", png(2, 2, rows=[bytes(3)] * 2)[:33] + chunk(b"zTXt", text)
    jpeg = encoded("JPEG", photo)
    at = jpeg.index(b"\xff\xc0") + 5
    yield "claims.jpg", jpeg[:at] + struct.pack(">HH", 65_500, 65_500) + jpeg[at + 4 :]
    yield "none.jpg", jpeg[:at] + struct.pack(">HH", 0, 0) + jpeg[at + 4 :]
    yield "endless.jpg", b"\xff\xd8\xff\xe0" * 5000
    webp = encoded("WEBP", photo)
    at = webp.index(b"VP8 ") + 14
    yield "claims.webp", webp[:at] + struct.pack("<HH", 16_383, 16_383) + webp[at + 4 :]
    big = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16_777_214).to_bytes(3, "little") * 2
    yield "canvas.webp", b"RIFF" + struct.pack("<I", 4 + len(big) + len(webp) - 12) + b"WEBP" + big + webp[12:]
    bmp = encoded("BMP", photo)
    for width, height in ((2**31 - 1, 2**31 - 1), (90_000, 90_000), (2**30, -(2**30))):
        yield f"claims_{width}_{height}.bmp", bmp[:18] + struct.pack("<ii", width, height) + bmp[26:]
    yield "offset.bmp", bmp[:10] + struct.pack("<I", 2**31) + bmp[14:]
    yield "claims.tif", tiff_with((256, 4, 1, 2**31), (257, 4, 1, 2**31))
    yield "wide.tif", tiff_with((256, 4, 1, 2**32 - 1))
    yield "tiles.tif", tiff_with((322, 4, 1, 2**30), (323, 4, 1, 2**30), (324, 4, 1, 200), (325, 4, 1, 64))
    yield "count.tif", tiff_with((273, 4, 2**30, 8))
    yield "far.tif", tiff_with((273, 4, 1, 2**31))
    yield "many_samples.tif", tiff_with((277, 3, 1, 60_000))
    yield "odd_packing.tif", tiff_with((259, 3, 1, 7))
    yield "packed.tif", tiff_with((259, 3, 1, 8))
    yield "no_tags.tif", tiff([])


def one_sentence(message: str, path: str) -> None:
    assert path in message and "\n" not in message and message.endswith(".") and len(message) < 500 + len(path), message
    assert "damaged='skip'" in message or "rename it" in message, message


LIMITED = """
import json, pathlib, resource, sys, warnings
from isthmus.data.images import Images
from isthmus.errors import DataError
warnings.simplefilter("error")
Images().fit(sys.argv[2])  # all that is loaded once
def status(name):
    return int(pathlib.Path("/proc/self/status").read_text().partition(name)[2].split()[0])
used = 1024 * status("VmSize:")
resource.setrlimit(resource.RLIMIT_AS, (used + 700 * 2**20, used + 700 * 2**20))
before = status("VmHWM:")  # ru_maxrss would begin at what the parent held when it started this process
said = []
for path in json.loads(pathlib.Path(sys.argv[1]).read_text()):
    try:
        Images().fit([path])
        said.append("accepted")
    except DataError as error:
        said.append(str(error))
print(json.dumps([said, status("VmHWM:") - before]))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is limited in the manner of Linux")
@pytest.mark.slow
def test_hostile_files_are_refused_in_a_sentence_each_with_little_memory(tmp_path: Path) -> None:
    paths = []
    for name, data in hostile():
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / name).write_bytes(data)
        paths.append(str(tmp_path / "bad" / name))
    assert len(set(paths)) >= 100
    good = save(Image.fromarray(noise(8, 8, 3)), tmp_path / "good.png")
    (tmp_path / "paths.json").write_text(json.dumps(paths))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "paths.json"), str(good)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and not done.stderr, done.stderr[-2000:]
    said, grown = json.loads(done.stdout)
    for path, sentence in zip(paths, said, strict=True):
        one_sentence(sentence, path)
    assert grown < 400 * 1024, f"{grown / 1024:.0f} MiB more were needed"


def test_damaged_files_are_skipped_and_named_where_that_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_folder(tmp_path, 6)
    whole = (tmp_path / "a" / "02.png").read_bytes()
    (tmp_path / "a" / "02.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b" / "03.png").write_text("hello")
    with pytest.raises(DataError, match=r"02\.png is damaged"):
        Images().fit(tmp_path)
    images = Images(damaged="skip").fit(tmp_path)
    with caplog.at_level(logging.WARNING, "isthmus"):
        samples = images.open(tmp_path)
    assert samples.names == ["a/00.png", "a/04.png", "b/01.png", "b/05.png"] and len(samples.skipped) == 2
    assert "02.png is damaged" in caplog.text and "03.png holds text" in caplog.text
    assert there_and_back(images, tmp_path).names == samples.names
    for path in (tmp_path / "a").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of 3 pictures can be used; the first: .*is empty"):
        images.open(tmp_path / "a")


@pytest.mark.slow
def test_max_pixels_counts_before_decoding_and_can_be_raised(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(png(12_000, 8_000, depth=1, rows=(bytes(1501) for _ in range(8_000)), level=1))
    with pytest.raises(DataError, match=r"12,000 x 8,000 pixels .*, 96,000,000 in all"):
        Images().fit(tmp_path)
    samples = Images(max_pixels=96_000_000, size=4).fit(tmp_path).open(tmp_path)
    assert samples.source.form(0).size == (8_000, 12_000)


def test_a_file_that_changes_under_our_hands_is_noticed(tmp_path: Path) -> None:
    make_folder(tmp_path)
    images = Images().fit(tmp_path)
    samples = images.open(tmp_path)
    save(Image.fromarray(noise(3, 3)), tmp_path / "a" / "00.png")
    with pytest.raises(DataError, match=r"a/00\.png has changed"):
        images.batch(samples, np.array([0]))
    (tmp_path / "a" / "02.png").unlink()
    with pytest.raises(DataError, match="cannot be opened: No such file"):
        images.batch(samples, np.array([1]))


def test_only_so_much_is_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path, 8)
    whole = Images().fit(tmp_path)
    plenty = whole.batch(whole.open(tmp_path), slice(None))
    monkeypatch.setattr("isthmus.data._image_samples.ROOM", 100)
    samples = whole.open(tmp_path)
    for _ in range(2):
        assert torch.equal(whole.batch(samples, slice(None)).x, plenty.x)
    assert sum(pixels.nbytes for pixels in samples._kept.pixels.values()) <= 100


# ---- real photos


def real(folder: str) -> Path:
    if not (DATA / folder).exists():
        pytest.skip(f"the photos of {folder} are not here; set ISTHMUS_DATA to their parent")
    return DATA / folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "n", "shape"),
    [
        ("oxford-flowers12", 480, (3, 224, 224)),
        ("mcmaster", 18, (3, 500, 500)),
        ("dirty-documents/noisy", 72, (1, 420, 540)),
    ],
)
def test_real_photos_are_read(folder: str, n: int, shape: tuple[int, int, int]) -> None:
    path = real(folder)
    images = Images().fit(path)
    samples = images.open(path)
    assert len(samples) == n and images.spec.shape == shape
    rows: Callable[[], Any] = lambda: np.arange(3)  # noqa: E731
    back = images.give_back(images.batch(samples.select(rows()), rows()).x, samples.select(rows()))
    for one, name in zip(back, samples.names, strict=False):
        with Image.open(path / name) as image:
            assert np.array_equal(one, np.asarray(image.convert("L") if image.mode == "P" else image))
