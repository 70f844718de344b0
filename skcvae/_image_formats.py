"""Formats of images that are read, and what reads further ones."""

import os
from collections import Counter
from functools import cache
from importlib.util import find_spec

from PIL import features

# Only common formats, because untrusted files can attack each further decoder.
_FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
_AVIF = (".avif", ".avifs")
_HEIF = (".heic", ".heif", ".hif", ".heics")
# Photos that are not read: those of cameras, of Photoshop and of hospitals.
_NEVER = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".raw", ".rw2"),
    *(".dcm", ".exr", ".hdr", ".ico", ".j2k", ".jp2", ".jxl", ".nii", ".psd", ".svg"),
    *(".tga", ".xcf"),
)


@cache
def readable_formats() -> dict[str, tuple[str, ...]]:
    """Return the extensions of the formats that can be read here, by Pillow's name.

    AVIF depends on how Pillow was built, and HEIF (HEIC) on the package pillow-heif.
    """
    formats = dict(_FORMATS)
    if features.check("avif"):
        formats["AVIF"] = _AVIF
    if find_spec("pillow_heif") is not None:
        from pillow_heif import register_heif_opener

        register_heif_opener()
        formats["HEIF"] = _HEIF
    return formats


def is_readable(file: str) -> bool:
    """Tell by its extension whether a file can be read."""
    return _extension(file) in {
        e for known in readable_formats().values() for e in known
    }


def count_unread(files: list[str]) -> str:
    """Return what to do about photos that cannot be read, or "" without any."""
    counts = Counter(_extension(file) for file in files if not is_readable(file))
    photos = {e: n for e, n in counts.items() if e in (*_AVIF, *_HEIF, *_NEVER)}
    if not photos:
        return ""
    numbers = ", ".join(f"{n} {e}" for e, n in sorted(photos.items()))
    advice = "Convert them to JPEG or PNG"
    if set(_HEIF) & set(photos):
        advice = 'pip install "skcvae[heif]" reads HEIC; convert others to JPEG or PNG'
    return f"photos that cannot be read: {numbers}. {advice}."


def _extension(file):
    return os.path.splitext(file)[1].lower()
