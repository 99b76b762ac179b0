"""wav2vec2, HuBERT and Whisper beside Hugging Face's torch modules, with random numbers, through the converters."""

import numpy as np
import pytest
import safetensors.numpy

from converters import wav2vec2 as converter
from converters import whisper as whisper_converter
from converters.errors import CheckpointError
from jax_talker.audio import wav2vec2
from jax_talker.audio.extractor import Extractor
from jax_talker.audio.wav2vec2 import Wav2Vec2, standardised
from jax_talker.audio.whisper import Whisper, log_mel
from jax_talker.errors import UserError
from jax_talker.networks import wav2vec2 as network

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", reason="needs the test extra")
pytestmark = pytest.mark.torch

SIZES = dict(
    hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96, conv_dim=(32,) * 7,
    num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, vocab_size=32,
)  # fmt: skip
VARIANTS = {
    "base": dict(feat_extract_norm="group", do_stable_layer_norm=False, conv_bias=False),
    "large": dict(feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True),
}


def published(folder, kind, variant):
    """A random network saved as Hugging Face publishes them, with norms that are not the identity."""
    torch.manual_seed(0)
    names = {"wav2vec2": ("Wav2Vec2Config", "Wav2Vec2ForCTC"), "hubert": ("HubertConfig", "HubertModel")}[kind]
    config = getattr(transformers, names[0])(**SIZES, **VARIANTS[variant])
    model = getattr(transformers, names[1])(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model if kind == "hubert" else model.wav2vec2


@pytest.fixture(scope="module", params=[(k, v) for k in ("wav2vec2", "hubert") for v in VARIANTS], ids="-".join)
def pair(request, tmp_path_factory):
    """The torch module, and our extractor with its weights."""
    folder = tmp_path_factory.mktemp("-".join(request.param))
    model = published(folder, *request.param)
    converter.save(folder / "out", converter.convert(folder / "model.safetensors"))
    return model, Wav2Vec2(folder / "out")


def torchs(model, wave):
    with torch.no_grad():
        return model(torch.from_numpy(wave[None])).last_hidden_state[0].numpy()


@pytest.fixture(scope="module")
def noise():
    return (0.1 * np.random.default_rng(3).standard_normal(48_000)).astype(np.float32)


@pytest.mark.parametrize("steps", [1, 30, 149])
def test_features_are_torchs(pair, noise, steps):
    """Filled up to 250 steps here, at its own length there."""
    model, own = pair
    wave = standardised(noise)[: (steps - 1) * 320 + 400]
    want = torchs(model, wave)
    assert want.shape == (steps, 128)
    assert want.std() > 0.1
    np.testing.assert_allclose(own.raw(wave), want, atol=1e-4)


def test_standardisation_is_hugging_faces(noise):
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    wave = noise + np.float32(0.2)
    want = extractor(wave, sampling_rate=16_000, return_tensors="np").input_values[0]
    np.testing.assert_allclose(standardised(wave), want, atol=1e-5)
    assert not standardised(np.zeros(100, np.float32)).any()


def test_steps_stand_at_their_time_about_silence(pair, noise):
    model, own = pair
    assert isinstance(own, Extractor)
    features = own.extract(noise)
    assert features.shape == (150, 128)
    padded = np.pad(standardised(noise), (200, 400))[: 149 * 320 + 400]
    np.testing.assert_allclose(features * own._gain + own._silence, torchs(model, padded), atol=2e-4)
    np.testing.assert_allclose(own.raw(np.zeros(80_080, np.float32)).mean(0), own._silence, atol=1e-4)


def test_silence_is_zeros(pair, noise, monkeypatch):
    """In one part, in parts that overlap, in what is left of a room's noise, and beside speech."""
    _, own = pair
    monkeypatch.setattr(wav2vec2, "LONGEST", 80)
    monkeypatch.setattr(wav2vec2, "MARGIN", 20)
    for samples in (16_000, 48_000):
        assert not own.extract(np.zeros(samples, np.float32)).any()
    assert not own.extract(np.float32(1e-4) * noise).any()
    beside = own.extract(noise * (np.arange(48_000) < 16_000))
    assert np.abs(beside[:55]).max(1).min() > 0.1
    assert not beside[55:].any()


def test_a_long_sound_is_heard_in_segments(pair, noise, monkeypatch):
    _, own = pair
    monkeypatch.setattr(wav2vec2, "LONGEST", 80)
    monkeypatch.setattr(wav2vec2, "MARGIN", 20)
    parts = own.extract(noise)
    assert parts.shape == (150, 128)
    padded = np.pad(standardised(noise), (200, 400))
    second = own.raw(padded[40 * 320 : 119 * 320 + 400])[20:60]
    np.testing.assert_allclose(parts[60:100] * own._gain + own._silence, second, atol=1e-4)


@pytest.mark.parametrize("samples", [0, 100, 161, 16_000, 16_170])
def test_any_length(pair, samples):
    features = pair[1].extract(np.zeros(samples, np.float32))
    assert features.shape == (round(samples / 320), 128)
    assert np.isfinite(features).all()


def test_torchs_own_files_and_old_names(pair, tmp_path):
    """pytorch_model.bin of earlier years: the weight norm's first names, and what training left."""
    model, own = pair
    old = {"original0": "weight_g", "original1": "weight_v"}
    state = {
        f"module.{name.rpartition('.parametrizations')[0]}.{old[name[-9:]]}"
        if name[-9:] in old
        else f"module.{name}": t
        for name, t in model.state_dict().items()
    }
    torch.save({**state, "module.masked_spec_embed": torch.zeros(128)}, tmp_path / "pytorch_model.bin")
    found = converter.convert(tmp_path / "pytorch_model.bin")
    assert {name: a.shape for name, a in found.items()} == network.shapes(own._net)
    np.testing.assert_allclose(found["positions/conv/kernel"], own._weights["positions"]["conv"]["kernel"], atol=1e-7)


def test_other_files_are_refused(tmp_path):
    published(tmp_path, "hubert", "large")
    state = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    for change, message in (
        ({"extra.weight": np.zeros(3, np.float32)}, r"nothing uses: extra\.weight"),
        ({"encoder.layer_norm.bias": np.zeros(3, np.float32)}, r"norm/bias has shape \(3,\)"),
        ({"encoder.layer_norm.bias": np.full(128, np.nan, np.float32)}, "not finite"),
        ({"encoder.pos_conv_embed.conv.bias": np.zeros((2, 2), np.float32)}, "has shape"),
    ):
        safetensors.numpy.save_file({**state, **change}, tmp_path / "a.safetensors")
        with pytest.raises(CheckpointError, match=message):
            converter.convert(tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=r"no wav2vec2 or HuBERT weights; get model\.safetensors or pytorch_model\.bin"):
        Wav2Vec2(tmp_path / "out")


def test_whisper_is_torchs(tmp_path):
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        d_model=128, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=96, decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=32, vocab_size=64, max_source_positions=100,
        pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    model = transformers.WhisperModel(config).eval()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path)
    whisper_converter.save(tmp_path / "out", whisper_converter.convert(tmp_path / "model.safetensors"))
    own = Whisper(tmp_path / "out")
    wave = (0.1 * np.random.default_rng(0).standard_normal(32_000)).astype(np.float32)
    with torch.no_grad():
        want = model.encoder(torch.from_numpy(log_mel(wave, 80, 200).T[None])).last_hidden_state[0].numpy()
    np.testing.assert_allclose(own.raw(wave), want, atol=1e-4)
