"""Reading weights files of other packages. No file can make it run code."""

import pickle
import zipfile
from pathlib import Path

import numpy as np

from mrcnn.weights.convert import torch_legacy
from mrcnn.weights.convert.unpickling import ArrayUnpickler
from mrcnn.weights.values import check_values


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The state dict of a `.pth`, `.safetensors` or `.pkl` file, {key: array}. No file can make it run code.

    Raises:
        FileNotFoundError: no such file.
        ImportError: PyTorch, or safetensors, is missing.
        ValueError: another kind of file, a broken one, one that holds more than arrays, or values that are not finite;
            the message names the path, and the key.
    """
    path = Path(path)
    if path.suffix not in READERS:
        raise ValueError(f"{path} is no file of {', '.join(READERS)}.")
    if not path.is_file():
        raise FileNotFoundError(f"Weights file not found: {path}")
    try:
        state = READERS[path.suffix](path)
    except ImportError:
        raise
    except Exception as error:  # a broken or crafted file can raise anything
        raise ValueError(f"{path} cannot be read as a weights file: {error}") from error
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
        for key, value in state.items()
    ):
        raise ValueError(f"{path} holds something else than arrays of numbers by their names.")
    if all(key.startswith("module.") for key in state):  # torch.nn.DataParallel puts that before each
        state = {key.removeprefix("module."): value for key, value in state.items()}
    for key, value in state.items():
        try:
            check_values(key, value)
        except ValueError as error:
            raise ValueError(f"{path} cannot be used: {error}.") from None
    return state


def _read_torch(path):
    if torch_legacy.is_legacy(path):
        return torch_legacy.read(path)
    try:
        import torch
    except ImportError:
        raise ImportError(f"{path} needs PyTorch to be read: pip install torch") from None
    if not zipfile.is_zipfile(path):
        raise ValueError("it is cut short, or no file of torch.save")

    def arrays(x):
        if isinstance(x, dict):
            return {key: arrays(value) for key, value in x.items()}
        if not torch.is_tensor(x):
            return x
        if x.numel() * x.element_size() > x.untyped_storage().nbytes():  # by strides of 0
            raise ValueError(f"it declares {tuple(x.shape)} values and does not hold them")
        x = x.detach()  # parameters want gradients
        return (x.float() if x.is_floating_point() else x).numpy()

    try:
        return arrays(torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError:
        raise ValueError("it holds more than tensors; have torch.save write the model.state_dict() alone") from None


def _read_safetensors(path):
    try:
        from safetensors.numpy import load_file
    except ImportError:
        raise ImportError(f"{path} needs safetensors to be read: pip install safetensors") from None

    return load_file(path)


def _read_pickle(path):
    with open(path, "rb") as file:
        return ArrayUnpickler(file, encoding="latin1").load()


READERS = {".pth": _read_torch, ".pt": _read_torch, ".safetensors": _read_safetensors, ".pkl": _read_pickle}
