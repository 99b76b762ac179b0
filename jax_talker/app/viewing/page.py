"""The viewer's page, on viser: a head to turn, sliders that pull its face, sounds that it says (speech_panel).

Nobody else imports viser.

One loop (``run``) draws; sliders and buttons, which viser calls from threads of its own, only say that there is
something new. Everybody who opens the page shares sliders and sound; each has a camera of their own.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from jax_talker.app.viewing import drawing
from jax_talker.app.viewing.cameras import SPIRAL, Cameras
from jax_talker.app.viewing.drawing import PRESETS, WAYS, Way
from jax_talker.app.viewing.performing import Performance, Player
from jax_talker.app.viewing.puppet import REACH, Pull
from jax_talker.app.viewing.sending import Sender
from jax_talker.app.viewing.shown import Shown
from jax_talker.app.viewing.speech_panel import SpeechPanel
from jax_talker.data.clip.clip import FPS
from jax_talker.errors import UserError

WIDEST_OPEN = 3.0  # standard deviations that the jaw's slider goes; a mouth that is shut cannot be shut further
IDLE = 0.5  # s between two looks for something new, when nobody says that there is
LOOK = 5.0  # s between two looks for a newer head
LATELY = 4  # frames, whose drawing says how long it takes


class Page:
    """Open from its making until ``close``; draws while somebody is in ``run``."""

    def __init__(self, shown: Shown, *, host: str, port: int, way: Way | None = None, given: Performance | None = None):
        try:
            import viser
        except ImportError as error:
            raise UserError(f"viser cannot be imported ({error}); run: pip install 'jax-talker[view]'") from None
        logging.getLogger("websockets").setLevel(logging.WARNING)  # not a line for everybody who comes
        self.drawn: int | None = None  # the frame that was drawn last
        self._shown, self._new, self._closed = shown, threading.Event(), False
        self._took: deque[float] = deque([0.0], maxlen=LATELY)  # s, of the last frames
        self._server = viser.ViserServer(host=host, port=port, label="jax_talker", verbose=False)
        # Beside the head rather than before it; and sharing would go over a stranger's machine.
        self._server.gui.configure_theme(show_logo=False, show_share_button=False)
        self._server.gui.main_panel.dock_right()
        self._server.scene.set_up_direction("+y")
        self._cameras, self.sender = Cameras(self._server, shown.drawer), Sender(self._server)
        count = shown.drawer.gaussians
        self._title = (
            f"**{shown.name}**: a synthetic head of {count:,} Gaussians. Drag to turn it, scroll to come nearer."
        )
        self._about = self._server.gui.add_markdown(self._title)
        self.speech = SpeechPanel(self._server.gui, shown, self._new.set, given)
        self._build(way or drawing.best_way(count))
        if given is not None:
            self.speech.sound.value = given.name
        self._server.on_client_connect(self._welcome)

    @property
    def player(self) -> Player:
        """What is played, and how far it is."""
        return self.speech.player

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
            moving = self.player.playing or self._cameras.moving
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
        self._cameras.walk()
        if self._way.value == "splats":
            self.sender.send_splats(self._shown.drawer, coefficients)
        else:
            self.sender.send_pictures(self._shown.drawer, coefficients, int(self._size.value))
        self.speech.show_time(frame, ended=was_playing and not self.player.playing)
        self.drawn = frame

    def renew(self, shown: Shown, said: str) -> None:
        """Another state of the same head's training; ``said`` is about it. Sliders and sounds stay as they are."""
        self._shown, self._cameras.drawer = shown, shown.drawer
        self._about.content = f"{self._title}\n\n{said}"
        self.speech.renew(shown)
        self._new.set()

    @property
    def pull(self) -> Pull:
        """Where the sliders stand."""
        jaw = self._jaw.value if self._jaw is not None else 0.0
        values = (np.array([slider.value for slider in sliders], float) for sliders in (self._expression, self._lips))
        return Pull(*values, jaw=jaw, blink=self._blink.value)

    def _build(self, way: Way) -> None:
        gui, shown = self._server.gui, self._shown
        with gui.add_folder("Camera"):
            presets = gui.add_button_group("from", [*PRESETS, SPIRAL], hint="degrees; both: yaw and pitch")
            presets.on_click(self._preset_chosen)
            self._way = gui.add_dropdown(
                "as", WAYS, initial_value=way, hint="splats: drawn by your browser; pictures: rendered here"
            )
            sizes = sorted({shown.drawer.size, 128, 256, 512})
            self._size = gui.add_dropdown("pixels", [str(s) for s in sizes], initial_value=str(shown.drawer.size))
            self._way.on_update(self._something_new)
            self._size.on_update(self._something_new)
        self.speech.build()
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

    def _preset_chosen(self, event: Any) -> None:
        self._cameras.look_from(event.target.value)
        self._new.set()

    def _welcome(self, client: Any) -> None:
        client.camera.on_update(lambda _: self._new.set() if self._way.value == "pictures" else None)
        self._new.set()
