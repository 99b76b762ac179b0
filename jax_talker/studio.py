"""Studio: a page in a browser on which a person and a sentence become a video.

python -m jax_talker.studio
python -m jax_talker.studio --people runs --port 7860

Needs the extra: pip install 'jax-talker[studio]'. Open to this machine alone, unless --host says otherwise; nothing is
sent anywhere. Only make heads of people who agreed to it.
"""

import tempfile
import threading
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from configs import quickstart, talk
from jax_talker import cli
from jax_talker.app.in_one_go.models import preparing, with_lpips
from jax_talker.app.studio import page
from jax_talker.app.studio.limits import Limits
from jax_talker.app.studio.orders import Studio
from jax_talker.errors import check_writable

PEOPLE = flags.DEFINE_string("people", "runs", "The folder of run folders: who can be chosen, and where new ones go.")
HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; 0.0.0.0 lets everybody in your network in.")
PORT = flags.DEFINE_integer("port", 7860, "Port to listen at.")
SPEECH = flags.DEFINE_float("longest_speech", Limits.speech, "Seconds of speech that are taken.", lower_bound=1)
VIDEO = flags.DEFINE_float("longest_video", Limits.video, "Seconds of video that are taken.", lower_bound=1)
MEGABYTES = flags.DEFINE_integer("largest_file", Limits.megabytes, "Megabytes of a file that are taken.", lower_bound=1)
WAITING = flags.DEFINE_integer("waiting", Limits.waiting, "Videos that may wait for their turn.", lower_bound=1)
LANDMARKS = flags.DEFINE_string("landmarks", "auto", "auto, face-alignment, mediapipe, or an .npz file of landmarks.")
LANDMARK_MODEL = flags.DEFINE_string("landmark_model", None, "MediaPipe's face_landmarker.task, where it is not found.")
MATTE_MODEL = flags.DEFINE_string("matte_model", None, "MediaPipe's selfie segmenter, where it is not found.")
FETCH = flags.DEFINE_bool("fetch", False, "Fetch MediaPipe's models from Google where they are missing.")


def main() -> None:
    place = Path(PEOPLE.value)
    check_writable(place, PEOPLE.value)
    with tempfile.TemporaryDirectory(prefix="jax_talker_studio_") as files:
        gradio = page.import_gradio(Path(files))
        studio = Studio(
            place=place,
            limits=Limits(SPEECH.value, VIDEO.value, MEGABYTES.value, WAITING.value),
            quality=lambda name: with_lpips(talk.get_config(name)),
            of_run=lambda folder: ConfigDict(folder.config(quickstart.get_config().to_dict())),
            options=lambda: preparing(LANDMARKS.value, LANDMARK_MODEL.value, MATTE_MODEL.value, fetch=FETCH.value),
            out=Path(files),
        )
        built = page.build(gradio, studio, talk.QUALITIES)
        address = page.serve(gradio, built, studio, host=HOST.value, port=PORT.value)
        print(f"open {address} in a browser; Ctrl-C ends it. People are kept in {place}", flush=True)
        try:
            threading.Event().wait()
        finally:
            built.close()


if __name__ == "__main__":
    cli.run(main)
