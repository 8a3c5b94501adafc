"""mrcnn.weights.download against a local server: whole, cut, resumed, changed, gone, none."""

import hashlib
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mrcnn.weights.download import fetch

CONTENT = bytes(range(256)) * 20000
HALF = len(CONTENT) // 2
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def web():
    """A server of the pages /whole, /cut (half comes), /chunked (likewise, its length unsaid), /anew (no ranges); with
    the content and the ETag that a test sets, half of it unless it says healthy, /tagged, /shifted (it goes on with
    another part than was asked for), /endless (its length unsaid)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            page, asked = self.path[1:], self.headers["Range"]
            self.server.requests.append((page, asked))
            if page in ("tagged", "shifted", "endless"):
                return self.answer(page, int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0)
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

        def answer(self, page, start):
            content, tag = self.server.content, self.server.tag
            if self.headers.get("If-Range", tag) != tag:
                start = 0
            body = content[start:]
            self.send_response(206 if start else 200)
            if start:
                told = start - (page == "shifted")
                self.send_header("Content-Range", f"bytes {told}-{len(content) - 1}/{len(content)}")
            if tag:
                self.send_header("ETag", tag)
            if page != "endless":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if start or self.server.healthy else body[:HALF])

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.url = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.shutdown()


@pytest.fixture
def server(web):
    web.requests, web.content, web.tag, web.healthy = [], CONTENT, '"first"', False
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


# Without a checksum a part is gone on with where the server proves that it has the same file


def broken_off(server, path, page="tagged"):
    """Fetch the first half."""
    with pytest.raises(OSError, match=f"the connection ended after {HALF} of {len(CONTENT)} bytes"):
        fetch(f"{server.url}/{page}", path, verbose=0)
    assert path.with_name("x.h5.part").read_bytes() == CONTENT[:HALF]


def test_the_same_file_goes_on(server, tmp_path):
    path = tmp_path / "x.h5"
    broken_off(server, path)
    fetch(f"{server.url}/tagged", path, verbose=0)
    assert path.read_bytes() == CONTENT and [p.name for p in tmp_path.iterdir()] == ["x.h5"]
    assert server.requests == [("tagged", None), ("tagged", f"bytes={HALF}-")]


@pytest.mark.parametrize("tag", ['"second"', 'W/"first"', None])
def test_another_file_begins_anew(server, tmp_path, tag):
    """Of the same length, or longer; or nobody knows whether it is the same."""
    path = tmp_path / "x.h5"
    for content in (CONTENT[::-1], CONTENT[::-1] + b"more"):
        server.content, server.tag, server.healthy = CONTENT, '"first"' if tag else None, False
        broken_off(server, path)
        server.content, server.tag, server.healthy = content, tag, True
        fetch(f"{server.url}/tagged", path, verbose=0)
        assert path.read_bytes() == content
        path.unlink()


def test_another_part_than_was_asked_for(server, tmp_path):
    path = tmp_path / "x.h5"
    broken_off(server, path, "shifted")
    server.healthy = True
    fetch(f"{server.url}/shifted", path, verbose=0)
    assert path.read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, f"bytes={HALF}-", None]


def test_a_file_of_no_length_needs_a_checksum(server, tmp_path):
    server.healthy = True
    with pytest.raises(OSError, match="the server does not say how long it is, so it may end anywhere"):
        fetch(f"{server.url}/endless", tmp_path / "x.h5", verbose=0)
    assert list(tmp_path.iterdir()) == []
    fetch(f"{server.url}/endless", tmp_path / "x.h5", CHECKSUM, verbose=0)
    assert (tmp_path / "x.h5").read_bytes() == CONTENT


def test_two_at_once_fetch_it_once(server, tmp_path, capsys):
    server.healthy = True
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(fetch, f"{server.url}/tagged", tmp_path / "x.h5", None, 0) for _ in range(4)]
        assert {job.result() for job in jobs} == {str(tmp_path / "x.h5")}
    assert (tmp_path / "x.h5").read_bytes() == CONTENT and len(server.requests) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["x.h5"]


def test_a_full_disk_keeps_what_has_arrived(server, tmp_path):
    path = tmp_path / "x.h5"
    server.healthy = True
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF + 1000, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large: '.*x.h5.part'.; run this again to go on, or fetch it"):
            fetch(f"{server.url}/tagged", path, verbose=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not path.exists()
    fetch(f"{server.url}/tagged", path, verbose=0)
    assert path.read_bytes() == CONTENT and server.requests[-1] == ("tagged", f"bytes={HALF + 1000}-")
