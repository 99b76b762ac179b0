"""GGHead once more, in float64 NumPy and the original's names and layouts, written from gghead_spec alone.

Slow and short. It shares no code with the package; what both agree on is what the specification says.
"""

import numpy as np

FIR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
SIZES = {"position": 3, "scale": 3, "color": None, "rotation": None, "opacity": 1}


def sizes(c):
    rotation = 3 if c.use_rodriguez_rotation else 4
    return {name: {"color": 3 * (c.sh_degree + 1) ** 2, "rotation": rotation}.get(name, n) for name, n in SIZES.items()}


def random_state(c, seed=0):
    """Random tensors under their original names, nothing left at zero."""
    rng = np.random.default_rng(seed)
    state = {}

    def put(name, *shape, scale=1.0, offset=0.0):
        state[name] = np.asarray(offset + scale * rng.standard_normal(shape), np.float32)

    def affine(name, features):
        put(f"{name}.affine.weight", features, c.w_dim)
        put(f"{name}.affine.bias", features, scale=0.2, offset=1)

    channels = sum(sizes(c).values())
    previous = None
    for r in [2**i for i in range(2, int(np.log2(c.plane_resolution)) + 1)]:
        width = min(c.channel_base // r, c.channel_max)
        b = f"backbone.synthesis.b{r}"
        if r == 4:
            put(f"{b}.const", width, 4, 4)
        for conv, inputs in ([("conv0", previous)] if r > 4 else []) + [("conv1", width)]:
            put(f"{b}.{conv}.weight", width, inputs, 3, 3)
            put(f"{b}.{conv}.bias", width, scale=0.1)
            put(f"{b}.{conv}.noise_strength", scale=0.05, offset=0.15)
            put(f"{b}.{conv}.noise_const", r, r)
            affine(f"{b}.{conv}", inputs)
            state[f"{b}.{conv}.resample_filter"] = (FIR / 4).astype(np.float32)
        state[f"{b}.resample_filter"] = (FIR / 4).astype(np.float32)
        put(f"{b}.torgb.weight", channels, width, 1, 1)
        put(f"{b}.torgb.bias", channels, scale=0.1)
        affine(f"{b}.torgb", width)
        previous = width
    put("backbone.mapping.w_avg", c.w_dim, scale=0.2)
    inputs = c.z_dim
    if c.c_dim:
        put("backbone.mapping.embed.weight", c.w_dim, c.c_dim)
        put("backbone.mapping.embed.bias", c.w_dim, scale=0.1)
        inputs += c.w_dim
    for i in range(c.mapping_layers):
        put(f"backbone.mapping.fc{i}.weight", c.w_dim, inputs, scale=100)
        put(f"backbone.mapping.fc{i}.bias", c.w_dim, scale=10)
        inputs = c.w_dim
    if c.use_zero_conv_position:
        put("_zero_conv_position.weight", 3, 3, 1, 1, scale=0.7)
        put("_zero_conv_position.bias", 3, scale=0.1)
    uv = np.clip(rng.uniform(-1.02, 1.02, (1, c.num_gaussians, 1, 2)), -1, 1)  # some exactly on the border
    state["_uv_grid"] = uv.astype(np.float32)
    put("_flame_vertices", 1, c.num_gaussians, 3, scale=0.2)
    put("_uv_position_map", 3, c.plane_resolution, c.plane_resolution)
    return state


def lrelu(x):
    return np.sqrt(2) * np.where(x > 0, x, 0.2 * x)


def mapping(c, s, z, label, psi=1.0, cutoff=None):
    def norm2(x):
        return x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-8)

    p = "backbone.mapping."
    x = norm2(z.astype(float))
    if c.c_dim:
        label = label * (0 if c.c_gen_conditioning_zero else c.c_scale)
        x = np.concatenate([x, norm2(label @ s[p + "embed.weight"].T / np.sqrt(c.c_dim) + s[p + "embed.bias"])], 1)
    for i in range(c.mapping_layers):
        weight = s[f"{p}fc{i}.weight"].astype(float)
        x = lrelu(x @ weight.T * (0.01 / np.sqrt(weight.shape[1])) + 0.01 * s[f"{p}fc{i}.bias"])
    rows = 2 * int(np.log2(c.plane_resolution)) - 2
    rows += c.pretrained_plane_resolution is not None and c.pretrained_plane_resolution < c.plane_resolution
    ws = np.repeat(x[:, None], rows, 1)
    average = s[p + "w_avg"].astype(float)
    ws[:, :cutoff] = average + psi * (ws[:, :cutoff] - average)
    return ws


def correlate(x, weight, pad):
    """x [C, H, W], weight [O, C, k, l] → valid cross-correlation after zero padding."""
    x = np.pad(x, ((0, 0), pad, pad))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], (1, 2))
    return np.einsum("chwkl,ockl->ohw", windows, weight, optimize=True)


def low_pass(x, pad):
    return np.stack([correlate(plane[None], FIR[None, None], pad)[0] for plane in x])


def modulated(c, s, name, x, w, up, noise):
    size = x.shape[-1]
    style = w @ s[f"{name}.affine.weight"].T.astype(float) / np.sqrt(c.w_dim) + s[f"{name}.affine.bias"]
    weight = s[f"{name}.weight"] * style[None, :, None, None]
    weight = weight / np.sqrt((weight**2).sum((1, 2, 3), keepdims=True) + 1e-8)
    if up:
        y = np.zeros((weight.shape[0], 2 * size + 1, 2 * size + 1))
        for a in range(3):
            for b in range(3):
                y[:, a : a + 2 * size : 2, b : b + 2 * size : 2] += np.tensordot(weight[:, :, a, b], x, 1)
        y = low_pass(y, (1, 1))
    else:
        y = correlate(x, weight, (1, 1))
    if noise:
        y = y + s[f"{name}.noise_const"] * s[f"{name}.noise_strength"]
    y = lrelu(y + s[f"{name}.bias"][:, None, None])
    return y if c.conv_clamp is None else np.clip(y, -c.conv_clamp, c.conv_clamp)


def planes(c, s, ws, noise=True):
    return np.stack([_plane(c, s, rows, noise) for rows in ws.astype(float)])


def _plane(c, s, rows, noise):
    x, image, i = s["backbone.synthesis.b4.const"].astype(float), None, 0
    for r in [2**k for k in range(2, int(np.log2(c.plane_resolution)) + 1)]:
        b = f"backbone.synthesis.b{r}"
        if r > 4:
            x = modulated(c, s, f"{b}.conv0", x, rows[i], True, noise)
            i += 1
        x = modulated(c, s, f"{b}.conv1", x, rows[i], False, noise)
        i += 1
        style = rows[i] @ s[f"{b}.torgb.affine.weight"].T.astype(float) / np.sqrt(c.w_dim) + s[f"{b}.torgb.affine.bias"]
        weight = s[f"{b}.torgb.weight"][:, :, 0, 0] * (style / np.sqrt(len(style)))
        new = np.tensordot(weight, x, 1) + s[f"{b}.torgb.bias"][:, None, None]
        new = new if c.conv_clamp is None else np.clip(new, -c.conv_clamp, c.conv_clamp)
        if image is not None:
            stuffed = np.zeros((len(image), r, r))
            stuffed[:, ::2, ::2] = image
            new = new + low_pass(stuffed, (2, 1))
        image = new
    return image


def lookup(c, image, uv):
    """image [C, R, R] at uv [G, 2] → [G, C]; bilinear, zero outside."""
    r = image.shape[-1]
    t = (uv.astype(float) + 1) / 2 * (r - 1) if c.use_align_corners else ((uv.astype(float) + 1) * r - 1) / 2
    out = np.zeros((len(uv), len(image)))
    for g, (x, y) in enumerate(t):
        for row in (int(np.floor(y)), int(np.floor(y)) + 1):
            for column in (int(np.floor(x)), int(np.floor(x)) + 1):
                if 0 <= row < r and 0 <= column < r:
                    out[g] += image[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return out


def gaussians(c, s, image):
    """Images [B, C, R, R] → dict of activated values as the rasteriser receives them, one sample after another."""
    start, where = 0, {}
    for name in c.attributes:
        where[name] = slice(start, start + sizes(c)[name])
        start += sizes(c)[name]
    samples = [_gaussians(c, s, one.copy(), where) for one in image]
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def _gaussians(c, s, image, where):
    if c.use_zero_conv_position:
        kernel, bias = s["_zero_conv_position.weight"][:, :, 0, 0], s["_zero_conv_position.bias"]
        image[where["position"]] = np.tensordot(kernel, image[where["position"]], 1) + bias[:, None, None]
    raw = {
        name: values for name, values in ((n, lookup(c, image, s["_uv_grid"][0, :, 0])[:, w]) for n, w in where.items())
    }
    position = s["_flame_vertices"][0] + c.position_range * np.tanh(c.position_attenuation * raw["position"])
    y, m = -(raw["scale"] + c.scale_offset), c.max_scale
    scale = m - np.logaddexp(0, y + m if c.center_scale_activation else y)
    if c.use_rodriguez_rotation:
        v = 2 * np.pi * np.tanh(c.rotation_attenuation * raw["rotation"])
        angle = np.linalg.norm(v, axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            k = np.where(angle < 1e-6, 0.5 - angle**2 / 48, np.sin(angle / 2) / angle)
        quat = np.concatenate([v[:, 2:] * k, np.cos(angle / 2), v[:, :2] * k], 1)
    else:
        quat = raw["rotation"] / np.linalg.norm(raw["rotation"], axis=1, keepdims=True)
    opacity = (1 + 2 * c.opacity_overshoot) / (1 + np.exp(-raw["opacity"][:, 0])) - c.opacity_overshoot
    opacity = np.clip(opacity, 0, 1) if c.clamp_opacity else opacity
    c0 = 0.28209479177387814
    sh = (np.tanh(raw["color"]) * (1 + 2 * c.color_overshoot) - c.color_overshoot) * 0.5 / c0
    return {
        "mean": position,
        "scale": np.exp(scale),
        "quat": quat,
        "opacity": opacity,
        "sh": sh.reshape(len(sh), -1, 3),
    } | {f"raw_{name}": values for name, values in raw.items()}
