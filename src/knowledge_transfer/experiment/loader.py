"""Configuration: variants name only parameters that differ; an address means the same to every dataset."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsspec import get_filesystem_class
from kedro.config import OmegaConfigLoader
from kedro.utils import CLOUD_PROTOCOLS, HTTP_PROTOCOLS, PROTOCOL_DELIMITER
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from knowledge_transfer.errors import RunError
from knowledge_transfer.experiment.config import PARTS, STUDIES, VARIANTS

FOLDER = "folder"  # of what runs make: in globals.yml, or for one run in `--params`
_SHARED = ("seed", "devices", "per_device")  # by the main experiment and every study


class ExperimentConfigLoader(OmegaConfigLoader):
    """Completes the parameters of a variant by those of the main experiment, and corrects addresses in the catalog.

    Not a hook, because kedro-viz and other tools read the configuration without hooks.
    """

    def __getitem__(self, key: str) -> dict[str, Any]:
        """Return the configuration of that kind. Raises RunError, in one line, for a file that cannot be read."""
        try:
            found: dict[str, Any] = super().__getitem__(key)
        except (YAMLError, UnicodeDecodeError, OmegaConfBaseException, AttributeError) as error:
            raise RunError(self._fault() or f"{self.conf_source}: {_in_one_line(error)}") from error
        if key == "globals" and FOLDER in (self.runtime_params or {}):
            return {**found, FOLDER: self.runtime_params[FOLDER]}
        if key == "catalog":
            return {name: _with_whole_address(entry) for name, entry in found.items()}
        if key != "parameters":
            return found
        found = {name: value for name, value in found.items() if name != FOLDER}
        main = {name: value for name, value in found.items() if name not in PARTS}
        given = self.runtime_params or {}
        present = [name for name in PARTS if isinstance(found.get(name), Mapping)]
        variants = {name: completed(main, found[name], given) for name in present if name in VARIANTS}
        studies = {name: _with_shared(main, found[name], given, name) for name in present if name in STUDIES}
        return {**found, **variants, **studies}

    def _fault(self) -> str:
        """Return what is wrong with the first faulty file of the environments in use, nothing where all can be read."""
        used = {self.base_env, self.env or self.default_run_env}
        files = (file for name in sorted(used) for file in sorted(Path(self.conf_source, name).rglob("*.y*ml")))
        return next((fault for file in files if (fault := _fault_of(file))), "")


def _fault_of(file: Path) -> str:
    """Return what is wrong with a file by itself, nothing where it can be read."""
    try:
        read = OmegaConf.load(file)
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        return f"{file}{line}: {getattr(error, 'problem', None) or _in_one_line(error)}"
    return "" if isinstance(read, DictConfig) else f"{file}: it holds a list, not settings by name"


def _in_one_line(error: Exception) -> str:
    """Return the message in one line; OmegaConf names the key below it."""
    key = getattr(error, "full_key", None)
    return f"{key}: {str(error).splitlines()[0]}" if key else " ".join(str(error).split())


def completed(main: Mapping[str, Any], variant: Mapping[str, Any], runtime_params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a variant's parameters; where it has none, those of the main experiment.

    Its roster has the students that it lists, unless one is removed there and not whole here. `--params` wins over
    files.
    """
    own: Mapping[str, Any] = next(
        (block for name in VARIANTS if isinstance(block := runtime_params.get(name), Mapping)), {}
    )
    general = {name: value for name, value in runtime_params.items() if name in main and name not in PARTS}
    both = changed(changed(changed(main, variant), general), own)
    listed, known = variant.get("students"), main.get("students")
    if isinstance(listed, Mapping) and isinstance(known, Mapping):
        out = {
            name
            for name, block in listed.items()
            if known.get(name, {}) is None and "architecture" not in (block or {})
        }
        both["students"] = {name: both["students"][name] for name in listed if name not in out}
    return both


def _with_shared(
    main: Mapping[str, Any], study: Mapping[str, Any], runtime_params: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """Return a study's parameters, seed and devices from `--params` or the main experiment where it has none."""
    own = runtime_params.get(name, {})
    general = {key: main[key] for key in _SHARED if key in runtime_params and key not in own}
    return {**{key: main[key] for key in _SHARED if key in main}, **study, **general}


def changed(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` applied, mappings key by key."""
    both = dict(base)
    for key, value in changes.items():
        known = both.get(key)
        both[key] = changed(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return both


def _with_whole_address(entry: Any) -> Any:
    if isinstance(entry, Mapping) and isinstance(entry.get("filepath"), str):
        return {**entry, "filepath": whole_address(entry["filepath"])}
    return entry


def whole_address(filepath: str) -> str:
    """Return the address with a bucket repeated in the path: Kedro's own datasets drop that of `az://bucket/file`."""
    protocol, delimiter, _ = filepath.partition(PROTOCOL_DELIMITER)
    if not delimiter or protocol in {"file", *CLOUD_PROTOCOLS, *HTTP_PROTOCOLS}:
        return filepath
    try:
        path = str(get_filesystem_class(protocol)._strip_protocol(filepath)).lstrip("/")
    except (ImportError, ValueError):  # the dataset itself has the better message
        return filepath
    bucket = filepath.removeprefix(f"{protocol}{delimiter}").split("/")[0]
    return f"{protocol}{delimiter}/{path}" if path.split("/")[0] == bucket else filepath
