"""Encoders: places of patches, what each kind reads of its backbone, configs as plain values.

What holds of all of them is in `contracts/test_encoder.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import tiny_backbones
from vipe.encoders import (
    HuggingFaceEncoderConfig,
    PatchFeatures,
    TimmEncoderConfig,
    encoder_config_from_dict,
    encoder_config_to_dict,
)
from vipe.encoders.encoder import _filled_up, patch_positions, resize, resolve_precision
from vipe.encoders.folding import fold_batch_norms
from vipe.errors import ModelError
from vipe.frames import Frames

HALF = (0.5, 0.5, 0.5)


def some_frames(count: int = 5, height: int = 64, width: int = 64) -> Frames:
    return Frames(
        pixels=torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8),
        seconds=torch.arange(count) * 0.5,
        duration=count * 0.5,
    )


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLIP vision tower with an image processor, as saved by transformers."""
    folder = tmp_path_factory.mktemp("tiny-clip")
    tiny_backbones.save_vision_tower(folder)
    return folder


@given(grid=st.integers(1, 24), frames=st.integers(0, 4))
def test_positions_are_the_centres_of_a_grid(grid: int, frames: int) -> None:
    position = patch_positions(torch.arange(frames, dtype=torch.float32), grid)
    assert position.shape == (frames, grid**2, 3)
    for frame in position:
        rows = frame[:, 1:].view(grid, grid, 2)
        torch.testing.assert_close(rows[..., 0], rows[..., 1].T)
        edges = torch.linspace(0, 1, grid + 1)
        torch.testing.assert_close(rows[0, :, 1], (edges[:-1] + edges[1:]) / 2)


@pytest.mark.parametrize(("frames", "filled"), [(1, 1), (2, 2), (3, 4), (5, 8), (32, 32)])
def test_a_gpu_sees_few_numbers_of_frames(frames: int, filled: int) -> None:
    pixels = torch.randint(0, 256, (frames, 3, 4, 4), dtype=torch.uint8)
    found = _filled_up(pixels)
    assert len(found) == filled
    assert torch.equal(found[:frames], pixels)
    assert torch.equal(found[frames:], pixels[-1:].expand(filled - frames, -1, -1, -1))


def test_features_and_positions_must_match(unchecked: None) -> None:
    with pytest.raises(ValueError, match=r"\(2, 4, 8\).*\(2, 5, 3\)"):
        PatchFeatures(features=torch.zeros(2, 4, 8), position=torch.zeros(2, 5, 3))


class TestResize:
    def test_right_size_is_left_alone(self) -> None:
        pixels = some_frames().pixels
        assert resize(pixels, 64) is pixels

    def test_it_filters_before_it_leaves_pixels_out(self) -> None:
        """A fine chequerboard becomes grey, where a filter that aliases would keep black."""
        board = torch.zeros(1, 3, 96, 96, dtype=torch.uint8)
        board[..., ::2, ::2] = board[..., 1::2, 1::2] = 255
        inner = resize(board, 24)[..., 2:-2, 2:-2].float()
        assert (inner - 127.5).abs().max() < 2

    def test_the_whole_frame_is_kept(self) -> None:
        """The left of a wide frame stays left and the right stays right, none is cut off."""
        wide = torch.zeros(1, 3, 40, 160, dtype=torch.uint8)
        wide[..., :40] = 255
        columns = resize(wide, 32).float().mean(dim=(0, 1, 2))
        assert (columns[:7] > 250).all()
        assert (columns[9:] < 5).all()


class TestTimm:
    def test_levels_are_concatenated_on_one_grid(self) -> None:
        encoder = tiny_backbones.timm_encoder().build()
        net = timm.create_model("test_efficientnet", features_only=True)
        channels = net.feature_info.channels()
        assert encoder.channels == sum(channels[-2:])
        assert encoder.grid == 64 // 32
        assert tiny_backbones.timm_encoder(levels=(-1,)).build().channels == channels[-1]
        assert tiny_backbones.timm_encoder(levels=(-1,), grid=1).build().patches == 1

    def test_a_transformer_takes_another_image_size(self) -> None:
        encoder = tiny_backbones.timm_encoder(name="test_vit", image_size=96).build()
        assert encoder.patches == (96 // 16) ** 2
        assert encoder.encode(some_frames(1, 50, 70)).features.shape[1] == encoder.patches

    def test_its_own_colours_and_size_are_the_pretraining_s(self) -> None:
        encoder = TimmEncoderConfig(name="test_vit", pretrained=False).build()
        expected = timm.get_pretrained_cfg("test_vit")
        assert encoder.image_size == expected.input_size[-1]
        torch.testing.assert_close(encoder._mean.flatten() / 255, torch.tensor(expected.mean))
        torch.testing.assert_close(encoder._std.flatten() / 255, torch.tensor(expected.std))

    def test_on_the_meta_device(self) -> None:
        with torch.device("meta"):
            encoder = tiny_backbones.timm_encoder().build()
        assert encoder.patches == 4
        assert all(parameter.is_meta for parameter in encoder.parameters())

    def test_an_unknown_name(self) -> None:
        with pytest.raises(ModelError, match=r"'no_such_net'.*Unknown model"):
            TimmEncoderConfig(name="no_such_net", pretrained=False).build()


class TestFolding:
    @pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_byobnet"])
    def test_the_maps_stay_and_the_norms_go(self, name: str) -> None:
        net = timm.create_model(name, features_only=True, pretrained=False)
        net.train()(torch.randn(8, 3, 64, 64))  # so that the norms' statistics are not 0 and 1
        net.eval()
        images = torch.randn(2, 3, 64, 64)
        folded = fold_batch_norms(net, images)
        assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
        for a, b in zip(net(images), folded(images), strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)

    def test_without_norms_it_is_the_same_object(self) -> None:
        net = timm.create_model("test_vit", features_only=True, pretrained=False).eval()
        assert fold_batch_norms(net, torch.randn(1, 3, 160, 160)) is net

    def test_a_convolution_that_something_else_reads_is_left_alone(self) -> None:
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

            def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
                x = self.conv(images)
                return [x + self.norm(x)]

        net = Twice().eval()
        net.norm.running_mean += 1
        assert fold_batch_norms(net, torch.randn(1, 3, 8, 8)) is net


class TestHuggingFace:
    def test_the_image_processor_s_file_is_obeyed(self, tiny_clip: Path) -> None:
        encoder = HuggingFaceEncoderConfig(name=str(tiny_clip)).build()
        assert (encoder.image_size, encoder.patches, encoder.channels) == (32, 16, 32)
        torch.testing.assert_close(encoder._mean.flatten() / 255, torch.tensor([0.4, 0.5, 0.6]))
        torch.testing.assert_close(encoder._std.flatten() / 255, torch.tensor([0.2, 0.3, 0.4]))

    def test_the_config_has_the_last_word(self, tiny_clip: Path) -> None:
        config = HuggingFaceEncoderConfig(name=str(tiny_clip), image_size=48, mean=HALF)
        encoder = config.build()
        assert encoder.patches == 36
        assert encoder.encode(some_frames(2)).features.shape == (2, 36, 32)
        torch.testing.assert_close(encoder._mean.flatten(), torch.full((3,), 127.5))

    def test_layers_that_are_not_read_are_not_kept(self, tiny_clip: Path) -> None:
        whole = HuggingFaceEncoderConfig(name=str(tiny_clip), layer=-1).build()
        less = HuggingFaceEncoderConfig(name=str(tiny_clip), layer=1).build()
        per_layer = sum(p.numel() for p in whole.backbone.encoder.layers[0].parameters())
        counts = [sum(p.numel() for p in e.parameters()) for e in (whole, less)]
        assert counts[0] - counts[1] == 2 * per_layer

    @pytest.mark.parametrize("layer", [4, -5])
    def test_no_such_layer(self, tiny_clip: Path, layer: int) -> None:
        with pytest.raises(ModelError, match=f"has 3 layers, no layer {layer}"):
            HuggingFaceEncoderConfig(name=str(tiny_clip), layer=layer).build()

    def test_a_size_that_leaves_part_of_a_patch(self, tiny_clip: Path) -> None:
        with pytest.raises(ModelError, match="30 pixels are no multiple of 8"):
            HuggingFaceEncoderConfig(name=str(tiny_clip), image_size=30).build()

    def test_no_image_processor(self, tmp_path: Path, tiny_clip: Path) -> None:
        for file in ("config.json", "model.safetensors"):
            (tmp_path / file).write_bytes((tiny_clip / file).read_bytes())
        with pytest.raises(ModelError, match="mean and std must be given"):
            HuggingFaceEncoderConfig(name=str(tmp_path)).build()
        given_ = HuggingFaceEncoderConfig(name=str(tmp_path), mean=HALF, std=HALF).build()
        assert given_.image_size == 32


class TestConfigs:
    @pytest.mark.parametrize(
        "config",
        [
            TimmEncoderConfig(),
            tiny_backbones.timm_encoder(levels=(0, 2), dtype="bfloat16"),
            HuggingFaceEncoderConfig(name="somewhere", layer=-1, mean=HALF),
        ],
    )
    def test_through_json_and_back(self, config: Any) -> None:
        plain = json.loads(json.dumps(encoder_config_to_dict(config)))
        assert plain["kind"] == config.kind
        assert encoder_config_from_dict(plain) == config

    def test_what_is_left_out_has_its_default(self) -> None:
        assert encoder_config_from_dict({}) == TimmEncoderConfig()

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"kind": "magic"}, "unknown kind 'magic'"),
            ({"kind": "timm", "layer": 3}, "unknown key 'layer'"),
            ({"kind": "huggingface"}, "missing .* 'name'"),
        ],
    )
    def test_what_does_not_fit_is_said(self, values: dict[str, Any], says: str) -> None:
        with pytest.raises(ModelError, match=says):
            encoder_config_from_dict(values)

    def test_a_wrong_precision_is_said_when_it_is_built(self, unchecked: None) -> None:
        config = encoder_config_from_dict(
            {**encoder_config_to_dict(tiny_backbones.timm_encoder()), "dtype": "int4"}
        )
        with pytest.raises(ModelError, match="'int4' is none of"):
            config.build()

    def test_precision(self) -> None:
        assert resolve_precision("float32", "cuda") is torch.float32
        assert resolve_precision("bfloat16", "cpu") is torch.bfloat16
        assert resolve_precision("auto", "cpu") in (torch.float32, torch.bfloat16)
