"""Runware's SDK over REST. Models go by their AIR, so that it has nothing to look up elsewhere."""

import asyncio

import pytest
from runware import Runware, RunwareError

from conftest import BAD, GOOD, PROMPT, REFUSED, SANDBOX, fetch, look

HOSTED = "runware:100@1"
PARTNER = "bfl:2@1"


def run(key=GOOD, **task):
    """By default it submits, and asks until everything is there."""

    async def inside():
        where = f"{SANDBOX}/runware/v1"
        async with Runware(api_key=key, transport="rest", http_base_url=where, max_retries=0) as client:
            return await client.run({"taskType": "imageInference", "positivePrompt": PROMPT, **task})

    return asyncio.run(inside())


@pytest.mark.parametrize("delivery", ["async", "sync"])
def test_draws(delivery):
    asked = {"width": 640, "height": 384, "numberResults": 2, "outputFormat": "PNG", "includeCost": True}
    results = run(model=HOSTED, deliveryMethod=delivery, **asked)
    assert len(results) == 2
    for result in results:
        assert result["cost"] > 0
        look(fetch(result["imageURL"]), "PNG", (640, 384))


@pytest.mark.parametrize("model", [HOSTED, PARTNER])
def test_refuses(model):
    # Runware's own models with a 400, those of partners inside a 200: the SDK makes the same of both.
    with pytest.raises(RunwareError) as caught:
        run(model=model, width=1024, height=1024, positivePrompt=REFUSED, deliveryMethod="sync")
    assert caught.value.code == "safety"


def test_finds_mistakes():
    with pytest.raises(RunwareError) as caught:
        run(model=HOSTED, width=1024, height=1024, numberResults=99)
    assert (caught.value.code, caught.value.parameter) == ("validation", "numberResults")


def test_knows_its_keys():
    with pytest.raises(RunwareError) as caught:
        run(BAD, model=HOSTED, width=1024, height=1024)
    assert (caught.value.code, caught.value.status_code) == ("auth", 401)
