"""Whom programs are tested on: fixtures, also for tests elsewhere (they import ``made`` and what they ask for)."""

import os
import shutil
from pathlib import Path

import jax
import pytest
from filelock import FileLock
from programs.running import QUICKSTART, SIZE, SMALL, succeeds

from jax_talker import priors
from jax_talker.priors import GGHeadConfig
from jax_talker.priors import template as templates
from jax_talker.procedural import filming


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder of the session's own with ``clip``, ``prior`` and ``run``, which another worker may have made.

    Each works on a copy: tests go on with the run, and it lets only one process in.
    """
    own = tmp_path_factory.mktemp("programs") / "made"
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent  # of all workers
    with FileLock(common / "programs.lock"):
        first = common / "programs_made"
        if not first.is_dir():
            shutil.rmtree(partial := common / "programs_partial", ignore_errors=True)
            partial.mkdir()
            _film(partial / "clip")
            _bake(partial / "prior")
            _train(partial)
            partial.rename(first)
        shutil.copytree(first, own)
    return own


@pytest.fixture(scope="session")
def clip(made):
    """1.6 s of a procedural person, seen by two cameras."""
    return made / "clip"


@pytest.fixture(scope="session")
def prior(made):
    """A generator that compiles in seconds; the bundled one goes through the same programs in ``make demo``."""
    return made / "prior"


@pytest.fixture(scope="session")
def run(made):
    """A trained run: personalised by itself, then trained."""
    return made / "run"


@pytest.fixture(scope="session")
def small(prior):
    """Flags of a small run."""
    return [*SMALL, f"--config.prior.path={prior}"]


def _film(root: Path) -> None:
    filming.write_clip(root, filming.make_scene(1, 1.6), size=SIZE, source={}, views={"yaw_+20": (20, 0)})


def _bake(folder: Path) -> None:
    baked = templates.bake(templates.ellipsoid(), plane_resolution=16, uv_samples=24, register=False)
    config = GGHeadConfig.for_template(
        baked, z_dim=8, w_dim=16, c_dim=0, mapping_layers=1, channel_base=128, channel_max=8, uv_samples=24,
        sh_degree=0, use_flame_to_bfm_registration=False,
    )  # fmt: skip
    generator = priors.make_gghead(config)
    priors.save(folder, generator, generator.init(jax.random.key(0), baked), card="random\n")


def _train(folder: Path) -> None:
    run = folder / "run"
    flags = [*QUICKSTART, f"--config.data.clip={folder / 'clip'}", "--workdir", run, *SMALL]
    flags += [f"--config.prior.path={folder / 'prior'}"]
    succeeds("personalize", *flags)
    assert (run / "personal" / "person.safetensors").is_file()
    assert not (run / "checkpoints" / "navigate").exists()
    succeeds("train", *flags)
