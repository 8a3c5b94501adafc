"""Which process a model may run in."""

import os

_home: int | None = None


def stay_home() -> None:
    """Remember the process that builds or uses a model first; in one that was forked off later, refuse.

    TensorFlow, JAX and PyTorch keep threads and locks. `fork` copies the locks without the threads that would open
    them, so the first step in the copy would wait for ever.

    Raises:
        RuntimeError: this process was forked off one that has used a model.
    """
    global _home
    if _home is None:
        _home = os.getpid()
    if os.getpid() != _home:
        raise RuntimeError(
            f"Process {os.getpid()} was forked off {_home}, which had a model before; there it would hang. Start "
            "processes with multiprocessing.get_context('spawn'), or fork before the first model is made."
        )
