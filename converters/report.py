"""What a checkpoint holds, as text."""

from typing import Any

from converters import checkpoint as checkpoints
from converters.checkpoint import Checkpoint
from converters.pickle_machine import Record
from converters.tensors import Tensor

LAYOUTS = {
    "modules": "pickled modules (EG3D style); embedded source text is ignored",
    "legacy": "torch.save, legacy layout",
    "zip": "torch.save, zip layout",
}
MAX_ENTRIES = 20_000


def report(checkpoint: Checkpoint) -> str:
    """File, layout, networks with their options and tensors."""
    lines = [
        f"{checkpoint.path.name}: {checkpoint.bytes:,} bytes, {LAYOUTS[checkpoint.layout]}",
        f"sha256 {checkpoint.sha256}",
    ]
    root = checkpoint.value
    if not isinstance(root, dict):
        return "\n".join([*lines, f"root: {_short(root)}"])
    networks = checkpoints.networks(checkpoint)
    for key, network in networks.items():
        lines += ["", *_network(key, network)]
    loose = {str(key): value for key, value in root.items() if key not in networks}
    tensors = [line for key, value in loose.items() for line in _tensors(key, value)]
    lines += [""] + [f"{key}: {_short(value)}" for key, value in loose.items() if not isinstance(value, Tensor)]
    return "\n".join(lines + tensors).rstrip()


def _network(key: str, module: Record) -> list[str]:
    tensors = checkpoints.state(module)
    numbers = sum(tensor.size for tensor in tensors.values())
    lines = [f"{key}: {checkpoints.class_name(module)}, {len(tensors)} tensors, {numbers:,} numbers"]
    options = next((module.state[name] for name in ("_config", "_init_kwargs") if module.state.get(name)), None)
    if options is not None:
        lines += [f"  {name} = {value!r}" for name, value in _options(checkpoints.plain(options))]
    return lines + [_row(name, tensor) for name, tensor in sorted(tensors.items())]


def _options(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [pair for name, item in value.items() for pair in _options(item, f"{prefix}.{name}" if prefix else name)]


def _tensors(prefix: str, value: Any) -> list[str]:
    """Tensors of plain dictionaries (a state_dict, perhaps nested)."""
    waiting, lines = [(prefix, value)], []
    for _ in range(MAX_ENTRIES):  # dictionaries may contain each other
        if not waiting:
            return lines
        name, item = waiting.pop()
        if isinstance(item, Tensor):
            lines.append(_row(name, item))
        elif isinstance(item, dict):
            waiting += [(f"{name}.{key}", part) for key, part in reversed(item.items())]
    return [*lines, "  … (more than can be listed)"]


def _row(name: str, tensor: Tensor) -> str:
    return f"  {name:<70} {tensor.dtype:<9} {tuple(tensor.shape)}"


def _short(value: Any) -> str:
    """A value in one line: sizes of containers, never their whole content."""
    if isinstance(value, dict | list | tuple | set):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, Record):
        return f"object of class {value.of}"
    return f"{value!r:.80}" if isinstance(value, str | int | float | bool | None) else type(value).__name__
