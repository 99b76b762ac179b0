"""What a checkpoint holds, as text."""

from converters import checkpoint as checkpoints
from converters.budget import Budget
from converters.checkpoint import Checkpoint
from converters.flat_options import flatten
from converters.pickle_machine import Record
from converters.quoting import short, summary
from converters.tensors import Tensor, as_tensor

LAYOUTS = {
    "modules": "a pickle (EG3D's modules, or NumPy arrays); embedded source text is ignored",
    "legacy": "torch.save, legacy layout",
    "zip": "torch.save, zip layout",
    "safetensors": "safetensors",
    "graph": "a TensorFlow graph; its constants are listed",
}
MAX_LINES = 20_000
WIDEST = 200  # characters of a name


def report(checkpoint: Checkpoint) -> str:
    """File, layout, networks with their options and tensors."""
    lines = [
        f"{checkpoint.path.name}: {checkpoint.bytes:,} bytes, {LAYOUTS[checkpoint.layout]}",
        f"sha256 {checkpoint.sha256}",
    ]
    root, budget = checkpoint.value, checkpoint.budget
    if not isinstance(root, dict):
        return "\n".join([*lines, f"root: {summary(root)}"])
    networks = checkpoints.networks(checkpoint)
    for key, network in networks.items():
        lines += ["", *_network(key, network, budget)]
    loose = {str(key): value for key, value in root.items() if key not in networks}
    lines += [""] + [f"{_cut(key)}: {summary(value)}" for key, value in loose.items() if as_tensor(value) is None]
    lines += [_row(*found) for key, value in loose.items() for found in checkpoints.flat(value, budget, key)]
    lines = lines if len(lines) <= MAX_LINES else [*lines[:MAX_LINES], "… (more than can be listed)"]
    return "\n".join(lines).rstrip()


def _network(key: str, module: Record, budget: Budget) -> list[str]:
    tensors = checkpoints.state(module, budget)
    numbers = sum(tensor.size for tensor in tensors.values())
    named = _cut(checkpoints.class_name(module))
    lines = [f"{_cut(key)}: {named}, {len(tensors)} tensors, {numbers:,} numbers"]
    options = next((module.state[name] for name in ("_config", "_init_kwargs") if module.state.get(name)), None)
    if options is not None:
        flat = flatten(checkpoints.plain(options, budget), budget)
        lines += [f"  {_cut(name)} = {short(value)}" for name, value in flat.items()]
    return lines + [_row(name, tensor) for name, tensor in sorted(tensors.items())]


def _row(name: str, tensor: Tensor) -> str:
    return f"  {_cut(name):<70} {tensor.dtype:<9} {tuple(tensor.shape)}"


def _cut(name: str) -> str:
    """A name of the file, one line of it."""
    name = name if len(name) <= WIDEST else name[:WIDEST] + "…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
