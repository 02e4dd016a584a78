from __future__ import annotations

import io
import json
import pickle
import random
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vipe.data.caption_grammar import tokenise
from vipe.data.caption_things import THINGS
from vipe.data.clip import Clip
from vipe.data.photographs import PhotographSource, photograph_images, write_rows
from vipe.errors import DataError

CAPTIONS = [
    ["A dog runs through the snow .", "A brown dog is running in snow .", "The dog plays ."],
    ["Two men are playing soccer .", "Men play soccer on grass .", "A soccer game ."],
    ["A woman rides a red bike .", "A woman on a red bicycle .", "A lady rides ."],
    ["A girl to the left of a tree .", "A girl stands under a tree .", "A child ."],
    ["A surfer rides a wave .", "A man surfs .", "A man is surfing on a wave ."],
]


def jpeg(seed: int, size: int = 40) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC).save(out, "JPEG")
    return out.getvalue()


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def files_of(captions: list[list[str]], first: int = 0) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for i, found in enumerate(captions, first):
        files[f"p{i}.jpg"] = jpeg(i)
        files[f"p{i}.json"] = json.dumps({"image": f"p{i}.jpg", "captions": found}).encode()
    return files


@pytest.fixture
def tars(tmp_path: Path) -> list[Path]:
    return [
        write_tar(tmp_path / "a.tar", files_of(CAPTIONS[:3])),
        write_tar(tmp_path / "b.tar", files_of(CAPTIONS[3:], 3)),
    ]


@pytest.fixture
def source(tars: list[Path]) -> PhotographSource:
    return PhotographSource(tars, size=32, moving=1.0)


def clips(source: PhotographSource, epochs: int) -> list[tuple[int, Clip]]:
    return [(i, source.clip(i, epoch)) for epoch in range(epochs) for i in range(len(source))]


def test_every_entry_renders(source: PhotographSource) -> None:
    keys = source.keys()
    assert len(set(keys)) == len(keys)
    for key in keys:
        frames = source.render(key)
        moving = "/pan/" in key or "/zoom/" in key
        assert frames.pixels.shape == (6 if moving else 1, 3, 32, 32)
        assert frames.pixels.dtype == torch.uint8
        if moving:
            assert (frames.pixels[0] != frames.pixels[-1]).any()
    assert {k.split("/")[2] for k in keys if k.count("/") > 1} == {"flip", "crop", "pan", "zoom"}


def test_flip_mirrors_and_crops_differ(source: PhotographSource) -> None:
    whole = source.render("photo/p0").pixels.float()
    flipped = source.render("photo/p0/flip").pixels.float()
    torch.testing.assert_close(flipped, whole.flip(-1), atol=6.0, rtol=0)
    crops = [source.render(f"photo/p0/crop/{j}").pixels.float() for j in (0, 1)]
    assert (crops[0] - crops[1]).abs().mean() > 1
    assert (crops[0] - whole).abs().mean() > 1


def test_more_parts_are_seen_in_another_light_and_mirrored(tars: list[Path]) -> None:
    few, many = PhotographSource(tars), PhotographSource(tars, crops=6, cropped=1.0, sequences=0.0)
    assert set(few.keys()) <= set(many.keys())
    more = [key for key in many.keys() if key not in few.keys()]  # noqa: SIM118
    assert any(key.endswith("/crop/3/flip") for key in more)
    assert not any(key.endswith(("/crop/2/flip", "/crop/1/flip")) for key in more)
    pixels = [many.render(key).pixels for key in more]
    assert all(one.shape == (1, 3, 224, 224) for one in pixels)
    assert all(
        torch.equal(many.render(key).pixels, one) for key, one in zip(more, pixels, strict=True)
    )
    shown = {shot.key for i in range(len(many)) for shot in many.clip(i, 1).shots}
    assert all("/crop/" in key for key in shown)
    assert shown - set(few.keys())


def test_same_key_same_pixels_whatever_the_seed(tars: list[Path]) -> None:
    one, two = (PhotographSource(tars, seed=seed, size=32) for seed in (0, 1))
    keys = one.keys()
    assert keys == two.keys()
    for key in keys:
        assert torch.equal(one.render(key).pixels, two.render(key).pixels)


def test_clips_are_deterministic_and_vary(source: PhotographSource, tars: list[Path]) -> None:
    again = pickle.loads(pickle.dumps(PhotographSource(tars, size=32, moving=1.0)))
    backwards = [(i, e) for e in range(6) for i in range(len(source))][::-1]
    found = {(i, e): again.clip(i, e) for i, e in backwards}
    assert all(source.clip(i, e) == clip for (i, e), clip in found.items())
    assert len({clip.shots for clip in found.values()}) > 20
    other = PhotographSource(tars, size=32, seed=1, moving=1.0)
    assert any(other.clip(i, e) != clip for (i, e), clip in found.items())


def test_shots_show_entries_that_are_there(source: PhotographSource) -> None:
    keys = source.keys()
    known = {key: len(source.render(key)) for key in keys}
    forms: Counter[str] = Counter()
    for _, clip in clips(source, 80):
        times = [t for shot in clip.shots for t in shot.seconds]
        assert 1 <= len(times) <= 8
        assert times == sorted(times)
        assert times[0] > 0
        assert times[-1] < 12
        for shot in clip.shots:
            assert max(shot.index) < known[shot.key]
            forms["/".join(shot.key.split("/")[2:3]) or "whole"] += 1
    assert forms.keys() == {"whole", "flip", "crop", "pan", "zoom"}


def test_left_and_right_are_never_mirrored(source: PhotographSource) -> None:
    keys = source.keys()
    assert "photo/p0/flip" in keys
    assert "photo/p3/flip" not in keys
    shown = {shot.key for _, clip in clips(source, 60) for shot in clip.shots}
    assert "photo/p3" in shown
    assert "photo/p3/flip" not in shown


def test_every_clip_is_described(source: PhotographSource) -> None:
    for i, clip in clips(source, 20):
        caption = next(q for q in clip.questions if q.kind == "caption")
        assert all(answer == answer.lower() for answer in caption.answers)
        if len({shot.key.split("/")[1] for shot in clip.shots}) == 1:
            assert caption.answers == source.captions[i]
        else:
            assert all(", then " in answer for answer in caption.answers)


def test_captions_can_each_be_an_answer_of_their_own(tars: list[Path]) -> None:
    plain = PhotographSource(tars, sequences=0.0)
    source = PhotographSource(tars, sequences=0.0, captions=2)
    for i in range(len(source)):
        asked = [q for q in source.clip(i).questions if q.kind == "caption"]
        assert [len(q.answers) for q in asked] == [1, 1]
        assert len({q.answers for q in asked}) == 2
        assert {q.answers[0] for q in asked} < set(source.captions[i])
        (whole,) = (q for q in plain.clip(i).questions if q.kind == "caption")
        assert whole.answers == source.captions[i]
    many = PhotographSource(tars, sequences=0.0, captions=9)
    asked = [q for q in many.clip(0).questions if q.kind == "caption"]
    assert {q.answers[0] for q in asked} == set(many.captions[0])


def test_order_questions_name_the_right_photograph(source: PhotographSource) -> None:
    seen = 0
    for _, clip in clips(source, 40):
        names = list(dict.fromkeys(shot.key.split("/")[1] for shot in clip.shots))
        if len(names) == 1:
            assert all(q.kind != "order" for q in clip.questions)
            continue
        captions = [set(source.captions[int(name[1:])]) for name in names]
        by_text = {q.text: q for q in clip.questions if q.kind == "order"}
        assert set(by_text["What happens first?"].answers) <= captions[0]
        assert set(by_text["What happens last?"].answers) <= captions[-1]
        assert sum("What happens after" in text for text in by_text) == len(names) - 1
        for q in by_text.values():
            elsewhere = " ".join(" ".join(c) for c in captions if not set(q.answers) <= c)
            assert not set(q.accept) & set(elsewhere.split())
        seen += 1
    assert seen > 10


def test_crops_are_only_asked_what_survives(source: PhotographSource) -> None:
    for _, clip in clips(source, 40):
        if all("/crop/" in shot.key for shot in clip.shots):
            assert {q.kind for q in clip.questions} <= {"caption", "action", "animal", "who"}


def test_images(tars: list[Path]) -> None:
    images = photograph_images(tars)
    assert len(images) == 5
    assert len(list(images)) == 5
    assert images[-1].size == (40, 40)
    assert images[0].mode == "RGB"
    assert [np.asarray(i).sum() for i in images[1:3]] == [
        np.asarray(images[i]).sum() for i in (1, 2)
    ]
    with pytest.raises(IndexError):
        images[5]
    assert len(pickle.loads(pickle.dumps(images))) == 5


def test_rows(tars: list[Path], tmp_path: Path) -> None:
    path = write_rows(tars, tmp_path / "out" / "rows", limit=3, questions=True)
    assert path == tmp_path / "out" / "rows" / "photographs.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["video"] for row in rows] == ["p0.jpg", "p1.jpg", "p2.jpg"]
    assert rows[0] == {
        "video": "p0.jpg",
        "question": "Describe the video.",
        "references": [
            "a dog runs through the snow",
            "a brown dog is running in snow",
            "the dog plays",
        ],
        "kind": "caption",
    }
    assert (path.parent / "p0.jpg").read_bytes() == jpeg(0)
    asked = [json.loads(x) for x in (path.parent / "questions.jsonl").read_text().splitlines()]
    assert all(row.keys() == {"video", "question", "accept", "kind"} for row in asked)
    assert {"video": "p1.jpg", "question": "What are the men playing?", "accept": ["soccer"],
            "kind": "object"} in asked  # fmt: skip
    assert [p.name for p in path.parent.parent.iterdir()] == ["rows"]
    with pytest.raises(DataError, match="rows: is there already"):
        write_rows(tars, path.parent)


def test_failed_rows_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar = write_tar(tmp_path / "a.tar", files_of(CAPTIONS))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"rows: cannot be written: .*No space"):
        write_rows([tar], tmp_path / "rows")
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar"]


def bad_tars() -> dict[str, tuple[dict[str, bytes] | bytes, str]]:
    good = files_of(CAPTIONS[:1])
    return {
        "no-json": ({"p0.jpg": good["p0.jpg"]}, "p0.jpg has no p0.json"),
        "no-captions": ({**good, "p0.json": b"{}"}, "p0.json holds no captions"),
        "not-json": ({**good, "p0.json": b"\xff{"}, "p0.json holds no captions"),
        "not-sentences": ({**good, "p0.json": b'{"captions": [1]}'}, "list of sentences"),
        "no-sentence": ({**good, "p0.json": b'{"captions": []}'}, "p0.json has no caption"),
        "empty": ({}, "no photographs"),
        "no-tar": (b"this is not a tar" * 100, "cannot be read as a tar"),
    }


@pytest.mark.parametrize("name", bad_tars())
def test_bad_tars_give_one_clear_line(tmp_path: Path, name: str) -> None:
    content, message = bad_tars()[name]
    path = tmp_path / f"{name}.tar"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write_tar(path, content)
    with pytest.raises(DataError) as error:
        PhotographSource([path])
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_other_bad_input(tmp_path: Path, source: PhotographSource) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        PhotographSource([tmp_path / "none.tar"])
    tar = write_tar(tmp_path / "c.tar", files_of(CAPTIONS[:1]))
    with pytest.raises(DataError, match="p0 occurs twice"):
        PhotographSource([tar, tar])
    bad = write_tar(tmp_path / "d.tar", {**files_of(CAPTIONS[:1]), "p0.jpg": b"no jpeg"})
    with pytest.raises(DataError, match=r"p0\.jpg is not a picture"):
        PhotographSource([bad]).render("photo/p0")
    for key in ("photo/p9", "scene/p0", "photo/p0/crop/7", "photo/p3/flip", ""):
        with pytest.raises(DataError, match="no such photograph"):
            source.render(key)


def test_one_photograph_is_enough(tmp_path: Path) -> None:
    source = PhotographSource([write_tar(tmp_path / "a.tar", files_of(CAPTIONS[:1]))], size=16)
    assert all(clip.questions and clip.shots for _, clip in clips(source, 20))


@pytest.fixture(scope="module")
def real(request: pytest.FixtureRequest) -> PhotographSource:
    folder: Path = request.getfixturevalue("shared_data")
    return PhotographSource([folder / "flickr8k" / "val-000.tar"])


def test_real_presence_is_balanced(real: PhotographSource) -> None:
    asked = Counter(
        q.answers[0] for i in range(400) for q in real.clip(i).questions if q.kind == "presence"
    )
    assert asked.total() > 800
    assert 0.45 < asked["yes"] / asked.total() < 0.55


def test_real_denials_contradict_no_caption(real: PhotographSource) -> None:
    rng = random.Random(0)
    named = {thing.name: thing for thing in THINGS}
    for i in rng.sample(range(len(real)), 200):
        words = {w for caption in real.captions[i] for w in tokenise(caption)}
        for q in real.clip(i, 3).questions:
            if q.kind == "presence" and q.answers == ("no",):
                name = max((n for n in named if n in q.text), key=len)
                shown = {shot.key.split("/")[1] for shot in real.clip(i, 3).shots}
                if len(shown) == 1:
                    assert not named[name].said & words, (q.text, real.captions[i])


def test_real_source(real: PhotographSource) -> None:
    keys = real.keys()
    known = set(keys)
    assert len(known) == len(keys)
    share = sum("/pan/" in k or "/zoom/" in k for k in keys) / len(real)
    assert 0.2 < share < 0.3
    shots = [shot for i in range(300) for shot in real.clip(i, 1).shots]
    assert {shot.key for shot in shots} <= known
    for caption, name in zip(real.captions, real.photographs.names, strict=True):
        sided = {"left", "right"} & {w for c in caption for w in tokenise(c)}
        assert (f"photo/{name}/flip" in known) != bool(sided)
    assert real.render(keys[0]).pixels.shape == (1, 3, 224, 224)
