"""Images as they are: each fault of files has a file that has it."""

import hashlib
import io
import os
import pathlib
import pickle
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile

from skcvae.embedding import _images
from skcvae.embedding._images import (
    ImageReadError,
    as_sources,
    fingerprint,
    read_bytes,
    read_image,
)

FORMATS = ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]
ORIENTATION, DESCRIPTION = 0x0112, 0x010E
SECRET = "Jane Doe, born 1970"
WHITE = [255, 255, 255]

# From stored pixels to upright ones, by the EXIF orientation.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: np.rot90(a, 2),
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


def noise(height=12, width=9):
    pixels = np.random.RandomState(0).randint(256, size=(height, width, 3))
    return pixels.astype(np.uint8)


def encode(image, image_format="PNG", **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def opened(image, image_format="PNG", **options):
    """Return an image as users open it: its pixels are not read yet."""
    return Image.open(io.BytesIO(encode(image, image_format, **options)))


def exif_of(orientation=1):
    exif = Image.Exif()
    exif[ORIENTATION], exif[DESCRIPTION] = orientation, SECRET
    return exif


def png_chunk(name, data):
    body = name + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png_header(width, height):
    """Return a PNG that claims a size, and ends after its first bytes of pixels."""
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + png_chunk(b"IDAT", b"x")
    )


def grey_tiff(data, width, bits, *, white=1, kind=1):
    """Return a TIFF of one row; kind is 1, 2, 3 for unsigned, signed and float."""
    short, long = 3, 4
    tags = [
        *((256, short, width), (257, short, 1), (258, short, bits), (259, short, 1)),
        *((262, short, white), (273, long, 8), (277, short, 1), (278, short, 1)),
        *((279, long, len(data)), (339, short, kind)),
    ]
    data += b"\0" * (len(data) % 2)
    entries = [
        struct.pack("<HHI", tag, type_, 1)
        + struct.pack("<HH" if type_ == short else "<I", value, *[0] * (type_ == short))
        for tag, type_, value in tags
    ]
    header = b"II*\0" + struct.pack("<I", 8 + len(data))
    return header + data + struct.pack("<H", len(tags)) + b"".join(entries) + b"\0" * 4


def pixels_of(source, **options):
    image = read_image(source, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


# Files that have nothing wrong.


@pytest.mark.parametrize("image_format", FORMATS)
def test_plain_images_are_those_of_pillow(image_format):
    data = encode(noise(), image_format)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(pixels_of(data), expected)


def test_all_kinds_of_sources_give_the_same_pixels(tmp_path):
    expected, data = noise(), encode(noise())
    path = tmp_path / "a.png"
    path.write_bytes(data)
    entry = os.scandir(tmp_path)
    sources = [
        *(path, str(path), np.str_(path), next(entry), data, bytearray(data)),
        *(memoryview(data), Image.open(path), Image.fromarray(expected), expected),
        *({"bytes": data, "path": "gone.png"}, {"bytes": None, "path": str(path)}),
    ]
    entry.close()
    for source in sources:
        np.testing.assert_array_equal(pixels_of(source), expected)


@pytest.mark.parametrize(
    "mode",
    [
        *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK"),
        *("YCbCr", "LAB", "HSV", "I", "I;16", "I;16B", "I;16L"),
    ],
)
def test_every_mode_becomes_rgb_of_the_same_size(mode):
    image = Image.new(mode, (5, 3))
    read = read_image(image)
    assert (read.mode, read.size) == ("RGB", (5, 3))
    assert image.mode == mode


def test_arrays_of_all_shapes():
    grey, rgb = noise()[:, :, 0], noise()
    np.testing.assert_array_equal(pixels_of(grey), np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(pixels_of(grey[:, :, None]), pixels_of(grey))
    np.testing.assert_array_equal(pixels_of(rgb[::-1, ::-2]), rgb[::-1, ::-2])
    rgba = np.dstack([rgb, np.where(grey > 99, 255, 0).astype(np.uint8)])
    expected = np.where(grey[:, :, None] > 99, rgb, 255)
    np.testing.assert_array_equal(pixels_of(rgba), expected)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (noise() / 255, "float64: convert"),
        (noise().astype(int), "int64: convert"),
        (noise()[:, :, 0] > 9, "bool: convert"),
        (noise()[0, :, 0], r"shape \(9,\)"),
        (noise().transpose(2, 0, 1), r"shape \(3, 12, 9\)"),
        (noise()[:, :, :2], r"shape \(12, 9, 2\)"),
        (noise()[:0], "without pixels"),
    ],
)
def test_arrays_that_are_no_images_are_refused(pixels, reason):
    with pytest.raises(ImageReadError, match=reason):
        read_image(pixels)


# Orientation and metadata.


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_images_stand_upright(image_format, orientation):
    rows, columns = np.mgrid[:16, :24].astype(np.uint8)
    pixels = np.dstack([rows * 12, columns * 9, rows + columns])
    options = {
        "JPEG": {"quality": 100, "subsampling": 0},
        "WEBP": {"lossless": True},
    }.get(image_format, {})
    data = encode(pixels, image_format, exif=exif_of(orientation), **options)
    expected = UPRIGHT[orientation](pixels).astype(int)
    for source in (data, Image.open(io.BytesIO(data))):
        assert np.abs(pixels_of(source) - expected).max() <= 3 * (
            image_format == "JPEG"
        )


def test_no_metadata_is_left():
    options = {"exif": exif_of(6), "dpi": (72, 72), "icc_profile": b"profile"}
    files = [
        encode(noise(), "JPEG", comment=SECRET, xmp=SECRET.encode(), **options),
        encode(noise(), "PNG", **options),
        encode(noise(), "WEBP", xmp=SECRET.encode(), **options),
        encode(noise(), "TIFF", description=SECRET, **options),
        encode(noise(), "GIF", comment=SECRET),
    ]
    for data in files:
        assert SECRET.encode() in data
        for source in (data, Image.open(io.BytesIO(data))):
            image = read_image(source)
            assert image.info == {}
            assert not dict(image.getexif())
            assert not {"text", "tag_v2", "filename", "applist"} & set(vars(image))
            assert SECRET.encode() not in pickle.dumps(image) + encode(image)


def test_damaged_exif_data_do_not_matter():
    whole = exif_of(6).tobytes()
    for exif in (b"Exif\0\0nonsense", whole[:20], whole[:-30], b"Exif\0\0II*\0"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = read_image(encode(noise(), "JPEG", exif=exif))
        assert sorted(image.size) == [9, 12]
    data = encode(noise())
    profile = png_chunk(b"tEXt", b"Raw profile type exif\0\n\n\nno hexadecimals")
    np.testing.assert_array_equal(pixels_of(data[:33] + profile + data[33:]), noise())


# Modes of pixels.


def test_palette_and_grey_with_transparency_are_laid_on_white():
    image = Image.fromarray(np.array([[0, 1, 2, 3]], dtype=np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7])
    expected = [[[255, 0, 0], WHITE, [128, 128, 255], [9, 8, 7]]]
    data = encode(image, transparency=bytes([255, 0, 127, 255]))
    np.testing.assert_allclose(pixels_of(data), expected, atol=1)
    data = encode(image, "GIF", transparency=1)
    assert pixels_of(data)[0, :2].tolist() == [[255, 0, 0], WHITE]
    assert pixels_of(encode(image))[0, 1].tolist() == [0, 255, 0]

    grey = Image.fromarray(np.array([[7, 8]], dtype=np.uint8))
    assert pixels_of(encode(grey, transparency=8)).tolist() == [[[7] * 3, WHITE]]
    grey_alpha = Image.fromarray(np.array([[[40, 255], [40, 0]]], np.uint8), "LA")
    assert pixels_of(encode(grey_alpha)).tolist() == [[[40] * 3, WHITE]]


def test_cmyk_has_its_colours():
    inks = [[0, 0, 0, 0], [0, 255, 255, 0], [255, 0, 255, 0], [0, 0, 0, 255]]
    colours = [[255] * 3, [255, 0, 0], [0, 255, 0], [0, 0, 0]]
    pixels = np.repeat(np.array([inks], dtype=np.uint8), 16, axis=1).repeat(16, axis=0)
    image = Image.fromarray(pixels, "CMYK")
    jpeg = encode(image, "JPEG", quality=95)
    # Adobe stores CMYK inverted, and marks it.
    assert b"Adobe" in jpeg
    for source in (jpeg, encode(image, "TIFF"), image):
        read = pixels_of(source)[8, 8::16]
        np.testing.assert_allclose(read, colours, atol=12)


def test_one_bit_is_black_and_white():
    bits = noise()[:, :, 0] > 127
    for image_format in ("PNG", "TIFF", "BMP", "PPM"):
        read = pixels_of(encode(bits, image_format))
        np.testing.assert_array_equal(read[:, :, 1], np.where(bits, 255, 0))


# Values of 16 bits, and 255 / 65535 of them, rounded.
DEEP = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
SHALLOW = [0, 0, 1, 1, 128, 255]


@pytest.mark.parametrize(
    "source",
    [
        encode(DEEP, "PNG"),
        encode(DEEP, "TIFF"),
        encode(DEEP, "TIFF", compression="tiff_lzw"),
        encode(DEEP, "PPM"),
        grey_tiff((65535 - DEEP).astype("<u2").tobytes(), 6, 16, white=0),
        Image.fromarray(DEEP),
        Image.fromarray(DEEP.astype(np.int32)),
    ],
    ids=["PNG", "TIFF", "LZW", "PGM", "white is zero", "I;16", "I"],
)
def test_16_bits_are_scaled_from_their_whole_range(source):
    assert pixels_of(source)[0].tolist() == [[grey] * 3 for grey in SHALLOW]


def test_other_depths_are_scaled_from_their_range():
    # Two values of 12 bits in three bytes: 0 and 1, 2048 and 4095.
    packed = bytes([0x00, 0x00, 0x01, 0x80, 0x0F, 0xFF])
    assert pixels_of(grey_tiff(packed, 4, 12))[0, :, 0].tolist() == [0, 0, 128, 255]
    values = np.array([0, 3, 512, 1023], dtype=">u2")
    pgm = b"P5 4 1 1023\n" + values.tobytes()
    assert pixels_of(pgm)[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize(
    "source",
    [
        encode(DEEP.astype(np.float32), "TIFF"),
        encode(DEEP.astype(np.int32), "TIFF"),
        grey_tiff(DEEP.astype("<i2").tobytes(), 6, 16, kind=2),
        Image.new("F", (2, 2)),
        Image.fromarray(np.array([[0, 65536]], dtype=np.int32)),
        Image.fromarray(np.array([[-1, 65535]], dtype=np.int32)),
    ],
    ids=["float TIFF", "int32 TIFF", "int16 TIFF", "F", "above", "below"],
)
def test_pixels_of_unknown_range_are_refused(source):
    with pytest.raises(ImageReadError, match="range is unknown"):
        read_image(source)


def test_the_first_of_several_frames_is_read():
    red, blue = Image.new("RGB", (8, 6), "red"), Image.new("RGB", (8, 6), "blue")
    for image_format in ("GIF", "PNG", "TIFF", "WEBP"):
        options = {"save_all": True, "append_images": [blue]}
        if image_format == "WEBP":
            options["lossless"] = True
        data = encode(red, image_format, **options)
        image = Image.open(io.BytesIO(data))
        assert image.n_frames == 2
        assert (pixels_of(data) == [255, 0, 0]).all()
        # An image that the user opened stays at the frame that it shows.
        image.seek(1)
        assert (pixels_of(image) == [0, 0, 255]).all()
        assert image.tell() == 1


# Files that are no images, or no longer.


@pytest.mark.parametrize("image_format", FORMATS)
def test_truncated_images_are_refused(image_format):
    data = encode(noise(40, 30), image_format)
    for n_bytes in (len(data) // 2, len(data) * 3 // 4):
        with pytest.raises(ImageReadError, match="damaged"):
            read_image(data[:n_bytes])


def test_truncated_images_that_the_user_opened_are_refused():
    data = encode(noise(40, 30), "JPEG")
    with pytest.raises(ImageReadError, match="truncated JPEG"):
        read_image(Image.open(io.BytesIO(data[:-400])))


@pytest.mark.parametrize("image_format", FORMATS)
def test_damaged_images_raise_one_kind_of_error(image_format):
    rng = np.random.RandomState(0)
    data = encode(noise(), image_format)
    n_refused = 0
    for _ in range(100):
        damaged = bytearray(data)
        for place in rng.randint(min(len(data), 80), size=6):
            damaged[place] = rng.randint(256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read_image(bytes(damaged), max_pixels=10**6)
            except ImageReadError as error:
                n_refused += 1
                assert 0 < len(str(error)) < 120
    assert n_refused > 0


def test_the_extension_does_not_matter(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(noise(), "PNG"))
    np.testing.assert_array_equal(pixels_of(path), noise())


@pytest.mark.parametrize(
    "data",
    [
        b"<html>404 Not found</html>",
        bytes(1000),
        b"\0\0\0\x18ftypmp42" + bytes(100),
        *(encode(noise(), other) for other in ("TGA", "PCX", "ICO", "EPS", "SGI")),
    ],
    ids=["text", "zeros", "video", "TGA", "PCX", "ICO", "EPS", "SGI"],
)
def test_other_formats_are_refused(data):
    with pytest.raises(ImageReadError, match="none of JPEG, PNG"):
        read_image(data)


def test_dicom_files_need_a_window():
    with pytest.raises(ImageReadError, match=r"DICOM.*window"):
        read_image(bytes(128) + b"DICM" + bytes(100))


def with_bytes(data, place, new):
    """Return encoded bytes, some of them replaced."""
    return data[:place] + new + data[place + len(new) :]


BOMBS = {
    "PNG": png_header(100_000, 100_000),
    "GIF": with_bytes(encode(noise(), "GIF"), 6, b"\xff\xff\xff\xff"),
    "BMP": with_bytes(encode(noise(), "BMP"), 18, struct.pack("<ii", 10**5, 10**5)),
    "PPM": b"P6 100000 100000 255\n",
    # Between one and two times its limit, Pillow only warns.
    "slight": png_header(9500, 9500),
}


@pytest.mark.parametrize("action", ["ignore", "error"])
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_from_their_header(name, action):
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        # These files end after the header: decoding would find them truncated.
        with pytest.raises(ImageReadError, match="decompression bomb"):
            read_image(BOMBS[name])
    assert limit == Image.MAX_IMAGE_PIXELS
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_the_limit_of_pixels_can_be_chosen():
    data = encode(noise(12, 9))
    assert pixels_of(data, max_pixels=108).shape == (12, 9, 3)
    for source in (data, Image.open(io.BytesIO(data)), noise(12, 9)):
        with pytest.raises(ImageReadError, match=r"9 x 12 pixels, more than.* 107"):
            read_image(source, max_pixels=107)


def test_a_bomb_in_a_text_chunk_is_refused():
    text = b"Comment\0\0" + zlib.compress(bytes(2**21))
    data = encode(noise())
    with pytest.raises(ImageReadError):
        read_image(data[:33] + png_chunk(b"zTXt", text) + data[33:])


# Paths.


def test_files_that_cannot_be_read_say_why(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    with open(tmp_path / "giant.jpg", "wb") as file:
        file.truncate(2**30 + 1)
    reasons = {
        "missing.jpg": "does not exist",
        "empty.jpg": "is empty",
        "folder.jpg": "a folder",
        "giant.jpg": "more than 1024 MiB",
        "no\0name.jpg": "cannot be read",
        "n" * 300 + ".jpg": "cannot be read",
    }
    for name, reason in reasons.items():
        for use in (read_bytes, fingerprint, read_image):
            with pytest.raises(ImageReadError, match=reason) as caught:
                use(str(tmp_path / name))
            # The table of failures has the path in a column of its own.
            assert str(tmp_path) not in str(caught.value)


def test_links_are_followed_and_loops_end(tmp_path):
    try:
        (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    except OSError:
        pytest.skip("links need a privilege here")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "a.png").write_bytes(encode(noise()))
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(ImageReadError, match="cannot be read"):
        read_image(tmp_path / "loop.jpg")
    with pytest.raises(ImageReadError, match="does not exist"):
        read_image(tmp_path / "broken.jpg")
    np.testing.assert_array_equal(pixels_of(tmp_path / "link.png"), noise())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageReadError, match="not a regular file"):
        read_image(tmp_path / "pipe.jpg")


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(encode(noise()))

    def refuse(*args):
        raise PermissionError(13, "Permission denied", str(path))

    # Permissions do not bind the administrator, who may run this.
    monkeypatch.setattr(_images, "open", refuse, raising=False)
    with pytest.raises(ImageReadError, match=r"cannot be read \(Permission denied\)"):
        read_image(path)


def test_paths_may_be_unicode_and_long(tmp_path):
    path = tmp_path / ("ä" * 60) / "café 猫 🐈.jpg"
    path.parent.mkdir()
    path.write_bytes(encode(noise()))
    np.testing.assert_array_equal(pixels_of(path), noise())


@pytest.mark.parametrize("source", [None, float("nan"), np.nan, ""])
def test_missing_paths_are_reported_at_reading(source):
    sources = as_sources([encode(noise()), source])
    assert len(sources) == 2
    for use in (read_bytes, fingerprint, read_image):
        with pytest.raises(ImageReadError, match="path is missing"):
            use(sources[1])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (3, "int is not an image"),
        (["a.jpg", "b.jpg"], "list is not an image"),
        (object(), "object is not an image"),
        ({"image": 1, "label": 2}, "dict without"),
        ({"bytes": None, "path": None}, "path is missing"),
        ({"bytes": b"", "path": "a.jpg"}, "is empty"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_source_says_so(source, reason):
    for use in (read_bytes, fingerprint, read_image):
        with pytest.raises(ImageReadError, match=reason):
            use(source)


def test_reasons_survive_a_worker_process():
    error = pickle.loads(pickle.dumps(ImageReadError("the file is empty")))
    assert str(error) == "the file is empty"
    assert isinstance(error, ValueError)


# What the user keeps.


def palette_image():
    image = Image.fromarray(noise()).quantize(16)
    image.info["transparency"] = bytes(range(0, 256, 16))
    return image


USER_IMAGES = {
    "palette": palette_image,
    "palette file": lambda: opened(palette_image()),
    "JPEG": lambda: opened(noise(), "JPEG", exif=exif_of(6)),
    "PNG": lambda: opened(noise(), "PNG", exif=exif_of(3)),
    "GIF": lambda: opened(noise(), "GIF"),
}


@pytest.mark.parametrize("name", USER_IMAGES)
def test_images_of_the_user_stay_as_they_are(name):
    image, twin = USER_IMAGES[name](), USER_IMAGES[name]()
    assert fingerprint(image) == fingerprint(image)
    assert read_image(image) is not image
    assert (image.mode, image.size) == (twin.mode, twin.size)
    assert image.tobytes() == twin.tobytes()
    assert image.info == twin.info
    assert dict(image.getexif()) == dict(twin.getexif())
    if image.mode == "P":
        assert image.getpalette("RGBA") == twin.getpalette("RGBA")
    np.testing.assert_array_equal(pixels_of(image), pixels_of(twin))


def test_a_new_image_does_not_share_pixels_with_its_source():
    pixels = noise()
    image = Image.fromarray(pixels)
    for source in (pixels, image):
        read_image(source).paste("red", (0, 0, 5, 5))
    np.testing.assert_array_equal(pixels, noise())
    np.testing.assert_array_equal(np.asarray(image), noise())


# Fingerprints.


def test_fingerprints_are_those_of_the_content(tmp_path):
    data = encode(noise())
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_bytes(data)
    expected = hashlib.sha256(data).hexdigest()
    sources = [tmp_path / "a.png", str(tmp_path / "b.jpg"), data, {"bytes": data}]
    assert {fingerprint(source) for source in sources} == {expected}
    assert read_bytes(tmp_path / "a.png") == data
    assert read_bytes(noise()) is None
    assert read_bytes(Image.fromarray(noise())) is None


def test_fingerprints_of_pixels():
    grey = noise()[:, :, 0]
    same = [grey, grey[:, :, None], Image.fromarray(grey), np.dstack([grey] * 3)]
    assert len({fingerprint(source) for source in same}) == 1
    assert len(fingerprint(grey)) == 64


def test_fingerprints_tell_apart_what_reading_tells_apart():
    palette, other_palette = palette_image(), palette_image()
    other_palette.putpalette(other_palette.getpalette()[::-1])
    opaque = palette_image()
    del opaque.info["transparency"]
    changed = noise()
    changed[0, 0, 0] ^= 1
    sources = [
        *(noise(), changed, noise().reshape(9, 12, 3), noise()[:, :, 0]),
        *(opened(noise(), exif=exif_of(number)) for number in range(2, 9)),
        *(palette, other_palette, opaque),
    ]
    assert len({fingerprint(source) for source in sources}) == len(sources)
    assert fingerprint(opened(noise())) == fingerprint(noise())


# Threads.


def test_threads_read_the_same():
    good = [
        encode(noise(), "JPEG", exif=exif_of(6)),
        encode(palette_image()),
        encode(DEEP),
        noise(),
        encode(Image.fromarray(noise()).convert("LAB"), "TIFF"),
    ]
    bad = [png_header(100_000, 100_000), encode(noise(40, 30))[:500], b"", None]

    def outcome(source):
        try:
            return read_image(source).tobytes()
        except ImageReadError as error:
            return str(error)

    expected = [outcome(source) for source in good + bad]
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(outcome, 25 * (good + bad)))
    assert outcomes == 25 * expected


# What a transformer is given.


class Photos:
    """A data set as those of torch: (image, label) pairs by index, read late."""

    def __init__(self, n_images=3, broken=()):
        self.n_images, self.broken, self.n_read = n_images, broken, 0

    def __len__(self):
        return self.n_images

    def __getitem__(self, index):
        if index >= self.n_images:
            raise IndexError(index)
        self.n_read += 1
        if index in self.broken:
            raise Image.UnidentifiedImageError(f"cannot identify {SECRET}")
        return Image.new("RGB", (4, 4), (index, 0, 0)), "label"


def containers_of_paths(paths):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    index = [7, 0, 7]
    yield "list", paths
    yield "tuple", tuple(map(pathlib.Path, paths))
    yield "array", np.array(paths)
    yield "objects", np.array(paths, dtype=object)
    yield "column", np.array(paths)[:, None]
    yield "object column", np.array(paths, dtype=object)[:, None]
    yield "rows", [[path] for path in paths]
    yield "Series", pandas.Series(paths, index=index)
    yield "arrow", pandas.Series(paths, dtype="string[pyarrow]")
    yield "categories", pandas.Series(paths, dtype="category")
    yield "DataFrame", pandas.DataFrame({"path": paths}, index=index)
    yield "arrow frame", pandas.DataFrame({"path": paths}, dtype="string[pyarrow]")
    yield "polars", polars.Series(paths)
    yield "polars frame", polars.DataFrame({"path": paths})


def test_paths_come_in_all_containers(tmp_path):
    paths = [str(tmp_path / f"{i}.png") for i in range(3)]
    for name, X in containers_of_paths(paths):
        sources = as_sources(X)
        assert len(sources) == 3, name
        # None of them exists: nothing is read before it is asked for.
        assert [os.fspath(sources[i]) for i in range(3)] == paths, name
        assert os.fspath(sources[np.int64(1)]) == paths[1], name


def test_missing_paths_in_columns_are_reported_at_reading():
    pandas = pytest.importorskip("pandas")
    for dtype in (object, "string[pyarrow]", "str"):
        sources = as_sources(pandas.Series(["a.jpg", None], dtype=dtype))
        with pytest.raises(ImageReadError, match="path is missing"):
            read_image(sources[1])


def test_images_come_in_all_containers():
    pandas = pytest.importorskip("pandas")
    arrays = [noise(5, 4), noise(7, 6)]
    images = [Image.fromarray(array) for array in arrays]
    encoded = [encode(array) for array in arrays]
    objects = np.empty(2, dtype=object)
    objects[:] = images
    containers = [
        *(arrays, images, encoded, objects, tuple(images)),
        *(pandas.Series(images), pandas.Series(arrays), pandas.Series(encoded)),
        [{"bytes": data, "path": None} for data in encoded],
        [(image, "label") for image in images],
    ]
    for X in containers:
        sources = as_sources(X)
        assert len(sources) == 2
        for i, array in enumerate(arrays):
            np.testing.assert_array_equal(pixels_of(sources[i]), array)


@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 5, 7, 1), (2, 5, 7, 3), (2, 5, 7, 4)])
def test_pixels_are_not_copied(shape):
    X = np.random.RandomState(0).randint(256, size=shape).astype(np.uint8)
    X.flags.writeable = False
    sources = as_sources(X)
    assert len(sources) == 2
    assert np.shares_memory(sources[1], X)
    assert pixels_of(sources[1]).shape == (5, 7, 3)


def test_data_sets_give_their_images_late():
    photos = Photos()
    sources = as_sources(photos)
    assert len(sources) == 3
    assert photos.n_read == 0
    assert [pixels_of(source)[0, 0, 0] for source in sources] == [0, 1, 2]
    assert as_sources(sources) is sources
    assert len(pickle.loads(pickle.dumps(sources))) == 3


def test_a_data_set_that_fails_is_reported_at_reading():
    sources = as_sources(Photos(broken={1}))
    assert pixels_of(sources[2])[0, 0, 0] == 2
    for use in (fingerprint, read_image):
        with pytest.raises(ImageReadError, match="fails to give") as caught:
            use(sources[1])
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("a.jpg", "single path 'a.jpg'.*load_image_folder"),
        (pathlib.Path("a.jpg"), "single path"),
        (Image.new("RGB", (2, 2)), "a single image"),
        (encode(noise()), "a single image"),
        (noise(), r"one of shape \(12, 9, 3\).*newaxis"),
        (noise()[:, :, 0], "must have the shape"),
        (noise()[None].transpose(0, 3, 1, 2), "axis of channels"),
        (noise()[None] / 255, "float64. Convert it to uint8"),
        (noise()[None].astype(int), "int64. Convert it to uint8"),
        (np.zeros((4, 2), dtype=bool), "bool. Convert"),
        (np.array(["a.jpg"], dtype="S"), "Convert it"),
        (np.array([["a.jpg", "b.jpg"]]), "one column"),
        (np.array("a.jpg"), "with a length"),
        ([], r"0 sample\(s\)"),
        (np.empty((0, 5, 5), dtype=np.uint8), r"0 sample\(s\)"),
        ([[1.0, 2.0], [3.0, 4.0]], "a list of list"),
        ([1, 2], "a list of int"),
        ({"a.jpg": 0}, "got dict"),
        ({"a.jpg"}, "got set"),
        (iter(["a.jpg"]), "with a length"),
        (3, "got int"),
    ],
)
def test_what_is_no_list_of_images_is_refused(X, message):
    with pytest.raises((TypeError, ValueError), match=message):
        as_sources(X)


def test_frames_that_are_no_column_of_images_are_refused():
    pandas = pytest.importorskip("pandas")
    frames = {
        r"2 columns: \['path', 'y'\]": pandas.DataFrame({"path": ["a"], "y": ["b"]}),
        r"0 sample\(s\)": pandas.DataFrame({"path": []}),
        "float64": pandas.Series([1.0, 2.0]),
    }
    for message, X in frames.items():
        with pytest.raises(ValueError, match=message):
            as_sources(X)


def test_a_table_of_a_data_set_needs_a_column():
    photos = Photos()
    photos.column_names = ["image", "label"]
    with pytest.raises(TypeError, match=r"X\['image'\]"):
        as_sources(photos)
