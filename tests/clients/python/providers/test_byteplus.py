"""BytePlus' SDK for ModelArk."""

from base64 import b64decode

import pytest
from byteplussdkarkruntime import Ark
from byteplussdkarkruntime._exceptions import ArkAuthenticationError, ArkBadRequestError

from conftest import BAD, GOOD, PROMPT, REFUSED, SANDBOX, fetch, look

MODEL = "seedream-4-0-250828"


def client(key=GOOD):
    return Ark(base_url=f"{SANDBOX}/byteplus", api_key=key, max_retries=0, timeout=30)


def test_draws():
    answer = client().images.generate(model=MODEL, prompt=PROMPT, size="1280x1024", watermark=False)
    assert answer.usage.generated_images == 1
    assert answer.data[0].size == "1280x1024"
    look(fetch(answer.data[0].url), "JPEG", (1280, 1024))


def test_draws_inline():
    asked = {"model": MODEL, "prompt": PROMPT, "size": "1024x1024", "response_format": "b64_json"}
    answer = client().images.generate(**asked)
    look(b64decode(answer.data[0].b64_json), "JPEG", (1024, 1024))


def test_films():
    tasks = client().content_generation.tasks
    content = [{"type": "text", "text": PROMPT}]
    task = tasks.create(model="seedance-1-0-pro-250528", content=content)
    found = [tasks.get(task_id=task.id) for _ in range(3)]
    assert [task.status for task in found] == ["queued", "running", "succeeded"]
    film = found[-1]
    assert film.usage.completion_tokens > 0
    assert fetch(film.content.video_url)[4:8] == b"ftyp"


def test_refuses():
    with pytest.raises(ArkBadRequestError) as caught:
        client().images.generate(model=MODEL, prompt=REFUSED)
    assert caught.value.code == "InputTextSensitiveContentDetected"


def test_knows_its_keys():
    with pytest.raises(ArkAuthenticationError) as caught:
        client(BAD).images.generate(model=MODEL, prompt=PROMPT)
    assert caught.value.code == "AuthenticationError"
