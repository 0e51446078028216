"""`stream=True`: partial pictures where a route has them, the finished one everywhere."""

import io
from base64 import b64decode

import openai
import pytest
from conftest import file, watch
from PIL import Image


def opened(event):
    picture = Image.open(io.BytesIO(b64decode(event.b64_json, validate=True)))
    picture.load()
    return picture


def test_a_generation_with_partial_pictures(client):
    events = watch(client.images.generate, model="gpt-image-2", prompt="a fox", partial_images=2, size="1024x1024")
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [event.partial_image_index for event in events[:2]] == [0, 1]
    for event in events:
        assert opened(event).size == (1024, 1024)
        assert event.output_format == "png" and event.created_at > 1_700_000_000


def test_an_edit(client):
    events = watch(client.images.edit, model="gpt-image-2", image=file("a.png"), prompt="a hat", partial_images=1)
    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]
    opened(events[-1])


@pytest.mark.parametrize("model", ["flux.1-schnell", "gemini-3-pro-image", "mock-image"])
def test_the_finished_event_alone(client, model):
    events = watch(client.images.generate, model=model, prompt="a fox", partial_images=3, output_format="jpeg")
    assert [event.type for event in events] == ["image_generation.completed"]
    assert opened(events[0]).format == "JPEG"


def test_a_refusal(client):
    with pytest.raises(openai.BadRequestError) as caught:
        watch(client.images.generate, model="openai/gpt-image-2", prompt="[refuse]")
    assert caught.value.code == "CONTENT_POLICY_VIOLATION"
