"""The model card that a converted prior carries."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax

from jax_talker.priors.base import Prior, Variables


@dataclass(frozen=True)
class Source:
    """The file that a prior was converted from."""

    program: str
    file: str  # its name, without the user's folders
    sha256: str
    bytes: int


def model_card(
    prior: Prior,
    variables: Variables,
    source: Source,
    *,
    title: str,
    paper: str,
    licence: str,
    notes: Mapping[str, object],
) -> str:
    """Markdown: where the numbers come from, how large they are, how to use them, and on what terms."""
    facts = {
        "converted from": f"`{source.file}` ({source.bytes:,} bytes), the `G_ema` of a {source.program} snapshot",
        "SHA-256 of that file": f"`{source.sha256}`",
        "parameters": f"{count(variables['params']):,} (and {count(variables['buffers']):,} numbers in buffers)",
        "rows of W+ (num_ws)": f"{prior.num_ws} of width {prior.w_dim}",
        "Gaussians": f"{prior.num_gaussians:,}",
        "background": f"sRGB {prior.background}",
        **notes,
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    options = "\n".join(f"| `{name}` | {value} |" for name, value in prior.config.to_json().items())
    return f"""# {title}

Weights of {paper}, in the layout of jax_talker's own implementation of the generator.

| | |
|---|---|
{table}

## Use

    python -m jax_talker.personalize --config configs/hdtf.py --config.prior.path=THIS_FOLDER …

    from jax_talker import priors
    prior, variables = priors.load("THIS_FOLDER")

`python -m converters verify THIS_FOLDER --golden io.npz` compares it with numbers of the original program, and
`python -m converters verify THIS_FOLDER --torch` with an independent PyTorch version on the spot.

## Options

| option | value |
|---|---|
{options}

## Terms

{licence}
"""


def count(variables: Variables) -> int:
    """Numbers in a tree of arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables))
