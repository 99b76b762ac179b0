"""How a drawn head comes to the browsers: as splats that all of them share, or as a picture for each."""

from typing import Any

import numpy as np

from jax_talker.app.viewing import drawing
from jax_talker.app.viewing.drawing import Drawer
from jax_talker.models.navigator import Coefficients

QUALITY = 92  # of the JPEGs that pictures are sent as


class Sender:
    """To everybody at a viser ``server``."""

    def __init__(self, server: Any):
        self.splats: Any = None  # viser's, once some were sent
        self._server = server
        self._pictured: set[int] = set()  # who has a picture before them

    def send_splats(self, drawer: Drawer, coefficients: Coefficients) -> None:
        """The head itself."""
        for client in self._server.get_clients().values():
            if client.client_id in self._pictured:
                client.scene.set_background_image(None)
        self._pictured.clear()
        centers, covariances, rgb, opacity = map(np.asarray, drawer.splats(coefficients))
        if self.splats is None:
            self.splats = self._server.scene.add_gaussian_splats("/head", centers, covariances, rgb, opacity)
        else:
            self.splats.set_gaussians(centers, covariances, rgb, opacity)
            self.splats.visible = True

    def send_pictures(self, drawer: Drawer, coefficients: Coefficients, size: int) -> None:
        """What each one's camera sees, ``size`` pixels on a side."""
        for client in self._server.get_clients().values():
            camera = client.camera
            label = drawing.label_of(camera.wxyz, camera.position, camera.fov)
            picture = drawer.picture(coefficients, label, size)
            window = camera.image_width / max(camera.image_height, 1)
            client.scene.set_background_image(drawing.fitted(picture, window), "jpeg", jpeg_quality=QUALITY)
            self._pictured.add(client.client_id)
        if self.splats is not None:  # not before: the first picture is compiled, and nothing would be seen meanwhile
            self.splats.visible = False
