"""`image_generation`, `image_edit` and their async twins, with the prefixes that the documentation names."""

import pytest
from conftest import call, file, litellm, look

GENERATE = [litellm.image_generation, litellm.aimage_generation]
EDIT = [litellm.image_edit, litellm.aimage_edit]


@pytest.mark.parametrize("generate", GENERATE)
@pytest.mark.parametrize("prefix", ["openai", "hosted_vllm"])
@pytest.mark.parametrize("model", ["gpt-image-2", "flux.1-schnell"])
def test_a_picture(generate, prefix, model):
    answer, row = call(generate, model=f"{prefix}/{model}", prompt="a fox", n=2, size="1024x1024")
    assert row["model"] == model
    assert len(answer.data) == 2
    assert look(answer.data[0]).size == (1024, 1024)


@pytest.mark.parametrize("generate", GENERATE)
def test_a_prefix_after_the_prefix_forces_the_provider(generate):
    answer, row = call(generate, model="openai/fal/flux.2-max", prompt="a fox")
    assert row["provider"] == "fal"
    look(answer.data[0])


@pytest.mark.parametrize("generate", GENERATE)
def test_what_litellm_does_not_know_goes_through_extra_body(generate):
    extra = {"response_format": "b64_json", "style": "vivid", "output_format": "webp"}
    answer, row = call(generate, model="openai/flux.1-schnell", prompt="a fox", extra_body=extra)
    assert answer.data[0].url is None
    assert look(answer.data[0]).format == "WEBP"
    assert [told["param"] for told in row["adjustments"] if told["param"] == "style"], "told, as it has no such parameter"


def test_what_litellm_drops_never_arrives():
    """With `drop_params` it leaves `response_format` out: the answer is a link then, as by default."""
    asked = {"model": "openai/flux.1-schnell", "prompt": "a fox", "response_format": "b64_json", "drop_params": True}
    answer, _ = call(litellm.image_generation, **asked)
    assert answer.data[0].b64_json is None
    look(answer.data[0])


@pytest.mark.parametrize("edit", EDIT)
@pytest.mark.parametrize("count", [1, 3])
def test_an_edit(edit, count):
    images = [file() for _ in range(count)]
    image = images[0] if count == 1 else images
    answer, row = call(edit, model="openai/gpt-image-2", image=image, prompt="a hat")
    assert row["endpoint"] == "/openai/v1/images/edits"
    assert row["provider"] == "openai"
    look(answer.data[0])


@pytest.mark.parametrize("edit", EDIT)
def test_an_edit_at_a_forced_provider(edit):
    extra = {"response_format": "b64_json"}
    answer, row = call(edit, model="openai/fal/gpt-image-2", image=file(), prompt="a hat", extra_body=extra)
    assert row["provider"] == "fal"
    assert answer.data[0].b64_json
    look(answer.data[0])
