"""MediaPipe's image segmenters: which pixels are a person's, and which of those clothes. One of the files that import
mediapipe, an optional extra: ``jax-talker[landmarks]``.

The plain selfie network (one mask) also comes without the metadata that MediaPipe asks for; then it is told here what
its model card says: RGB in [0, 1].
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from jax_talker.data.track.landmarkers.mediapipe import native_stderr_silenced
from jax_talker.errors import UserError

OFFERED_AT = "https://ai.google.dev/edge/mediapipe/solutions/vision/image_segmenter"
# Of the multiclass network; "others" are accessories: glasses, ear-rings, hats.
MULTICLASS = ("background", "hair", "body-skin", "face-skin", "clothes", "others")
HEADLIKE = [MULTICLASS.index(name) for name in ("hair", "body-skin", "face-skin", "others")]
NO_METADATA = "NormalizationOptions"  # what MediaPipe's error names when a model has none


@dataclass(frozen=True)
class Segmented:
    """What a network says of a picture."""

    head: Float32[np.ndarray, "H W"]  # probability of hair, skin and what is worn on the head
    with_clothes: bool  # the network does not tell clothes apart, so they are part of ``head``


class Segmenter:
    """A selfie or multiclass segmenter; call it with a picture, and close it (it is a context manager)."""

    def __init__(self, model: str | Path):
        hint = f"give one of MediaPipe's selfie segmenters (.tflite); they are offered at {OFFERED_AT}"
        if not Path(model).is_file():
            raise UserError(f"{model}: no such matte model; {hint}")
        try:
            import mediapipe
        except ImportError as error:
            raise UserError(
                f"mediapipe cannot be imported ({error}); run: pip install 'jax-talker[landmarks]'"
            ) from None
        self._mp = mediapipe
        content = Path(model).read_bytes()
        try:
            with native_stderr_silenced():
                try:
                    self._network = self._load(content)
                except (RuntimeError, ValueError, OSError) as error:
                    if NO_METADATA not in str(error):
                        raise
                    self._network = self._load(with_metadata(content))
                masks = len(self._masks(np.zeros((64, 64, 3), np.uint8)))  # the first call is the one that chatters
        except Exception as error:  # a damaged file may make flatbuffers raise anything
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(f"{model}: is not an image segmenter ({reason[0]}); {hint}") from None
        if masks not in (1, len(MULTICLASS)):
            self.close()
            raise UserError(f"{model}: knows {masks} classes, not a person (1) or {', '.join(MULTICLASS)}; {hint}")

    def __call__(self, rgb: UInt8[np.ndarray, "H W 3"]) -> Segmented:
        masks = self._masks(rgb)
        return Segmented(head_of(masks), with_clothes=len(masks) == 1)

    def close(self) -> None:
        self._network.close()  # left to __del__, it raises at the interpreter's exit

    def __enter__(self) -> "Segmenter":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _load(self, content: bytes) -> Any:
        vision = self._mp.tasks.vision
        options = vision.ImageSegmenterOptions(
            base_options=self._mp.tasks.BaseOptions(model_asset_buffer=content),
            output_confidence_masks=True,
            output_category_mask=False,
        )
        return vision.ImageSegmenter.create_from_options(options)

    def _masks(self, rgb: np.ndarray) -> list[np.ndarray]:
        image = self._mp.Image(image_format=self._mp.ImageFormat.SRGB, data=np.ascontiguousarray(rgb))
        masks = self._network.segment(image).confidence_masks
        return [np.array(mask.numpy_view(), np.float32).reshape(rgb.shape[:2]) for mask in masks]


def head_of(masks: list[np.ndarray]) -> Float32[np.ndarray, "H W"]:
    """The person, from the selfie network's one mask; without clothes, from the multiclass network's six."""
    return masks[0] if len(masks) == 1 else np.clip(sum(masks[i] for i in HEADLIKE), 0, 1).astype(np.float32)


def with_metadata(content: bytes) -> bytes:
    """A .tflite model with one picture as its input, together with the metadata that it is RGB in [0, 1]."""
    from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata
    from mediapipe.tasks.metadata import schema_py_generated as schema

    normalise = metadata.NormalizationOptionsT()
    normalise.mean, normalise.std = [0.0], [255.0]
    unit = metadata.ProcessUnitT()
    unit.optionsType, unit.options = metadata.ProcessUnitOptions.NormalizationOptions, normalise
    properties = metadata.ImagePropertiesT()
    properties.colorSpace = metadata.ColorSpaceType.RGB
    kind = metadata.ContentT()
    kind.contentPropertiesType, kind.contentProperties = metadata.ContentProperties.ImageProperties, properties
    picture, mask, graph, about = (
        metadata.TensorMetadataT(),
        metadata.TensorMetadataT(),
        metadata.SubGraphMetadataT(),
        metadata.ModelMetadataT(),
    )
    picture.content, picture.processUnits = kind, [unit]
    graph.inputTensorMetadata, graph.outputTensorMetadata = [picture], [mask]
    about.subgraphMetadata = [graph]

    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    buffer: Any = schema.BufferT()
    entry: Any = schema.MetadataT()
    buffer.data = np.frombuffer(_packed(about, b"M001"), np.uint8)
    model.buffers.append(buffer)
    entry.name, entry.buffer = b"TFLITE_METADATA", len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    return _packed(model, b"TFL3")


def _packed(table: Any, identifier: bytes) -> bytes:
    import flatbuffers  # mediapipe brings it

    builder = flatbuffers.Builder(0)
    builder.Finish(table.Pack(builder), identifier)
    return bytes(builder.Output())
