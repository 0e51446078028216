"""`images.edit` and `images.create_variation`: one picture, several, a mask; whichever provider is behind them."""

import openai
import pytest
from conftest import edit, file, look, vary


@pytest.mark.parametrize("form", ["url", "b64_json"])
@pytest.mark.parametrize("model", ["gpt-image-2", "gemini-3-pro-image", "flux.2-max"])
def test_one_picture(client, model, form):
    answer = edit(
        client,
        model=model,
        image=file("boat.png"),
        prompt="paint the boat red",
        output_format="webp",
        extra_body={"response_format": form},
    )
    picture = look(answer.body.data[0], form, "webp")
    assert "{}x{}".format(*picture.size) == answer.body.size
    assert answer.metadata["model"] == model


def test_several_pictures(client):
    images = [file(f"{name}.png", colour=colour) for name, colour in [("a", "red"), ("b", "blue"), ("c", "green")]]
    answer = edit(client, model="gpt-image-2", image=images, prompt="all of them on one table", n=2)
    assert len(answer.body.data) == 2


def test_more_pictures_than_any_route_takes_are_refused(client):
    images = [file(f"{index}.png") for index in range(17)]
    with pytest.raises(openai.BadRequestError) as caught:
        edit(client, model="gpt-image-2", image=images, prompt="too many")
    assert caught.value.code == "INVALID_REQUEST"


def test_a_mask(client):
    mask = file("mask.png", mode="RGBA", colour=(0, 0, 0, 255))
    for model in ["gpt-image-2", "recraft/recraft-v3"]:
        answer = edit(client, model=model, image=file("room.png"), mask=mask, prompt="a window on the left")
        look(answer.body.data[0], "url", answer.body.output_format)


def test_a_mask_that_marks_nothing_or_does_not_fit_is_refused(client):
    for mask in [file("mask.png"), file("mask.png", size=(256, 512), mode="RGBA", colour=(0, 0, 0, 255))]:
        with pytest.raises(openai.BadRequestError) as caught:
            edit(client, model="gpt-image-2", image=file("room.png"), mask=mask, prompt="a window")
        assert caught.value.param == "mask"


def test_an_upscale_needs_no_prompt(client):
    answer = edit(
        client,
        model="recraft-crisp-upscale",
        image=file("small.png"),
        prompt=openai.omit if hasattr(openai, "omit") else openai.NOT_GIVEN,
        extra_body={"scale_factor": 2},
    )
    picture = look(answer.body.data[0], "url", answer.body.output_format)
    assert picture.size[0] > 512


def test_a_variation(client):
    answer = vary(client, model="gpt-image-2", image=file("boat.png"), n=2)
    assert len(answer.body.data) == 2
    assert [told for told in answer.metadata["adjustments"] if told["param"] == "prompt"], "emulated, and said so"


def test_exact_pixels(client):
    answer = edit(
        client,
        model="gpt-image-2",
        image=file("boat.png"),
        prompt="a banner",
        size="900x300",
        extra_body={"resize": "cover"},
    )
    assert look(answer.body.data[0], "url", "png").size == (900, 300)
