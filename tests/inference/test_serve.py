"""The page's server, asked without a network; what it takes, refuses, and leaves on the disk."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from types import SimpleNamespace
from urllib.parse import quote

import nibabel
import numpy as np
import pytest
from PIL import Image

from medbench import cli
from medbench.datasets.task import Task
from medbench.errors import ConfigurationError, ModelError
from medbench.evaluation.calibration import Calibration
from medbench.inference.model import Model
from medbench.inference.model_info import RESEARCH_ONLY, FoldInfo, ModelInfo
from medbench.inference.serve import answers, reading, server
from medbench.inference.serve.app import Limits, make_app
from medbench.versions import install_command

ON_THIS_MACHINE = pytest.mark.allow_hosts(["127.0.0.1"])
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
BY_PAGE = {"X-MedBench": "1"}


class Brightness:
    """Two fold models that take an image for "bright" by its mean; ``wait`` makes them slow."""

    def __init__(self):
        self.wait = threading.Event()
        self.wait.set()
        self.begun = threading.Event()
        self.seen = 0

    def probabilities(self, batch):
        self.seen += 1
        self.begun.set()
        assert self.wait.wait(20)
        bright = np.clip(batch.images.mean(axis=(1, 2, 3)) / 255, 0.05, 0.95)
        return np.stack([np.stack([1 - p, p], axis=1) for p in (bright - 0.04, bright + 0.04)])

    def networks(self):
        return None


def make_model(classes=("dark", "bright"), verdicts=("A <b>shortcut</b>: the border tells it.",)):
    fold = FoldInfo(
        split="fold-0",
        params={},
        calibration=Calibration(temperatures=(1.0,)),
        threshold=0.4,
        sha256="",
    )
    info = ModelInfo(
        family="brightness",
        dataset="lamps",
        title="Lamps & candles",
        task=Task(classes=classes, image_shape=(24, 24, 1)),
        synthetic=True,
        why="Chosen by hand.",
        operating_point="youden",
        estimate={"auroc": 0.9, "auroc_low": 0.8, "auroc_high": 0.95, "n_folds": 2},
        verdicts=verdicts,
        note="",
        versions={},
        folds=(fold, fold),
    )
    return Model(info, Brightness(), SimpleNamespace(out_of_distribution=None))


@pytest.fixture
def model():
    return make_model()


def png(level=200, size=(40, 30), mode="L"):
    file = io.BytesIO()
    Image.new(mode, size, level).save(file, "PNG")
    return file.getvalue()


def volume(n_slices=5):
    voxels = np.arange(n_slices * 64, dtype=np.int16).reshape(n_slices, 8, 8).T
    return nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes()


async def ask(app, method, path, body=b"", headers=None, *, host="127.0.0.1:8731", receive=None):
    """What an ASGI server would do, without the server."""
    sent = {"host": host, "content-length": str(len(body)), **(headers or {})}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in sent.items()],
    }
    answer = SimpleNamespace(status=None, headers={}, body=b"")
    given = iter([{"type": "http.request", "body": body}])
    stays = asyncio.Event()

    async def whole_body():
        for message in given:
            return message
        await stays.wait()  # the client waits for its answer

    async def send(message):
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    await app(scope, receive or whole_body, send)
    answer.json = json.loads(answer.body) if answer.body[:1] == b"{" else None
    return answer


def get(app, path="/", **more):
    return asyncio.run(ask(app, "GET", path, **more))


def post(app, content, name="lamp.png", path="/classify", headers=None, **more):
    headers = {**BY_PAGE, "X-MedBench-Name": quote(name), **(headers or {})}
    return asyncio.run(ask(app, "POST", path, content, headers, **more))


# --- what is answered -----------------------------------------------------------------------------


def test_the_page_says_which_model_it_is_what_speaks_against_it_and_what_it_is_not_for(model):
    page = get(make_app(model)).body.decode()
    assert "brightness on Lamps &amp; candles" in page
    assert "A &lt;b&gt;shortcut&lt;/b&gt;: the border tells it." in page
    assert "synthetic images only" in page
    assert RESEARCH_ONLY in page
    assert "Nothing is stored or sent" in page


def test_an_image_is_answered_with_probabilities_decision_and_spread(model):
    answer = post(make_app(model), png(level=102), name="läm<p>.png")
    assert answer.status == 200
    assert answer.json["image"] == "läm<p>.png"
    assert answer.json["decision"] == "bright"  # from .4 on, by the frozen operating point
    assert answer.json["probabilities"] == pytest.approx({"dark": 0.6, "bright": 0.4})
    assert answer.json["spread_over_folds"]["bright"] == pytest.approx([0.36, 0.44])
    assert answer.json["operating_point"] == {"rule": "youden", "thresholds": {"bright": 0.4}}
    assert answer.json["verdicts"] == list(model.info.verdicts)
    assert answer.json["purpose"] == RESEARCH_ONLY


def test_a_colour_picture_for_a_grey_model_is_answered_with_a_warning(model):
    answer = post(make_app(model), png(level=(250, 10, 10), mode="RGB"))
    assert "a colour picture" in answer.json["warnings"][0]


def test_the_heat_map_comes_as_a_picture_in_the_answer(model):
    answer = post(make_app(model), png(), path="/explain")
    assert answer.json["picture"].startswith("data:image/png;base64,iVBOR")
    assert (answer.json["class"], answer.json["method"]) == ("bright", "occlusion")


def test_a_heat_map_that_fails_leaves_the_prediction(model, monkeypatch):
    def fails(*_):
        raise ModelError("no gradient here.")

    monkeypatch.setattr(Model, "explain_read", fails)
    app = make_app(model)
    assert post(app, png()).status == 200
    heat = post(app, png(), path="/explain")
    assert (heat.status, heat.json["error"]) == (500, "no gradient here.")


def test_a_volume_is_asked_for_its_slice_and_answered_with_one(model):
    app = make_app(model)
    asked = post(app, volume(5), name="head.nii")
    assert asked.status == 422
    assert asked.json["slices"] == 5
    assert "--slice" not in asked.json["error"] and "from 1 to 5" in asked.json["error"]
    answer = post(app, volume(5), name="head.nii", headers={"X-MedBench-Slice": "3"})
    assert answer.status == 200


@pytest.mark.parametrize("number", ["0", "-1", "two", "²", "1e3", "99999999999"])
def test_a_slice_that_is_no_number_is_refused(model, number):
    assert post(make_app(model), png(), headers={"X-MedBench-Slice": number}).status == 422


def test_what_is_no_image_is_answered_with_the_reason(model):
    answer = post(make_app(model), b"%PDF-1.7", name="letter.png")
    assert answer.status == 422
    assert answer.json["error"].startswith("Not an image of a known format")
    assert post(make_app(model), b"").json["error"].startswith("The file is empty")


def test_an_error_nobody_thought_of_is_answered_without_its_details(model, monkeypatch):
    def fails(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(model.fold_models, "probabilities", fails)
    sent = []

    async def run():
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/classify",
            "headers": [(b"host", b"localhost"), (b"x-medbench", b"1")],
        }
        stays = asyncio.Event()
        messages = [{"type": "http.request", "body": png()}]

        async def receive():
            return messages.pop() if messages else await stays.wait()

        async def send(message):
            sent.append(message)

        await make_app(model)(scope, receive, send)

    with pytest.raises(RuntimeError, match="secret"):  # for the server to write to the terminal
        asyncio.run(run())
    assert sent[0]["status"] == 500
    assert b"content-security-policy" in dict(sent[0]["headers"])
    assert b"secret" not in sent[1]["body"]


# --- limits ---------------------------------------------------------------------------------------


def test_an_upload_above_the_limit_is_refused_before_it_is_read(model):
    async def receive():
        pytest.fail("it was read")

    app = make_app(model, limits=Limits(n_bytes=1000))
    answer = post(app, b"x" * 1001, receive=receive)
    assert answer.status == 413
    assert "above the limit of 0.001 MB" in answer.json["error"]


def test_an_upload_that_does_not_tell_its_size_is_cut_off_at_the_limit(model):
    given = []

    async def receive():
        given.append(100)
        assert sum(given) <= 1100
        return {"type": "http.request", "body": b"x" * 100, "more_body": True}

    app = make_app(model, limits=Limits(n_bytes=1000))
    answer = post(app, b"", headers={"content-length": "0"}, receive=receive)
    assert answer.status == 413


def test_an_image_with_too_many_pixels_is_refused_however_few_bytes_it_has(model):
    bomb = png(level=0, size=(8000, 8000), mode="1")
    assert len(bomb) < 100_000
    answer = post(make_app(model), bomb)
    assert answer.status == 422
    assert "limit of 50,000,000 pixels" in answer.json["error"]


def test_an_upload_that_takes_too_long_to_arrive_is_cut_off(model):
    async def receive():
        await asyncio.sleep(60)

    app = make_app(model, limits=Limits(upload_seconds=0.05))
    assert post(app, png(), receive=receive).status == 408


def test_a_slow_classification_is_answered_in_time_and_the_next_image_is_classified(model):
    app = make_app(model, limits=Limits(seconds=0.3))
    model.fold_models.wait.clear()
    slow = post(app, png())
    assert slow.status == 503
    assert "over 0.3 seconds" in slow.json["error"]
    behind = post(app, png())
    assert behind.status == 503
    assert "busy" in behind.json["error"]
    model.fold_models.wait.set()
    assert post(app, png()).status == 200


def test_a_heat_map_that_nobody_waits_for_is_not_computed_to_its_end(model):
    app = make_app(model, limits=Limits(seconds=0.3))
    model.fold_models.wait.clear()
    assert post(app, png(), path="/explain").status == 503
    model.fold_models.wait.set()
    assert post(app, png()).status == 200
    assert model.fold_models.seen == 2  # one batch each


def test_while_too_many_wait_the_next_is_refused_unread_and_none_is_classified_beside_another(
    model,
):
    app = make_app(model, limits=Limits(slots=2))
    headers = {**BY_PAGE, "X-MedBench-Name": "a"}

    async def receive():
        pytest.fail("it was read")

    async def run():
        model.fold_models.wait.clear()
        two = [asyncio.create_task(ask(app, "POST", "/classify", png(), headers)) for _ in "ab"]
        await asyncio.to_thread(model.fold_models.begun.wait, 10)
        await asyncio.sleep(0.1)
        assert model.fold_models.seen == 1
        third = await ask(app, "POST", "/classify", png(), headers, receive=receive)
        model.fold_models.wait.set()
        return third, [await one for one in two]

    third, two = asyncio.run(run())
    assert third.status == 503
    assert third.headers["retry-after"] == "5"
    assert [one.status for one in two] == [200, 200]


def test_a_client_that_leaves_while_it_waits_costs_nothing(model):
    app = make_app(model)

    async def run():
        model.fold_models.wait.clear()
        first = asyncio.create_task(ask(app, "POST", "/classify", png(), BY_PAGE))
        await asyncio.to_thread(model.fold_models.begun.wait, 10)
        messages = iter([{"type": "http.request", "body": png()}, {"type": "http.disconnect"}])

        async def receive():
            return next(messages)

        left = await ask(app, "POST", "/classify", png(), BY_PAGE, receive=receive)
        model.fold_models.wait.set()
        return left, await first

    left, first = asyncio.run(run())
    assert (left.status, first.status) == (499, 200)
    assert post(app, png()).status == 200
    assert model.fold_models.seen == 2  # the one who left was not classified


def test_a_client_that_leaves_while_it_sends_is_no_error(model):
    async def receive():
        return {"type": "http.disconnect"}

    app = make_app(model)
    assert post(app, png(), receive=receive).status == 499
    assert post(app, png()).status == 200


# --- who may ask ----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:8731", "localhost:9000", "LOCALHOST", "[::1]:8731"])
def test_the_page_has_the_names_of_this_machine(model, host):
    assert get(make_app(model), host=host).status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8731", "192.168.0.7", ""])
def test_under_any_other_name_nothing_is_answered(model, host):
    app = make_app(model)
    assert get(app, host=host).status == 400
    assert post(app, png(), host=host).status == 400
    assert model.fold_models.seen == 0


def test_nothing_is_classified_for_the_pages_of_other_sites(model):
    app = make_app(model)
    assert asyncio.run(ask(app, "POST", "/classify", png())).status == 403  # as a form would
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:8731"):
        assert post(app, png(), headers={"Origin": origin}).status == 403
    assert asyncio.run(ask(app, "OPTIONS", "/classify", headers=BY_PAGE)).status == 405
    assert model.fold_models.seen == 0
    assert post(app, png(), headers={"Origin": "http://127.0.0.1:8731"}).status == 200


def test_every_answer_is_kept_to_the_page_and_out_of_caches(model):
    app = make_app(model)
    given = [get(app, path) for path in ("/", "/page.css", "/page.js", "/nothing")]
    given += [post(app, png()), post(app, b"no image"), get(app, host="evil.example")]
    for answer in given:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
    assert given[3].json == {"error": "Not Found"}


# --- the disk -------------------------------------------------------------------------------------

_written = None


def _watch(event, arguments):
    if _written is None:
        return
    changes = ("os.rename", "os.mkdir", "os.link", "os.symlink", "tempfile.mkstemp")
    if event in changes or (event == "open" and arguments[2] & WRITING):
        _written.append((event, arguments))


@pytest.fixture
def written():
    """Whatever this process opens for writing; a hook cannot be removed, so it is told to rest."""
    global _written
    sys.addaudithook(_watch)
    _written = []
    yield _written
    _written = None


def _is_no_file(event, arguments):
    """A pipe to the process that decodes, or what swallows its words."""
    return event == "open" and (isinstance(arguments[0], int) or arguments[0] == os.devnull)


def test_uploads_never_touch_the_disk(model, written, tmp_path):
    answers.warm_up(model)
    app = make_app(model)
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (1500, 1500), dtype=np.uint8)).save(file, "PNG")
    large = file.getvalue()
    assert len(large) > 2_000_000  # what form parsers spool
    written.clear()
    assert post(app, large).status == 200
    assert post(app, large, path="/explain").status == 200
    assert post(app, volume(), headers={"X-MedBench-Slice": "2"}).status == 200
    assert post(app, b"no image").status == 422
    for content in (large, volume(), b"no image"):  # as the process that decodes it does
        asked = {"name": "x", "slice": None, "volumes": None, "shape": [24, 24, 1]}
        reading.decoded(asked, content)
    assert [one for one in written if not _is_no_file(*one)] == []
    (tmp_path / "seen").write_text("")
    assert written  # the hook does see


# --- the command line -----------------------------------------------------------------------------


def test_the_kit_that_is_missing_is_named_with_its_extra(monkeypatch, capsys):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    assert cli.main(["serve", "run"]) == 2
    assert install_command("serve") in capsys.readouterr().err


@ON_THIS_MACHINE
def test_a_port_in_use_is_named_with_its_option():
    with server.listen(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"--port {port}: is in use already"):
            server.listen(port)


@ON_THIS_MACHINE
def test_it_listens_on_this_machine_only():
    with server.listen(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("port", ["65536", "-1", "http", "80.5"])
def test_what_is_no_port_is_refused(port, capsys):
    with pytest.raises(SystemExit):
        cli.main(["serve", "run", f"--port={port}"])
    assert "is no port" in capsys.readouterr().err


_SCRIPT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("made", sys.argv[1])
made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)
import medbench.inference.load
medbench.inference.load.load_model = lambda *_, **__: made.make_model()
from medbench.__main__ import main
sys.argv[1:] = ["serve", "run", "--port", "0"]
sys.exit(main())
"""


@ON_THIS_MACHINE
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C reaches the whole console there")
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_it_serves_until_it_is_told_to_end_and_writes_down_no_file_name(how):
    command = [sys.executable, "-c", _SCRIPT, __file__]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        assert any("shortcut" in line for line in said)
        address = said[-1].split()[1]
        assert address.startswith("http://127.0.0.1:")
        headers = {**BY_PAGE, "X-MedBench-Name": "patient-7.png"}
        request = urllib.request.Request(f"{address}classify", png(), headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            assert json.load(answer)["image"] == "patient-7.png"
        process.send_signal(getattr(signal, how))
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.endswith("Stopped.\n")
    assert "patient" not in out + err
    assert err == ""


def test_what_a_system_leaves_behind_is_refused_by_its_name_and_a_mask_gets_a_warning(model):
    app = make_app(model)
    for name in ("._lamp.png", "Thumbs.db", ".hidden.png"):
        answer = post(app, png(), name)
        assert answer.status == 422 and "not an image" in answer.json["error"]
    mask = Image.new("L", (40, 30))
    mask.paste(255, (5, 5, 20, 20))
    file = io.BytesIO()
    mask.save(file, "PNG")
    answer = post(app, file.getvalue())
    assert answer.status == 200 and "as masks are" in answer.json["warnings"][0]
