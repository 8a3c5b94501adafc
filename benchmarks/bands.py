"""A short training of each sample, and whether its AP lies in the band that is expected of it.

    python benchmarks/bands.py                          # or: make bands
    python benchmarks/bands.py --only shapes figures

It is for changes that should leave learning alone: a gradient that is lost somewhere shows here, and in no test. A
training is so many steps that it takes about a minute on two cores; AP does not depend on how fast they are, but on the
seed and, in the third digit, on the processor. Bands are in bands.json: measured once, with seed 0, and a tenth wide on
both sides. A change that moves AP out of a band on purpose brings new bands, measured by `--measure`.

Sets that are not generated are looked for in $MRCNN_DATA, else ../shared/data; without them their samples are left out.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mrcnn.cli import program

program.begin(__name__)

import json
import re
import subprocess
import tempfile

from mrcnn.cli import arguments

BANDS = Path(__file__).with_suffix(".json")
DATA = Path(os.environ.get("MRCNN_DATA") or ROOT.parent / "shared" / "data")

# How far a number may fall below or rise above what was measured, and at most which share of it: about what seeds
# differ by after so short a training.
WIDTH, SHARE = 0.1, 0.5

# The sample, its folder of data, what `train` takes, and what `evaluate` takes.
TRAININGS = {
    "shapes": ("coco", None, "--epochs 1 --steps 80", "--limit 60"),
    "figures": ("pose", None, "--epochs 1 --steps 60", "--limit 60"),
    "nuclei": ("nucleus", "nuclei", "--epochs 1 --config STEPS_PER_EPOCH=90 VALIDATION_STEPS=1", "--limit 20"),
}


def measure(name):
    """{"box AP50": ...} of a short training, by what the sample prints."""
    sample, folder, train, evaluate = TRAININGS[name]
    words = [sys.executable, str(ROOT / "samples" / f"{sample}.py")]
    data = ["--dataset", str(DATA / folder)] if folder else []
    with tempfile.TemporaryDirectory() as logs:
        said = ""
        for command, more in (("train", train), ("evaluate", evaluate)):
            last = ["--weights", "last"] if command == "evaluate" and folder else []
            run = [*words, command, *data, *last, "--logs", logs, *more.split()]
            done = subprocess.run(run, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{' '.join(run[1:])} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
            said = done.stdout
    return numbers(said)


def numbers(said):
    """AP and AP50 of each row of the table that `evaluate` prints."""
    titles, found = [], {}
    for line in said.splitlines():
        words = line.split()
        if "AP50" in words and not titles:
            titles = words
        elif titles and words and words[0] in ("box", "mask") and len(words) == len(titles) + 1:
            row = dict(zip(titles, words[1:], strict=True))
            found |= {f"{words[0]} {key}": float(row[key]) for key in ("AP", "AP50") if re.match(r"[\d.]+$", row[key])}
    return found


def main():
    """Train, compare, and give 1 if a number lies outside its band."""
    parser = arguments.Parser("bands.py", __doc__)
    parser.add_argument("--only", nargs="+", choices=list(TRAININGS), default=list(TRAININGS), metavar="NAME")
    parser.add_argument("--measure", action="store_true", help="write new bands around what comes out")
    args = parser.parse_args()
    bands, outside = json.loads(BANDS.read_text()), 0
    for name in args.only:
        folder = TRAININGS[name][1]
        if folder and not (DATA / folder).is_dir():
            print(f"{name}: left out, as {DATA / folder} is not there (set MRCNN_DATA)")
            continue
        found = measure(name)
        if args.measure:
            bands[name] = {
                key: [round(value - min(WIDTH, SHARE * value), 3), round(min(1.0, value + WIDTH), 3)]
                for key, value in found.items()
            }
            BANDS.write_text(json.dumps(bands, indent=2) + "\n")
        for key, (low, high) in bands.get(name, {}).items():
            value = found.get(key, -1.0)
            lies = low <= value <= high
            outside += not lies
            print(f"{name:10}{key:10}{value:7.3f}   {low:.3f} to {high:.3f}{'' if lies else '   OUTSIDE'}")
    return int(bool(outside))


if __name__ == "__main__":
    sys.exit(program.run("bands.py", main))
