"""OpenRouter's SDK."""

from base64 import b64decode

import pytest
from openrouter import OpenRouter, errors

from conftest import BAD, GOOD, PROMPT, REFUSED, SANDBOX, look

MODEL = "bytedance-seed/seedream-4.5"


def draw(prompt=PROMPT, key=GOOD, **asked):
    with OpenRouter(api_key=key, server_url=f"{SANDBOX}/openrouter", retry_config=None) as client:
        return client.images.generate(model=MODEL, prompt=prompt, **asked)


def test_draws():
    answer = draw(aspect_ratio="1:1", resolution="2K", n=2)
    assert len(answer.data) == 2
    assert answer.usage.cost > 0
    for item in answer.data:
        look(b64decode(item.b64_json), "PNG", (2048, 2048))


def test_refuses():
    with pytest.raises(errors.ForbiddenResponseError) as caught:
        draw(REFUSED)
    assert "flagged" in caught.value.data.error.message


def test_knows_its_keys():
    with pytest.raises(errors.UnauthorizedResponseError) as caught:
        draw(key=BAD)
    assert caught.value.data.error.code == 401
