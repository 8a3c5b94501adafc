"""Fetching a file over HTTP: with a progress bar, resumed after a break, checked, never half a file under its name."""

import hashlib
import http
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from tqdm.auto import tqdm

BLOCK = 1 << 20


def fetch(url: str, path: Path | str, sha256: str | None = None, verbose: int = 1) -> str:
    """Download `url` to `path`, unless that is there already.

    What has arrived is kept in `path` + ".part"; after a break the next call goes on from there, if the server can.

    Args:
        url: of the file.
        path: file to write; its folder is made.
        sha256: checksum (hex) of the whole file; None leaves it unchecked.
        verbose: 0 for silence.

    Returns:
        `path` as a string.

    Raises:
        OSError: no network, no such file on the server, a broken connection or a wrong checksum; the one line says
            where to put the file by hand.
    """
    path = Path(path)
    if path.exists():
        return str(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        _append(url, part, verbose)
        if sha256 and (found := _checksum(part)) != sha256:
            part.unlink()
            raise OSError(f"its checksum is {found} instead of {sha256}: the file was changed on its way")
    except (OSError, http.client.HTTPException) as error:
        again = "run this again to go on, or " if part.exists() else ""
        raise OSError(f"Could not download {url} ({error}); {again}fetch it yourself and put it at {path}.") from error
    os.replace(part, path)
    return str(path)


def _append(url, part, verbose):
    """Fetch the rest of a file whose beginning may be in `part`."""
    done = part.stat().st_size if part.exists() else 0
    try:
        response = _open(url, done)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        # Nothing is left to send: the part is whole, or of another file.
        if error.headers.get("Content-Range") == f"bytes */{done}":
            return
        done, response = 0, _open(url, 0)
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            done = 0  # this server begins anew
        length = response.headers.get("Content-Length")
        size = done + int(length) if length else None
        with (
            open(part, "ab" if done else "wb") as file,
            tqdm(total=size, initial=done, unit="B", unit_scale=True, desc=part.stem, disable=not verbose) as progress,
        ):
            while block := response.read(BLOCK):
                file.write(block)
                progress.update(len(block))
    if size and part.stat().st_size != size:
        raise OSError(f"the connection ended after {part.stat().st_size} of {size} bytes")


def _open(url, start):
    return urllib.request.urlopen(
        urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {}), timeout=60
    )


def _checksum(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
