"""The page without a browser: it is served to this machine alone, and browsers may ask no other for anything."""

import os
import re
import sys
import urllib.request

import pytest
from browser import free_port

from jax_talker.app.studio import page as pages
from jax_talker.app.studio.limits import Limits
from jax_talker.app.studio.orders import NEW, Studio
from jax_talker.errors import UserError

PORT = free_port()


@pytest.fixture
def studio(tmp_path):
    none = lambda *_: pytest.fail("nothing is made here")  # noqa: E731
    return Studio(tmp_path / "people", Limits(waiting=3), none, none, none, tmp_path)


@pytest.fixture
def gradio(tmp_path, monkeypatch):
    for name in ("GRADIO_ANALYTICS_ENABLED", "HF_HUB_OFFLINE", "GRADIO_TEMP_DIR"):
        monkeypatch.setenv(name, "as it was")  # what is set in the test is put back after it
    pytest.importorskip("gradio", reason="pip install 'jax-talker[studio]': the page needs it")
    return pages.import_gradio(tmp_path)


def test_the_page_keeps_to_this_machine(gradio, studio):
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    page = pages.build(gradio, studio, ("quick", "good"))
    assert page.analytics_enabled is False
    assert page._queue.max_size == 3
    try:
        address = pages.serve(gradio, page, studio, host="127.0.0.1", port=PORT)
        assert address == f"http://127.0.0.1:{PORT}/"
        with urllib.request.urlopen(address) as answer:
            policy, body = answer.headers["content-security-policy"], answer.read().decode()
        assert "default-src 'self'" in policy
        assert not re.search(r"(?<!'|\w)https?:", policy)
        assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"https?://(?!127\.0\.0\.1)[^\"]+", body)
        assert page.share_url is None
        with pytest.raises(UserError, match=f"cannot listen at 127.0.0.1:{PORT}"):
            pages.serve(gradio, pages.build(gradio, studio, ("quick",)), studio, host="127.0.0.1", port=PORT)
    finally:
        page.close()


def test_nobody_to_choose_means_somebody_new(gradio, studio):
    page = pages.build(gradio, studio, ("quick", "good"))
    (person,) = [block for block in page.blocks.values() if getattr(block, "label", "") == "Who speaks"]
    assert (person.value, [value for _, value in person.choices]) == (NEW, [NEW])


def test_what_a_visitor_can_put_right_is_shown_and_a_bug_is_not_hidden(gradio):
    def refuse():
        raise UserError("film it anew")

    with pytest.raises(gradio.Error) as error:
        pages._aloud(gradio, refuse, ["too <dark>"])
    assert error.value.message == "too &lt;dark&gt;<br>film it anew"
    with pytest.raises(ZeroDivisionError):
        pages._aloud(gradio, lambda: 1 / 0)


def test_without_gradio_it_says_how_to_have_it(tmp_path, monkeypatch):
    for name in ("GRADIO_ANALYTICS_ENABLED", "HF_HUB_OFFLINE", "GRADIO_TEMP_DIR"):
        monkeypatch.setenv(name, "as it was")
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r"pip install 'jax-talker\[studio\]'"):
        pages.import_gradio(tmp_path)
