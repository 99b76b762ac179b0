"""Trains a tiny head on the devices that it is told, as JSON: run by test_devices.py, in processes of their own.

python tests/training/on_devices.py OUT '{"name": {"mode": "jit", "accumulate": 1, "stage": "head"}, …}' [ADDRESS N K]
"""

import json
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from training import tiny  # noqa: E402

from benchmarks import scaling  # noqa: E402
from jax_talker.rendering import FASTEST, Rasteriser  # noqa: E402
from jax_talker.training import head_step, prior_step, processes  # noqa: E402
from jax_talker.training.checkpoint import Checkpoints  # noqa: E402
from jax_talker.training.devices import choose  # noqa: E402
from jax_talker.training.drawn import DrawnFrames  # noqa: E402
from jax_talker.training.head_step import Control, HeadWeights  # noqa: E402
from jax_talker.training.log import Log, read_scalars  # noqa: E402
from jax_talker.training.loop import Every, run  # noqa: E402
from jax_talker.training.objective import ImageLoss  # noqa: E402
from jax_talker.training.shares import batch_of, keys_of, normal  # noqa: E402
from jax_talker.training.sound_variation import Variation  # noqa: E402
from jax_talker.training.state import adam, create, descend, direction  # noqa: E402
from jax_talker.training.stopping import Stopped, listening  # noqa: E402

STEPS, FRAMES, CROSS = 20, 32, 8
ROOMS = Variation((100.0, 400.0, 1000.0, 2500.0, 6000.0), level=3.0, room=0.5)
COLLECTIVES = ("all-gather", "all-to-all", "collective-permute", "reduce-scatter", "collective-broadcast", "all-reduce")


def bytes_of(frames):
    """Frames as data.batches hands them on: on the host, pixels and masks as bytes; some of it was not filmed."""
    host = jax.tree.map(np.asarray, frames)
    as_bytes = lambda x: (255 * x).astype(np.uint8)  # noqa: E731
    pixels = {name: as_bytes(getattr(host, name)) for name in ("image", "upper", "lower", "head")}
    valid = np.full(host.valid.shape, 255, np.uint8)
    for row, index in enumerate(host.index):
        valid[row, :, : index % 7] = 0
    return replace(host, **pixels, valid=valid)


def head_stage(devices, *, drawn=False, tuned=False, rasteriser=FASTEST):
    """(state, step, batch) of navigating; with ``drawn``, of a stage in front of which the generator stands still, and
    with ``tuned`` of one that learns the generator as well."""
    prior, variables = tiny.prior()
    head, fixed = replace(tiny.head(prior), rasteriser=rasteriser), tiny.fixed(prior, variables)
    reach, cross = head.talker.reach, 0 if drawn else CROSS
    params = head.init(jax.random.key(1), prior.mean_latent(variables), fixed.layout, tiny.frames([4, 5], reach))
    if tuned:
        params["generator"] = variables["params"]
    state = create(params, direction(), 0)
    weights = HeadWeights(sound=ROOMS, any_background=True)
    loss = ImageLoss(1.0, 0.2)
    step = head_step.make_head_step(head, direction(), loss, weights, spread=1.0, cross=cross, shares=devices.shares)
    order = devices.deal(FRAMES, together=2, apart=cross)
    rates = {name: np.float32(1e-3 if name in ("talker", "deformation", "detail") else 0.0) for name in params}
    control = Control(rates, *(np.float32(x) for x in (not drawn, not drawn, 1.0)))
    draw = DrawnFrames(head, params, fixed) if drawn else lambda _: None
    whole = devices.spread(fixed)

    def batch(number):
        starts = np.random.default_rng((7, number)).integers(0, 62, size=FRAMES // 2)
        i = np.stack([starts, starts + 1], 1).ravel()
        j = i.copy()
        j[FRAMES - 2 * cross :] = (i[FRAMES - 2 * cross :] + 20) % 64
        one, other = (bytes_of(tiny.frames(x[order], reach)) for x in (i, j))
        return batch_of((one, other, draw(one)), (whole, control), order)

    return state, step, batch


def hearing_stage(devices):
    """(state, step, batch) of the encoders' regression, in which nothing is rendered."""
    prior, variables = tiny.prior()
    head, optimiser = tiny.head(prior), direction()
    some, layout = tiny.frames([4, 5], head.talker.reach), tiny.fixed(prior, variables).layout
    talker = head.init(jax.random.key(1), prior.mean_latent(variables), layout, some)["talker"]
    order = devices.deal(FRAMES)

    def batch(number):
        frames = bytes_of(tiny.frames((number + order) % 64, head.talker.reach))
        return batch_of(frames, np.float32(1e-3), order)

    return create(talker, optimiser, 0), head_step.make_hearing_step(head, optimiser, ROOMS, devices.shares), batch


def prior_stage(devices):
    """(state, step, batch) of a prior's training."""
    prior, variables = tiny.prior()
    optimiser = adam(1e-3, STEPS, warmup=0.0)
    step = prior_step.make_prior_step(
        prior, optimiser, ImageLoss(1.0, 0.2), prior_step.PriorWeights(), size=tiny.SIZE, shares=devices.shares
    )
    order = devices.deal(FRAMES // 2)

    def batch(number):
        rng = np.random.default_rng((8, number))
        z, index = rng.standard_normal((FRAMES // 2, prior.z_dim)), rng.integers(64, size=(FRAMES // 2, 2))
        seen = bytes_of(tiny.frames(index[order].ravel()))
        parted = {"label": seen.label, "image": seen.image, "alpha": seen.head}
        rows = {name: x.reshape(len(order), 2, *x.shape[1:]) for name, x in parted.items()}
        return batch_of({"z": z[order].astype(np.float32), **rows}, slot=order)

    return prior_step.initial_state(variables, optimiser, 0), step, batch


def toy_stage(devices):
    """(state, step, batch) of a regression of seconds: couples, some of them crossed, bytes, each row's noise."""
    optimiser = adam(0.1, STEPS, warmup=0.0)

    def step(state, batch):
        def loss(params, batch):
            off = batch.rows["x"] @ params["w"] - batch.common * batch.rows["y"]
            off += 0.1 * normal(keys_of(state.step_key(), batch.slot))
            crossed = jnp.arange(len(off)) >= len(off) - 2 * CROSS // devices.shares.pieces()
            return (jnp.where(crossed, 3, 1) * off**2).mean(), {"bytes": batch.rows["seen"].mean()}

        return descend(state, optimiser, loss, batch, shares=devices.shares)

    order = devices.deal(FRAMES, together=2, apart=CROSS)

    def batch(number):
        rng = np.random.default_rng((9, number))
        x, seen = rng.standard_normal((FRAMES, 3)).astype(np.float32), rng.integers(256, size=FRAMES)
        rows = {"x": x, "y": x.sum(1), "seen": seen.astype(np.uint8)}
        return batch_of({name: x[order] for name, x in rows.items()}, np.float32(2), order)

    return create({"w": jnp.zeros(3)}, optimiser, 0), step, batch


STAGES = {
    "toy": toy_stage,
    "head": head_stage,
    "drawn": lambda devices: head_stage(devices, drawn=True),
    "tuned": lambda devices: head_stage(devices, tuned=True),
    "hear": hearing_stage,
    "prior": prior_stage,
}


# What ``benchmarks.scaling`` is asked of a stage and what it learns; the others have no entries that stand still.
LOOKED_AT = {
    "toy": lambda params: ("tune", params),
    "head": lambda params: ("navigate", params),
    "tuned": lambda params: ("tune", params),
    "drawn": lambda params: ("tune", params),
    "hear": lambda talker: ("hear", {"talker": talker}),
}


def lowered(platform, implementation):
    """Names of the calls in a head's step over all devices, as a program for a platform that need not be here."""
    devices = choose("jit")
    state, step, batch = head_stage(devices, rasteriser=Rasteriser(implementation, 4096))
    # JAX does not promise to load these in years to come, and says so unless told that we know.
    known = ("__gpu$xla.gpu.triton", "CustomSPMDPartitioning")
    checks = [jax.export.DisabledSafetyCheck.custom_call(name) for name in known]
    given = devices.spread(state), devices.put(batch(0))
    program = jax.export.export(devices.compile(step), platforms=[platform], disabled_checks=checks)(*given)
    return {"platforms": program.platforms, "calls": [name for name in known if name in program.mlir_module()]}


def trained(mode="auto", accumulate=1, count=None, stage="head", look=False, folder=None, until_stopped=False):
    """Losses of every step and numbers that stand for what was learnt; ``look``: what the program exchanges instead.

    With a ``folder``, which processes share, the run is broken off half-way and gone on with from its checkpoint; or it
    goes on ``until_stopped`` by a signal, and what it said then is returned.
    """
    devices = choose(mode, count, accumulate)
    state, step, batch = STAGES[stage](devices)
    if until_stopped:
        with Log(folder) as log, Checkpoints(Path(folder) / "checkpoints") as checkpoints, listening():
            begun, how = devices.spread(state), {"log": log, "checkpoints": checkpoints, "devices": devices}
            try:
                run(stage, begun, 10**6, step, batch, **how)
            except Stopped as stopped:
                return str(stopped)
    if look:
        lowered_step = devices.compile(step).lower(devices.spread(state), devices.put(batch(0)))
        return {
            "collectives": collectives(lowered_step.compile().as_text()),
            "gradients": scaling.gradients(*LOOKED_AT[stage](state.params)),
            "measured": len(lowered_step.out_info[1]),
        }
    every = {"every": Every(1, 0, 0), "devices": devices}
    with tempfile.TemporaryDirectory() as own:
        place = Path(folder or own)
        with Log(place) as log:
            if folder is not None:
                with Checkpoints(place / "checkpoints") as checkpoints:
                    begun = devices.spread(state)
                    run(stage, begun, STEPS // 2, step, batch, log=log, checkpoints=checkpoints, **every)
                state, step, batch = STAGES[stage](devices)
                with Checkpoints(place / "checkpoints") as checkpoints:
                    state = checkpoints.resumed(devices.spread(state), wanted=True)
            state = run(stage, state, STEPS, step, batch, log=log, **every)
        scalars = read_scalars(place).get(stage, {})  # nothing in a process that does not write
    learnt = [float(jnp.abs(x.astype(jnp.float32)).mean()) for x in jax.tree.leaves(state.params)]
    told = {name: list(values) for name, (_, values) in scalars.items() if name != "input_wait"}
    return {"count": devices.count, "scalars": told, "learnt": learnt}


def collectives(text):
    """What devices exchange in a compiled program: [collective, [[type, shape], …]] of each operation."""
    lines = (line.strip() for line in text.splitlines())
    found = [(name, line) for line in lines for name in COLLECTIVES if f" {name}(" in line or f" {name}-start(" in line]
    shapes = [re.findall(r"(\w+)\[([\d,]*)\]", line.split("=", 1)[1].split(f" {name}")[0]) for name, line in found]
    return [
        [name, [[dtype, [int(x) for x in shape.split(",") if x]] for dtype, shape in of]]
        for (name, _), of in zip(found, shapes, strict=True)
    ]


DOES = {"train": trained, "lower": lowered}

if __name__ == "__main__":
    out, asked = Path(sys.argv[1]), json.loads(sys.argv[2])
    if len(sys.argv) > 3:
        processes.join(sys.argv[3], *map(int, sys.argv[4:]))
    out.write_text(json.dumps({name: DOES[how.pop("does", "train")](**how) for name, how in asked.items()}))
