"""Synthetic people: textured human heads from the CC0 pack of shapes and skins, with ground truth.

What enters: a folder with the pack (nothing of it is in this repository) and seeds. What leaves: people, expressions,
lights and cameras drawn from the seeds; pictures of them (colour, alpha, depth, parts, landmarks); position, colour,
normal and visibility of every point of a texture; clips. Pure functions of their seeds, on the host.

identity · expression · light (samplers) → painting and skin (textures), shape (vertices) → figure (one person, all
meshes) → picture, shots (rasteriser: raster) and layout, texture_space, shell (for a generator) → sheet, filming.
"""
