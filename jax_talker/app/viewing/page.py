"""The viewer's page, on viser: a head to turn, sliders that pull its face, sounds that it says.

Nobody else imports viser.

One loop (``run``) draws; sliders and buttons, which viser calls from threads of its own, only say that there is
something new. Everybody who opens the page shares sliders and sound; each has a camera of their own.
"""

import logging
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker import geometry
from jax_talker.app.viewing import drawing, performing
from jax_talker.app.viewing.drawing import PRESETS, WAYS, Drawer, Way
from jax_talker.app.viewing.performing import Performance, Player
from jax_talker.app.viewing.puppet import REACH, Pull, Puppet
from jax_talker.data.clip.clip import FPS, Clip
from jax_talker.errors import UserError

SPIRAL, NOTHING = "spiral", "nothing"
WIDEST_OPEN = 3.0  # standard deviations that the jaw's slider goes; a mouth that is shut cannot be shut further
IDLE = 0.5  # s between two looks for something new, when nobody says that there is
SLIDING = 5  # frames between two moves of the time slider while a sound is played
TRUTH_SIZE = 256  # px at least, of the filmed frame in the panel
LOOK = 5.0  # s between two looks for a newer head
LATELY = 4  # frames, whose drawing says how long it takes
ROUND = geometry.spiral(120)  # cameras [120, 4, 4] of one round
QUALITY = 92  # of the JPEGs that pictures are sent as


@dataclass(frozen=True)
class Shown:
    """A head that is ready to be looked at."""

    name: str
    config: Any
    drawer: Drawer
    puppet: Puppet
    clip: Clip | None
    own: Performance | None  # the clip's sound, or its beginning, where the clip is there


class Page:
    """Open from its making until ``close``; draws while somebody is in ``run``."""

    def __init__(self, shown: Shown, *, host: str, port: int, way: Way | None = None, given: Performance | None = None):
        try:
            import viser
        except ImportError as error:
            raise UserError(f"viser cannot be imported ({error}); run: pip install 'jax-talker[view]'") from None
        logging.getLogger("websockets").setLevel(logging.WARNING)  # not a line for everybody who comes
        self.player = Player()
        self.drawn: int | None = None  # the frame that was drawn last
        self._shown, self._new, self._closed = shown, threading.Event(), False
        self._spiral_since: float | None = None
        self._took: deque[float] = deque([0.0], maxlen=LATELY)  # s, of the last frames
        self._splats: Any = None
        self._pictured: set[int] = set()  # who has a picture before them
        self._said = 0  # times that the browser was told to play or to stop
        self._sounds: dict[str, Performance | None] = {NOTHING: None}
        for performance in filter(None, (shown.own, given)):
            self._sounds[performance.name] = performance
        self._server = viser.ViserServer(host=host, port=port, label="jax_talker", verbose=False)
        # Beside the head rather than before it; and sharing would go over a stranger's machine.
        self._server.gui.configure_theme(show_logo=False, show_share_button=False)
        self._server.gui.main_panel.dock_right()
        self._server.scene.set_up_direction("+y")
        self._look_from_the_front()
        self._build(way or drawing.best_way(shown.drawer.gaussians))
        if given is not None:
            self._sound.value = given.name
        self._server.on_client_connect(self._welcome)

    @property
    def address(self) -> str:
        """Where a browser on this machine finds it."""
        return f"http://{self._server.get_host()}:{self._server.get_port()}"

    def close(self) -> None:
        """Ends ``run`` as well."""
        self._closed = True
        self._new.set()
        self._server.stop()

    def run(self, look: Callable[[], None] = lambda: None) -> None:
        """Draw whatever is new until the page is closed. UserError where the head cannot be rendered.

        ``look`` is called every LOOK seconds; it may ``renew`` the head.
        """
        looked = time.monotonic()
        while not self._closed:
            if time.monotonic() - looked > LOOK:
                look()
                looked = time.monotonic()
            moving = self.player.playing or self._spiral_since is not None
            self._new.wait(0 if moving else IDLE)
            if self._closed:
                return
            if moving or self._new.is_set():
                self._new.clear()
                began = time.monotonic()
                self.draw()
                took = time.monotonic() - began
                self._took.append(took)
                time.sleep(max(0.0, 1 / FPS - took) if moving else 0.0)

    def draw(self) -> None:
        """The face as sliders and sound have it now, to everybody."""
        was_playing = self.player.playing
        takes = min(self._took)  # not the mean: the first of its kind is compiled, which says nothing of the others
        frame, performance = self.player.frame(takes if was_playing else 0.0), self.player.performance
        spoken = performance.at(frame) if performance is not None and frame is not None else None
        coefficients = self._shown.puppet.coefficients(self.pull, spoken)
        if self._spiral_since is not None:
            self._walk_the_spiral()
        if self._way.value == "splats":
            self._send_splats(coefficients)
        else:
            self._send_pictures(coefficients)
        self._show_time(frame, ended=was_playing and not self.player.playing)
        self.drawn = frame

    def renew(self, shown: Shown, said: str) -> None:
        """Another state of the same head's training; ``said`` is about it. Sliders and sounds stay as they are."""
        self._shown = shown
        self._about.content = f"{self._title}\n\n{said}"
        for name, performance in list(self._sounds.items()):  # another may be uploaded meanwhile
            if performance is not None:
                self._sounds[name] = again = self._said_again(performance)
                if self.player.performance is performance:
                    self.player.renew(again)
        self._new.set()

    def _said_again(self, performance: Performance) -> Performance:
        shown = self._shown
        if performance.truth is not None and shown.own is not None:
            return shown.own
        speaker = shown.drawer.speaker
        return performing.say(shown.config, speaker, performance.name, performance.sound, seed=performance.seed)

    @property
    def pull(self) -> Pull:
        """Where the sliders stand."""
        jaw = self._jaw.value if self._jaw is not None else 0.0
        values = (np.array([slider.value for slider in sliders], float) for sliders in (self._expression, self._lips))
        return Pull(*values, jaw=jaw, blink=self._blink.value)

    # What is on the page ----------------------------------------------------------------------------------------------

    def _build(self, way: Way) -> None:
        gui, shown, count = self._server.gui, self._shown, self._shown.drawer.gaussians
        self._title = (
            f"**{shown.name}**: a synthetic head of {count:,} Gaussians. Drag to turn it, scroll to come nearer."
        )
        self._about = gui.add_markdown(self._title)
        self._audio, self._order = gui.add_html(""), gui.add_html("")
        with gui.add_folder("Camera"):
            presets = gui.add_button_group("from", [*PRESETS, SPIRAL])
            presets.on_click(self._preset_chosen)
            self._way = gui.add_dropdown(
                "as", WAYS, initial_value=way, hint="splats: drawn by your browser; pictures: rendered here"
            )
            sizes = sorted({shown.drawer.size, 128, 256, 512})
            self._size = gui.add_dropdown("pixels", [str(s) for s in sizes], initial_value=str(shown.drawer.size))
            self._way.on_update(self._something_new)
            self._size.on_update(self._something_new)
        with gui.add_folder("Speech"):
            self._sound = gui.add_dropdown("sound", list(self._sounds), initial_value=NOTHING)
            self._sound.on_update(lambda _: self._load())
            upload = gui.add_upload_button("Another sound …", mime_type="audio/*,video/*")
            upload.on_upload(self._uploaded)
            self._play = gui.add_button("Play")
            self._play.on_click(lambda event: self._play_or_stop(event.client))
            self._time = gui.add_slider("frame", 0, 1, 1, 0, disabled=True, hint="25 are a second")
            self._time.on_update(lambda event: self._seek(event) if event.client is not None else None)
            self._truth = gui.add_image(np.full((1, 1, 3), 255, np.uint8), label="filmed", visible=False)
        with gui.add_folder("Face"):
            self._jaw = gui.add_slider("jaw", 0.0, WIDEST_OPEN, 0.05, 0.0) if shown.puppet.jaw is not None else None
            self._blink = gui.add_slider("blink", 0.0, 1.0, 0.01, 0.0)
            rest = gui.add_button("At rest")
            rest.on_click(lambda _: self._relax())
        unit = "deviations in the clip" if shown.puppet.measured else "guessed deviations: no clip is here"
        self._lips = self._sliders("Lips", "lip", len(shown.puppet.rest.lips), unit)
        self._expression = self._sliders("Expression", "expression", len(shown.puppet.rest.expression), unit)
        for slider in filter(None, (self._jaw, self._blink, *self._lips, *self._expression)):
            slider.on_update(self._something_new)

    def _sliders(self, title: str, name: str, count: int, unit: str) -> list[Any]:
        if not count:
            return []
        gui = self._server.gui
        with gui.add_folder(title, expand_by_default=title == "Lips"):
            return [gui.add_slider(f"{name} {k + 1}", -REACH, REACH, 0.05, 0.0, hint=unit) for k in range(count)]

    def _something_new(self, _: object = None) -> None:
        self._new.set()

    def _relax(self) -> None:
        for slider in filter(None, (self._jaw, self._blink, *self._lips, *self._expression)):
            slider.value = 0.0
        self._new.set()

    # Cameras ----------------------------------------------------------------------------------------------------------

    def _look_from_the_front(self) -> None:
        """What somebody sees who opens the page."""
        view, camera = self._shown.drawer.view(0, 0), self._server.initial_camera
        camera.position, camera.look_at, camera.up, camera.fov = (
            view.position,
            self._shown.drawer.pivot,
            (0.0, 1.0, 0.0),
            view.field,
        )

    def _preset_chosen(self, event: Any) -> None:
        self._look_from(event.target.value)

    def _look_from(self, preset: str) -> None:
        self._spiral_since = time.monotonic() if preset == SPIRAL else None
        if preset != SPIRAL:
            self._turn_to(*PRESETS[preset])
        self._new.set()

    def _walk_the_spiral(self) -> None:
        frame = int((time.monotonic() - (self._spiral_since or 0.0)) * FPS)
        x, y, z = ROUND[frame % len(ROUND), :3, 3] / geometry.RADIUS
        self._turn_to(float(np.degrees(np.arctan2(x, z))), float(np.degrees(np.arcsin(y))))

    def _turn_to(self, yaw: float, pitch: float) -> None:
        view = self._shown.drawer.view(yaw, pitch)
        for client in self._server.get_clients().values():
            with client.atomic():
                client.camera.up_direction = (0.0, 1.0, 0.0)
                client.camera.position = view.position
                client.camera.look_at = self._shown.drawer.pivot
                client.camera.fov = view.field

    def _welcome(self, client: Any) -> None:
        client.camera.on_update(lambda _: self._new.set() if self._way.value == "pictures" else None)
        self._new.set()

    # What is drawn ----------------------------------------------------------------------------------------------------

    def _send_splats(self, coefficients: Any) -> None:
        for client in self._server.get_clients().values():
            if client.client_id in self._pictured:
                client.scene.set_background_image(None)
        self._pictured.clear()
        centers, covariances, rgb, opacity = map(np.asarray, self._shown.drawer.splats(coefficients))
        if self._splats is None:
            self._splats = self._server.scene.add_gaussian_splats("/head", centers, covariances, rgb, opacity)
        else:
            self._splats.set_gaussians(centers, covariances, rgb, opacity)
            self._splats.visible = True

    def _send_pictures(self, coefficients: Any) -> None:
        if self._splats is not None:
            self._splats.visible = False
        for client in self._server.get_clients().values():
            camera = client.camera
            label = drawing.label_of(camera.wxyz, camera.position, camera.fov)
            picture = self._shown.drawer.picture(coefficients, label, int(self._size.value))
            window = camera.image_width / max(camera.image_height, 1)
            client.scene.set_background_image(drawing.fitted(picture, window), "jpeg", jpeg_quality=QUALITY)
            self._pictured.add(client.client_id)

    # What is heard ----------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        performance = self._sounds[self._sound.value]
        self.player.load(performance)
        self._order.content = ""
        self._audio.content = "" if performance is None else _audio_element(performance.wav())
        self._time.value = 0
        self._time.max = max(1, performance.frames - 1 if performance is not None else 1)
        self._time.disabled = performance is None
        self._play.label = "Play"
        truth = performance is not None and performance.truth is not None and self._shown.clip is not None
        self._truth.visible = truth
        self._new.set()

    def _uploaded(self, event: Any) -> None:
        upload = event.target.value
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"sound{Path(upload.name).suffix}"
                path.write_bytes(upload.content)
                config, speaker = self._shown.config, self._shown.drawer.speaker
                performance = performing.perform(config, speaker, path, name=upload.name)
        except UserError as error:
            self._complain(event.client, str(error))
            return
        self._sounds[performance.name] = performance
        self._sound.options = list(self._sounds)
        self._sound.value = performance.name
        self._load()

    def _play_or_stop(self, client: Any) -> None:
        try:
            if self.player.playing:
                self.player.stop()
                self._tell_audio("a.pause();")
                self._play.label = "Play"
            else:
                second = self.player.play()
                self._tell_audio(f"a.currentTime={second:.3f};a.play().catch(e=>{{a.controls=true;}});")
                self._play.label = "Stop"
        except UserError as error:
            self._complain(client, str(error))
        self._new.set()

    def _seek(self, event: Any) -> None:
        self.player.seek(int(event.target.value))
        self._tell_audio("a.pause();")
        self._play.label = "Play"
        self._new.set()

    def _show_time(self, frame: int | None, *, ended: bool) -> None:
        if ended:
            self._play.label = "Play"
        performance = self.player.performance
        if performance is None or frame is None:
            return
        if ended or not self.player.playing or frame % SLIDING == 0:
            self._time.value = frame
        if performance.truth is not None and self._shown.clip is not None:
            filmed = self._shown.clip.image(int(performance.truth[frame]))
            self._truth.image = filmed.repeat(times := -(-TRUTH_SIZE // len(filmed)), 0).repeat(times, 1)

    def _tell_audio(self, script: str) -> None:
        """Have the page's sound do something, through the channel of the pictures, so that neither overtakes the other.

        viser puts HTML into its panel, whose scripts browsers do not run but for such events. A panel that is folded
        and unfolded is put there anew; the number keeps it from doing an old thing again. Where the browser will not
        play what nobody clicked for, as in a second window, it shows its own controls.
        """
        self._said += 1
        self._order.content = (
            f'<img src="data:," style="display:none" onerror="if((window.said||0)&lt;{self._said})'
            f"{{window.said={self._said};const a=document.getElementById('speech');if(a){{{script}}}}}\">"
        )

    def _complain(self, client: Any, text: str) -> None:
        if client is not None:
            client.add_notification("That does not work", text, color="red")


def _audio_element(address: str) -> str:
    return f'<audio id="speech" preload="auto" src="{address}"></audio>'
