"""A colour of chance behind heads that were cut out onto white.

On white alone, white Gaussians explain as much as none do where the head ends: a neck that the matte fades out is then
painted white, which shows from other sides and on other backgrounds.
"""

import jax
from jaxtyping import Array, Float, Key


def colours(keys: Key[Array, "B"]) -> Float[Array, "B 1 1 3"]:
    """One sRGB colour in [0, 1] for each row."""
    return jax.vmap(lambda key: jax.random.uniform(key, (1, 1, 3)))(keys)


def on(
    behind: Float[Array, "B 1 1 3"], image: Float[Array, "B H W 3"], alpha: Float[Array, "B H W"]
) -> Float[Array, "B H W 3"]:
    """Pictures on white, of heads that cover ``alpha`` of each pixel, on other colours."""
    return image + (1 - alpha[..., None]) * (behind - 1)
