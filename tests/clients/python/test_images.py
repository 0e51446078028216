"""`images.generate`: every format, both forms, any size, any number."""

import pytest
from conftest import connect, generate, look

MODELS = ["gpt-image-2", "flux.1-schnell", "mock-image"]
FORMATS = ["png", "jpeg", "webp", "gif", "avif"]


@pytest.mark.parametrize("form", ["url", "b64_json"])
@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("model", MODELS)
def test_every_format_in_both_forms(client, model, output_format, form):
    answer = generate(
        client,
        model=model,
        prompt=f"a lighthouse at dusk, as {output_format}",
        output_format=output_format,
        response_format=form,
        size="1024x1024",
    )
    assert answer.body.output_format == output_format
    assert len(answer.body.data) == 1
    picture = look(answer.body.data[0], form, output_format)
    assert "{}x{}".format(*picture.size) == answer.body.size


@pytest.mark.parametrize("path", ["/openai/v1", "/v1"])
@pytest.mark.parametrize("model", MODELS)
def test_the_answer_tells_its_story(path, model):
    answer = generate(connect(path), model=model, prompt="a paper boat", user="tester")
    body, metadata = answer.body, answer.metadata
    assert body.created > 1_700_000_000
    assert body.model_extra["id"].startswith("req_")
    assert body.data[0].url, "a link is the default"

    assert metadata["model"] == model
    assert metadata["executed_model"].startswith(metadata["provider"] + "/")
    assert metadata["provider_name"]
    assert isinstance(metadata["cost"], int | float) and not isinstance(metadata["cost"], bool)
    assert metadata["cost"] == 0 if model == "mock-image" else metadata["cost"] > 0
    assert metadata["cost_currency"] == "USD"
    assert len(metadata["attempts"]) == 1
    assert isinstance(metadata["adjustments"], list)
    assert metadata["sandbox"] is True
    timing = metadata["timing"]
    assert all(timing[phase] >= 0 for phase in ("gateway_ms", "provider_ms", "response_ms"))
    assert timing["total_ms"] >= timing["provider_ms"]

    headers = answer.headers
    assert headers["x-lumenfall-request-id"] == body.model_extra["id"]
    assert headers["x-lumenfall-provider"] == metadata["provider"]
    assert headers["x-lumenfall-model"]
    assert headers["x-lumenfall-attempts"] == "1"
    assert headers["x-lumenfall-sandbox"] == "true"
    assert all(phase in headers["server-timing"] for phase in ("gateway", "provider", "response"))


@pytest.mark.parametrize("form", ["url", "b64_json"])
@pytest.mark.parametrize("model", MODELS)
def test_three_pictures(client, model, form):
    answer = generate(client, model=model, prompt="three kites", n=3, response_format=form, output_format="png")
    assert len(answer.body.data) == 3
    for item in answer.body.data:
        picture = look(item, form, "png")
        assert "{}x{}".format(*picture.size) == answer.body.size
    assert len({item.url or item.b64_json for item in answer.body.data}) == 3


@pytest.mark.parametrize(
    "shape, ratio",
    [
        ({"size": "1024x1024"}, 1),
        ({"size": "16:9"}, 16 / 9),
        ({"size": "1920x1080"}, 16 / 9),
        ({"extra_body": {"aspect_ratio": "16:9"}}, 16 / 9),
        ({"extra_body": {"aspect_ratio": "9:16", "resolution": "1K"}}, 9 / 16),
    ],
    ids=["square", "ratio", "pixels", "aspect_ratio", "aspect_ratio and resolution"],
)
@pytest.mark.parametrize("model", MODELS)
def test_any_size(client, model, shape, ratio):
    answer = generate(client, model=model, prompt="a long bridge", output_format="png", **shape)
    width, height = look(answer.body.data[0], "url", "png").size
    assert f"{width}x{height}" == answer.body.size
    assert width / height == pytest.approx(ratio, rel=0.1)
    asked = shape.get("size", "")
    if "x" in asked and asked != answer.body.size:
        assert answer.metadata["adjustments"], "a changed size is never changed silently"


def test_compression_is_felt(client):
    sizes = []
    for quality in (10, 95):
        answer = generate(
            client,
            model="flux.1-schnell",
            prompt="a field of wheat",
            output_format="jpeg",
            output_compression=quality,
            response_format="b64_json",
        )
        look(answer.body.data[0], "b64_json", "jpeg")
        sizes.append(len(answer.body.data[0].b64_json))
    assert sizes[0] < sizes[1]


def test_a_provider_can_be_forced(client):
    answer = generate(client, model="fal/flux.1-schnell", prompt="a fox")
    assert answer.metadata["provider"] == "fal"
    assert answer.metadata["executed_model"].startswith("fal/")
    assert answer.headers["x-lumenfall-provider"] == "fal"
