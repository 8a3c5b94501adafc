"""A minute of training of each sample, and whether what it learnt is what it learnt before.

    python benchmarks/bands.py --balloon path/to/balloon --nuclei path/to/nuclei
    python benchmarks/bands.py --samples shapes --seeds 0 1 2 --write     # after a change that is meant to change them

Each sample runs as its user runs it: its train and evaluate commands, in a folder for a while. benchmarks/bands.json
has what was found by several seeds. A value outside of their span, widened by its own width or 0.05, ends with exit
code 1: something about training or evaluation is not as it was. Samples whose data are not given are left out.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mrcnn.cli import program

program.begin(__name__)

import json
import re
import subprocess
import time
from dataclasses import dataclass, field

from mrcnn.cli import arguments
from mrcnn.ops.files import whole

BANDS = Path(__file__).with_suffix(".json")
LEAST = 0.05  # of AP, on either side: what chance does even where a few seeds agree


@dataclass(frozen=True)
class Sample:
    """A program of samples/, the words that train it for about a minute on two cores, and the rows of COCO's table
    that are looked at."""

    program: str
    train: list
    evaluate: list = field(default_factory=list)
    rows: tuple = ("box", "mask")
    data: str | None = None


SAMPLES = {
    "shapes": Sample("coco.py", ["--epochs", "1", "--steps", "250"]),
    "figures": Sample("pose.py", ["--epochs", "1", "--steps", "150"], rows=("box", "keypoint")),
    "balloon": Sample(
        "balloon.py",
        ["--epochs", "1", "--config", "STEPS_PER_EPOCH=100", "IMAGE_MIN_DIM=256", "IMAGE_MAX_DIM=256"],
        ["--weights", "last"],
        data="balloon",
    ),
    "nuclei": Sample("nucleus.py", ["--epochs", "1", "--weights", "imagenet"], ["--limit", "20"], data="nuclei"),
}


def measure(sample, folder, seed):
    """AP50 by row of COCO's table, after a training with that seed."""
    data = ["--dataset", folder] if folder else []
    with program.temporary_folder("mrcnn-") as logs:
        common = [*data, "--logs", logs]
        _run(sample.program, "train", *common, "--seed", str(seed), *sample.train)
        table = _run(sample.program, "evaluate", *common, *sample.evaluate)
    return {row: _ap50(table, row) for row in sample.rows}


def _run(name, *words):
    """What a sample prints; it ends with this process.

    Raises:
        RuntimeError: it failed; the message is its last line.
    """

    def end():
        child.terminate()
        child.wait()
        return ""

    command, pipe = [sys.executable, str(ROOT / "samples" / name), *words], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as child, program.ending(end):
        found, errors = child.communicate()
    if child.returncode:
        said = (errors.strip() or found.strip() or f"exit code {child.returncode}").splitlines()
        raise RuntimeError(f"{name} {words[0]} failed: {said[-1]}")
    return found


def _ap50(table, row):
    """The value of a row below AP50; the first column is AP."""
    return float(re.search(rf"^{row} +\S+ +(\S+)", table, re.MULTILINE)[1])


def known_bands(file):
    """{sample: {row: [AP50 of each seed]}} of a file, {} where it is not there.

    Raises:
        ValueError: it has something else; the message names it.
    """
    try:
        bands = json.loads(file.read_text()) if file.exists() else {}
        for name, rows in bands.items():
            for row in SAMPLES[name].rows:
                if not rows[row] or not all(0 <= value <= 1 for value in rows[row]):
                    raise ValueError(f"{name} has {rows[row]} as {row}")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file} cannot be used ({error!r}); check it out again, or delete it and --write a new one."
        ) from error
    return bands


def band(values):
    """(least, most) of what a seed may find, by what others found."""
    margin = max(LEAST, max(values) - min(values))
    return max(0.0, min(values) - margin), min(1.0, max(values) + margin)


def check(known, found):
    """Lines of what was found, each with its band, and whether all of it is within."""
    lines, good = [], True
    for row, value in found.items():
        least, most = band(known[row])
        within = least <= value <= most
        good &= within
        lines.append(f"  {row} AP50 {value:.3f}, {'within' if within else 'NOT within'} {least:.3f} to {most:.3f}")
    return lines, good


def main():
    """Measure, and compare or write."""
    parser = arguments.Parser("bands.py", __doc__)
    parser.add_argument("--samples", type=arguments.names(SAMPLES), default=list(SAMPLES), metavar="A,B,...")
    parser.add_argument("--seeds", type=arguments.whole(0, 2**31 - 1), nargs="+", default=[3])
    parser.add_argument("--balloon", type=arguments.path, metavar="DIR", help="folder of samples/balloon.py")
    parser.add_argument("--nuclei", type=arguments.path, metavar="DIR", help="folder of samples/nucleus.py")
    parser.add_argument("--write", action="store_true", help="keep what is found in place of what is known")
    args = parser.parse_args()
    bands, good = known_bands(BANDS), True
    if args.write:
        arguments.check_output(BANDS)
    for name in args.samples:
        sample = SAMPLES[name]
        folder = sample.data and getattr(args, sample.data)
        if sample.data and not folder:
            print(f"{name}: left out, --{sample.data} is not given")
            continue
        if not args.write and name not in bands:
            print(f"{name}: not measured, {BANDS.name} has nothing of it; --write with several --seeds comes first")
            good = False
            continue
        start, found = time.monotonic(), [measure(sample, folder, seed) for seed in args.seeds]
        print(f"{name}: {(time.monotonic() - start) / len(found) / 60:.1f} minutes a seed", flush=True)
        if args.write:
            bands[name] = {row: [x[row] for x in found] for row in sample.rows}
            with whole(BANDS) as new:
                new.write_text(json.dumps(bands, indent=1) + "\n")
            print("\n".join(f"  {row} AP50 {values}" for row, values in bands[name].items()), flush=True)
            continue
        for each in found:
            lines, within = check(bands[name], each)
            print("\n".join(lines), flush=True)
            good &= within
    return 0 if good else program.FAILED


if __name__ == "__main__":
    sys.exit(program.run("bands.py", main))
