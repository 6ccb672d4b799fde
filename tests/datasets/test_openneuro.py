"""openneuro-py as it is, against a server on this machine in the place of OpenNeuro."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from medbench.datasets.fetch import fetch
from medbench.datasets.places import openneuro, place_of
from medbench.datasets.sources.folder import FolderSource
from medbench.errors import ConfigurationError, DatasetError

NAME = "openneuro:ds000246@1.0.0"
FILES = {
    "dataset_description.json": b'{"Name": "x"}',
    "sub-01/anat/sub-01_T1w.nii.gz": b"one",
    "sub-02/anat/sub-02_T1w.nii.gz": b"two",
    "sub-01/meg/sub-01_meg.fif": b"m" * 3_000_000,
}
ON_THIS_MACHINE = pytest.mark.allow_hosts(["127.0.0.1"])


@pytest.fixture
def served(monkeypatch):
    """What was asked of a server that has one version of one data set."""
    client = pytest.importorskip("openneuro._download")
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self, content, body=True):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def do_POST(self):
            query = self.rfile.read(int(self.headers["Content-Length"])).decode()
            files = [
                {"filename": name, "size": len(data), "id": name, "urls": [f"{address}/{name}"]}
                for name, data in FILES.items()
            ]
            whole = {"snapshot": {"id": "ds000246:1.0.0", "files": files}}
            if "1.0.0" not in query and "snapshot(" in query:
                whole = {"snapshot": None}
            some = {"dataset": {"snapshots": [{"id": "ds000246:1.0.0"}]}}
            data = whole if "snapshot(" in query else some
            self.answer(json.dumps({"data": data}).encode())

        def do_HEAD(self):
            self.answer(FILES[self.path[1:]], body=False)

        def do_GET(self):
            asked.append(self.path[1:])
            self.answer(FILES[self.path[1:]])

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(client, "gql_url", f"{address}/graphql")
    monkeypatch.setattr(openneuro, "_API", f"{address}/graphql")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "text", ["ds000246", "ds000246@latest", "ds1@1.0.0", "../x@1.0.0", "ds000246@1.0.0/../x"]
)
def test_what_is_no_version_of_a_set_is_refused(text):
    with pytest.raises(ConfigurationError, match=r"write openneuro:ds000246@1\.0\.0|without"):
        place_of(f"openneuro:{text}")


@ON_THIS_MACHINE
def test_the_files_that_are_wanted_come_and_their_size_is_said_first(served, tmp_path):
    said = []
    source = FolderSource(path=f"{NAME}/sub-01", fetch_only=["sub-*/anat/*_T1w.nii.gz"])
    source.within(tmp_path)
    fetch("scans", source, tmp_path, say=said.append)
    assert "at most 1 MB" in said[0] and "versions/1.0.0" in said[0]
    assert sorted(served) == sorted(name for name in FILES if "meg" not in name)
    root = source.locate()["path"]
    assert (root / "anat/sub-01_T1w.nii.gz").read_bytes() == b"one"
    assert source.place_name() == NAME
    everything = FolderSource(path=NAME).within(tmp_path)
    assert not everything.is_here()  # only some of it is
    assert everything.to_fetch.measured().megabytes == 4


@ON_THIS_MACHINE
def test_a_version_or_file_that_is_not_there_is_said_before_anything_comes(served):
    with pytest.raises(DatasetError, match="no such version"):
        place_of("openneuro:ds000246@2.0.0").download.measured()
    source = FolderSource(path=NAME, fetch_only=["sub-09"])
    with pytest.raises(DatasetError, match=r"no file there is called as 'sub-09'.*fetch_only"):
        source.to_fetch.measured()
    assert served == []


def test_without_network_it_is_said_at_once(web):
    pytest.importorskip("openneuro")
    with pytest.raises(DatasetError, match="OpenNeuro cannot be reached"):
        place_of(NAME).download.measured()
    assert len(web.asked) == 1


def test_the_files_that_are_wanted_are_for_a_place_that_has_them_singly():
    with pytest.raises(ValueError, match="fetch_only is for paths"):
        FolderSource(path="films", fetch_only=["a*"])
