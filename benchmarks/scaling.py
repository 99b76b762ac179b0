"""What devices exchange in a training step, and how fast a step may be before that costs a tenth of it. Arithmetic on
the shapes of a real configuration; nothing is computed and no device is needed.

python -m benchmarks scaling                                            # configs/hdtf.py on a GGHead of 512²
python -m benchmarks scaling --config quickstart --prior small          # a bundled prior, or a prior's folder

Of data parallelism with the whole state on each device there is one exchange: the sum of gradients (float32), of
everything that a loss leads to in that stage. A ring of D devices sends 2 (D − 1) / D times their bytes over each link.
"""

import argparse
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jax_talker import priors
from jax_talker.app import builders
from jax_talker.audio.windows import WINDOW
from jax_talker.models import detail
from jax_talker.priors import GGHeadConfig, make_gghead
from jax_talker.priors import template as templates
from jax_talker.types import FrameBatch

ENOUGH = 0.9  # efficiency
MOTION = 16  # numbers of seen motion, of each half of the face; what they lead to is small
STILL = {"blink", "mapping"}  # no stage learns the path to the lids, nor what leads to latents, which are walked to
BASES = {"raw_expression", "raw_lips"}  # nothing is drawn while the encoders learn to hear, so nobody walks


class Link(NamedTuple):
    """What a device can send while it receives as much, bytes a second, by its maker's word; and a step's latency."""

    name: str
    bandwidth: float
    devices: int


LINKS = (
    Link("NVLink 4 (8 × H100)", 450e9, 8),
    Link("PCIe 4.0 × 16 (8 GPUs)", 32e9, 8),
    Link("TPU v5e-8 (ICI)", 100e9, 8),  # 2 × 4 chips: a ring both ways round, 50 GB/s a link and direction
    Link("100 Gb/s Ethernet (2 hosts)", 12.5e9, 2),
)


def learnt(config: Any, prior: Any, variables: Any) -> dict[str, Any]:
    """A head's Params while it is tuned, as shapes."""
    head = builders.talking_head(config, prior, prior.num_gaussians, 1.0)
    array = lambda *shape: np.zeros(shape, np.float32)  # noqa: E731
    frames = FrameBatch(
        image=array(2, 1, 1, 3),
        **dict.fromkeys(("upper", "lower", "head", "valid"), array(2, 1, 1)),
        label=array(2, 25),
        audio=array(2, head.talker.reach, WINDOW, builders.extractor(config).num_features),
        blink=array(2),
        expression=array(2, MOTION),
        lips=array(2, MOTION),
        index=np.zeros(2, np.int32),
    )
    anchor, layout = array(prior.num_ws, prior.w_dim), detail.as_they_are(prior.num_gaussians)
    params = jax.eval_shape(head.init, jax.random.key(0), anchor, layout, frames)
    tuned = {"generator": variables["params"]} if config.personalize.tune_rate else {}
    return params | tuned


def gradients(stage: str, params: Mapping[str, Any]) -> dict[str, int]:
    """How many gradients of each entry of Params devices exchange in a step of a stage. Of what no loss leads to,
    whatever the batch, the gradient is 0 for the compiler as well, and is not sent."""
    still, entries = STILL, dict(params)
    if stage == "hear":
        still, entries = STILL | BASES, {"talker": params["talker"]}
    elif stage != "tune":
        entries.pop("generator", None)
    elif "generator" not in params:  # it stands still, and frames are drawn before the step: nobody walks there either
        entries.pop("talker", None)
    counted = {name: jax.tree_util.tree_leaves_with_path(entry) for name, entry in entries.items()}
    return {
        name: sum(x.size for path, x in leaves if not still & {getattr(key, "key", None) for key in path})
        for name, leaves in counted.items()
    }


def exchange(numbers: int, link: Link) -> float:
    """Seconds that the sum of so many float32 takes around a ring, latency and overlap with computing aside."""
    return 2 * (link.devices - 1) / link.devices * 4 * numbers / link.bandwidth


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="hdtf", help="a file of configs/, by its name")
    parser.add_argument("--prior", help="a bundled prior or a prior's folder; default: a GGHead of 512²")
    parser.add_argument("--json", type=Path, help="write results here")
    args = parser.parse_args(argv)
    config = importlib.import_module(f"configs.{args.config}").get_config()
    if args.prior:
        prior, variables = priors.load(args.prior)
    else:
        template = templates.bake(templates.ellipsoid(), plane_resolution=256, uv_samples=512, register=False)
        prior = make_gghead(GGHeadConfig.for_template(template))
        variables = jax.eval_shape(lambda key: prior.init(key, template), jax.random.key(0))
    params = learnt(config, prior, variables)
    stages = {"tune": gradients("tune", params), "invert, navigate": gradients("navigate", params)}
    stages["hear"] = gradients("hear", params)
    found = {}
    entries = ", ".join(f"{name} {count:,}" for name, count in stages["tune"].items())
    print(f"{args.config}: {prior.num_gaussians} Gaussians; gradients of {entries}\n")
    print("| stage | numbers | MB | " + " | ".join(f"{link.name}, ms" for link in LINKS) + " |")
    print("|---|---|---|" + "---|" * len(LINKS))
    for stage, of in stages.items():
        numbers = sum(of.values())
        times = {link.name: 1e3 * exchange(numbers, link) for link in LINKS}
        found[stage] = {"numbers": numbers, "bytes": 4 * numbers, "exchange_ms": times}
        columns = [stage, f"{numbers:,}", f"{4e-6 * numbers:.1f}", *(f"{time:.2f}" for time in times.values())]
        print(f"| {' | '.join(columns)} |")
    most = max(found.values(), key=lambda of: of["numbers"])["exchange_ms"]
    slow = {name: ENOUGH / (1 - ENOUGH) * t for name, t in most.items()}
    print(f"\n{ENOUGH:.0%} efficiency where a device's own part of the largest step takes at least:")
    for name, least in slow.items():
        print(f"  {name}: {least:.1f} ms")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0
