"""How programs end: exit codes, one line for what goes wrong, Ctrl-C."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
from real_data import ROOT

from mrcnn.cli import program


def of(module, name, *bases):
    """An error class as another package has it."""
    return type(name, bases or (Exception,), {"__module__": module})


TENSORFLOW = """Graph execution error:

Detected at node mul defined at (most recent call last):
  File "/x/train.py", line 3, in <module>

  File "/x/keras/trainer.py", line 117, in error_handler

OOM when allocating tensor with shape[8,256,256] and type float on CPU by allocator mklcpu
\t [[{{node mul}}]]
Hint: If you want to see a list of allocated tensors when OOM happens, add report_tensor_allocations_upon_oom.
 [Op:__inference_step_7]"""


@pytest.mark.parametrize(
    "error, code, line",
    [
        (ValueError("a is\n  wrong"), 2, "a is wrong"),
        (FileNotFoundError("There is no a."), 2, "There is no a."),
        (ImportError("pip install a"), 2, "pip install a"),
        (FloatingPointError("The loss is nan"), 1, "The loss is nan"),
        (RuntimeError("three images in a row"), 1, "three images in a row"),
        (MemoryError(), 1, "Out of memory: lower IMAGES_PER_GPU or the size of images. (MemoryError)"),
        (
            of("tensorflow.python.x", "NotFoundError")(
                "{{function_node __w/device:CPU:0}} x; No such file [Op:F] name: "
            ),
            2,
            "x; No such file\n",
        ),
        (of("tensorflow.python.x", "ResourceExhaustedError")(TENSORFLOW), 1, "Out of memory: lower IMAGES_PER_GPU"),
        (of("tensorflow.python.x", "ResourceExhaustedError")("a; No space left on device"), 1, "a; No space left"),
        (of("tensorflow.python.x", "InvalidArgumentError")(TENSORFLOW), 1, "OOM when allocating tensor with shape[8,"),
        (of("jax.errors", "JaxRuntimeError", RuntimeError)("RESOURCE_EXHAUSTED: Out of memory"), 1, "RESOURCE_EX"),
        (
            ValueError("Error in X.call().\n\n\x1b[1mno shape\x1b[0m\n\nArguments received by X.call():\n a=1"),
            2,
            "Error in",
        ),
        (ValueError("a" * 5000), 2, "a" * 400),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, BaseException) else None,
)
def test_an_error_is_one_line_and_a_code(error, code, line, capsys):
    def work():
        raise error

    assert program.run("do.py", work) == code
    said = capsys.readouterr().err
    assert said.startswith(f"do.py: error: {line}") and said.count("\n") == 1 and len(said) < 600
    assert not any(word in said for word in ("File", "node", "Hint", "\x1b", "Arguments received"))


def test_errors_of_the_code_pass():
    def work():
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        program.run("do.py", work)


def test_the_code_is_that_of_the_work():
    assert program.run("do.py", lambda: None) == 0
    assert program.run("do.py", lambda: 1) == 1


def test_ctrl_c(capsys):
    before = signal.getsignal(signal.SIGINT)
    assert program.run("do.py", lambda: os.kill(os.getpid(), signal.SIGINT)) == 130
    assert capsys.readouterr().err == "\nStopped.\n"
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_says_how_to_go_on(tmp_path, capsys):
    class Model:
        epoch = 1
        checkpoint_path = str(tmp_path / "{epoch:04d}.h5")

    def work():
        with program.resumable(Model, "Go on."):
            raise KeyboardInterrupt

    assert program.run("do.py", work) == 130
    assert capsys.readouterr().err == "\nStopped.\n"  # nothing is there to go on from
    (tmp_path / "0001.h5").write_text("")
    assert program.run("do.py", work) == 130
    assert capsys.readouterr().err == "\nStopped. Go on.\n"


SWALLOWS = """
try:
    os.kill(os.getpid(), signal.SIGINT)
except BaseException:
    pass
"""


RUN = "def work():\n{}\nsys.exit(program.run('do.py', work))"
INDENTED = textwrap.indent(SWALLOWS, "    ")
MOMENTS = {
    "while importing": SWALLOWS,
    "while working": RUN.format("    os.kill(os.getpid(), signal.SIGINT)"),
    "turned into another error": RUN.format(INDENTED + "    raise ImportError('numpy failed')"),
    "swallowed": "program.GRACE = 0.1\n" + RUN.format(INDENTED + "    time.sleep(60)"),
    "twice": RUN.format(INDENTED * 2),
    "in a callback": "import gc\nprogram.GRACE = 0.1\n"
    + "gc.callbacks.append(lambda *_: os.kill(os.getpid(), signal.SIGINT))\n"
    + RUN.format("    gc.collect()\n    time.sleep(60)"),
    "within a program": RUN.format(
        "    program.run('in.py', lambda: os.kill(os.getpid(), signal.SIGINT)) == 130\n    raise KeyboardInterrupt"
    ),
    "at the end": "import atexit\natexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
    + RUN.format("    raise KeyboardInterrupt"),
}


@pytest.mark.parametrize("code", MOMENTS.values(), ids=MOMENTS)
def test_ctrl_c_at_any_moment(code):
    run = as_program(code)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "\nStopped.\n")


def test_ctrl_c_while_training(tmp_path):
    """It ends at once, even if a library would swallow it, and takes a file along that is half written."""
    model = f"class Model: epoch, checkpoint_path = 1, {str(tmp_path / '{epoch:04d}.h5')!r}\n"
    path = str(tmp_path / "0002.h5")
    half = f"    from mrcnn.ops.files import whole\n    with whole({path!r}) as new:\n        new.touch()\n"
    work = RUN.format("    with program.resumable(Model, 'Go on.'):\n" + textwrap.indent(half, "    "))
    code = model + work.replace("new.touch()\n", "new.touch()\n" + textwrap.indent(SWALLOWS, " " * 12) + "\n")
    (tmp_path / "0001.h5").touch()
    (tmp_path / "0001.1-1.new.h5").touch()  # another process's
    run = as_program(code)
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "\nStopped. Go on.\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0001.1-1.new.h5", "0001.h5"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_temporary_folder_goes_with_the_program(tmp_path, name):
    """In a callback too, out of which no exception passes: the page went on."""
    number = getattr(signal, name)
    work = f"""    with program.temporary_folder({str(tmp_path / "new-")!r}) as folder:
        open(os.path.join(folder, "photo.png"), "w").close()
        gc.callbacks.append(lambda *_: os.kill(os.getpid(), {int(number)}))
        gc.collect()
        time.sleep(60)"""
    run = as_program("import gc\n" + RUN.format(work))
    code = 128 + number
    assert (run.returncode, run.stdout, run.stderr, list(tmp_path.iterdir())) == (code, "", "\nStopped.\n", [])


def test_what_nohup_ignores_stays_ignored():
    work = """    with program.ending(str):
        os.kill(os.getpid(), signal.SIGHUP)
        print("goes on")"""
    run = as_program("signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + RUN.format(work))
    assert (run.returncode, run.stdout) == (0, "goes on\n")


def as_program(code):
    begin = "import os, signal, sys, time\nfrom mrcnn.cli import program\nprogram.begin(__name__)\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", begin + code], capture_output=True, text=True, env=environment)


def test_imports_that_fail():
    run = as_program("sys.argv[0] = 'samples/do.py'\nimport no_such_package")
    assert (run.returncode, run.stdout, run.stderr) == (2, "", "do.py: error: No module named 'no_such_package'\n")
    run = as_program("{}['a bug']")
    assert run.returncode == 1 and "Traceback" in run.stderr


def test_nothing_heavy_is_imported_first():
    code = "import sys\nfrom mrcnn.cli import arguments, program\nprint({'numpy', 'keras', 'PIL'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout == "set()\n", run.stderr


def test_programs_of_others_keep_their_ctrl_c(tmp_path):
    """Started by `python -m`, with a package that imports ours on the way to it."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").write_text("import mrcnn")
    (tmp_path / "theirs" / "train.py").write_text(
        "import signal, sys\nprint(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
        "print(sys.excepthook is sys.__excepthook__)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "theirs.train"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert run.stdout == "True\nTrue\n", run.stderr


def test_nobody_reads():
    """As in `... | head`, which closes the pipe."""
    code = (
        "import sys\nfrom mrcnn.cli import program\n"
        "sys.exit(program.run('do.py', lambda: [print('x' * 100) for _ in range(10**5)] and None))"
    )
    run = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run.stdout.close()
    assert run.stderr.read() == b"do.py: error: [Errno 32] Broken pipe\n" and run.wait() == 2
    run.stderr.close()
