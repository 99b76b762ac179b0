"""A procedural talking head: a seeded, parametric 3D head with synthetic speech, filmed by any number of cameras."""
