"""The studio's page, on Gradio. Nobody else imports gradio.

Nothing leaves the machine: no analytics, no shared address, no fonts or scripts from elsewhere; browsers are told by a
content security policy to ask no other machine for anything, in case some part of Gradio wants to.
"""

import html
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jax_talker.app.studio.orders import CAMERAS, NEW, Order, Studio
from jax_talker.errors import UserError

TITLE = "jax_talker studio"
OURS_ALONE = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'"
)
CHECKED_AT_ONCE = 8
READING = 15.0  # s that a refusal stays; what went wrong after long work stays until it is closed
KEPT = (600, 6 * 3600)  # s: how often old files are looked for, and when a file is old
FOREWORD = (
    "# Somebody says something\n"
    "Only make heads of people who agreed to it. The video says, by an invisible mark and (where the extra is "
    "installed) content credentials, that it is synthetic. Nothing leaves this machine."
)


class Policy:
    """Puts the policy on every answer (ASGI)."""

    def __init__(self, app: Any):
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), (b"content-security-policy", OURS_ALONE.encode())]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, sent)


def import_gradio(files: Path) -> Any:
    """gradio, with analytics off and its files in ``files``; UserError where it is not installed."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when it is imported, and later
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = str(files)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # gradio asks itself whether it is there
    try:
        import gradio
    except ImportError as error:
        raise UserError(f"gradio cannot be imported ({error}); run: pip install 'jax-talker[studio]'") from None
    return gradio


def build(gr: Any, studio: Studio, qualities: tuple[str, ...]) -> Any:
    """The page (gradio.Blocks)."""
    limits = studio.limits

    def order_of(person, video, speech, camera, quality, agreed, anyway) -> Order:
        path = lambda given: Path(given) if given else None  # noqa: E731
        return Order(person, path(video), path(speech), camera, quality, agreed, anyway)

    def check(*filled: Any) -> None:
        _aloud(gr, lambda: studio.check(order_of(*filled)), seconds=READING)

    def make(*filled: Any, progress: Any = gr.Progress()) -> tuple[str, str, Any]:  # noqa: B008 (gradio finds it there)
        told: list[str] = []
        watch = lambda share, text: progress(share, desc=text)  # noqa: E731
        out = _aloud(gr, lambda: studio.make(order_of(*filled), told.append, watch), told)
        return str(out), "\n".join(told), gr.update(choices=_choices(studio))

    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=KEPT) as page:
        gr.Markdown(FOREWORD)
        with gr.Row():
            with gr.Column():
                choices = _choices(studio)
                person = gr.Dropdown(choices, value=choices[0], label="Who speaks")
                with gr.Group(visible=choices[0] == NEW) as new:
                    video = gr.Video(label=f"The person speaking (at most {limits.video:.0f} s)", sources=["upload"])
                    quality = gr.Radio(list(qualities), value=qualities[0], label="Quality (minutes to hours)")
                    agreed = gr.Checkbox(label="The person agreed to it")
                    anyway = gr.Checkbox(label="Learn from the video whatever is wrong with it")
                speech = gr.Audio(
                    label=f"What is said (at most {limits.speech:.0f} s)",
                    sources=["upload", "microphone"],
                    type="filepath",
                    editable=False,
                    buttons=["download"],  # and not the one that shares it with a stranger
                )
                camera = gr.Dropdown(list(CAMERAS), value=next(iter(CAMERAS)), label="Camera")
                button = gr.Button("Make the video", variant="primary")
            with gr.Column():
                out = gr.Video(label="The video", interactive=False, buttons=["download"])
                said = gr.Textbox(label="About it", lines=6, interactive=False)
        person.change(lambda name: gr.update(visible=name == NEW), person, new, queue=False, api_visibility="private")
        filled = [person, video, speech, camera, quality, agreed, anyway]
        # What is refused is refused at once, not after waiting for others' videos.
        checked = button.click(check, filled, None, concurrency_limit=CHECKED_AT_ONCE, api_visibility="private")
        checked.success(make, filled, [out, said, person], concurrency_limit=1, api_visibility="private")
    page.queue(max_size=limits.waiting, default_concurrency_limit=1, api_open=False)
    return page


def serve(gr: Any, page: Any, studio: Studio, *, host: str, port: int) -> str:
    """Start serving, in the background; returns the address. UserError where the port is taken."""
    from starlette.middleware import Middleware  # gradio stands on it

    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            prevent_thread_lock=True,
            show_error=True,
            quiet=True,
            inbrowser=False,
            ssr_mode=False,
            enable_monitoring=False,
            footer_links=[],
            max_file_size=f"{studio.limits.megabytes}mb",
            allowed_paths=[str(studio.out)],
            theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
            app_kwargs={"middleware": [Middleware(Policy)]},
        )
    except OSError as error:
        raise UserError(f"cannot listen at {host}:{port} ({error}); choose another --port") from None
    return address


def _choices(studio: Studio) -> list[str]:
    return [*studio.people, NEW]


def _aloud(gr: Any, work: Callable[[], Any], told: list[str] | None = None, seconds: float | None = None) -> Any:
    """What the visitor can put right is shown on the page, for ``seconds`` or until it is closed.

    Anything else is our bug and is raised as it is.
    """
    try:
        return work()
    except UserError as error:
        lines = "<br>".join(html.escape(line) for line in [*(told or []), str(error)])  # gradio takes it for HTML
        raise gr.Error(lines, duration=seconds, print_exception=False) from None
