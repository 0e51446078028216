"""Alibaba's SDK, DashScope. It raises nothing for what the service says: the response has the status and the code."""

import dashscope
import pytest
from dashscope.aigc.image_generation import ImageGeneration

from conftest import BAD, GOOD, PROMPT, REFUSED, SANDBOX, fetch, look


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setattr(dashscope, "base_http_api_url", f"{SANDBOX}/alibaba")


def ask(prompt=PROMPT):
    return [{"role": "user", "content": [{"text": prompt}]}]


def at_once(prompt=PROMPT, key=GOOD, **more):
    asked = {"model": "qwen-image-2.0", "messages": ask(prompt), "api_key": key}
    return dashscope.MultiModalConversation.call(**asked, n=1, size="1024*768", **more)


def test_draws_at_once():
    answer = at_once()
    assert answer.status_code == 200, answer
    (content,) = answer.output.choices[0].message.content
    look(fetch(content["image"]), "PNG", (1024, 768))


def test_draws_as_a_task():
    asked = {"model": "wan2.2-t2i-flash", "prompt": PROMPT, "n": 2, "size": "1024*768", "api_key": GOOD}
    task = dashscope.ImageSynthesis.async_call(**asked)
    assert (task.status_code, task.output.task_status) == (200, "PENDING")
    done = dashscope.ImageSynthesis.wait(task, api_key=GOOD)
    assert (done.status_code, done.output.task_status) == (200, "SUCCEEDED")
    assert (len(done.output.results), done.usage.image_count) == (2, 2)
    for result in done.output.results:
        look(fetch(result.url), "PNG", (1024, 768))


def test_draws_as_a_task_of_messages():
    task = ImageGeneration.async_call(model="wan2.7-image", messages=ask(), api_key=GOOD, n=1, size="1024*1024")
    assert (task.status_code, task.output.task_status) == (200, "PENDING")
    done = ImageGeneration.wait(task, api_key=GOOD)
    assert (done.status_code, done.output.task_status) == (200, "SUCCEEDED")
    (content,) = done.output.choices[0].message.content
    look(fetch(content["image"]), "PNG", (1024, 1024))


def test_refuses_at_once():
    answer = at_once(REFUSED)
    assert (answer.status_code, answer.code) == (400, "DataInspectionFailed")


def test_refuses_as_a_task():
    # The task ends as failed, under a 200.
    asked = {"model": "wan2.2-t2i-flash", "prompt": REFUSED, "n": 1, "size": "1024*1024", "api_key": GOOD}
    done = dashscope.ImageSynthesis.call(**asked)
    assert (done.status_code, done.output.task_status) == (200, "FAILED")
    assert done.output.code == "DataInspectionFailed"


def test_knows_its_keys():
    answer = at_once(key=BAD)
    assert (answer.status_code, answer.code) == (401, "InvalidApiKey")
