"""From where the page's visitors look: presets, a round along the spiral, and each one's own way."""

import time
from typing import Any

import numpy as np

from jax_talker import geometry
from jax_talker.app.viewing.drawing import PRESETS, Drawer
from jax_talker.data.clip.clip import FPS

SPIRAL = "spiral"
ROUND = geometry.spiral(120)  # cameras [120, 4, 4] of one round


class Cameras:
    """Those of a viser ``server``; ``look_from`` turns them all."""

    def __init__(self, server: Any, drawer: Drawer):
        self.drawer = drawer
        self._server = server
        self._since: float | None = None  # when the spiral was begun
        view, camera = drawer.view(0, 0), server.initial_camera  # what somebody sees who opens the page
        camera.position, camera.look_at, camera.up, camera.fov = (
            view.position,
            drawer.pivot,
            (0.0, 1.0, 0.0),
            view.field,
        )

    @property
    def moving(self) -> bool:
        """Whether they go along the spiral."""
        return self._since is not None

    def look_from(self, preset: str) -> None:
        """One of PRESETS, or SPIRAL."""
        self._since = time.monotonic() if preset == SPIRAL else None
        if preset != SPIRAL:
            self._turn_to(*PRESETS[preset])

    def walk(self) -> None:
        """Where the spiral is by now, if they go along it."""
        if self._since is None:
            return
        frame = int((time.monotonic() - self._since) * FPS)
        x, y, z = ROUND[frame % len(ROUND), :3, 3] / geometry.RADIUS
        self._turn_to(float(np.degrees(np.arctan2(x, z))), float(np.degrees(np.arcsin(y))))

    def _turn_to(self, yaw: float, pitch: float) -> None:
        view = self.drawer.view(yaw, pitch)
        for client in self._server.get_clients().values():
            with client.atomic():
                client.camera.up_direction = (0.0, 1.0, 0.0)
                client.camera.position = view.position
                client.camera.look_at = self.drawer.pivot
                client.camera.fov = view.field
