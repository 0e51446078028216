"""Luma's two SDKs: of the Agents API, and of Dream Machine."""

import lumaai
import luma_agents
import pytest
from luma_agents import Luma
from lumaai import LumaAI

from conftest import BAD, GOOD, PROMPT, REFUSED, SANDBOX, fetch, look


def agents(key=GOOD):
    return Luma(base_url=f"{SANDBOX}/luma", auth_token=key, max_retries=0, timeout=30)


def dreams(key=GOOD):
    return LumaAI(base_url=f"{SANDBOX}/luma-dream-machine", auth_token=key, max_retries=0, timeout=30)


def follow(get, id):
    """The states that three polls see, and the last answer."""
    found = [get(id) for _ in range(3)]
    return [one.state for one in found], found[-1]


def test_draws():
    made = agents().generations.create(model="uni-1", prompt=PROMPT, aspect_ratio="1:1", output_format="jpeg")
    states, last = follow(agents().generations.get, made.id)
    assert states == ["queued", "processing", "completed"]
    look(fetch(last.output[0].url), "JPEG", (2048, 2048))


def test_films():
    made = agents().generations.create(model="ray-3.2", type="video", prompt=PROMPT, video={"duration": "10s"})
    _, last = follow(agents().generations.get, made.id)
    assert fetch(last.output[0].url)[4:8] == b"ftyp"


def test_refuses():
    made = agents().generations.create(model="uni-1", prompt=REFUSED)
    _, last = follow(agents().generations.get, made.id)
    assert (last.state, last.failure_code) == ("failed", "content_moderated")


def test_checks_and_knows_its_keys():
    with pytest.raises(luma_agents.UnprocessableEntityError):
        agents().generations.create(model="uni-1", prompt="")
    with pytest.raises(luma_agents.AuthenticationError):
        agents(BAD).generations.create(model="uni-1", prompt=PROMPT)


def test_dreams():
    made = dreams().generations.image.create(model="photon-1", prompt=PROMPT, aspect_ratio="1:1", format="png")
    states, last = follow(dreams().generations.get, made.id)
    assert states == ["queued", "dreaming", "completed"]
    look(fetch(last.assets.image), "PNG", (1024, 1024))


def test_dreams_of_films():
    made = dreams().generations.video.create(model="ray-2", prompt=PROMPT, resolution="720p", duration="9s")
    _, last = follow(dreams().generations.get, made.id)
    assert fetch(last.assets.video)[4:8] == b"ftyp"


def test_dreams_end():
    made = dreams().generations.image.create(model="photon-1", prompt=REFUSED)
    _, last = follow(dreams().generations.get, made.id)
    assert last.state == "failed" and "moderation" in last.failure_reason
    with pytest.raises(lumaai.BadRequestError):
        dreams().generations.image.create(model="photon-1", prompt=PROMPT, aspect_ratio="5:4")
    with pytest.raises(lumaai.PermissionDeniedError):
        dreams(BAD).generations.image.create(model="photon-1", prompt=PROMPT)
