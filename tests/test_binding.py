"""Binding: keys and values of the gists, as an associative memory that starts empty and adds up."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from vipe.binding import Binding

SLOTS, GISTS, WIDTH, RANK, OUT, CONCEPTS = 4, 3, 16, 8, 12, 8


def binding() -> Binding:
    kinds = ("o_proj", "down_proj") * 2
    return Binding(
        [OUT, OUT + 2] * 2, kinds, width=WIDTH, rank=RANK, gists=GISTS, concepts=CONCEPTS
    )


def gists(videos: int = 5) -> torch.Tensor:
    return torch.randn(videos, GISTS, WIDTH)


def sure() -> tuple[Binding, torch.Tensor]:
    """One that recognises eight things for certain and has their codes for keys; the things."""
    module = binding()
    things = 50 * torch.linalg.qr(torch.randn(WIDTH, WIDTH)).Q[:CONCEPTS]
    module.recognise = torch.nn.Linear(WIDTH, CONCEPTS, bias=False)
    module.recognise.weight.data = things / 50
    module.concept.data = torch.eye(RANK)[:, None].expand(-1, SLOTS, -1).clone()
    return module, things


def test_nothing_is_bound_at_the_start() -> None:
    found = binding()(gists())
    assert sorted(found) == list(range(SLOTS))
    for slot, bound in found.items():
        assert bound.shape == (5, OUT + 2 * (slot % 2), RANK)
        assert not bound.any()


def test_what_a_part_holds_are_shares() -> None:
    held = binding().concepts(gists())
    assert held.shape == (5, GISTS, CONCEPTS)
    assert (held >= 0).all()
    assert_close(held.sum(dim=-1), torch.ones(5, GISTS))


def test_every_part_learns_from_the_start() -> None:
    """Zero at the start is no saddle: tags and parts get gradients, and then all the rest."""
    module = binding()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    seen = gists()
    for _ in range(2):
        optimizer.zero_grad()
        sum((bound - 1).square().sum() for bound in module(seen).values()).backward()
        optimizer.step()
    assert all(parameter.grad.any() for parameter in module.parameters())


def test_a_thing_is_answered_by_the_part_that_holds_it() -> None:
    """With a tag of each part, what asks for a thing gets the tag of the part that holds it."""
    module, things = sure()
    tags = torch.randn(2, GISTS, OUT)
    module.tag["o_proj"].data = tags
    held = [4, 0, 2]
    bound = module(things[held][None])
    for place, slot in enumerate((0, 2)):
        for part, thing in enumerate(held):
            assert_close(bound[slot][0] @ torch.eye(RANK)[thing], tags[place, part])
        assert_close(bound[slot][0] @ torch.eye(RANK)[7], torch.zeros(OUT))


def test_what_layers_share_is_written_by_all_of_a_kind() -> None:
    module, things = sure()
    module.shared_tag["o_proj"].data = torch.randn(GISTS, OUT)
    bound = module(things[[4, 0, 2]][None])
    assert_close(bound[0][0] @ torch.eye(RANK)[0], module.shared_tag["o_proj"][1])
    assert_close(bound[2], bound[0])
    assert not bound[1].any()


def test_a_part_is_answered_by_what_it_holds() -> None:
    module, things = sure()
    units = 8 * module.concept.square().mean(dim=0).sqrt()
    module.part.data = torch.eye(RANK)[:GISTS].expand(SLOTS, -1, -1) / units[:, None]
    held = [4, 0, 2]
    bound = module(things[held][None])
    for part, thing in enumerate(held):
        said = module.said["down_proj"][thing]
        assert_close(bound[1][0] @ torch.eye(RANK)[part], said)


def test_a_thing_is_answered_by_what_the_next_part_holds() -> None:
    module, things = sure()
    module.across.data[1, 0] = 1.0  # the key of part 1 is what part 0 holds
    bound = module(things[[5, 3, 6]][None])
    assert_close(bound[0][0] @ torch.eye(RANK)[5], module.said["o_proj"][3])
    assert_close(bound[0][0] @ torch.eye(RANK)[3], torch.zeros(OUT))


def test_videos_do_not_touch_one_another() -> None:
    module = binding()
    for parameter in module.parameters():
        parameter.data = torch.randn_like(parameter)
    seen = gists(6)
    together, alone = module(seen), [module(one[None]) for one in seen]
    for slot, bound in together.items():
        assert_close(bound, torch.cat([one[slot] for one in alone]), atol=1e-3, rtol=1e-4)
