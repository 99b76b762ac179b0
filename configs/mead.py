"""One actor of MEAD at 512² on a GPU: trained on the front camera only, scored from the side cameras as well.

    python -m converters gghead GGHEAD-1_ffhq512 priors/gghead512
    python -m jax_talker.prepare --mead MEAD --identity M003 --views front,top,down,left_30,right_30 \\
        --landmark-model face_landmarker.task --out data/m003
    python -m jax_talker.train --config configs/mead.py --workdir runs/m003
    python -m jax_talker.evaluate --run runs/m003

Another actor: --config.data.clip=data/w009. The clip's tail, an eleventh to the nearest whole recording, is held out;
recordings are joined so that it holds every emotion and level in its proportion. The side cameras are never trained on:
evaluate compares with what they saw, at the cameras that were calibrated from landmarks (docs/mead.md).

Not run by us on MEAD: neither it nor GGHead's weights can be had on our machines. The tests run the whole way on a
miniature of MEAD's layout.
"""

from ml_collections import ConfigDict

from configs import hdtf


def get_config() -> ConfigDict:
    c = hdtf.get_config()
    c.data.clip = "data/m003"
    c.model.expressions = 30
    return c
