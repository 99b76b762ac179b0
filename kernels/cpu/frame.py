"""The words of a call's frame: what every phase of the CPU rasteriser may read. One int64 each, addresses included."""

_names = iter(range(96))

# Sizes. An image is one view of one scene; images are handled in groups, so that scratch memory stays bounded.
SCENES, VIEWS, GAUSSIANS, COLOR_VIEWS, WIDTH, HEIGHT, TILES_X, TILES_Y = (next(_names) for _ in range(8))
FIRST_IMAGE, IMAGES = next(_names), next(_names)  # the group
CHUNKS = next(_names)  # of CHUNK Gaussians, for each image
EXTRA_CHANNELS = next(_names)
HAS_OFFSET = next(_names)  # 1 when the centres are moved
PADDED = next(_names)  # Gaussians of an image rounded up to whole vectors, in scratch
GRADIENTS = next(_names)  # 1 in the backward pass
# Operands: means [B, N, 3], quats [B, N, 4], scales [B, N, 3], opacities [B, N], colors [B, 1 or V, N, 3],
# cam_from_world [B, V, 4, 4], intrinsics [B, V, 3, 3], background [B, V, 3], offset [B, V, N or 0, 2], extra [B, N, E],
# all float32, and the settings below
MEANS, QUATS, SCALES, OPACITIES, COLORS, POSES, INTRINSICS, BACKGROUND, OFFSET, EXTRA = (
    next(_names) for _ in range(10)
)
SETTINGS = next(_names)
# Forward results: image [B, V, H, W, 3], alpha [B, V, H, W], depth, light (what is left of it), stop (int32: position
# in the tile's list of the Gaussian that ended the ray), radii (int32) [B, V, N], skipped (int32) [B, V], and the extra
# channels [B, V, H, W, E]
IMAGE, ALPHA, DEPTH, LIGHT, STOP, RADII, SKIPPED, EXTRA_IMAGE = (next(_names) for _ in range(8))
# Cotangents of image, alpha, depth and extra channels; gradients of the operands
D_IMAGE, D_ALPHA, D_DEPTH, D_EXTRA_IMAGE = (next(_names) for _ in range(4))
D_MEANS, D_QUATS, D_SCALES, D_OPACITIES, D_COLORS, D_POSES, D_INTRINSICS, D_BACKGROUND, D_OFFSET, D_EXTRA = (
    next(_names) for _ in range(10)
)
# Scratch of a group: records [images, PADDED, 16], sort keys [images, PADDED] and order (drawn ones, near first) …
RECORDS, KEYS, ORDER, SORTING, VISIBLE, SKIPPED_PARTS = (next(_names) for _ in range(6))
# … counts [images, chunks, tiles] which become positions, starts [images, tiles + 1], entries (indices of Gaussians,
# tile by tile, near first), and for the backward pass: ends [images, tiles] of what of the entries was looked at, where
# each Gaussian's own begin and end [images, PADDED, 2] in a list of positions in ``entries``, that list, whether a
# position was used, one record of sums each, those of the extra channels, and partial sums for backgrounds and cameras
COUNTS, STARTS, TOTALS, ENTRIES, NUM_ENTRIES = (next(_names) for _ in range(5))
ENDS, OWN, POSITIONS, USED, SUMS, EXTRA_SUMS = (next(_names) for _ in range(6))
BACKGROUND_SUMS, CAMERA_SUMS = next(_names), next(_names)
WORDS = next(_names)

# The settings, an attribute of float64
(
    BACKWARD,  # 0: forward, 1: gradients
    NUM_VIEWS,
    NUM_GAUSSIANS,
    NUM_COLOR_VIEWS,  # 1, or NUM_VIEWS
    IMAGE_WIDTH,
    IMAGE_HEIGHT,
    EPS2D,
    NEAR,
    FAR,
    RADIUS_CLIP,
    ANTIALIASED,
    ALPHA_MAX,
    FOV_MARGIN,
    FOV_CENTRED,
    RADIUS_SIGMAS,
    OPACITY_AWARE,
    TILE_CUTOFF,
    COMPENSATION_MIN,
    NUM_EXTRA,
    MOVED,  # 1: there is an offset
    ABSGRAD,
    NUM_SETTINGS,
) = range(22)

CHUNK = 2048  # Gaussians that an item projects, counts or gathers
RECORD = 64  # bytes: one cache line, one vector
