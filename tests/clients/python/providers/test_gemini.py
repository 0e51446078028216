"""Google's SDK: at the Gemini API it adds the version on its own, at Vertex AI it writes the whole path."""

import pytest
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials

from conftest import BAD, GOOD, PROMPT, REFUSED, SANDBOX, look

MODEL = "gemini-3-pro-image"
HOSTS = pytest.mark.parametrize("host", ["gemini", "vertex"])


def connect(host, key=GOOD):
    options = types.HttpOptions(base_url=f"{SANDBOX}/{host}")
    if host == "gemini":
        return genai.Client(vertexai=False, api_key=key, http_options=options)
    place = {"project": "lighthouse", "location": "global", "credentials": Credentials(token=key)}
    return genai.Client(vertexai=True, http_options=options, **place)


def draw(host, prompt=PROMPT, key=GOOD, **shape):
    config = types.GenerateContentConfig(response_modalities=["IMAGE"], image_config=types.ImageConfig(**shape))
    with connect(host, key) as client:
        return client.models.generate_content(model=MODEL, contents=prompt, config=config)


@HOSTS
def test_draws(host):
    answer = draw(host, aspect_ratio="1:1", image_size="2K")
    (part,) = [part for part in answer.parts if part.inline_data]
    assert part.inline_data.mime_type == "image/png"
    look(part.inline_data.data, "PNG", (2048, 2048))
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    usage = answer.usage_metadata
    parts = (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count)
    assert usage.total_token_count == sum(parts)
    assert all(parts)


@HOSTS
def test_refuses(host):
    # No error: an answer without a picture, and the reason.
    answer = draw(host, REFUSED)
    assert not answer.candidates
    assert answer.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT


@HOSTS
def test_knows_its_keys(host):
    with pytest.raises(errors.ClientError) as caught:
        draw(host, key=BAD)
    # The Gemini API says 400, not 401.
    expected = {"gemini": (400, "INVALID_ARGUMENT"), "vertex": (401, "UNAUTHENTICATED")}
    assert (caught.value.code, caught.value.status) == expected[host]


def test_films():
    client = connect("vertex")
    source = types.GenerateVideosSource(prompt=PROMPT)
    config = types.GenerateVideosConfig(duration_seconds=4, aspect_ratio="16:9")
    operation = client.models.generate_videos(model="veo-3.1-fast-generate-001", source=source, config=config)
    for _ in range(5):
        if not operation.done:
            operation = client.operations.get(operation)
    (film,) = operation.response.generated_videos
    assert film.video.mime_type == "video/mp4"
    assert film.video.video_bytes[4:8] == b"ftyp"
