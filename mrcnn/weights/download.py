"""Fetching a file over HTTP: with a progress bar, resumed after a break, checked, never half a file under its name."""

from __future__ import annotations

import hashlib
import http
import http.client
import json
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from tqdm.auto import tqdm

from mrcnn.ops.files import lock, named, whole

BLOCK = 1 << 20


class Version(NamedTuple):
    """What tells the file on the server from the one that was there before: its ETag or its date, and its length."""

    validator: str | None = None
    size: int | None = None


def fetch(url: str, path: Path | str, sha256: str | None = None, verbose: int = 1) -> str:
    """Download `url` to `path`, unless that is there already.

    What has arrived is kept in `path` + ".part", and in `path` + ".version" of what file it is; after a break the next
    call goes on from there, if the server can and still has that file. Of two processes one downloads, the other waits.

    Args:
        url: of the file.
        path: file to write; its folder is made.
        sha256: checksum (hex) of the whole file; None leaves it unchecked.
        verbose: 0 for silence.

    Returns:
        `path` as a string.

    Raises:
        OSError: no network, no such file on the server, a broken connection, a full disk or a wrong checksum; the one
            line says where to put the file by hand.
    """
    path = Path(path)
    if path.exists():
        return str(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part, version = (path.with_name(path.name + ending) for ending in (".part", ".version"))
    while not path.exists():
        with open(part, "ab", buffering=0) as file:
            if not lock(file):
                print(f"Waiting for another process, which downloads {path}.")
                lock(file, wait=True)
            elif not path.exists():
                _complete(url, path, file, version, sha256, verbose)
    _remove(part, version)
    return str(path)


def _complete(url, path, file, version, sha256, verbose):
    """Fetch a file, or its rest, into the open `file` and move it to `path`."""
    part = Path(file.name)
    try:
        _append(url, file, version, sha256 is not None, verbose)
        if sha256 and (found := checksum(part)) != sha256:
            file.truncate(0)
            raise OSError(f"its checksum is {found} instead of {sha256}: the file was changed on its way")
    except (OSError, http.client.HTTPException) as error:
        again = "run this again to go on, or " if part.stat().st_size else ""
        if not again:
            _remove(part, version)
        raise OSError(f"Could not download {url} ({error}); {again}fetch it yourself and put it at {path}.") from error
    os.replace(part, path)


def _append(url, file, known, checked, verbose):
    """Fetch the rest of a file whose beginning may be in `file`: that of the version that is `known`, a JSON file.

    Where no version is known, only what is `checked` as a whole afterwards is gone on with.
    """
    done, before = os.fstat(file.fileno()).st_size, _read_version(known)
    if not (before.validator or checked):
        done = 0
    try:
        response = _open(url, done, before)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        # Nothing is left to send: the part is whole, or of another file.
        if error.headers.get("Content-Range") == f"bytes */{done}" and (checked or before.size == done):
            return
        done, response = 0, _open(url, 0, before)
    if done and not _continues(response, done, before, checked):
        if response.status == http.HTTPStatus.PARTIAL_CONTENT:  # of something else
            response.close()
            response = _open(url, 0, before)
        done = 0  # else this server begins anew
    with response:
        size = _size(response, done)
        if size is None and not checked and response.headers.get("Transfer-Encoding") != "chunked":
            raise OSError("the server does not say how long it is, so it may end anywhere")
        file.truncate(done)
        if _validator(response):
            with whole(known) as new:
                new.write_text(json.dumps(Version(_validator(response), size)))
        else:
            _remove(known)
        with tqdm(
            total=size, initial=done, unit="B", unit_scale=True, desc=known.stem, disable=not verbose
        ) as progress:
            while block := response.read(BLOCK):
                _write(file, block)
                progress.update(len(block))
    arrived = os.fstat(file.fileno()).st_size
    if size is not None and arrived != size:
        raise OSError(f"the connection ended after {arrived} of {size} bytes")


def _write(file, block):
    """All of a block; a raw file may take less at once."""
    rest = memoryview(block)
    with named(file.name):
        while rest:
            rest = rest[file.write(rest) :]


def _open(url, start, version):
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and version.validator:
        headers["If-Range"] = version.validator
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60)


def _continues(response, done, before, checked):
    """Whether a response is the rest of the file that began before."""
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return False
    told = response.headers.get("Content-Range")
    if told is None:
        return checked
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", told.strip())
    return (
        match is not None
        and int(match[1]) == done
        and (match[2] == "*" or before.size in (None, int(match[2])))
        and before.validator in (None, _validator(response))
    )


def _size(response, done):
    """Of the whole file, of which so many bytes are there; None where the server does not say."""
    total = re.search(r"/(\d+)$", response.headers.get("Content-Range", "")) if done else None
    length = response.headers.get("Content-Length", "")
    return int(total[1]) if total else done + int(length) if length.isdigit() else None


def _validator(response):
    """An ETag, or the date of the last change; a weak ETag may stand for other bytes."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _read_version(path):
    try:
        validator, size = json.loads(path.read_text())
        return Version(validator, size)
    except (OSError, ValueError, TypeError):  # there is none, or it is not whole
        return Version()


def _remove(*paths):
    for path in paths:
        path.unlink(missing_ok=True)


def checksum(path: Path | str) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
