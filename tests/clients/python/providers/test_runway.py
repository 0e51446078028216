"""Runway's SDK."""

import time

import pytest
from runwayml import AuthenticationError, BadRequestError, RunwayML, TaskFailedError

from conftest import BAD, GOOD, PROMPT, REFUSED, SANDBOX, fetch, look


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """It polls every six seconds; here nothing takes so long."""
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.02)))


def client(key=GOOD):
    return RunwayML(base_url=f"{SANDBOX}/runway", api_key=key, max_retries=0, timeout=30)


def test_draws():
    task = client().text_to_image.create(model="gen4_image", prompt_text=PROMPT, ratio="1360:768")
    assert task.estimated_cost.credits == 8
    done = task.wait_for_task_output()
    assert (done.status, done.cost.credits) == ("SUCCEEDED", 8)
    look(fetch(done.output[0]), "PNG", (1360, 768))


def test_films():
    task = client().text_to_video.create(model="gen4.5", prompt_text=PROMPT, ratio="1280:720", duration=5)
    seen = [client().tasks.retrieve(task.id).status for _ in range(3)]
    assert seen == ["PENDING", "RUNNING", "SUCCEEDED"]
    done = client().tasks.retrieve(task.id)
    assert done.cost.credits == 60
    assert fetch(done.output[0])[4:8] == b"ftyp"


def test_films_from_frames():
    frames = [{"uri": "https://example.com/a.png", "position": place} for place in ("first", "last")]
    asked = {"model": "seedance2", "prompt_text": PROMPT, "prompt_image": frames, "ratio": "1920:1080", "duration": 4}
    done = client().image_to_video.create(**asked).wait_for_task_output()
    assert done.cost.credits == 160


def test_gives_up():
    task = client().text_to_video.create(model="gen4.5", prompt_text=PROMPT, ratio="1280:720", duration=5)
    client().tasks.delete(task.id)
    assert client().tasks.retrieve(task.id).status == "CANCELLED"


def test_refuses():
    task = client().text_to_image.create(model="gen4_image", prompt_text=REFUSED, ratio="1360:768")
    with pytest.raises(TaskFailedError) as caught:
        task.wait_for_task_output()
    assert caught.value.task_details.failure_code == "SAFETY.INPUT.TEXT"


def test_checks():
    with pytest.raises(BadRequestError):
        client().text_to_image.create(model="gen4_image", prompt_text=PROMPT, ratio="1:1")


def test_knows_its_keys():
    with pytest.raises(AuthenticationError):
        client(BAD).text_to_image.create(model="gen4_image", prompt_text=PROMPT, ratio="1360:768")
