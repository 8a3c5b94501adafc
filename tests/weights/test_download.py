"""mrcnn.weights.download against a local server: whole, cut, resumed, changed, gone, none."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mrcnn.weights.download import fetch

CONTENT = bytes(range(256)) * 20000
HALF = len(CONTENT) // 2
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def web():
    """A server of the pages /whole, /cut (half comes), /chunked (likewise, its length unsaid), /anew (no ranges)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            page, asked = self.path[1:], self.headers["Range"]
            self.server.requests.append((page, asked))
            if page not in ("whole", "cut", "chunked", "anew"):
                return self.send_error(404, "Not Found")
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and page != "anew" else 0
            if start >= len(CONTENT):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                return self.end_headers()
            body = CONTENT[start:]
            self.send_response(206 if start else 200)
            if page == "chunked":
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if page == "chunked":
                body = b"%x\r\n" % len(body) + body[:HALF]
            elif page == "cut" and not start:
                body = body[:HALF]
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.url = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.shutdown()


@pytest.fixture
def server(web):
    web.requests = []
    return web


def test_whole(server, tmp_path, capsys):
    path = tmp_path / "new folder" / "x.h5"
    assert fetch(f"{server.url}/whole", path, CHECKSUM, verbose=0) == str(path)
    assert path.read_bytes() == CONTENT
    assert capsys.readouterr() == ("", "")
    assert [p.name for p in path.parent.iterdir()] == ["x.h5"]


def test_what_is_there_is_left_alone(server, tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(b"mine")
    fetch(f"{server.url}/whole", path, CHECKSUM)
    assert path.read_bytes() == b"mine" and server.requests == []


def test_progress_bar(server, tmp_path, capsys):
    fetch(f"{server.url}/whole", tmp_path / "x.h5")
    assert "x.h5: 100%" in capsys.readouterr().err


def test_resumed_after_a_break(server, tmp_path):
    path = tmp_path / "x.h5"
    with pytest.raises(OSError, match=f"the connection ended after {HALF} of {len(CONTENT)} bytes.; run this again"):
        fetch(f"{server.url}/cut", path, CHECKSUM, verbose=0)
    assert [p.name for p in tmp_path.iterdir()] == ["x.h5.part"]
    fetch(f"{server.url}/cut", path, CHECKSUM, verbose=0)
    assert path.read_bytes() == CONTENT
    assert server.requests == [("cut", None), ("cut", f"bytes={HALF}-")]


def test_a_server_without_ranges_begins_anew(server, tmp_path):
    (tmp_path / "x.h5.part").write_bytes(CONTENT[:HALF])
    fetch(f"{server.url}/anew", tmp_path / "x.h5", CHECKSUM, verbose=0)
    assert (tmp_path / "x.h5").read_bytes() == CONTENT
    assert server.requests == [("anew", f"bytes={HALF}-")]


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"too long"])
def test_nothing_left_to_send(server, tmp_path, part):
    """All had come before the break, or the part is of another file."""
    (tmp_path / "x.h5.part").write_bytes(part)
    fetch(f"{server.url}/whole", tmp_path / "x.h5", CHECKSUM, verbose=0)
    assert (tmp_path / "x.h5").read_bytes() == CONTENT


def test_wrong_checksum(server, tmp_path):
    (tmp_path / "x.h5.part").write_bytes(b"\0" * HALF)
    with pytest.raises(OSError, match=f"its checksum is .* instead of {CHECKSUM}: the file was changed") as error:
        fetch(f"{server.url}/whole", tmp_path / "x.h5", CHECKSUM, verbose=0)
    assert "run this again" not in str(error.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("page, reason", [("chunked", "IncompleteRead"), ("gone", "HTTP Error 404: Not Found")])
def test_one_line_that_says_what_to_do(server, tmp_path, page, reason):
    path = tmp_path / "x.h5"
    with pytest.raises(OSError, match=reason) as error:
        fetch(f"{server.url}/{page}", path, verbose=0)
    assert f"Could not download {server.url}/{page} " in str(error.value)
    assert f"fetch it yourself and put it at {path}." in str(error.value)
    assert "\n" not in str(error.value) and not path.exists()


def test_no_server(tmp_path):
    with pytest.raises(OSError, match="Could not download http://127.0.0.1:9/x.h5") as error:
        fetch("http://127.0.0.1:9/x.h5", tmp_path / "x.h5", verbose=0)
    assert str(tmp_path / "x.h5") in str(error.value)
