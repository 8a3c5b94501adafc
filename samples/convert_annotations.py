"""Annotations from one format to another, with their images:

    python samples/coco.py convert-annotations my/yolo my/labelme --to labelme
    python samples/coco.py convert-annotations my/labelme my/coco --to coco
    python samples/coco.py convert-annotations my/set objects.geojson

The second is a folder of the format --to, or one file: .json (COCO's format), .geojson or .csv (neither with images).
"""

import sys
from pathlib import Path

from options import add_outlines

from mrcnn.cli import arguments, program
from mrcnn.data.formats import FILES, FORMATS, find, leave_out, read, write
from mrcnn.data.problems import format_problems


def parse_arguments(argv, prog="coco.py"):
    """The command line; its errors end the program with exit code 2."""
    parser = arguments.Parser(f"{prog} convert-annotations", __doc__)
    parser.add_argument("source", type=arguments.path, metavar="A", help="folder to read, or a file in COCO's format")
    parser.add_argument("target", type=arguments.path, metavar="B", help="folder or file to write")
    parser.add_argument("--format", choices=list(FORMATS), help="of A; default: found by what is there")
    parser.add_argument("--to", choices=list(FORMATS), help="format of a folder B")
    parser.add_argument("--outside", action="store_true", help="read images, too, that lie outside A")
    add_outlines(parser)
    args = parser.parse_args(argv)
    ending = Path(args.target).suffix.lower()
    if bool(args.to) == (ending in FILES):
        parser.error(f"B is a file with one of {', '.join(FILES)}, or a folder whose format --to names")
    if args.tolerance is not None and (args.to or ending) not in ("labelme", ".geojson"):
        parser.error("--tolerance goes with --to labelme or a .geojson")
    if args.transform and ending != ".geojson":
        parser.error("--transform goes with a .geojson")
    return args


def work(argv, prog="coco.py"):
    """Convert; the exit code is 1 if something in A was left out.

    Raises:
        ValueError, OSError: A cannot be read, nor any image of it, or B not be written.
    """
    args = parse_arguments(argv, prog)
    target = Path(args.target)
    if args.to:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise ValueError(f"{target} is there already and not empty; name another folder.")
        arguments.check_folder(target)
    else:
        arguments.check_output(target, list(FILES), [args.source])
    name = args.format or find(args.source)
    files = read(args.source, name, args.outside)
    if args.to:  # with images
        leave_out(files)
    images = sum(len(file.images) for file in files.values())
    problems = [problem for file in files.values() for problem in file.problems]
    if problems:
        print(format_problems(problems, images), file=sys.stderr)
    if not images:
        raise OSError(f"{args.source} has no image that can be read.")
    options = {key: getattr(args, key) for key in ("tolerance", "transform") if getattr(args, key) is not None}
    lost = write(files, target, args.to, **options)
    objects = sum(len(found) for file in files.values() for found in file.objects.values())
    print(f"{images} images with {objects} objects, {name} to {args.to or target.suffix}: {target}")
    if lost:
        print(f"Not held there: {', '.join(f'{what} ({count})' for what, count in lost.items())}.")
    return program.FAILED if problems else 0
