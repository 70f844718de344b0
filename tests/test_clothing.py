"""fetch_clothing against a server of this machine."""

import io
import os
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from skcvae.datasets import _clothing, fetch_clothing, load_image_folder

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("SKCVAE_DATA", ROOT.parent / "shared" / "data"))
CLOTHING = DATA / "clothing"

SMALL = {"hat": (2, 1, 1), "shirt": (3, 1, 0)}
fetch = partial(fetch_clothing, n_retries=0, delay=0)


def archive_of(files):
    """Return the bytes of an archive as GitHub makes them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"clothing-dataset-small-abc/{name}", content)
    return buffer.getvalue()


def small_files():
    """Return photos, and files that are none, by name."""
    photos = {
        f"{split}/{label}/{i}-a.jpg": f"{split} {label} {i}".encode()
        for label, counts in SMALL.items()
        for split, count in zip(_clothing._SPLITS, counts, strict=True)
        for i in range(count)
    }
    others = ("README.md", "train/notes.txt", "train/hat/a.png", "train/../up/x.jpg")
    return photos | dict.fromkeys(others, b"other")


@pytest.fixture
def serve(monkeypatch):
    """Return a function that serves answers (status, bytes) in turn."""
    servers = []

    def start(*answers):
        requests = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = answers[min(len(requests), len(answers) - 1)]
                requests.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/photos.zip"
        monkeypatch.setattr(_clothing, "_URL", url)
        return requests

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(_clothing, "_COUNTS", SMALL)
    return archive_of(small_files())


def test_photos_are_downloaded_once(serve, small, tmp_path):
    requests = serve((200, small))
    photos = fetch(data_home=tmp_path)
    assert photos.target_names == ["hat", "shirt"]
    assert photos.target.tolist() == [0, 0, 1, 1, 1]
    assert photos.y.tolist() == ["hat"] * 2 + ["shirt"] * 3
    contents = [Path(path).read_text() for path in photos.filenames]
    assert contents == [f"train hat {i}" for i in range(2)] + [
        f"train shirt {i}" for i in range(3)
    ]
    assert photos.paths.tolist() == photos.filenames.tolist()
    everything = fetch(data_home=str(tmp_path), subset="all")
    assert len(everything.filenames) == 8
    assert fetch(data_home=tmp_path, subset="test").y.tolist() == ["hat"]
    assert len(requests) == 1
    # Nothing but photos is written, and nothing of the download is left.
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".jpg", ".lock"}
    assert len(files) == 8 + 1


def test_a_download_that_fails_is_tried_again(serve, small, tmp_path):
    requests = serve((503, b"busy"), (503, b"busy"), (200, small))
    with pytest.warns(UserWarning, match="Retry"):
        photos = fetch_clothing(data_home=tmp_path, n_retries=2, delay=0)
    assert len(photos.filenames) == 5
    assert len(requests) == 3


@pytest.mark.parametrize(
    "answer",
    [(404, b""), (200, b"a page"), (200, b"")],
    ids=["missing", "page", "empty"],
)
def test_what_cannot_be_downloaded_says_what_to_do(serve, small, tmp_path, answer):
    serve(answer)
    with pytest.raises(
        OSError, match=r"could not be downloaded[\s\S]*copy the folders"
    ):
        fetch(data_home=tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_offline_says_what_to_do(serve, small, tmp_path, monkeypatch):
    monkeypatch.setattr(_clothing, "_URL", "http://127.0.0.1:9/photos.zip")
    with pytest.raises(
        OSError, match=r"could not be downloaded[\s\S]*copy the folders"
    ):
        fetch(data_home=tmp_path)
    with pytest.raises(OSError, match="download_if_missing=False"):
        fetch(data_home=tmp_path, download_if_missing=False)


def test_an_archive_that_is_cut_or_damaged_is_refused(serve, small, tmp_path):
    damaged = small.replace(b"train hat 1", b"train hat 7", 1)
    for body in (small[: len(small) // 2], damaged):
        serve((200, body))
        with pytest.raises(OSError, match="could not be downloaded"):
            fetch(data_home=tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_an_archive_without_all_photos_is_refused(serve, small, tmp_path):
    files = small_files()
    del files["train/shirt/1-a.jpg"]
    serve((200, archive_of(files)))
    with pytest.raises(OSError, match=r"'shirt': \(2, 1, 0\)"):
        fetch(data_home=tmp_path)
    assert not (tmp_path / "skcvae_clothing").exists()


def test_photos_that_were_deleted_are_downloaded_again(serve, small, tmp_path):
    requests = serve((200, small))
    os.unlink(fetch(data_home=tmp_path).filenames[0])
    assert len(fetch(data_home=tmp_path).filenames) == 5
    assert len(requests) == 2


@pytest.mark.skipif(
    not CLOTHING.exists(), reason="needs data/clothing: set SKCVAE_DATA to data"
)
def test_the_whole_data_set_has_the_labels_of_its_folders(serve, tmp_path):
    files = sorted(CLOTHING.rglob("*.jpg"))
    content = {str(path.relative_to(CLOTHING)): path.read_bytes() for path in files}
    serve((200, archive_of(content)))
    n_photos = 0
    for split in ("train", "validation", "test"):
        photos = fetch(subset=split, data_home=tmp_path)
        expected = load_image_folder(CLOTHING, split=split)
        assert photos.y.tolist() == expected.y.tolist()
        assert [Path(path).name for path in photos.filenames] == [
            Path(path).name for path in expected.paths
        ]
        n_photos += len(photos.y)
    assert n_photos == 3781
