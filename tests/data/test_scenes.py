"""Scenes: the same seed gives the same description and pixels for ever, and files show them.

Run as a script, this prints the golden digests below; they change only with `VERSION`.
"""

import hashlib
import json
import subprocess
import sys
from collections import Counter

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vipe.data.pictures import confusable, pictures
from vipe.data.scene_files import write_scenes, write_video
from vipe.data.scene_joins import SceneJoins
from vipe.data.scene_looks import COLORS, named_color
from vipe.data.scene_sampling import (
    PLACES,
    VERSION,
    WEIGHTS,
    drawable_over_photographs,
    sample_scene,
    scene_kind,
)
from vipe.data.scene_source import SceneSource
from vipe.data.scenes import draw
from vipe.errors import DataError

GOLDEN = {1: "240670d65ce43c88"}
"""`VERSION` → digest of the descriptions of the first 200 scenes."""

STYLES = ("openmoji",)
SEEDS = st.integers(0, 2_000_000)
MANY = [sample_scene(seed) for seed in range(600)]


def digest() -> str:
    text = "\n".join(repr(sample_scene(seed)) for seed in range(200))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_a_seed_names_a_scene_for_ever():
    assert digest() == GOLDEN[VERSION]


PIXELS = """
import hashlib
from vipe.data.scene_sampling import sample_scene
from vipe.data.scenes import draw
for seed in (1, 2, 3):
    scene = sample_scene(seed, ("openmoji",))
    print(hashlib.sha256(draw(scene, scene.duration / 3, 96).tobytes()).hexdigest())
"""


def test_another_process_draws_the_same_pixels():
    done = subprocess.run([sys.executable, "-c", PIXELS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    here = []
    for seed in (1, 2, 3):
        scene = sample_scene(seed, STYLES)
        image = draw(scene, scene.duration / 3, 96)
        here.append(hashlib.sha256(image.tobytes()).hexdigest())
    assert done.stdout.split() == here


@given(SEEDS)
def test_scenes_are_within_their_bounds(seed):
    scene = sample_scene(seed)
    assert 2 <= scene.duration <= 8
    assert scene.frames in (1, 2, 4, 6, 8)
    assert 1 <= len(scene.actors) <= 5
    assert scene.kind == scene_kind(seed)
    shown = [pictures()[actor.name] for actor in scene.actors]
    for one in shown:
        assert all(one.name == other.name or not confusable(one, other) for other in shown)
    for actor in scene.actors:
        for pose in (actor.start, actor.end):
            assert 0 <= pose.x <= 1
            assert 0 <= pose.y <= 1
            assert 0.1 < pose.size < 0.9


@given(SEEDS)
def test_what_moves_or_follows_is_seen_to(seed):
    scene = sample_scene(seed)
    seen = [scene.poses(second) for second in scene.seconds()]
    assert len(seen) == scene.frames
    for actor, path in zip(scene.actors, zip(*seen, strict=True), strict=True):
        poses = [pose for pose in path if pose is not None]
        assert poses, "an actor that no sampled frame shows"
        first, last = poses[0], poses[-1]
        dx, dy = last.x - first.x, last.y - first.y
        if scene.kind == "sequence":
            continue
        match actor.motion:
            case "left" | "right":
                assert abs(dx) > max(0.25, 3 * abs(dy))
                assert (dx < 0) == (actor.motion == "left")
            case "up" | "down":
                assert abs(dy) > max(0.25, 3 * abs(dx))
                assert (dy < 0) == (actor.motion == "up")
            case "grow":
                assert last.size > 1.5 * first.size
            case "shrink":
                assert first.size > 1.5 * last.size
            case "turn":
                assert abs(last.angle - first.angle) > 100
                # No further from frame to frame than an eye can follow.
                assert abs(poses[1].angle - poses[0].angle) < 90
            case "still":
                assert len(set(poses)) == 1
        if actor.place:
            x, y = PLACES[actor.place]
            assert abs(first.x - x) < 0.06
            assert abs(first.y - y) < 0.06


@given(SEEDS, st.sampled_from([6, 8, 12, 16]))
def test_sequences_show_one_after_another_however_they_are_sampled(seed, frames):
    scene = sample_scene(seed)
    if scene.kind != "sequence":
        return
    moments = [(i + 0.5) / frames * scene.duration for i in range(frames)]
    first_seen = [
        next(i for i, m in enumerate(moments) if scene.poses(m)[k] is not None)
        for k in range(len(scene.actors))
    ]
    assert first_seen == sorted(set(first_seen))


def test_kinds_come_as_often_as_they_are_meant_to():
    counts = Counter(scene.kind for scene in MANY)
    for kind, weight in WEIGHTS.items():
        assert counts[kind] / len(MANY) == pytest.approx(weight, abs=0.05), kind


def test_few_moments_are_rendered():
    """What a scene costs in training: its moments that look different."""
    assert np.mean([len(scene.moments()[0]) for scene in MANY]) < 5


@given(SEEDS)
def test_moments_stand_for_all_frames(seed):
    scene = sample_scene(seed)
    distinct, index = scene.moments()
    assert len(index) == scene.frames
    assert sorted(set(index)) == list(range(len(distinct)))
    for second, i in zip(scene.seconds(), index, strict=True):
        assert scene.poses(second) == scene.poses(distinct[i])


@given(st.integers(0, 2**32), st.sampled_from(sorted(COLORS)))
def test_named_colors_are_nearest_to_their_own_name(seed, name):
    typical = {
        "red": (220, 20, 20), "orange": (250, 125, 10), "yellow": (250, 225, 40),
        "green": (35, 150, 50), "blue": (40, 90, 210), "purple": (105, 35, 150),
        "pink": (252, 145, 195), "brown": (100, 55, 25), "black": (8, 8, 8),
        "white": (250, 250, 250), "gray": (136, 136, 136),
    }  # fmt: skip
    color = np.array(named_color(np.random.default_rng(seed), name))
    distance = {n: np.linalg.norm(color - np.array(c)) for n, c in typical.items()}
    assert sorted(distance, key=distance.__getitem__).index(name) <= 1


@pytest.mark.parametrize("seed", range(0, 60, 5))
def test_pictures_are_seen_before_their_background(seed):
    """Each scene differs from itself without its pictures, by more than a trace."""
    from dataclasses import replace

    scene = sample_scene(seed, STYLES)
    second = scene.seconds()[-1]
    bare = replace(scene, actors=())
    a, b = (np.asarray(draw(s, second, 112), np.int16) for s in (scene, bare))
    assert (np.abs(a - b).max(axis=2) > 40).mean() > 0.004


def photographs() -> list[Image.Image]:
    return [Image.new("RGB", (40, 30), (10 * i, 200, 90)) for i in range(3)]


def test_source_is_a_source_of_clips():
    source = SceneSource(range(40), size=64, styles=STYLES)
    assert len(source) == 40
    keys = source.keys()
    assert len(set(keys)) == 40
    assert keys[7] == f"scene{VERSION}/openmoji/64/7"
    for i in range(12):
        clip = source.clip(i)
        (shot,) = clip.shots
        assert shot.key == keys[i]
        frames = source.render(shot.key)
        assert frames.pixels.shape[1:] == (3, 64, 64)
        assert max(shot.index) == len(frames) - 1
        assert list(shot.seconds) == sorted(shot.seconds)
        assert shot.seconds[-1] < frames.duration
        assert source.clip(i) == clip
        assert source.clip(i, epoch=1).shots == clip.shots
        assert (source.render(shot.key).pixels == frames.pixels).all()
    assert any(source.clip(i, 1).questions != source.clip(i).questions for i in range(12))


def test_passes_at_once_ask_what_they_ask_one_after_another():
    one, three = (SceneSource(range(6), size=64, passes=passes) for passes in (1, 3))
    for i in range(6):
        for epoch in (0, 2):
            clip = three.clip(i, epoch)
            asked = [q.text for n in range(3) for q in one.clip(i, 3 * epoch + n).questions]
            assert [q.text for q in clip.questions] == list(dict.fromkeys(asked))
            assert clip.shots == one.clip(i).shots
            said = Counter(q.answers[0] for q in clip.questions if q.kind == "presence")
            assert said["no"] >= 3


def test_keys_tell_apart_whatever_changes_the_pixels():
    sources = [
        SceneSource([5], size=64, styles=STYLES),
        SceneSource([5], size=96, styles=STYLES),
        SceneSource([5], size=64),
        SceneSource([5], size=64, styles=STYLES, photographs=photographs()),
        SceneSource([5], size=64, styles=STYLES, photographs=photographs(), photographs_name="b"),
    ]
    assert len({source.keys()[0] for source in sources}) == len(sources)
    with pytest.raises(DataError, match="no scene of this source"):
        sources[0].render(sources[1].keys()[0])


@pytest.mark.parametrize(
    "options", [{"styles": ("oil",)}, {"styles": ()}, {"seeds": []}], ids=lambda o: next(iter(o))
)
def test_source_refuses_what_it_cannot_do(options):
    with pytest.raises(DataError):
        SceneSource(**options)


def test_photographs_become_backgrounds_and_hide_no_answer():
    source = SceneSource(range(100), size=48, styles=STYLES, photographs=photographs())
    scenes = [source.scene(seed) for seed in source.seeds]
    over = [scene for scene in scenes if scene.background.kind == "photograph"]
    assert 8 <= len(over) <= 30
    for scene in over:
        assert all(drawable_over_photographs(pictures()[actor.name]) for actor in scene.actors)
    frame = source.render(source.keys()[over[0].seed]).pixels[0]
    corners = {tuple(frame[:, y, x].tolist()) for y in (0, 47) for x in (0, 47)}
    assert corners & {(10 * i, 200, 90) for i in range(3)}


def test_joins_show_scenes_one_after_another():
    source = SceneSource(range(60), size=48, styles=STYLES)
    joins = SceneJoins(source, 30)
    keys = set(joins.keys())
    for i in range(len(joins)):
        clip = joins.clip(i)
        assert clip == joins.clip(i)
        assert {shot.key for shot in clip.shots} <= keys <= set(source.keys())
        assert 4 <= sum(len(shot.index) for shot in clip.shots) <= 9
        seconds = [s for shot in clip.shots for s in shot.seconds]
        assert seconds == sorted(set(seconds))
        names = [source.scene(int(s.key.split("/")[-1])).actors[0].name for s in clip.shots]
        assert len(set(names)) == len(names) >= 2
        order = {q.text: q for q in clip.questions if q.kind == "order"}
        firsts = [q for t, q in order.items() if "first" in t]
        assert [q.accept[0] for q in firsts] == [names[0]]
        assert not {q.kind for q in clip.questions} & {"direction", "motion", "place", "background"}
    assert any(joins.clip(i, 1) != joins.clip(i) for i in range(10))
    with pytest.raises(DataError, match="too few"):
        SceneJoins(SceneSource(range(3)), 5)


def decode(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_video_shows_what_is_drawn(tmp_path):
    seed = next(s for s in range(100) if sample_scene(s, STYLES).kind == "move")
    scene = sample_scene(seed, STYLES)
    path = tmp_path / "scene.mp4"
    write_video(scene, path, size=128, note="a note")
    frames = decode(path)
    assert len(frames) == round(10 * scene.duration)
    for number in (0, len(frames) // 2, len(frames) - 1):
        drawn = np.asarray(draw(scene, (number + 0.5) / 10, 128), np.int16)
        assert np.abs(drawn - frames[number]).mean() < 8
    # Which is closer than another moment is.
    first = np.asarray(draw(scene, 0.05, 128), np.int16)
    error = [np.abs(first - frame).mean() for frame in (frames[0], frames[-1])]
    assert 2 * error[0] < error[1]
    assert [p.name for p in tmp_path.iterdir()] == ["scene.mp4"]


@pytest.mark.parametrize("options", [{"size": 97}, {"size": 0}, {"fps": 0}])
def test_video_that_cannot_be_written_leaves_nothing(tmp_path, options):
    with pytest.raises(DataError, match="must be even"):
        write_video(sample_scene(0, STYLES), tmp_path / "scene.mp4", **options)
    assert list(tmp_path.iterdir()) == []


def test_folder_of_scenes_resumes(tmp_path, monkeypatch):
    settings = {"count": 3, "seed": 1_000_000, "size": 64, "styles": STYLES}
    calls = []
    rows = write_scenes(tmp_path, **settings, progress=lambda *done: calls.append(done))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    written = sorted(p.name for p in tmp_path.iterdir())
    assert written == [*(f"scene-{1_000_000 + i}.mp4" for i in range(3)), "scenes.jsonl"]
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    assert {line["video"] for line in lines} == set(written[:3])
    assert all(set(line) == {"video", "question", "accept", "kind"} for line in lines)
    assert all(line["accept"] for line in lines)

    # What is there stays; what is damaged, missing or of other settings is made again.
    stamps = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("*.mp4")}
    (tmp_path / written[0]).write_bytes(b"")
    (tmp_path / written[1]).unlink()
    again = write_scenes(tmp_path, **settings)
    assert again.read_text().splitlines() == [json.dumps(line) for line in lines]
    assert (tmp_path / written[2]).stat().st_mtime_ns == stamps[written[2]]
    assert all(len(decode(tmp_path / name)) >= 20 for name in written[:3])
    write_scenes(tmp_path, **{**settings, "size": 80})
    assert decode(tmp_path / written[2])[0].shape == (80, 80, 3)


def test_bad_settings_of_a_folder_are_one_line(tmp_path):
    with pytest.raises(DataError, match="count"):
        write_scenes(tmp_path, count=0)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(DataError, match="cannot be written") as raised:
        write_scenes(file / "folder", count=1, styles=STYLES)
    assert "\n" not in str(raised.value)


if __name__ == "__main__":
    print(VERSION, digest())
