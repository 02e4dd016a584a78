"""Binding: keys and values of the gists, as an associative memory that starts empty and adds up."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from vipe.binding import Binding

SLOTS, GISTS, WIDTH, RANK, OUT = 4, 3, 16, 8, 12


def binding() -> Binding:
    kinds = ("o_proj", "down_proj") * 2
    return Binding([OUT, OUT + 2] * 2, kinds, width=WIDTH, rank=RANK, gists=GISTS)


def gists(videos: int = 5) -> torch.Tensor:
    return torch.randn(videos, GISTS, WIDTH)


def filled(module: Binding) -> Binding:
    for parameter in module.parameters():
        parameter.data = torch.randn_like(parameter)
    return module


def test_nothing_is_bound_at_the_start() -> None:
    found = binding()(gists())
    assert sorted(found) == list(range(SLOTS))
    for slot, bound in found.items():
        assert bound.shape == (5, OUT + 2 * (slot % 2), RANK)
        assert not bound.any()


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
    """With a key of each content and a tag of each part, a content is answered by the tag."""
    module = binding()
    contents = torch.linalg.qr(torch.randn(WIDTH, WIDTH)).Q[:RANK]  # orthogonal things
    module.content.data = contents.expand(SLOTS, -1, -1)
    tags = torch.randn(2, GISTS, OUT)
    module.tag["o_proj"].data = tags
    held = torch.tensor([[4, 0, 2]])
    bound = module(contents[held])
    for place, slot in enumerate((0, 2)):
        for part in range(GISTS):
            asked = torch.eye(RANK)[held[0, part]]  # the code of that thing
            assert_close(bound[slot][0] @ asked, tags[place, part])
        assert_close(bound[slot][0] @ torch.eye(RANK)[7], torch.zeros(OUT))


def test_a_part_is_answered_by_what_it_holds() -> None:
    module = binding()
    module.gain.data.fill_(1.0)
    module.part.data[:] = torch.eye(RANK)[:GISTS]
    seen = gists()
    bound = module(seen)
    for part in range(GISTS):
        said = module.said["down_proj"](seen[:, part])
        assert_close(bound[1] @ torch.eye(RANK)[part], said)


def test_a_thing_is_answered_by_what_the_next_part_holds() -> None:
    module = binding()
    module.gain.data.fill_(1.0)
    contents = torch.linalg.qr(torch.randn(WIDTH, WIDTH)).Q[:RANK]
    module.content.data = contents.expand(SLOTS, -1, -1)
    module.across.data[:, 1, 0] = 1.0  # the key of part 1 is what part 0 holds
    held = contents[torch.tensor([[5, 3, 6]])]
    bound = module(held)
    assert_close(bound[0][0] @ torch.eye(RANK)[5], module.said["o_proj"](held[0, 1]))
    assert_close(bound[0][0] @ torch.eye(RANK)[3], torch.zeros(OUT))


def test_videos_do_not_touch_one_another() -> None:
    module = filled(binding())
    seen = gists(6)
    together, alone = module(seen), [module(one[None]) for one in seen]
    for slot, bound in together.items():
        assert_close(bound, torch.cat([one[slot] for one in alone]), atol=1e-3, rtol=1e-4)
