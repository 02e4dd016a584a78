"""Renders scene.mp4, the sample clip, beside this file: a dog moves left before plain blue."""

from pathlib import Path

from vipe.data.drawing import Appearance, Background
from vipe.data.scene_files import write_video
from vipe.data.scenes import Actor, Pose, Scene

BLUE = (70, 130, 225)

scene = Scene(
    seed=0,
    kind="move",
    duration=4.0,
    frames=8,
    background=Background(kind="plain", name="blue", colors=(BLUE, BLUE)),
    actors=(
        Actor(
            name="dog",
            appearance=Appearance(),
            motion="left",
            place="",
            start=Pose(x=0.78, y=0.52, size=0.42),
            end=Pose(x=0.22, y=0.5, size=0.42),
        ),
    ),
)

if __name__ == "__main__":
    path = Path(__file__).with_name("scene.mp4")
    write_video(scene, path, size=320)
    print(path)
