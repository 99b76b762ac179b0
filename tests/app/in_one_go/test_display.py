"""Times that are remembered, a bar that foretells, a verdict in words, folders that are found again."""

import json

import pytest

from jax_talker.app.in_one_go import person_folder, times
from jax_talker.app.in_one_go.display import Display, QuietLog
from jax_talker.app.in_one_go.times import Part, Times, in_words
from jax_talker.app.in_one_go.verdict import hopeless, verdict
from jax_talker.data.clip.findings import Finding, Severity
from jax_talker.errors import UserError


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only the test lets pass."""

    class Clock:
        now = 0.0

    monkeypatch.setattr("time.monotonic", lambda: Clock.now)
    monkeypatch.setattr(times, "_slower", lambda: 2.0)
    return Clock


def test_what_took_how_long_is_expected_the_next_time(tmp_path, clock):
    parts = [Part("tune", 11, 128), Part("render", 50, 128)]
    first, each, _ = times.GUESS["tune"]
    with_lpips = Display([Part("tune", 11, 128, lpips=True)], Times(tmp_path))
    assert with_lpips.expected_of(["tune"]) == pytest.approx(2 * (first + 10 * times.WITH_LPIPS * each))
    display = Display(parts, Times(tmp_path))
    assert not display.measured_here
    assert display.expected_of(["tune"]) == pytest.approx(2 * (first + 10 * each))  # a machine of half the speed
    with display:
        display.begin("tune", 11, 0)
        clock.now += 7.0  # compiling, and one step
        display.update()
        for _ in range(10):
            clock.now += 0.5
            display.update()
        display.end()
        list(display.things(range(50), "render", 50, 0))
    again = Display([Part("tune", 101, 128), Part("render", 50, 128)], Times(tmp_path))
    assert again.measured_here
    assert again.expected_of(["tune"]) == pytest.approx(7 + 100 * 0.5)
    for other in (Part("tune", 11, 256), Part("tune", 11, 128, "small"), Part("tune", 11, 128, lpips=True)):
        assert not Display([other], Times(tmp_path)).measured_here  # other work
    (tmp_path / times.FILE).write_text("[1]", encoding="utf-8")
    assert not Display(parts, Times(tmp_path)).measured_here  # a spoilt file is no more than a lost one


def test_somebody_who_watches_is_told_how_far_it_is(tmp_path, clock):
    kept, seen = Times(tmp_path), []
    kept.measured(Part("tune", 11, 64), 1.0, 10.0, 11)
    with Display([Part("tune", 11, 64)], kept, lambda share, text: seen.append((share, text))) as display:
        display.begin("tune", 11, 0)
        for _ in range(10):
            clock.now += 1.0
            display.update()
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(10 / 11, abs=0.01)
    assert seen[-1][1] == f"tune, about {in_words(1)} left"


def test_the_time_left_is_what_the_pace_says(tmp_path, clock):
    kept = Times(tmp_path)
    kept.measured(Part("tune", 10, 64), 4.0, 9 * 3.0, 10)
    kept.measured(Part("hear", 10, 64), 1.0, 9 * 1.0, 10)
    with Display([Part("invert", 0, 64), Part("tune", 10, 64), Part("hear", 10, 64)], kept) as display:
        assert display.left() == pytest.approx(31 + 10)
        display.begin("tune", 10, 0)
        clock.now += 8
        display.update()
        for _ in range(4):
            clock.now += 9
            display.update()
        assert display.left() == pytest.approx(5 * 9 + 10)  # its own pace, and the other as expected
        for _ in range(5):
            clock.now += 9
            display.update()
        display.end()
        assert display.left() == pytest.approx(10 * 89 / 31)  # all of it is slower than it was
        display.begin("hear", 10, 6)  # gone on with at its seventh step
        display.update()
        display.end()
    assert Times(tmp_path).expected([Part("hear", 10, 64)])[0]["hear"] == 10  # half a part says nothing about a whole


def test_work_that_ends_early_and_work_that_was_done_before(tmp_path, clock):
    parts = [Part("finding the face", 10, 64), Part("learning colours", 10, 64), Part("cutting it out", 10, 64)]
    with Display(parts, Times(tmp_path)) as display:
        for thing in display.things(range(10), "learning colours", 10, 0):
            clock.now += 1
            if thing == 6:
                break
        display.begin("cutting it out", 10, 0)
        assert display.left() == pytest.approx(display.expected_of(["cutting it out"]))
    assert in_words(3.2) == "4 s"
    assert in_words(42) == "40 s"
    assert in_words(200) == "3 min"
    assert in_words(7800) == "2 h 10 min"


def test_a_stage_counts_on_the_display_and_talks_to_a_file(tmp_path, clock, capsys):
    with Display([Part("tune", 3, 64)], Times(tmp_path)) as display:
        log = QuietLog(tmp_path, display)
        with log.bar("tune", 0, 3) as bar:
            bar.set_postfix({"loss": "1", "psnr": "23.4"})
            for _ in range(3):
                clock.now += 11  # what is no terminal is written to every 10 s
                bar.update()
        log.say("computing on cpu")
    assert log.path.read_text(encoding="utf-8") == "computing on cpu\n"
    shown = capsys.readouterr().err
    assert "tune 3/3" in shown
    assert "psnr 23.4" in shown
    assert "computing" not in shown


def found(severity, message, begin=0.0):
    return Finding("kind", severity, begin, begin + 1, message, "film longer")


def test_the_doctors_words(tmp_path):
    report = tmp_path / "report.html"
    fine = [found(Severity.NOTE, "a remark")]
    assert verdict(fine, report) == ["The video is fine.", f"  1 remark and pictures in {report}"]
    assert not hopeless(fine)
    many = [found(Severity.WARNING, f"the picture is dark {n}", n) for n in range(6)]
    lines = verdict([*many, *fine], report)
    assert lines[0] == "The video can be used; this will show in the head:"
    assert lines[1] == "  – The picture is dark 0. Film longer."
    assert lines[2] == "  – The picture is dark 1 (at 0:01.00). Film longer."
    assert lines[-1] == f"  2 more like these and 1 remark and pictures in {report}"
    bad = [found(Severity.ERROR, "no sound"), *many]
    assert hopeless(bad)
    assert verdict(bad, report)[:2] == ["This video will not make a good head:", "  – No sound. Film longer."]


def test_a_person_is_known_by_the_videos_content(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    video, copy = tmp_path / "Ma y.mp4", tmp_path / "copy.mp4"
    video.write_bytes(b"pictures")
    copy.write_bytes(b"pictures")
    key = person_folder.key_of(video, {"steps": 3})
    assert key == person_folder.key_of(copy, {"steps": 3})
    assert key != person_folder.key_of(video, {"steps": 4})
    root = person_folder.folder_for(video, key, None)
    assert str(root) == f"runs/Ma_y-{key[:8]}"
    kept = tmp_path / "kept"
    kept.mkdir()
    assert person_folder.folder_for(video, key, str(kept)) == kept
    person_folder.claim(kept, key, {"steps": 3})
    assert json.loads((kept / "talk.json").read_text(encoding="utf-8"))["asked"] == {"steps": 3}
    assert person_folder.folder_for(copy, key, str(kept)) == kept
    copy.write_bytes(b"other pictures")
    with pytest.raises(UserError, match="another video"):
        person_folder.folder_for(copy, person_folder.key_of(copy, {"steps": 3}), str(kept))
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").touch()
    with pytest.raises(UserError, match="no folder of this program"):
        person_folder.folder_for(video, key, str(tmp_path / "letters"))
    with pytest.raises(UserError, match="no such video"):
        person_folder.key_of(tmp_path / "none.mp4", {})
