"""The page's controls of sounds: which one, from where on, played in step with the picture, and the filmed frame."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jax_talker.app.viewing import performing
from jax_talker.app.viewing.performing import Performance, Player
from jax_talker.app.viewing.shown import Shown
from jax_talker.errors import UserError

NOTHING = "nothing"
SLIDING = 5  # frames between two moves of the time slider while a sound is played
TRUTH_SIZE = 256  # px at least, of the filmed frame in the panel


class SpeechPanel:
    """Sounds that the head of ``shown`` says. ``something_new`` is called when another frame is to be drawn.

    viser calls its handlers from threads of their own. The sound itself is played by the browser, which is told so by
    HTML that lies in ``gui`` from the beginning on.
    """

    def __init__(self, gui: Any, shown: Shown, something_new: Callable[[], None], given: Performance | None):
        self.player = Player()
        self.sounds: dict[str, Performance | None] = {NOTHING: None}
        for performance in filter(None, (shown.own, given)):
            self.sounds[performance.name] = performance
        self._gui, self._shown, self._something_new = gui, shown, something_new
        self._said = 0  # times that the browser was told to play or to stop
        self.audio, self.order = gui.add_html(""), gui.add_html("")

    def build(self) -> None:
        """Put the controls onto the page, here."""
        gui = self._gui
        with gui.add_folder("Speech"):
            self.sound = gui.add_dropdown("sound", list(self.sounds), initial_value=NOTHING)
            self.sound.on_update(lambda _: self.load())
            upload = gui.add_upload_button("Another sound …", mime_type="audio/*,video/*")
            upload.on_upload(self.uploaded)
            self.button = gui.add_button("Play")
            self.button.on_click(lambda event: self.play_or_stop(event.client))
            self.time = gui.add_slider("frame", 0, 1, 1, 0, disabled=True, hint="25 are a second")
            self.time.on_update(lambda event: self.seek(event) if event.client is not None else None)
            self._truth = gui.add_image(np.full((1, 1, 3), 255, np.uint8), label="filmed", visible=False)

    def renew(self, shown: Shown) -> None:
        """The same sounds, said by another state of the head."""
        self._shown = shown
        for name, performance in list(self.sounds.items()):  # another may be uploaded meanwhile
            if performance is not None:
                self.sounds[name] = again = self._said_again(performance)
                if self.player.performance is performance:
                    self.player.renew(again)

    def _said_again(self, performance: Performance) -> Performance:
        shown = self._shown
        if performance.truth is not None and shown.own is not None:
            return shown.own
        speaker = shown.drawer.speaker
        return performing.say(shown.config, speaker, performance.name, performance.sound, seed=performance.seed)

    def load(self) -> None:
        """Have ready what is chosen."""
        performance = self.sounds[self.sound.value]
        self.player.load(performance)
        self.order.content = ""
        self.audio.content = "" if performance is None else _audio_element(performance.wav())
        self.time.value = 0
        self.time.max = max(1, performance.frames - 1 if performance is not None else 1)
        self.time.disabled = performance is None
        self.button.label = "Play"
        truth = performance is not None and performance.truth is not None and self._shown.clip is not None
        self._truth.visible = truth
        self._something_new()

    def uploaded(self, event: Any) -> None:
        """Another sound has come."""
        upload = event.target.value
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"sound{Path(upload.name).suffix}"
                path.write_bytes(upload.content)
                config, speaker = self._shown.config, self._shown.drawer.speaker
                performance = performing.perform(config, speaker, path, name=upload.name)
        except UserError as error:
            _complain(event.client, str(error))
            return
        self.sounds[performance.name] = performance
        self.sound.options = list(self.sounds)
        self.sound.value = performance.name
        self.load()

    def play_or_stop(self, client: Any) -> None:
        """The button was pressed; ``client`` is told why it cannot be."""
        try:
            if self.player.playing:
                self.player.stop()
                self._tell_audio("a.pause();")
                self.button.label = "Play"
            else:
                second = self.player.play()
                self._tell_audio(f"a.currentTime={second:.3f};a.play().catch(e=>{{a.controls=true;}});")
                self.button.label = "Stop"
        except UserError as error:
            _complain(client, str(error))
        self._something_new()

    def seek(self, event: Any) -> None:
        """The time slider was moved by somebody."""
        self.player.seek(int(event.target.value))
        self._tell_audio("a.pause();")
        self.button.label = "Play"
        self._something_new()

    def show_time(self, frame: int | None, *, ended: bool) -> None:
        """The slider, and the filmed frame, at what was drawn."""
        if ended:
            self.button.label = "Play"
        performance = self.player.performance
        if performance is None or frame is None:
            return
        if ended or not self.player.playing or frame % SLIDING == 0:
            self.time.value = frame
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
        self.order.content = (
            f'<img src="data:," style="display:none" onerror="if((window.said||0)&lt;{self._said})'
            f"{{window.said={self._said};const a=document.getElementById('speech');if(a){{{script}}}}}\">"
        )


def _audio_element(address: str) -> str:
    return f'<audio id="speech" preload="auto" src="{address}"></audio>'


def _complain(client: Any, text: str) -> None:
    if client is not None:
        client.add_notification("That does not work", text, color="red")
