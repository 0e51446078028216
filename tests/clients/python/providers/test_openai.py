"""OpenAI's SDK: at OpenAI, and at xAI and Recraft, which tell their users to take it."""

import io
from base64 import b64decode

import openai
import pytest
from PIL import Image

from conftest import BAD, GOOD, PROMPT, REFUSED, SANDBOX, fetch, look


def client(provider, key=GOOD):
    return openai.OpenAI(base_url=f"{SANDBOX}/{provider}", api_key=key, max_retries=0, timeout=30)


def test_openai_draws():
    answer = client("openai").images.generate(model="gpt-image-2", prompt=PROMPT, size="1024x1536", quality="low", n=2)
    assert [look(b64decode(item.b64_json), "PNG", (1024, 1536)) for item in answer.data]
    assert len(answer.data) == 2
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0


def test_openai_edits():
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(picture, "PNG")
    answer = client("openai").images.edit(
        model="gpt-image-2",
        image=[("one.png", picture.getvalue(), "image/png")],
        prompt=PROMPT,
        size="1024x1024",
        output_format="webp",
    )
    look(b64decode(answer.data[0].b64_json), "WEBP", (1024, 1024))
    assert answer.usage.input_tokens_details.image_tokens > 0


def test_openai_lists_models():
    assert "gpt-image-2" in [model.id for model in client("openai").models.list()]


def test_openai_refuses():
    with pytest.raises(openai.BadRequestError) as caught:
        client("openai").images.generate(model="gpt-image-2", prompt=REFUSED)
    assert caught.value.code == "moderation_blocked"
    assert caught.value.request_id.startswith("req_")


def test_openai_knows_its_keys():
    with pytest.raises(openai.AuthenticationError) as caught:
        client("openai", BAD).images.generate(model="gpt-image-2", prompt=PROMPT)
    assert caught.value.code == "invalid_api_key"


def test_xai_draws():
    answer = client("xai").images.generate(
        model="grok-imagine-image-2.0", prompt=PROMPT, extra_body={"aspect_ratio": "1:1", "resolution": "1k"}
    )
    look(fetch(answer.data[0].url), "JPEG", (1024, 1024))


def test_xai_refuses():
    # No error: a 200 without a picture, and a word that the SDK does not know.
    answer = client("xai").images.generate(model="grok-imagine-image-2.0", prompt=REFUSED)
    assert answer.data[0].url == ""
    assert answer.data[0].model_extra["respect_moderation"] is False


def test_xai_knows_its_keys():
    # xAI says 400, not 401, and its error is a text, of which the SDK shows nothing.
    with pytest.raises(openai.BadRequestError) as caught:
        client("xai", BAD).images.generate(model="grok-imagine-image-2.0", prompt=PROMPT)
    assert caught.value.response.json()["error"].startswith("Incorrect API key provided")


def test_recraft_draws():
    answer = client("recraft").images.generate(model="recraftv4_1", prompt=PROMPT, size="1280x832", n=2)
    assert len(answer.data) == 2
    for item in answer.data:
        look(fetch(item.url), "WEBP", (1280, 832))


def test_recraft_refuses():
    with pytest.raises(openai.BadRequestError, match="moderation"):
        client("recraft").images.generate(model="recraftv4_1", prompt=REFUSED)


def test_recraft_knows_its_keys():
    # The body is plain text, of which the SDK shows nothing.
    with pytest.raises(openai.AuthenticationError) as caught:
        client("recraft", BAD).images.generate(model="recraftv4_1", prompt=PROMPT)
    assert caught.value.response.text == "request unauthorized"
