"""Sources of images that a user may pass, and how they become RGB images."""

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from numbers import Number
from operator import index as as_index
from typing import Any

import numpy as np
from PIL import Image
from sklearn.utils._missing import is_pandas_na, is_scalar_nan

from .._image_formats import readable_formats

# Pillow warns of a decompression bomb above this number.
_MAX_PIXELS = 89_478_485
_MAX_BYTES = 2**30

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1")
_ORIENTATION = 0x0112
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TIFF_BITS_PER_SAMPLE = 258
_TIFF_PHOTOMETRIC = 262


class ImageReadError(ValueError):
    """An image cannot be used; the text is a short reason without the path."""


class _Items(Sequence):
    """Images of a list or data set; of an (image, label) tuple, the image."""

    def __init__(self, items):
        self._items = items

    def __len__(self):
        return len(self._items)

    def __getitem__(self, index):
        try:
            item = self._items[as_index(index)]
        except IndexError:
            raise
        except Exception as error:
            # :func:`read_bytes` raises this error later, where failures are expected.
            return ImageReadError(
                f"the data set fails to give the image ({type(error).__name__})"
            )
        if isinstance(item, tuple) or (isinstance(item, list) and len(item) == 1):
            return next(iter(item), None)
        return item


def as_sources(X: Any) -> Any:
    """Return the images of a user as a sequence of image sources, without reading any.

    `X` holds paths, PIL images, encoded bytes, uint8 arrays, or dicts with the keys
    "bytes" and "path", in a list, object array, Series or column; or it is an array of
    pixels of shape (n, h, w), (n, h, w, 1), (n, h, w, 3) or (n, h, w, 4); or an object
    with a length and integer indices that gives images or (image, label) tuples. Pixels
    are not copied. TypeError or ValueError if `X` is one image, holds numbers other
    than pixels, has several columns, or is empty; :func:`read_image` raises errors of
    single images.
    """
    if isinstance(X, _Items):
        return X
    _check_is_sequence(X)
    X = _to_array(X)
    if isinstance(X, np.ndarray):
        return _check_array(X)
    if isinstance(X, list | tuple):
        _refuse_numbers(_Items(X)[0])
    return _Items(X)


def _check_is_sequence(X):
    if isinstance(X, str | os.PathLike):
        raise TypeError(
            f"X must be a list of images, got the single path {os.fspath(X)!r}. Give "
            "[path]; for the images of a folder, skcvae.datasets.load_image_folder "
            "returns their paths."
        )
    if isinstance(X, Image.Image | bytes | bytearray | memoryview):
        raise TypeError("X must be a list of images, got a single image. Give [image].")
    if hasattr(X, "column_names"):
        raise TypeError(
            f"X must be one column, got a table with the columns {X.column_names}. "
            "Give the column of images, such as X['image']."
        )
    try:
        is_empty = len(X) == 0
    except TypeError:
        is_empty = None
    if is_empty is None or isinstance(X, Mapping) or not hasattr(X, "__getitem__"):
        raise TypeError(
            "X must be a list, array, column or data set of images with a length, got "
            f"{type(X).__name__}."
        )
    if is_empty:
        raise ValueError("Found 0 sample(s): X holds no image.")


def _to_array(X):
    """Return the column of a data frame as an array, and other types unchanged."""
    if hasattr(X, "columns"):
        if X.shape[1] != 1:
            raise ValueError(
                f"X must be one column of images, got {X.shape[1]} columns: "
                f"{list(X.columns)[:10]}. Select the column of images."
            )
        X = X[X.columns[0]]
    return X.to_numpy() if hasattr(X, "to_numpy") else X


def _refuse_numbers(item):
    """Refuse a list whose first item cannot be an image."""
    if isinstance(item, list) or (isinstance(item, Number) and not is_scalar_nan(item)):
        raise TypeError(
            "X must be a list of paths, PIL images, bytes or uint8 arrays, got a list "
            f"of {type(item).__name__}."
        )


def _check_array(X):
    """Check shape and type, and return a column of sources with one dimension."""
    if X.dtype.kind in "OUT":
        if X.ndim == 1 or (X.ndim == 2 and X.shape[1] == 1):
            return X.ravel()
        raise ValueError(
            f"X must be one column of images, got an array of shape {X.shape}."
        )
    if X.dtype != np.uint8:
        raise ValueError(
            f"Pixels must be uint8, got an array of {X.dtype}. Convert it to uint8 "
            "(0 is black, 255 is white): the range of other types is unknown."
        )
    _check_pixels_shape(X.shape)
    return X


def _check_pixels_shape(shape):
    is_grey = len(shape) == 3
    if is_grey and shape[2] in (1, 3, 4):
        raise ValueError(
            f"X must hold several images, got one of shape {shape}. Give X[np.newaxis]."
        )
    if is_grey or (len(shape) == 4 and shape[3] in (1, 3, 4)):
        return
    hint = (
        " Move the axis of channels to the end." if shape[1:2] in ((1,), (3,)) else ""
    )
    raise ValueError(
        "Pixels must have the shape (n, h, w), (n, h, w, 1), (n, h, w, 3) or "
        f"(n, h, w, 4), got {shape}.{hint}"
    )


def read_bytes(source: Any) -> bytes | None:
    """Return the encoded bytes of a path, dict or bytes, or None for pixels.

    Raises ImageReadError for other types, and for files that are missing, empty,
    unreadable or not regular.
    """
    if isinstance(source, Mapping):
        source = _pick(source)
    if isinstance(source, Image.Image | np.ndarray):
        return None
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        data = _read_file(source)
    else:
        raise _error_of(source)
    if not data:
        raise ImageReadError("the file is empty")
    return data


def check_files(sources: Any) -> None:
    """Refuse paths in a list or array without a file to read; read none of them.

    Other data sets are not looked at: they may decode each image.
    """
    items = sources._items if isinstance(sources, _Items) else sources
    if not isinstance(items, list | tuple | np.ndarray):
        return
    for position, source in enumerate(sources):
        is_path = isinstance(source, str | os.PathLike)
        if is_path and not os.path.isfile(os.path.expanduser(source)):
            try:
                read_bytes(source)
            except ImageReadError as error:
                where = f"Image {position}"
                raise ValueError(f"{where} cannot be read: {error}.") from error


def _pick(mapping):
    """Return the bytes of a dict, or its path if it has no bytes."""
    if not {"bytes", "path"} & set(mapping):
        raise ImageReadError('a dict without the key "bytes" or "path"')
    data = mapping.get("bytes")
    return mapping.get("path") if data is None else data


def _error_of(source):
    if isinstance(source, ImageReadError):
        return source
    if source is None or is_scalar_nan(source) or is_pandas_na(source):
        return ImageReadError("the path is missing")
    return ImageReadError(
        f"{type(source).__name__} is not an image: give a path, PIL image, uint8 array "
        "or bytes"
    )


def _read_file(path):
    if not os.fspath(path):
        raise ImageReadError("the path is missing")
    path = os.path.expanduser(path)
    try:
        status = os.stat(path)
        # Reading other kinds, such as pipes, may never end.
        if stat.S_ISREG(status.st_mode) and status.st_size <= _MAX_BYTES:
            with open(path, "rb") as file:
                return file.read()
    except FileNotFoundError as error:
        if "://" in os.fspath(path):
            raise ImageReadError("a URL: only files are read") from error
        raise ImageReadError("the file does not exist") from error
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ImageReadError(f"the file cannot be read ({reason})") from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageReadError("a folder, not a file")
    if stat.S_ISREG(status.st_mode):
        raise ImageReadError(f"a file of more than {_MAX_BYTES // 2**20} MiB")
    raise ImageReadError("not a regular file")


def fingerprint(source: Any) -> str:
    """Return the SHA-256 of a source's content, as 64 hexadecimal digits.

    The content of paths, dicts and bytes are the encoded bytes. The content of PIL
    images and arrays are mode, size and pixels as :func:`read_image` returns them, so
    that palette, transparency and orientation change the hash.
    """
    data = read_bytes(source)
    if data is not None:
        return hashlib.sha256(data).hexdigest()
    image = read_image(source)
    digest = hashlib.sha256(f"{image.mode} {image.size}".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def read_image(source: Any, *, max_pixels: int = _MAX_PIXELS) -> Image.Image:
    """Return an image as an upright RGB image without metadata, a new one.

    The first bytes decide on the format, not the file extension. JPEG, PNG, GIF, BMP,
    TIFF, WebP and PPM are read, AVIF if Pillow has it, and HEIC with pillow-heif. The
    orientation of EXIF data is applied, and no EXIF data are kept. Of several frames or
    pages, the first is read (of a PIL image, the current one). Transparent pixels get a
    white background, except the transparent colour of a 16-bit PNG. Grey of 12 or 16
    bits is scaled linearly from the full range of its bit depth to 0..255. Colour
    profiles are ignored. Larger images than `max_pixels` or twice
    `PIL.Image.MAX_IMAGE_PIXELS` are refused before they are decoded, as decompression
    bombs.

    Raise ImageReadError if the image is missing, damaged, truncated, too large, in
    another format, or holds numbers whose range is unknown (float and 32-bit integers).
    """
    data = read_bytes(source)
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    image = source if data is None else _open(data)
    if image.width * image.height > max_pixels:
        raise ImageReadError(
            f"{image.width} x {image.height} pixels, more than the limit of "
            f"{max_pixels}: perhaps a decompression bomb"
        )
    with _damage_refused(image.format):
        image.load()
        return _to_upright_rgb(image)


@contextmanager
def _damage_refused(image_format):
    """Turn any error of Pillow for a bad file into an ImageReadError."""
    try:
        yield
    except ImageReadError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageReadError("too many pixels: perhaps a decompression bomb") from error
    except MemoryError as error:
        raise ImageReadError("not enough memory to decode it") from error
    except Exception as error:
        # Plugins raise many types for damaged files. Their texts may quote the file.
        raise ImageReadError(
            f"a damaged or truncated {image_format or 'image'} ({type(error).__name__})"
        ) from error


def _open(data):
    """Read the header of an encoded image."""
    if data[128:132] == b"DICM":
        raise ImageReadError(
            "a DICOM file: convert it to 8 bits, with the window that you need"
        )
    formats = list(readable_formats())
    with _damage_refused(None):
        try:
            return Image.open(BytesIO(data), formats=formats)
        except Image.UnidentifiedImageError as error:
            raise ImageReadError(_reason(data, formats)) from error


def _reason(data, formats):
    """Return why no format fits."""
    is_heif = data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS
    if is_heif and "HEIF" not in formats:
        return 'a HEIC image: pip install "skcvae[heif]" reads it'
    return f"none of {', '.join(formats)}, or a damaged header"


def _from_array(pixels):
    if pixels.dtype != np.uint8:
        raise ImageReadError(
            f"pixels of {pixels.dtype}: convert them to uint8, the range is unknown"
        )
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] not in (3, 4)):
        raise ImageReadError(
            f"an array of shape {pixels.shape}, not (h, w), (h, w, 1), (h, w, 3) or "
            "(h, w, 4)"
        )
    if pixels.size == 0:
        raise ImageReadError(f"an array of shape {pixels.shape}, without pixels")
    return Image.fromarray(pixels)


def _to_upright_rgb(image):
    transposition = _TRANSPOSITIONS.get(_orientation(image))
    if image.mode == "F":
        raise ImageReadError("pixels of float: convert to 8 bits, the range is unknown")
    if image.mode.startswith("I"):
        image = _to_8_bits(image)
    elif image.has_transparency_data:
        image = _on_white(image)
    image = image.convert("RGB")
    if transposition is not None:
        image = image.transpose(transposition)
    image.info = {}
    return image


def _orientation(image):
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:
        # The pixels may be intact although the EXIF data are damaged.
        return None


def _to_8_bits(image):
    """Scale integers from the range of their bit depth to 0..255."""
    tags = getattr(image, "tag_v2", {})
    pixels = np.asarray(image)
    if image.mode == "I" and (tags or pixels.min() < 0 or pixels.max() > 65535):
        raise ImageReadError(
            "pixels of signed or 32-bit integers: convert to 8 bits, the range is "
            "unknown"
        )
    top = 2 ** tags.get(_TIFF_BITS_PER_SAMPLE, (16,))[0] - 1
    grey = (pixels.astype(np.uint32) * 255 + top // 2) // top
    if tags.get(_TIFF_PHOTOMETRIC) == 0:
        # White is zero. Pillow respects this only for 8 bits.
        grey = 255 - grey
    return Image.fromarray(grey.astype(np.uint8))


def _on_white(image):
    # Conversion writes alpha into the palette, so it needs a copy.
    image = image.copy()
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white
