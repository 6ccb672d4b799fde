"""One upload, or one connection, does not take the server from the others."""

import asyncio
import contextlib
import http.client
import socket
import sys
import threading
import time

import pytest

from medbench import registry
from medbench.inference.serve import connections, reading, server
from medbench.inference.serve.app import Limits, make_app

from .test_serve import BY_PAGE, ON_THIS_MACHINE, ask, make_model, png, post

PLUGIN = '''
import os
import time

import medbench
from medbench.datasets.readers import Reader


@medbench.register_reader("hostile-test")
class Hostile(Reader):
    """What a decoder in C may do at a broken picture."""

    title = "a test"

    def recognises(self, start):
        return start.startswith(b"HOSTILE ")

    def open(self, content, *, origin, pixel_limit):
        what = content.split()[1]
        if what == b"dies":
            os._exit(1)
        if what == b"prints":
            os.write(1, b"{}\\n" * 1000)
            print("a patient", flush=True)
            os._exit(0)
        if what == b"eats":
            return bytearray(1 << 40)
        while True:  # hangs
            time.sleep(1)
'''


@pytest.fixture
def hostile(tmp_path):
    """Has readers of this process and of those that decode, of which one is no good."""
    before, modules = dict(registry.readers._registered), set(sys.modules)
    path = tmp_path / "hostile_reader.py"
    path.write_text(PLUGIN)
    registry.load_plugin(path)
    yield
    registry.readers._registered.clear()
    registry.readers._registered.update(before)
    for name in set(sys.modules) - modules:
        if sys.modules[name].__file__ == str(path):
            del sys.modules[name]


@pytest.fixture
def model():
    return make_model()


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(
    ("what", "said"),
    [
        (b"dies", "It ended the process that read it"),
        (b"prints", "It ended the process that read it"),
        (b"eats", "not enough memory"),
    ],
)
def test_a_picture_that_ends_its_decoder_is_answered_and_so_is_the_next_one(model, what, said):
    app = make_app(model)
    answer = post(app, b"HOSTILE " + what)
    assert answer.status == 422 and said.lower() in answer.json["error"].lower()
    assert post(app, png()).status == 200


@pytest.mark.usefixtures("hostile")
def test_a_picture_at_which_decoding_hangs_is_ended_after_its_time(model):
    answer = post(make_app(model, limits=Limits(reading_seconds=1)), b"HOSTILE hangs")
    assert answer.status == 422
    assert "took over 1 seconds" in answer.json["error"]


@pytest.mark.usefixtures("hostile")
def test_while_decoding_hangs_the_others_are_answered(model):
    app = make_app(model, limits=Limits(reading_seconds=600, slots=2))
    leaves = asyncio.Event()
    messages = iter([{"type": "http.request", "body": b"HOSTILE hangs"}])

    async def receive():
        for message in messages:
            return message
        await leaves.wait()
        return {"type": "http.disconnect"}

    async def run():
        hanging = asyncio.create_task(
            ask(app, "POST", "/classify", b"HOSTILE hangs", BY_PAGE, receive=receive)
        )
        others = [await ask(app, "POST", "/classify", png(), BY_PAGE) for _ in "abc"]
        still = not hanging.done()
        leaves.set()
        return still, await hanging, others

    still, hanging, others = asyncio.run(run())
    assert [one.status for one in others] == [200] * 3
    assert still and hanging.status == 499


@pytest.mark.usefixtures("hostile")
def test_a_client_that_leaves_while_its_picture_is_decoded_ends_that(model, monkeypatch):
    ended = threading.Event()
    end = reading._Child.end
    monkeypatch.setattr(reading._Child, "end", lambda child: (end(child), ended.set()))
    app = make_app(model, limits=Limits(slots=1))
    messages = iter([{"type": "http.request", "body": b"HOSTILE hangs"}])

    async def receive():
        for message in messages:
            return message
        await asyncio.sleep(0.2)
        return {"type": "http.disconnect"}

    left = post(app, b"HOSTILE hangs", receive=receive)
    assert left.status == 499
    assert ended.wait(20)
    assert post(app, png()).status == 200


def test_the_process_that_decodes_is_used_again_and_ends_with_the_application(model):
    app = make_app(model)
    assert post(app, png()).status == 200
    (child,) = app.state.readers._idle
    assert post(app, png()).status == 200
    assert app.state.readers._idle == [child] and child.is_alive()
    reading._end_all(app.state.readers._idle)
    assert not child.is_alive()
    assert post(app, png()).status == 200  # with a new one


def test_a_slow_upload_keeps_its_place_for_seconds_only(model):
    app = make_app(model, limits=Limits(slots=1, upload_seconds=0.3))

    async def receive():
        await asyncio.sleep(0.1)
        return {"type": "http.request", "body": b"x", "more_body": True}

    assert post(app, png(), receive=receive).status == 408
    assert post(app, png()).status == 200


# --- connections ----------------------------------------------------------------------------------


@pytest.fixture
def port(model, monkeypatch):
    """Of a server in a thread, that loses patience soon."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(connections, "MOST", 5)
    with server.listen(0) as listening:
        running = server.make_server(model)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        running.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def connected(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    return contextlib.closing(connection)


def ends(connection):
    """Whether the other side closes the connection; its words until then."""
    said = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while piece := connection.recv(1 << 16):
            said += piece
    return said


GET = b"GET /page.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@ON_THIS_MACHINE
@pytest.mark.parametrize("begun", [b"", b"G", GET[:-2]])
def test_a_connection_over_which_no_request_comes_is_closed(port, begun):
    with connected(port) as connection:
        connection.sendall(begun)
        assert ends(connection) == b""


@ON_THIS_MACHINE
def test_a_connection_over_which_a_request_trickles_is_closed(port):
    stop = threading.Event()

    def trickle(connection):
        connection.sendall(GET[:-2])
        with contextlib.suppress(OSError):
            while not stop.wait(0.05):
                connection.sendall(b"X-A: b\r\n")

    with connected(port) as connection:
        writer = threading.Thread(target=trickle, args=(connection,), daemon=True)
        writer.start()
        assert b"page" not in ends(connection)
        stop.set()
        writer.join(20)


@ON_THIS_MACHINE
def test_a_connection_is_used_again_and_closed_when_it_idles(port, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 60)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        for last in (False, False, True):
            if last:
                monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
            connection.request("GET", "/page.css")
            answer = connection.getresponse()
            assert answer.status == 200 and answer.read()
        assert ends(connection.sock) == b""


@ON_THIS_MACHINE
def test_a_request_is_not_cut_off_by_the_patience_for_the_next_one(port, model):
    model.fold_models.wait.clear()
    body = png()
    head = (
        f"POST /classify HTTP/1.1\r\nHost: 127.0.0.1\r\nX-MedBench: 1\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with connected(port) as connection:
        connection.sendall(head.encode() + body)
        assert model.fold_models.begun.wait(20)
        time.sleep(0.8)  # more than the patience
        model.fold_models.wait.set()
        assert ends(connection).startswith(b"HTTP/1.1 200")


@ON_THIS_MACHINE
def test_more_connections_than_there_may_be_are_closed_and_the_others_go_on(port, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 60)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connected(port)) for _ in range(5)]
        for one in held:
            one.sendall(GET[:-2])
        with connected(port) as more:
            assert ends(more) == b""
        held[0].sendall(b"\r\n")
        assert held[0].recv(1 << 16).startswith(b"HTTP/1.1 200")
