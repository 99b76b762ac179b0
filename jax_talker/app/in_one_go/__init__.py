"""A video and a sentence in, a talking head out: what ``python -m jax_talker.talk`` does, in one go."""
