"""The page as a person has it before them, in a real browser: by pointer, by keys, on a phone.

`VIPE_SCREENSHOTS=docs pytest tests/serving/server/test_page_in_browser.py -m default_model` also
makes the pictures of the documentation.
"""

from __future__ import annotations

import io
import os
import re
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from browsing import FLAGS, Visit, chromium, visiting
from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright
from running import KEY, Running, Start, held

from vipe import Decoding, PerceptualWeights, ViPE
from vipe.chat import prompt_ids
from vipe.entry import Entry
from vipe.frames import fingerprint
from vipe.seer import Seer
from vipe.serving.server import chat
from vipe.serving.server.limits import Limits
from vipe.serving.server.merge_map import Looking
from vipe.serving.server.together import together

pytestmark = pytest.mark.browser

QUESTION = "What is in the video?"
LONGEST = Decoding(max_new_tokens=30)
BROKEN = {"name": "broken.mp4", "mimeType": "video/mp4", "buffer": b"not a video at all"}


@pytest.fixture(scope="module")  # not longer: Playwright's event loop is in the way of others
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        reason = "no Chromium: none on the PATH, and VIPE_CHROMIUM names none"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def open_server(start_server: Start) -> Running:
    """A server without a key, that takes 200 kB a video."""
    return start_server(Limits(bytes=200_000, decode_seconds=120), api_key=None)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short answers: several turns have to fit into what the tiny model reads."""
    monkeypatch.setattr(chat, "LONGEST", LONGEST.max_new_tokens)


@pytest.fixture
def visit(browser: Browser, open_server: Running) -> Iterator[Visit]:
    with visiting(browser, open_server) as visit:
        yield visit


def is_of(entry: Entry, clip: Path) -> bool:
    return entry.video_digest == fingerprint(clip)


def map_of(visit: Visit) -> dict[str, Any]:
    """The merge map on the page, as the server has it."""
    key = visit.page.locator("#map").get_attribute("data-video")
    answer = visit.page.request.get(f"{visit.server.url}/v1/videos/{key}/map")
    return dict(answer.json())


def test_a_video_is_watched_being_seen(
    visit: Visit, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, merged = threading.Event(), Looking.merged

    def wait(self: Looking, tokens: Any) -> None:
        go_on.wait(120)
        merged(self, tokens)

    monkeypatch.setattr(Looking, "merged", wait)
    page = visit.page
    expect(page.locator("#limits")).to_contain_text("up to 195 kB")
    expect(page.locator("#limits")).to_contain_text("6 frames are looked at")
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_disabled()
    try:
        visit.give(clips[0])
        expect(page.locator("#progress-title")).to_have_text("clip-0.mp4")
        expect(visit.stage("Encoding")).to_contain_text("6 of 6 frames")
        expect(visit.stage("Decoding")).to_contain_text("6 of 6 frames")
        expect(visit.stage("Uploading")).to_contain_text("kB")
        states = [row.get_attribute("data-state") for row in page.locator("#stages li").all()]
        assert states == ["done", "done", "done", "doing", "to do"]
        assert 0.5 < float(page.locator("#bar").evaluate("bar => bar.value")) < 0.9
    finally:
        go_on.set()
    expect(visit.seen("clip-0.mp4")).to_contain_text("2 s, 6 frames")
    expect(page.locator("#progress")).to_be_hidden()
    expect(page.locator("#announce")).to_have_text("clip-0.mp4 was seen. Ask about it.")
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_enabled()


def test_the_merge_map_says_what_became_of_each_patch(visit: Visit, clips: list[Path]) -> None:
    visit.see(clips[1])
    page, canvas = visit.page, visit.page.locator("#map-frame")
    made = map_of(visit)
    kept = made["size"].count(1)
    expect(page.locator("#map-sum")).to_contain_text("24 patches became 12 tokens")
    expect(page.locator("#map-sum")).to_contain_text(f"{kept} patch")
    box = canvas.bounding_box()
    assert box is not None
    assert box["width"] / box["height"] == pytest.approx(80 / 64, rel=0.02), "as the video is"

    def words(frame: int, patch: int) -> str:
        token = made["assignment"][frame][patch]
        start = f"Row {patch // 2 + 1}, column {patch % 2 + 1}: "
        if made["size"][token] == 1:
            return start + "kept as it is, a token of its own."
        beside = made["assignment"][frame].count(token) - 1
        frames = sum(token in row for row in made["assignment"])
        return start + (
            f"one token with {made['size'][token] - 1} other "
            f"{'patch' if made['size'][token] == 2 else 'patches'}, {beside or 'none'} of them in "
            f"this frame; together they lie in {frames} frame{'s' * (frames != 1)}, around "
        )

    size = {"x": box["width"], "y": box["height"]}
    time = page.get_by_label("Frame", exact=True)
    for frame in (0, 5):
        time.fill(str(frame))
        expect(time).to_have_attribute("aria-valuetext", re.compile(f"^frame {frame + 1} of 6, at"))
        for patch in range(4):
            place = {
                "x": size["x"] * (patch % 2 + 0.5) / 2,
                "y": size["y"] * (patch // 2 + 0.5) / 2,
            }
            canvas.click(position=place)
            expect(page.locator("#map-patch")).to_contain_text(words(frame, patch))
    canvas.press("Escape")
    expect(page.locator("#map-patch")).to_have_text(re.compile("This is frame 6 of 6"))
    with_patches = canvas.evaluate("canvas => canvas.toDataURL()")
    page.get_by_label("Show patches").uncheck()
    page.wait_for_timeout(200)  # one drawing
    assert canvas.evaluate("canvas => canvas.toDataURL()") != with_patches


def test_an_answer_comes_as_it_is_written(
    visit: Visit, saved_vipe: ViPE, clips: list[Path]
) -> None:
    visit.see(clips[2])
    page, seen = visit.page, saved_vipe.see(clips[2])
    want = saved_vipe.ask(seen, QUESTION, decoding=LONGEST)
    answer = page.locator(".answer")
    with held(visit.server, after=8) as engine:
        page.get_by_role("button", name=QUESTION).click()
        expect(answer).not_to_be_empty()
        expect(answer).to_have_attribute("aria-busy", "true")
        expect(answer).to_have_attribute("aria-live", "polite")
        part = answer.text_content() or ""
        assert want.startswith(part)
        assert len(part) < len(want)
        expect(page.locator(".cost")).to_have_count(0)
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        engine.go_on.set()
        expect(answer).to_have_attribute("aria-busy", "false")
    assert answer.text_content() == want
    turns: list[Any] = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": want},
        {"role": "user", "content": "Why?"},
    ]
    visit.ask("Why?")
    second = page.locator(".answer").last.text_content()
    assert second == saved_vipe.ask(seen, turns, decoding=LONGEST), "it is of several turns"
    rows = page.locator(".cost").nth(1).locator("tbody tr")
    prompt = len(prompt_ids(saved_vipe.tokenizer, turns))
    cells = [[c.inner_text() for c in row.locator("td").all()[:2]] for row in rows.all()]
    assert cells == [[f"{prompt}", "0"], [f"{prompt + 24}", "24"]]
    expect(rows.nth(0)).to_contain_text(re.compile(r"ViPE, in [\d.]+ s.*FLOP"))
    expect(rows.nth(1)).to_contain_text(re.compile(r"FLOP \([\d.]+ ×\)"))


def test_an_answer_can_be_stopped(visit: Visit, clips: list[Path]) -> None:
    visit.see(clips[2])
    page = visit.page
    with held(visit.server, after=12) as engine:
        page.get_by_label("Your question").fill(QUESTION)
        page.keyboard.press("Enter")
        expect(page.locator(".answer")).not_to_be_empty()
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".answer")).to_have_attribute("aria-busy", "false")
        engine.go_on.set()
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_enabled()
    page.get_by_role("button", name="New conversation").click()
    expect(page.get_by_label("Your question")).to_be_focused()
    assert visit.ask("And now?")
    expect(page.locator(".turns .about")).to_have_count(2)


def test_the_adapter_is_taken_along(
    visit: Visit, saved_vipe: ViPE, clips: list[Path], tmp_path: Path
) -> None:
    visit.see(clips[0])
    with visit.page.expect_download() as coming:
        visit.page.get_by_role("button", name="Adapter: clip-0.mp4").click()
    assert coming.value.suggested_filename == "clip-0-adapter.zip"
    with zipfile.ZipFile(coming.value.path()) as packed:
        packed.extractall(tmp_path)
    (folder,) = tmp_path.iterdir()
    loaded, seen = PerceptualWeights.load(folder), saved_vipe.see(clips[0])
    assert loaded.targets == tuple(sorted(seen.targets, key=loaded.targets.index))
    assert all(torch.equal(loaded.delta(t), seen.delta(t)) for t in seen.targets)


def test_two_videos_are_asked_about_together(
    visit: Visit, saved_vipe: ViPE, clips: list[Path]
) -> None:
    visit.see(*clips[:3])
    page = visit.page
    ticks = [visit.seen(clip.name).get_by_role("checkbox") for clip in clips[:3]]
    assert [tick.is_checked() for tick in ticks] == [False, False, True], "the last seen"
    ticks[0].check()
    expect(ticks[1]).to_be_disabled()
    visit.ask(QUESTION)
    expect(page.locator(".turns .about")).to_have_text("About clip-0.mp4 and clip-2.mp4")
    library = visit.server.service.library
    seen = [entry for clip in (0, 2) for entry in library.entries() if is_of(entry, clips[clip])]
    both = together(saved_vipe, [library.weights(entry.key) for entry in seen])
    want = saved_vipe.ask(both, QUESTION, decoding=LONGEST)
    assert page.locator(".answer").text_content() == want
    expect(page.locator(".cost tbody tr").last).to_contain_text("48")
    ticks[2].uncheck()
    visit.ask(QUESTION)
    expect(page.locator(".turns .about").last).to_have_text("About clip-0.mp4")
    want = saved_vipe.ask(saved_vipe.see(clips[0]), QUESTION, decoding=LONGEST)
    assert page.locator(".answer").last.text_content() == want, "a conversation of its own"
    page.get_by_role("button", name="Forget: clip-0.mp4").click()
    expect(visit.seen("clip-0.mp4")).to_have_count(0)
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_disabled()


def test_an_error_is_one_clear_line(visit: Visit, clips: list[Path]) -> None:
    alert = visit.page.locator("#see-error")
    visit.give(BROKEN)
    expect(alert).to_have_text("Broken.mp4 is not a video or picture that can be read.")
    expect(alert).to_have_attribute("role", "alert")
    expect(visit.page.locator("#progress")).to_be_hidden()
    visit.give(BROKEN | {"name": "large.mp4", "buffer": b"x" * 300_000})
    expect(alert).to_have_text("Large.mp4 has 293 kB: this server takes up to 195 kB.")
    visit.see(clips[3])
    expect(alert).to_be_hidden()
    visit.page.context.set_offline(True)
    visit.page.get_by_label("Your question").fill("Who?")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("#ask-error")).to_have_text("The server cannot be reached.")
    expect(visit.page.get_by_label("Your question")).to_have_value("Who?"), "it is not lost"
    visit.page.context.set_offline(False)
    visit.troubles.clear()  # the browser's own note of it


def test_a_key_is_asked_for_where_the_server_wants_one(
    browser: Browser, server: Running, clips: list[Path]
) -> None:
    with visiting(browser, server) as visit:
        page = visit.page
        visit.give(clips[0])
        expect(page.locator("#see-error")).to_have_text("The API key is missing or wrong.")
        expect(page.get_by_label("API key")).to_be_focused()
        page.keyboard.type("another")
        page.keyboard.press("Enter")
        expect(page.locator("#key-note")).to_have_text("The API key is missing or wrong.")
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Use").click()
        expect(page.locator("#key-note")).to_contain_text("The key is right")
        visit.see(clips[0])
        assert visit.ask(QUESTION)
        assert page.evaluate("() => [localStorage.length, sessionStorage.length]") == [0, 0]
        assert KEY not in page.content()


def test_all_of_it_by_keys_alone(visit: Visit, clips: list[Path]) -> None:
    page = visit.page
    # Asked for only when the key is pressed, a chooser is now and then open before Chromium is told
    # to hand it over.
    page.on("filechooser", lambda _: None)

    def focused() -> str:
        return str(
            page.evaluate("() => document.activeElement.id || document.activeElement.innerText")
        )

    def tab_to(wanted: str) -> list[str]:
        passed: list[str] = []
        while len(passed) < 20:
            page.keyboard.press("Tab")
            passed.append(focused())
            ring = page.evaluate(
                "() => { const e = document.activeElement;"
                "const f = e.id === 'file' ? e.nextElementSibling : e;"
                "return getComputedStyle(f).outlineStyle; }"
            )
            assert ring != "none", f"{passed[-1]}: its focus is not seen"
            if passed[-1] == wanted:
                return passed
        raise AssertionError(f"{wanted} is not reached: {passed}")

    assert tab_to("file") == ["Skip to the question", "file"]
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(clips[0])
    visit.seen("clip-0.mp4").wait_for()
    assert tab_to("One thing, then another") == ["A dog", "One thing, then another"]
    page.keyboard.press("Space")
    visit.seen("then.mp4").wait_for()
    expect(page.locator("#progress")).to_be_hidden()
    tab_to("question")
    page.keyboard.type("What?")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("And why?")
    assert page.get_by_label("Your question").input_value() == "What?\nAnd why?"
    page.keyboard.press("Enter")
    page.locator(".cost").wait_for()
    expect(page.locator(".asked")).to_have_text("What?\nAnd why?")
    tab_to("map-frame")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#map-patch")).to_contain_text("Row 2, column 2: ")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#map-patch")).to_contain_text("Row 1, column 2: ")
    page.keyboard.press("PageDown")
    expect(page.locator("#map-frame")).to_have_attribute("data-frame", "1")
    page.keyboard.press("Escape")
    expect(page.locator("#map-patch")).to_contain_text("This is frame 2 of 6")
    assert tab_to("map-time") == ["map-time"]
    page.keyboard.press("ArrowRight")
    expect(page.locator("#map-frame")).to_have_attribute("data-frame", "2")
    assert tab_to("map-overlay") == ["map-overlay"]
    page.keyboard.press("Space")
    expect(page.get_by_label("Show patches")).not_to_be_checked()


@pytest.mark.parametrize("width", [360, 800])
def test_it_fits_a_narrow_window(
    browser: Browser, open_server: Running, clips: list[Path], width: int
) -> None:
    window = {"width": width, "height": 740}
    with visiting(browser, open_server, viewport=window, has_touch=True) as visit:
        assert visit.overflow() <= 0
        name = "a-name-of-a-file-that-goes-on-and-on-without-an-end-" * 2 + ".mp4"
        file = {"name": name, "mimeType": "video/mp4", "buffer": clips[0].read_bytes()}
        visit.give(file)
        visit.seen(name[:30]).wait_for()
        visit.see(clips[1])
        visit.ask("What? " + "x" * 150)
        visit.give(BROKEN | {"name": name})
        expect(visit.page.locator("#see-error")).not_to_be_empty()
        assert visit.overflow() <= 0
        visit.page.locator("#map-frame").tap(position={"x": 10, "y": 10})
        expect(visit.page.locator("#map-patch")).to_contain_text("Row 1, column 1")
        for target in visit.page.locator("button:visible, label:has(input):visible").all():
            box = target.bounding_box()
            assert box is not None
            assert box["height"] >= 24, "large enough for a finger (WCAG 2.2, 2.5.8)"
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width


def luminance(colour: str) -> float:
    """Relative luminance of a CSS colour (WCAG 2.2)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_it_is_dark_where_that_is_wanted_and_can_be_read(
    browser: Browser, open_server: Running
) -> None:
    backs = {}
    for scheme in ("light", "dark"):
        with visiting(browser, open_server, color_scheme=scheme) as visit:
            visit.give(BROKEN)
            expect(visit.page.locator("#see-error")).not_to_be_empty()

            def style(selector: str, name: str, visit: Visit = visit) -> str:
                found = visit.page.locator(selector).first
                return str(found.evaluate("(e, name) => getComputedStyle(e)[name]", name))

            backs[scheme] = luminance(style("body", "backgroundColor"))
            for words, behind in (
                ("body", "body"), (".note", ".drop"), (".top p", "body"), (".drop strong", ".drop"),
                ("#see-error", "#see-error"), ("button.main", "button.main"), ("footer", "body"),
                (".samples button", ".samples button"),
            ):  # fmt: skip
                one, two = (
                    luminance(style(words, "color")),
                    luminance(style(behind, "backgroundColor")),
                )
                contrast = (max(one, two) + 0.05) / (min(one, two) + 0.05)
                assert contrast >= 4.5, (scheme, words, contrast)
    assert backs["light"] > 0.8
    assert backs["dark"] < 0.1


def test_nothing_moves_where_that_is_not_wanted(
    browser: Browser, open_server: Running, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, merged = threading.Event(), Looking.merged

    def wait(self: Looking, tokens: Any) -> None:
        go_on.wait(120)
        merged(self, tokens)

    monkeypatch.setattr(Looking, "merged", wait)
    name = "row => getComputedStyle(row, '::before').animationName"
    for motion, wanted in (("reduce", "none"), ("no-preference", "breathe")):
        content = clips[0].read_bytes() + motion.encode()  # else it is known, with its map
        with visiting(browser, open_server, reduced_motion=motion) as visit:
            go_on.clear()
            visit.give({"name": "a.mp4", "mimeType": "video/mp4", "buffer": content})
            row = visit.page.locator('#stages li[data-state="doing"]', has_text="Merging")
            assert row.evaluate(name) == wanted
            go_on.set()
            visit.seen("a.mp4").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_default_model_says_what_is_in_a_sample(
    browser: Browser, start_server: Start, default_model: ViPE, scheme: str
) -> None:
    server = start_server(Limits(), api_key=None, seer=Seer.of(default_model))
    window = {"width": 1200, "height": 900}
    with visiting(browser, server, viewport=window, color_scheme=scheme) as visit:
        page = visit.page
        page.get_by_role("button", name="A dog").click()
        visit.seen("dog.mp4").wait_for()
        assert "dog" in visit.ask(QUESTION)
        assert "left" in visit.ask("Which way does the dog move?")
        expect(page.locator("#map-sum")).to_contain_text("392 patches became 196 tokens")
        rows = page.locator(".cost").first.locator("tbody tr")
        assert rows.nth(0).locator("td").nth(1).inner_text() == "0"
        assert rows.nth(1).locator("td").nth(1).inner_text() == "392"
        if folder := os.environ.get("VIPE_SCREENSHOTS"):
            page.get_by_label("Frame", exact=True).fill("3")
            page.evaluate("() => scrollTo(0, 0)")  # the questions stick to the top
            page.wait_for_timeout(500)
            picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
            name = "page.png" if scheme == "light" else "page-dark.png"
            picture.quantize(256).save(Path(folder) / name, optimize=True)
