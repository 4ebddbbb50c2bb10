"""Networks from elsewhere: torchvision's, timm's, or those of any function that returns one."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from knowledge_transfer.learning.config import did_you_mean

# What a function may call the numbers that the images decide, the first that it has.
_CLASSES = ("classes", "num_classes", "n_classes")
_CHANNELS = ("channels", "in_channels", "in_chans")


def is_external(kind: str) -> bool:
    """Return whether a kind is `torchvision:NAME`, `timm:NAME` or `package.module:function`."""
    return ":" in kind


def require(kind: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the remedy, when there is no such network or its options name what images decide."""
    if taken := sorted({*_CLASSES} & options.keys()):
        raise ValueError(f"'{kind}': the images decide {taken[0]}: leave it out of options")
    if any(options[key] != 3 for key in _CHANNELS if key in options):
        raise ValueError(f"'{kind}': the images decide the channels; 3 in options repeats grey ones as three colours")
    _, keys = _called(kind)
    if not keys[0]:
        raise ValueError(f"'{kind}' is given no number of classes: it needs a parameter {' or '.join(_CLASSES)}")


def takes_channels(kind: str, options: Mapping[str, Any]) -> bool:
    """Return whether the network is built for the images' channels; if not, it is given three colours."""
    return bool(_called(kind)[1][1]) and not options.keys() & {*_CHANNELS}


def build(kind: str, *, classes: int, channels: int, options: Mapping[str, Any]) -> nn.Module:
    """Return the network with its own initial weights. Raises ValueError, in one line, whatever its maker raises."""
    function, (classes_key, channels_key) = _called(kind)
    given = {classes_key: classes, **({channels_key: channels} if channels_key else {}), **options}
    try:
        network = function(**given)
    except Exception as error:
        raise ValueError(f"'{kind}' cannot be built: {in_one_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"'{kind}' returned a {type(network).__name__}, not a torch.nn.Module")
    return network


def published(kind: str, options: Mapping[str, Any]) -> tuple[dict[str, Tensor], tuple[float, ...], tuple[float, ...]]:
    """Return the pretrained weights of a library's network, and the channels' means and deviations in [0, 1].

    Raises ValueError when its library publishes none, or they cannot be had.
    """
    where, _, name = kind.partition(":")
    if where not in ("torchvision", "timm"):
        raise ValueError(f"no weights are published for '{kind}': name a file, or leave `weights` out")
    _called(kind)
    try:
        if where == "torchvision":
            weights = _module("torchvision.models", kind).get_model_weights(name).DEFAULT
            transform = weights.transforms()
            return weights.get_state_dict(progress=False, check_hash=True), tuple(transform.mean), tuple(transform.std)
        network = _module("timm", kind).create_model(name, pretrained=True, **options)
    except Exception as error:
        raise ValueError(f"the pretrained weights of '{kind}' cannot be had: {in_one_line(error)}") from error
    known = network.pretrained_cfg
    return network.state_dict(), tuple(known["mean"]), tuple(known["std"])


def in_one_line(error: Exception) -> str:
    """Return the kind and the text of an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _called(kind: str) -> tuple[Callable[..., Any], tuple[str, str]]:
    """Return the function, and under which names it takes classes and channels (empty: it does not)."""
    where, _, name = kind.partition(":")
    if where == "torchvision":
        library = _module("torchvision.models", kind)
        _require_known(name, library.list_models(module=library), where)
        return lambda **given: library.get_model(name, weights=None, **given), ("num_classes", "")
    if where == "timm":
        library = _module("timm", kind, "pip install timm, or the extra [timm]")
        _require_known(name.partition(".")[0], library.list_models(), where)
        return lambda **given: library.create_model(name, pretrained=False, **given), ("num_classes", "in_chans")
    function: Any = _module(where, kind, "it must be installed, or lie in src/")
    for part in name.split("."):
        if not hasattr(function, part):
            known = [each for each in dir(function) if not each.startswith("_")]
            raise ValueError(f"'{kind}': {where} has no '{part}'{did_you_mean(part, known)}")
        function = getattr(function, part)
    if not callable(function):
        raise ValueError(f"'{kind}' is no function: name one that returns a torch.nn.Module")
    return function, _keys(function)


def _keys(function: Callable[..., Any]) -> tuple[str, str]:
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # of a function without one
        return "", ""
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    classes = next((key for key in _CLASSES if key in parameters), "num_classes" if takes_any else "")
    return classes, next((key for key in _CHANNELS if key in parameters), "")


def _module(where: str, kind: str, remedy: str = "install it") -> Any:
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        raise ValueError(f"'{kind}': there is no module '{error.name}': {remedy}") from error
    except Exception as error:
        raise ValueError(f"'{kind}': {where} cannot be imported: {in_one_line(error)}") from error


def _require_known(name: str, known: list[str], where: str) -> None:
    if name not in known:
        raise ValueError(f"{where} has no network '{name}'{did_you_mean(name, known)}")
