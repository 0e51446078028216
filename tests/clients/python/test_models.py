"""`models.list` and `models.retrieve`: the fields of OpenAI and the richer ones."""

import pytest
from conftest import connect

MODELS = ["gpt-image-2", "flux.1-schnell", "mock-image"]


@pytest.mark.parametrize("path", ["/openai/v1", "/v1"])
def test_the_list_holds_the_models(path):
    listed = {model.id: model for model in connect(path).models.list()}
    for id in MODELS:
        check(listed[id])


@pytest.mark.parametrize("id", MODELS)
def test_one_model(client, id):
    model = client.models.retrieve(id)
    assert model.id == id
    check(model)


def check(model):
    assert model.object == "model"
    assert isinstance(model.created, int)
    assert model.owned_by
    more = model.model_extra
    assert more["name"]
    assert more["modality"] == "image"
    assert more["model_status"] in ("active", "preview", "deprecated")
    assert "text-to-image" in more["modes"]
    for field in ("capabilities", "tags", "aliases", "alternative_names"):
        assert isinstance(more[field], list), field
    assert isinstance(more["featured"], bool)
    assert more["free"] is (model.id == "mock-image")
    assert more["starting_price"] is None or more["starting_price"] >= 0
