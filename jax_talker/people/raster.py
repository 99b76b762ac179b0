"""A rasteriser for textured triangles: opaque ones by z-buffer, those with soft alpha from front to back before them.

Supersampled; perspective-correct; textures are bytes in a pyramid of halved sizes.
Colours are finished (lit, sRGB) before they are composited, as Gaussians are.
"""

from dataclasses import dataclass
from typing import no_type_check

import cv2
import numpy as np

from jax_talker.procedural.compiled import njit

LINEAR = np.where(
    np.arange(256) <= 0.04045 * 255, np.arange(256) / 255 / 12.92, ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4
).astype(np.float32)
STEPS = 4096  # of the table from linear light to sRGB
_LIGHT = np.arange(STEPS + 1) / STEPS
DISPLAY = np.where(_LIGHT <= 0.0031308, 12.92 * _LIGHT, 1.055 * _LIGHT ** (1 / 2.4) - 0.055).astype(np.float32)
LEAST = np.float32(0.004)  # transmittance below which nothing behind is seen
MIRROR_WIDTH = np.float32(0.004)  # of a highlight on the eye, in 1 − cosine: about 5° around its middle
ALPHA_LAYER = 0.5  # a soft layer counts as the surface (depth, part) once it hides this much


@dataclass(frozen=True)
class Textures:
    """Pictures with their pyramids, in one buffer."""

    texels: np.ndarray  # [n, 4] uint8
    table: np.ndarray  # [textures, levels, 3] int64: first texel, height, width (0 where a level is missing)

    @staticmethod
    def pack(images: list[np.ndarray], levels: int = 6) -> "Textures":
        """Of [H, W, 4] uint8 pictures."""
        table, buffers, at = np.zeros((len(images), levels, 3), np.int64), [], 0
        for k, image in enumerate(images):
            for level in range(levels):
                table[k, level] = at, *image.shape[:2]
                buffers.append(image.reshape(-1, 4))
                at += image.shape[0] * image.shape[1]
                half = (max(image.shape[1] // 2, 1), max(image.shape[0] // 2, 1))
                image = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
        return Textures(np.concatenate(buffers), table)


@njit(nogil=True, fastmath=True)
@no_type_check
def fetch(texels, first, height, width, u, v, out):
    """Bilinear lookup into ``out`` [4]: linear RGB, alpha in 0 … 1; clamped at the border."""
    x = min(max(u * width - np.float32(0.5), np.float32(0)), np.float32(width - 1.001))
    y = min(max(v * height - np.float32(0.5), np.float32(0)), np.float32(height - 1.001))
    col, row = int(x), int(y)
    fx, fy = x - col, y - row
    at = first + row * width + col
    w00, w01, w10, w11 = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    for c in range(3):
        out[c] = (
            w00 * LINEAR[texels[at, c]]
            + w01 * LINEAR[texels[at + 1, c]]
            + w10 * LINEAR[texels[at + width, c]]
            + w11 * LINEAR[texels[at + width + 1, c]]
        )
    alpha = (
        w00 * texels[at, 3] + w01 * texels[at + 1, 3] + w10 * texels[at + width, 3] + w11 * texels[at + width + 1, 3]
    )
    out[3] = alpha * np.float32(1 / 255)


@njit(nogil=True, fastmath=True)
@no_type_check
def display(light):
    """sRGB of linear light, with a soft shoulder above 0.8 so that highlights do not clip flat."""
    if light > np.float32(0.8):
        light = np.float32(0.8) + np.float32(0.2) * (1 - np.exp(np.float32(-5) * (light - np.float32(0.8))))
    return DISPLAY[int(light * STEPS + np.float32(0.5))]


@njit(nogil=True, fastmath=True)
@no_type_check
def mirrored(x, y, z, mirrors, channel):
    """How bright the lights' images are on a wet surface with the unit normal (x, y, z)."""
    out = np.float32(0)
    for m in range(len(mirrors)):
        off = 1 - (x * mirrors[m, 0] + y * mirrors[m, 1] + z * mirrors[m, 2])
        out += np.exp(-off / MIRROR_WIDTH) * mirrors[m, 3 + channel]
    return out


@njit(nogil=True, fastmath=True)
@no_type_check
def levels_of(pixels, faces, uv, face_uv, face_texture, table):
    """The pyramid's level [m] at which a triangle's texels are about as large as its fine pixels."""
    out = np.zeros(len(faces), np.int64)
    for f in range(len(faces)):
        a, b, c = faces[f]
        p, q, r = face_uv[f]
        on_screen = abs(
            (pixels[b, 0] - pixels[a, 0]) * (pixels[c, 1] - pixels[a, 1])
            - (pixels[b, 1] - pixels[a, 1]) * (pixels[c, 0] - pixels[a, 0])
        )
        in_picture = abs((uv[q, 0] - uv[p, 0]) * (uv[r, 1] - uv[p, 1]) - (uv[q, 1] - uv[p, 1]) * (uv[r, 0] - uv[p, 0]))
        k = face_texture[f]
        in_picture *= table[k, 0, 1] * table[k, 0, 2]
        ratio = in_picture / max(on_screen, np.float32(1e-6))
        while ratio > 2.0 and out[f] < table.shape[1] - 1:
            out[f] += 1
            ratio *= 0.25
    return out


@njit(nogil=True, fastmath=True)
@no_type_check
def reach(a, b, c, size):
    """First and last pixel of ``size`` whose centre lies between a triangle's corners, along one axis."""
    return max(int(np.ceil(min(a, b, c) - 0.5)), 0), min(int(np.floor(max(a, b, c) - 0.5)), size - 1)


@njit(nogil=True, fastmath=True)
@no_type_check
def nearest(pixels, inverse_depth, faces, chosen, size):
    """The chosen face that each fine pixel's centre shows, [size, size] (−1: none), and its inverse depth (0: none)."""
    front = np.full((size, size), np.int32(-1))
    near = np.zeros((size, size), np.float32)
    for f in chosen:
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by, cx, cy = pixels[a, 0], pixels[a, 1], pixels[b, 0], pixels[b, 1], pixels[c, 0], pixels[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        (left, right), (top, bottom) = reach(ax, bx, cx, size), reach(ay, by, cy, size)
        inverse = 1 / area
        za, zb, zc = inverse_depth[a], inverse_depth[b], inverse_depth[c]
        for row in range(top, bottom + 1):
            y = row + np.float32(0.5)
            for col in range(left, right + 1):
                x = col + np.float32(0.5)
                wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * inverse
                wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * inverse
                wc = 1 - wa - wb
                if wa < -1e-5 or wb < -1e-5 or wc < -1e-5:
                    continue
                z = wa * za + wb * zb + wc * zc
                if z > near[row, col]:
                    near[row, col] = z
                    front[row, col] = f
    return front, near


@njit(nogil=True)
@no_type_check
def owned(right, down):
    """Whether an edge's points belong to the face on its left that runs along it in this direction; the neighbour runs
    against it. So what has alpha is never counted twice where two faces meet (the top-left rule)."""
    return down > 0 or (down == 0 and right < 0)


@njit(nogil=True, fastmath=True)
@no_type_check
def corner_weights(pixels, inverse_depth, faces, f, x, y, out):
    """Perspective-correct weights of a face's corners at (x, y) into ``out`` [3]."""
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    ax, ay, bx, by, cx, cy = pixels[a, 0], pixels[a, 1], pixels[b, 0], pixels[b, 1], pixels[c, 0], pixels[c, 1]
    inverse = 1 / ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
    wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * inverse
    wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * inverse
    wa, wb, wc = wa * inverse_depth[a], wb * inverse_depth[b], (1 - wa - wb) * inverse_depth[c]
    total = wa + wb + wc
    out[0], out[1], out[2] = wa / total, wb / total, wc / total


@njit(nogil=True, fastmath=True)
@no_type_check
def shaded(weights, corners, uv_corners, uv, texels, table, texture, level, light, shine, normals, mirrors, out):
    """sRGB and alpha into ``out`` [4]: texture times light, plus the highlight times the texture's gloss.

    ``shine`` [n, 4]: the highlight's colour at each vertex; its last number tells what the texture's alpha is: opacity
    (0) or gloss of an opaque surface (1; 2 where it is wet and mirrors the lights sharply, too sharply for vertices).
    ``mirrors`` [k, 6]: normals that mirror a light to the viewer, and its colour.
    """
    a, b, c = corners[0], corners[1], corners[2]
    p, q, r = uv_corners[0], uv_corners[1], uv_corners[2]
    wa, wb, wc = weights[0], weights[1], weights[2]
    u = wa * uv[p, 0] + wb * uv[q, 0] + wc * uv[r, 0]
    v = wa * uv[p, 1] + wb * uv[q, 1] + wc * uv[r, 1]
    fetch(texels, table[texture, level, 0], table[texture, level, 1], table[texture, level, 2], u, v, out)
    gloss = np.float32(1)
    if shine[a, 3] > 0:
        gloss = out[3]
        out[3] = np.float32(1)
    for k in range(3):
        lit = out[k] * (wa * light[a, k] + wb * light[b, k] + wc * light[c, k])
        lit += gloss * (wa * shine[a, k] + wb * shine[b, k] + wc * shine[c, k])
        out[k] = lit
    if shine[a, 3] > np.float32(1.5):
        x = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
        y = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
        z = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
        scale = 1 / np.sqrt(x * x + y * y + z * z)
        for k in range(3):
            out[k] += mirrored(scale * x, scale * y, scale * z, mirrors, k)
    for k in range(3):
        out[k] = display(out[k])


@njit(nogil=True, fastmath=True)
@no_type_check
def composite(pixels, inverse_depth, faces, face_uv, uv, parts, textures_of, levels, texels, table, light, shine,
              normals, mirrors, front, near, soft, size, fine, most_parts):  # fmt: skip
    """Premultiplied sRGB and alpha [size, size, 4], depth [size, size] (0: nothing), part [size, size] uint8.

    ``soft``: faces with alpha, nearest first. ``parts`` [m]: a face's part, the picture's where it covers most.
    """
    whole = size * fine
    color = np.zeros((whole, whole, 3), np.float32)
    passing = np.ones((whole, whole), np.float32)
    at = near.copy()
    part = np.zeros((whole, whole), np.uint8)
    for row in range(whole):
        for col in range(whole):
            if front[row, col] >= 0:
                part[row, col] = parts[front[row, col]]
    weights, sample = np.empty(3, np.float32), np.empty(4, np.float32)
    for f in soft:
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by, cx, cy = pixels[a, 0], pixels[a, 1], pixels[b, 0], pixels[b, 1], pixels[c, 0], pixels[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-6:
            continue
        (left, right), (top, bottom) = reach(ax, bx, cx, whole), reach(ay, by, cy, whole)
        inverse = 1 / area
        own_a, own_b, own_c = (
            owned((cx - bx) * area, (cy - by) * area),
            owned((ax - cx) * area, (ay - cy) * area),
            owned((bx - ax) * area, (by - ay) * area),
        )
        for row in range(top, bottom + 1):
            y = row + np.float32(0.5)
            for col in range(left, right + 1):
                x = col + np.float32(0.5)
                wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * inverse
                wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * inverse
                wc = 1 - wa - wb
                if wa < 0 or wb < 0 or wc < 0:
                    continue
                if (wa == 0 and not own_a) or (wb == 0 and not own_b) or (wc == 0 and not own_c):
                    continue
                through = passing[row, col]
                z = wa * inverse_depth[a] + wb * inverse_depth[b] + wc * inverse_depth[c]
                if through < LEAST or z < near[row, col]:
                    continue
                corner_weights(pixels, inverse_depth, faces, f, x, y, weights)
                shaded(weights, faces[f], face_uv[f], uv, texels, table, textures_of[f], levels[f], light, shine,
                       normals, mirrors, sample)  # fmt: skip
                alpha = sample[3]
                for k in range(3):
                    color[row, col, k] += through * alpha * sample[k]
                passing[row, col] = through * (1 - alpha)
                if through > ALPHA_LAYER and through * (1 - alpha) <= ALPHA_LAYER:
                    part[row, col] = parts[f]
                    at[row, col] = z
    image = np.zeros((size, size, 4), np.float32)
    depth = np.zeros((size, size), np.float32)
    region = np.zeros((size, size), np.uint8)
    votes = np.empty(most_parts, np.int64)
    share = np.float32(1) / (fine * fine)
    for i in range(size):
        for j in range(size):
            votes[:] = 0
            seen, distance = 0, np.float32(0)
            for row in range(i * fine, (i + 1) * fine):
                for col in range(j * fine, (j + 1) * fine):
                    f, through = front[row, col], passing[row, col]
                    if f >= 0:
                        if through >= LEAST:
                            x, y = col + np.float32(0.5), row + np.float32(0.5)
                            corner_weights(pixels, inverse_depth, faces, f, x, y, weights)
                            shaded(
                                weights, faces[f], face_uv[f], uv, texels, table, textures_of[f], levels[f], light,
                                shine, normals, mirrors, sample,
                            )  # fmt: skip
                            for k in range(3):
                                color[row, col, k] += through * sample[k]
                        through = np.float32(0)
                    for k in range(3):
                        image[i, j, k] += share * color[row, col, k]
                    image[i, j, 3] += share * (1 - through)
                    votes[part[row, col]] += 1
                    if at[row, col] > 0:
                        seen += 1
                        distance += 1 / at[row, col]
            region[i, j] = np.argmax(votes)
            if seen > 0:
                depth[i, j] = distance / seen
    return image, depth, region
