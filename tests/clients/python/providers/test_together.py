"""Together's SDK. Its base address ends before /v1."""

from base64 import b64decode

import pytest
import together

from conftest import BAD, GOOD, PROMPT, REFUSED, SANDBOX, fetch, look

MODEL = "black-forest-labs/FLUX.2-pro"


def draw(prompt=PROMPT, key=GOOD, **asked):
    client = together.Together(api_key=key, base_url=f"{SANDBOX}/together", max_retries=0)
    return client.images.generate(model=MODEL, prompt=prompt, width=512, height=512, **asked)


def test_draws_inline():
    answer = draw(response_format="base64", output_format="png")
    look(b64decode(answer.data[0].b64_json), "PNG", (512, 512))


def test_draws_behind_a_link():
    answer = draw(response_format="url", output_format="png")
    look(fetch(answer.data[0].url), "PNG", (512, 512))


def test_refuses():
    with pytest.raises(together.UnprocessableEntityError):
        draw(REFUSED)


def test_knows_its_keys():
    with pytest.raises(together.AuthenticationError):
        draw(key=BAD)
