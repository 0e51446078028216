"""Mistakes arrive as the SDK's typed exceptions, with the code and the parameter."""

import openai
import pytest
from conftest import KEY, connect, generate


def test_a_wrong_key():
    with pytest.raises(openai.AuthenticationError) as caught:
        connect(key=KEY + "x").images.generate(model="mock-image", prompt="a door")
    assert caught.value.code == "AUTHENTICATION_FAILED"
    assert caught.value.type == "authentication_error"


def test_an_unknown_model(client):
    with pytest.raises(openai.NotFoundError, match=r"Did you mean 'gpt-image-2'") as caught:
        generate(client, model="gpt-imge-2", prompt="a typo")
    assert caught.value.code == "MODEL_NOT_FOUND"


def test_an_unknown_model_is_not_retrieved(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-imge-2")
    assert caught.value.code == "MODEL_NOT_FOUND"


@pytest.mark.parametrize("model", ["gpt-image-2", "mock-image"])
@pytest.mark.parametrize(
    "param, value",
    [
        ("size", "enormous"),
        ("size", "0x0"),
        ("n", 11),
        ("n", 0),
        ("prompt", 7),
        ("prompt", ["a", "list"]),
        ("output_format", "bmp"),
        ("response_format", "carrier pigeon"),
        ("output_compression", 101),
    ],
)
def test_a_bad_parameter(client, model, param, value):
    with pytest.raises(openai.BadRequestError) as caught:
        generate(client, **{"model": model, "prompt": "a mistake", param: value})
    assert caught.value.code == "INVALID_REQUEST"
    assert caught.value.type == "invalid_request_error"
    assert caught.value.param == param


@pytest.mark.parametrize("model", ["gpt-image-2", "flux.1-schnell", "mock-image"])
def test_a_refusal(client, model):
    with pytest.raises(openai.BadRequestError) as caught:
        generate(client, model=model, prompt="something [refuse]")
    assert caught.value.code == "CONTENT_POLICY_VIOLATION"
    assert caught.value.response.headers["x-lumenfall-request-id"].startswith("req_")
