"""The command ``jax-talker PROGRAM …``: each program as ``python -m jax_talker.PROGRAM …`` runs it.

talk          a video and a sentence in, a talking head out, in one go
prepare       a person's video → a clip folder
personalize   find the person in a prior's latent space
train         a talking head from a clip folder
render        any sound → a video of a trained head
view          a trained head in a browser: turn it, pull its face, let it speak
studio        a page in a browser: a person and a sentence in, a video out
export        a speaking head's frames as .ply files of Gaussians
evaluate      scores of a trained head, or of a video
detect        was a video made by this program
demo          all of it on a made-up person
sweep         train with many configurations or for many people, and one report
benchmark     synthetic people whose every side is known: every method learns them, one table
convert       checkpoints of others → priors and weights (python -m converters)
"""

import runpy
import sys

PROGRAMS = {
    **{
        name: f"jax_talker.{name}"
        for name in (
            *("talk", "prepare", "personalize", "train", "render", "view", "studio"),
            *("export", "evaluate", "detect", "demo", "sweep", "benchmark"),
        )
    },
    "convert": "converters",
}
EXIT_USER_ERROR = 2


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in PROGRAMS:
        sys.argv = [f"jax-talker {name}", *sys.argv[2:]]
        runpy.run_module(PROGRAMS[name], run_name="__main__", alter_sys=True)
        return
    asked = name in ("-h", "--help", "help")
    said = "" if asked or not name else f"error: no program {name!r}\n\n"
    print(f"{said}{__doc__}\njax-talker PROGRAM --help says more", file=sys.stdout if asked else sys.stderr)
    sys.exit(0 if asked else EXIT_USER_ERROR)


if __name__ == "__main__":
    main()
