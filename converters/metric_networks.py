"""The commands that convert metrics' networks: ``fid``, ``idsim``, ``syncnet``; one file in, one file out."""

import argparse
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from converters.weights import check_file, write


class Command(NamedTuple):
    """A command whose module has ``FILE`` (or ``files`` by network) and ``convert``."""

    module: str
    source: str  # what the file is called where it comes from
    help: str
    networks: tuple[str, ...] = ()  # to choose from, where there are several


COMMANDS: Mapping[str, Command] = {
    "fid": Command("converters.fid", "pt_inception-2015-12-05-6726825d.pth", "convert the Inception of FID"),
    "idsim": Command(
        *("converters.idsim", "CurricularFace_Backbone.pth, model_ir_se50.pth or insightface's backbone.pth"),
        *("convert a face recognition network for IDSIM", ("curricularface", "irse50", "iresnet50", "iresnet100")),
    ),
    "syncnet": Command("converters.syncnet", "syncnet_v2.model", "convert SyncNet"),
}


def add(commands: Any, bar: Callable[[str], Any]) -> None:
    """Add the commands to a parser; ``bar`` makes a progress bar."""
    for name, command in COMMANDS.items():
        parser = commands.add_parser(name, help=command.help)
        if command.networks:
            parser.add_argument("net", choices=command.networks)
        parser.add_argument("source", type=Path, help=command.source)
        parser.add_argument("out", type=Path, help="folder to write the weights to")
        parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
        parser.set_defaults(run=lambda args, command=command: _convert(args, command, bar))


def _convert(args: argparse.Namespace, command: Command, bar: Callable[[str], Any]) -> int:
    module = importlib.import_module(command.module)
    given = (args.net,) if command.networks else ()
    path = args.out / (module.FILES[args.net] if command.networks else module.FILE)
    check_file(path, overwrite=args.overwrite)
    with bar("reading") as progress:
        arrays = module.convert(*given, args.source, progress)
    write(path, arrays, overwrite=args.overwrite)
    print(f"{path}; use it with python -m jax_talker.evaluate --weights {args.out}")
    return 0
