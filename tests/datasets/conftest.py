"""A stand-in for the network, and a small set that is published there."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import yaml

from medbench.datasets.catalog import read_datasets
from medbench.datasets.sources import medmnist


@dataclass
class Published:
    """What the stand-in serves by name, and what it was asked for."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut_off_after: int | None = None
    """Bytes after which the connection breaks."""
    breaks: float = math.inf
    """How many connections break."""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def published(monkeypatch):
    """A server on this machine in the place of Zenodo; the test needs ``allow_hosts``."""
    content = Published()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.split("?")[0].rsplit("/", 1)[-1]
            content.asked.append(name)
            if name not in content.files:
                self.send_error(404)
                return
            body = content.files[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            content.breaks -= 1
            self.wfile.write(body[: content.cut_off_after] if content.breaks >= 0 else body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    content.address = f"http://127.0.0.1:{server.server_address[1]}/files"
    monkeypatch.setattr(medmnist, "RECORD", content.address)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # before a download is tried again
    with contextlib.closing(server.socket):
        yield content
        server.shutdown()


@pytest.fixture
def tiny(tmp_path):
    """The catalog entry of a MedMNIST-like set of two sizes, and its two archives as bytes."""

    def archive(side: int) -> bytes:
        rng = np.random.default_rng(side)
        path = tmp_path / "made.npz"
        arrays = {}
        for part, n in (("train", 24), ("val", 8), ("test", 12)):
            labels = np.arange(n) % 2
            pixels = rng.integers(0, 120, (n, side, side), dtype=np.uint8)
            pixels[labels == 1, 4:10, 4:10] = 220
            arrays |= {f"{part}_images": pixels, f"{part}_labels": labels[:, None]}
        np.savez_compressed(path, **arrays)
        return path.read_bytes()

    files = {"tinymnist.npz": archive(28), "tinymnist_64.npz": archive(64)}
    sums = [hashlib.md5(content).hexdigest() for content in files.values()]
    entry = {
        "source": "medmnist",
        "title": "TinyMNIST: squares",
        "path": "medmnist/tinymnist.npz",
        "classes": ["plain", "square"],
        "channels": "grey",
        "n_images": 44,
        "md5": dict(zip((28, 64), sums, strict=True)),
    }
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump({"tinymnist": entry}))
    return Tiny(file=file, files=files, sums=sums)


@dataclass
class Tiny:
    file: Path
    """A ``datasets.yaml`` with the entry."""
    files: dict[str, bytes]
    sums: list[str]

    def source(self, *roots: Path, name: str = "tinymnist"):
        return read_datasets(self.file)[name].within(*roots)

    def put(self, folder: Path, content: bytes | None = None) -> Path:
        path = folder / "medmnist" / "tinymnist.npz"
        path.parent.mkdir(parents=True)
        path.write_bytes(self.files[path.name] if content is None else content)
        return path


@pytest.fixture
def web(monkeypatch):
    """The web as ``requests`` sees it: answers by the end of an address, and what was asked."""
    import requests

    class Web:
        def __init__(self):
            self.answers, self.leads_to, self.asked = {}, {}, []

        def send(self, adapter, request, **kwargs):
            self.asked.append(request.url)
            ends = [end for end in self.answers if request.url.endswith(end)]
            if not ends:
                raise requests.ConnectionError("nothing is there")
            status, kind, content = self.answers[max(ends, key=len)](request.body)
            answer = requests.Response()
            answer.status_code, answer.request = status, request
            answer.url = self.leads_to.get(request.url, request.url)
            answer.headers["Content-Type"] = kind
            answer.headers["Content-Length"] = str(len(content))
            answer.raw = io.BytesIO(content)
            return answer

    stand_in = Web()
    monkeypatch.setattr(
        "requests.adapters.HTTPAdapter.send", lambda *a, **k: stand_in.send(*a, **k)
    )
    return stand_in
