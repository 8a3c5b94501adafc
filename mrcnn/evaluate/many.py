"""Detections in any number of image files: a line for each image as it comes, and COCO's results in the end.

Memory does not grow with them, and what was found before a break is not looked for again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from mrcnn.data.formats.door import lines_of
from mrcnn.data.reading import find_file, image_files, read_image
from mrcnn.evaluate.results import check_results, own_results
from mrcnn.ops.files import named, whole

# Images that go through the engine as one piece of work.
PIECE = 8


def listed(path: Path | str) -> list[Path]:
    """The image files of a folder, sorted, or those that a .txt lists, one a line, seen from its folder.

    Raises:
        FileNotFoundError: there are none.
        ValueError: it is neither, no text in UTF-8, or lists one twice.
    """
    path = Path(path)
    if path.is_dir():
        found = image_files(path)
    elif path.suffix == ".txt":
        found = [Path(find_file(path.parent, line)) for line in lines_of(path) if line]
    else:
        raise ValueError(f"{path} is neither a folder of images nor a .txt that lists some.")
    if not found:
        raise FileNotFoundError(f"There are no images in {path}.")
    if len(set(found)) < len(found):
        raise ValueError(f"{path} lists an image twice: {next(x for x in found if found.count(x) > 1)}.")
    return found


def image_ids(paths: Sequence[Path]) -> list[int]:
    """Ids of images: the numbers that are their names, as COCO's are, or where one has another name 1, 2, ..."""
    stems = [path.stem for path in paths]
    numbers = [int(stem) for stem in stems if stem.isascii() and stem.isdigit()]
    return numbers if len(set(numbers)) == len(stems) else list(range(1, len(stems) + 1))


def image_names(paths: Sequence[Path]) -> list[str]:
    """Names of images, or their paths where two have one name."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [path.as_posix() for path in paths]


class Finder:
    """Detects in the images of a piece of work: {"index", "path"} arrays in, {"line"} out. It makes its own model, so
    that an engine can have one in each of its processes.

    Args:
        load: function that gives the model.
    """

    def __init__(self, load: Callable[[], Any]) -> None:
        self.model = load()

    def __call__(self, work: dict[str, Any]) -> dict[str, Any]:
        lines: list[list[Any]] = []
        size = max(1, self.model.config.BATCH_SIZE)
        for start in range(0, len(work["index"]), size):
            images, errors = {}, {}
            for i, path in zip(*(work[name][start : start + size] for name in ("index", "path")), strict=True):
                try:
                    images[int(i)] = read_image(str(path), self.model.config.IMAGE_CHANNEL_COUNT)
                except (OSError, ValueError) as error:
                    errors[int(i)] = " ".join(str(error).split())
            found = self.model.detect(list(images.values()), rle=True) if images else []
            lines += [[i, own_results(i, result), None] for i, result in zip(images, found, strict=True)]
            lines += [[i, [], words] for i, words in errors.items()]
        return {"line": np.array([json.dumps(line) for line in lines], dtype=object)}


class Lines:
    """The file beside the results that holds what was found so far: a line that says of what, then one an image.

    Args:
        output: the results to write in the end.
        head: says what was detected with what; lines of something else do not count.

    Attributes:
        done: indices of images that need not be looked at again.
        bad: {index: why} of those that cannot be read.
    """

    def __init__(self, output: Path | str, head: str) -> None:
        self.output = Path(output)
        check_results(self.output)
        self.part = self.output.with_name(self.output.name + ".part")
        self.done: set[int] = set()
        self.bad: dict[int, str] = {}
        self.output.parent.mkdir(parents=True, exist_ok=True)
        old = self._read(head) if self.part.exists() else iter(())
        with whole(self.part) as new, open(new, "w", encoding="utf-8") as file:  # without a half line
            file.write(json.dumps(head) + "\n")
            for line, entry in old:
                file.write(line)
                self._know(entry)

    def _read(self, head: str | None) -> Iterator[tuple[str, Any]]:
        """Whole lines with what they hold, of this head alone if there is one; of an image the first."""
        seen = set()
        with open(self.part, encoding="utf-8", errors="replace") as file:
            first = file.readline()
            if head is not None and first != json.dumps(head) + "\n":
                return
            for line in file:
                try:
                    index, _, _ = entry = json.loads(line)
                except (ValueError, TypeError):
                    continue  # the line that was being written
                if line.endswith("\n") and line.isascii() and index not in seen:  # JSON writes ASCII
                    seen.add(index)
                    yield line, entry

    def _know(self, entry):
        self.done.add(entry[0])
        if entry[2]:
            self.bad[entry[0]] = entry[2]

    def add(self, lines: Iterable[str]) -> int:
        """Keep lines of images that were not known; how many these were."""
        new = {}
        for line in lines:
            entry = json.loads(line)
            if entry[0] not in self.done:
                new[line] = entry
                self._know(entry)
        with named(self.part), open(self.part, "a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in new)
        return len(new)

    def finish(self, paths: Sequence[Path], categories: Sequence[int] | None = None) -> int:
        """Write COCO's results, images as they came, and remove the lines; how many entries these are.

        Args:
            paths: of the images.
            categories: ids of the classes in their source by ours; None for ours.

        Raises:
            RuntimeError: lines are missing, as another process wrote or removed them.
        """
        ids, names, count, seen = image_ids(paths), image_names(paths), 0, set()
        with whole(self.output) as new, open(new, "w", encoding="utf-8") as file:
            file.write("[")
            for _, (index, entries, _) in self._read(None):
                seen.add(index)
                for entry in entries:
                    own_id = entry["category_id"]
                    own = {
                        "image_id": ids[index],
                        "file_name": names[index],
                        "category_id": int(categories[own_id]) if categories is not None else own_id,
                    }
                    file.write((",\n" if count else "\n") + json.dumps({**entry, **own}))
                    count += 1
            file.write("\n]\n")
            if seen != self.done:
                raise RuntimeError(f"{self.part} was changed by another process; run the command once more, alone.")
        self.part.unlink()
        return count


def pieces(paths: Sequence[Path], done: set[int]) -> Iterator[dict[str, Any]]:
    """The work that is left."""
    left = [i for i in range(len(paths)) if i not in done]
    for start in range(0, len(left), PIECE):
        part = left[start : start + PIECE]
        yield {"index": np.array(part), "path": np.array([str(paths[i]) for i in part], dtype=object)}


def here(load: Callable[[], Any]) -> Callable[[Sequence[Path], set[int]], Iterator[Sequence[str]]]:
    """An engine: this process, piece by piece."""

    def run(paths, done):
        finder = Finder(load)
        for piece in pieces(paths, done):
            yield finder(piece)["line"]

    return run


def on_ray(
    load: Callable[[], Any], address: str = "local", workers: int = 2
) -> Callable[[Sequence[Path], set[int]], Iterator[Sequence[str]]]:
    """An engine: Ray Data, with a model in each of its actors; what an actor that dies was at is done again.

    Args:
        load: makes the model, in a process of Ray's.
        address: of a Ray cluster, or "local" for this machine.
        workers: actors.
    """

    def run(paths, done):
        import ray

        root = str(Path(__file__).resolve().parents[2])
        environment = {"env_vars": {"PYTHONPATH": root}}
        # Actors take a core each, and what hands them the files one more.
        cores = {"num_cpus": workers + 1, "include_dashboard": False} if address == "local" else {}
        try:
            ray.init(address=address, runtime_env=environment, log_to_driver=False, **cores)
        except (OSError, ValueError):  # nobody is at the address
            raise
        except Exception as error:  # Ray's own is of no class of its own where the machine is too busy
            words = " ".join(str(error).split())
            raise RuntimeError(f"Ray does not start at {address}; the same command tries again: {words}") from error
        try:
            items = [{"index": i, "path": str(path)} for i, path in enumerate(paths) if i not in done]
            work = ray.data.from_items(items, override_num_blocks=-(-len(items) // PIECE))
            found = work.map_batches(
                Finder,
                fn_constructor_args=(load,),
                batch_size=PIECE,
                compute=ray.data.ActorPoolStrategy(size=workers),
            )
            for batch in found.iter_batches(batch_size=PIECE):
                yield batch["line"]
        finally:
            ray.shutdown()

    return run


def detect_files(
    paths: Sequence[Path],
    output: Path | str,
    head: str,
    engine: Callable[[Sequence[Path], set[int]], Iterable[Sequence[str]]],
    categories: Sequence[int] | None = None,
) -> tuple[int, dict[Path, str]]:
    """Detect in image files and write COCO's results; after a break the same call goes on.

    Args:
        paths: of the images.
        output: the .json to write; what is found is kept beside it (".part") as it comes.
        head: tells it from the same of another model or of other images; see `mrcnn.evaluate.results.digest_of`.
        engine: what runs the work, `here` or `on_ray`.
        categories: see `Lines.finish`.

    Returns:
        the number of detections, and {path: why} of images that cannot be read.
    """
    lines = Lines(output, head)
    with tqdm(total=len(paths), initial=len(lines.done), desc="Detecting", unit="image") as progress:
        if len(lines.done) < len(paths):
            for found in engine(paths, lines.done):
                progress.update(lines.add(found))
    if len(lines.done) < len(paths):
        raise RuntimeError(f"Only {len(lines.done)} of {len(paths)} images came back; the same command goes on.")
    return lines.finish(paths, categories), {paths[i]: words for i, words in lines.bad.items()}
