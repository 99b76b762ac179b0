"""A talking head on a CPU in minutes, with the bundled prior of human heads.

    python -m jax_talker.prepare --video may.mp4 --out data/may --size 128 \\
        --landmarks mediapipe --landmark-model face_landmarker.task
    python -m jax_talker.train --config configs/quickstart.py --config.data.clip=data/may --workdir runs/may
    python -m jax_talker.render --run runs/may --audio speech.wav --camera spiral --out spiral.mp4

Every number can be changed on the command line (--config.train.steps=2000); a misspelt name is an error.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    c = ConfigDict()
    c.task = "talker"  # "talker", or "prior" (configs/prior.py)
    c.seed = 0

    c.prior = ConfigDict()
    # A bundled prior's name ("human"; "small" knows procedural heads), or a folder that python -m converters wrote.
    c.prior.path = "human"
    c.prior.compute = "float32"  # float32 | tf32 | bfloat16: the generator's heavy layers

    c.data = ConfigDict()
    c.data.clip = placeholder(str)  # a clip folder of python -m jax_talker.prepare
    c.data.test_fraction = 1 / 11  # held-out tail
    c.data.features = "logmel"  # audio features: "logmel", or what needs weights: "whisper" (docs/audio.md)
    c.data.features_weights = placeholder(str)  # a folder of python -m converters whisper …
    # How loud speech is heard, and what counts as speech (audio/level.py has each number's reason): dB of full scale,
    # but for span, steady and background, which are differences. Kept with the run, which hears all sound so.
    c.data.level = ConfigDict()
    c.data.level.speech = -26.0
    c.data.level.span = 25.0
    c.data.level.faintest = -70.0
    c.data.level.noise = -40.0
    c.data.level.steady = 6.0
    c.data.level.silent = -100.0
    c.data.level.background = 3.0

    c.render = ConfigDict()
    c.render.implementation = placeholder(str)  # rasteriser; unset: the fastest for this machine
    c.render.capacity = placeholder(int)  # intersections that fit, for implementations with a static bound
    c.render.smoothing = 0.4  # frames; deviation of the Gaussian that smooths coefficients in time

    c.loss = ConfigDict()
    c.loss.l1 = 1.0
    c.loss.ssim = 0.2
    c.loss.lpips = placeholder(float)  # unset: 0.1 where weights are given; 0: none
    c.loss.lpips_weights = placeholder(str)  # a folder of python -m converters lpips, or a .safetensors file

    # Rates are steps of Adam: of latents in units of the prior's spread, of detail in models.detail.UNITS.
    c.personalize = ConfigDict()
    c.personalize.divide = False  # whether Gaussians of the face are divided in four, for detail above 128²
    c.personalize.frames = placeholder(int)  # so many training frames, evenly spread, show the person; unset: all
    c.personalize.encode = True  # whether inversion starts where the prior's encoder finds the person, if it has one
    c.personalize.invert_steps = 150
    c.personalize.invert_rate = 0.03
    c.personalize.units = True  # whether motion starts along the prior's expression units, where it stores them
    c.personalize.motion_rate = 2e-3  # of the directions that seen motion follows
    c.personalize.anchor = 1e-4  # how strongly the anchor is kept near the prior's centre
    c.personalize.delta = 3e-2  # how strongly the rows of the anchor are kept alike, near W: unseen sides gain
    c.personalize.camera_rate = 0.0  # above 0: one motion of the head in all frames corrects the clip's labels
    c.personalize.tune_steps = 800
    c.personalize.detail_rate = 3e-2
    c.personalize.deformation_rate = 3e-3
    c.personalize.detail = 0.01  # how strongly the person's own detail is drawn to nothing
    c.personalize.rough = 1e-2  # how strongly neighbours are kept together in depth by detail and field
    c.personalize.tune_rate = 0.0  # of the generator's weights; above 0 each step costs about twice as much
    c.personalize.locality = 0.03  # how strongly a tuned generator stays itself away from the person

    c.model = ConfigDict()
    c.model.expressions = 20  # k_e; 0: one joint set of c.model.lips directions for the whole face (HFA-GP*)
    c.model.lips = 30  # k_l
    c.model.audio_features = 32
    c.model.attention = 8  # frames AudioAttNet weighs
    c.model.smoothing = 5  # frames the temporal CNN joins
    c.model.hidden = (64,)  # of both encoders; a short clip is soon learnt by heart
    c.model.deformation = "blendshapes"  # "blendshapes", "field" (a network on position), or "none" (the paper)
    c.model.expression_shapes = 8  # blendshapes of the upper face
    c.model.lip_shapes = 12  # and of the lower one
    # What walks the latent space: the "face", while the anchor answers for hair and neck, or "all" (the paper).
    c.model.walk = "face"
    # What follows the head's pose: "none", "outside" (hair and neck move), "shaded" (and the face changes colour, for
    # light does not turn with the head), or "all" (docs/method.md).
    c.model.pose = "shaded"

    c.train = ConfigDict()
    c.train.hear_steps = 600  # of the encoders' regression on seen motion, without rendering
    c.train.steps = 1000
    c.train.batch = 4  # even: successive frames come in couples
    c.train.rate = 1e-3
    c.train.hear_batch = 16
    c.train.hear_rate = 2e-3
    # How log-mel is varied, so that other voices, rooms and microphones are heard as well (docs/audio.md).
    c.train.sound = ConfigDict()
    c.train.sound.level = 3.0  # dB, deviation
    c.train.sound.voice = 0.0  # deviation of the logarithm by which formants are moved
    c.train.sound.tilt = 0.0  # dB an octave, deviation
    c.train.sound.telephone = 0.0  # share of frames heard through one
    c.train.sound.room = 0.25  # share of frames heard in a room's noise
    c.train.deformation_rate = 3e-3
    c.train.swap = 0.5  # share of couples whose lips hear another frame than the upper face
    c.train.lower = 3.0  # how much more a pixel of the lower face weighs than one outside the face
    c.train.upper = 1.0
    # On what pictures are compared: "white", or "any" colour, for heads that are shown on others (docs/method.md).
    c.train.background = "white"
    c.train.smooth = 1e-3
    c.train.size = 1e-4

    c.devices = ConfigDict()  # docs/scaling.md
    # "auto" is "jit" over as many devices as the batch can be dealt out to; "jit" and "pmap" take all; "single" one.
    c.devices.mode = "auto"
    c.devices.count = placeholder(int)  # devices; unset: all
    c.devices.accumulate = 1  # parts of a device's share that are worked on in turn, in less memory

    c.log = ConfigDict()
    c.log.scalars = 20
    c.log.images = 250
    c.log.checkpoint = 500
    c.log.keep = 2
    c.log.wandb = placeholder(str)  # a project of Weights & Biases that gets the records as well (extra wandb)
    return c
