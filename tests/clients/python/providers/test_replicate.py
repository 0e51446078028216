"""Replicate's SDK. Its base URL ends before `/v1`."""

import pytest
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError

from conftest import BAD, GOOD, PROMPT, REFUSED, SANDBOX, fetch, front, look

MODEL = "black-forest-labs/flux-schnell"


def client(key=GOOD, where=f"{SANDBOX}/replicate"):
    client = Client(api_token=key, base_url=where)
    client.poll_interval = 0.02
    return client


def test_runs(certificate):
    asked = {"prompt": PROMPT, "aspect_ratio": "1:1", "output_format": "png", "num_outputs": 2}
    # Links become files only if they start with `https:`.
    with front("replicate", certificate) as address:
        files = client(where=address).run(MODEL, input=asked)
        assert len(files) == 2
        for file in files:
            look(file.read(), "PNG", (1024, 1024))


def test_follows():
    one = "black-forest-labs/flux-2-pro"
    prediction = client().predictions.create(model=one, input={"prompt": PROMPT, "output_format": "webp"})
    assert prediction.status == "starting"
    prediction.reload()
    assert prediction.status in ("starting", "processing")
    prediction.wait()
    assert prediction.status == "succeeded"
    assert prediction.metrics["predict_time"] > 0
    # One link and not a list.
    look(fetch(prediction.output), "WEBP", (1024, 1024))


def test_cancels():
    prediction = client().predictions.create(model=MODEL, input={"prompt": PROMPT})
    prediction.cancel()
    prediction.reload()
    assert prediction.status == "canceled"


def test_refuses():
    with pytest.raises(ModelError, match="flagged as sensitive") as caught:
        client().run(MODEL, input={"prompt": REFUSED})
    assert caught.value.prediction.status == "failed"


def test_finds_mistakes():
    with pytest.raises(ReplicateError) as caught:
        client().run(MODEL, input={"prompt": PROMPT, "aspect_ratio": "7:1"})
    assert (caught.value.status, caught.value.title) == (422, "Input validation failed")


def test_knows_its_keys():
    with pytest.raises(ReplicateError) as caught:
        client(BAD).run(MODEL, input={"prompt": PROMPT})
    assert (caught.value.status, caught.value.title) == (401, "Unauthenticated")
