"""The official OpenAI SDK for Python against a running gateway: only the base URL and the key are changed.

LUMENFALL_ROOT and LUMENFALL_KEY say where it is; LUMENFALL_TALLY is a file that takes one line per image call, so that
whoever started us can hold the gateway's request log against what we asked for.
"""

import io
import json
import os
import urllib.request
from base64 import b64decode
from dataclasses import dataclass

import openai
import pytest
from PIL import Image

ROOT = os.environ["LUMENFALL_ROOT"]
KEY = os.environ["LUMENFALL_KEY"]

MIME = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "avif": "image/avif",
}


def connect(path="/openai/v1", key=KEY):
    """The SDK's own client. No retries: a mistake must show, and every call counts."""
    return openai.OpenAI(base_url=ROOT + path, api_key=key, max_retries=0, timeout=60)


@pytest.fixture(scope="session")
def client():
    return connect()


@dataclass
class Answer:
    body: openai.types.ImagesResponse
    headers: dict

    @property
    def metadata(self):
        return self.body.model_extra["metadata"]


def generate(client, **asked):
    """Calls `images.generate` and writes the call down."""
    return call(client.images.with_raw_response.generate, **asked)


def edit(client, **asked):
    """Calls `images.edit` and writes the call down."""
    return call(client.images.with_raw_response.edit, **asked)


def vary(client, **asked):
    """Calls `images.create_variation` and writes the call down."""
    return call(client.images.with_raw_response.create_variation, **asked)


def watch(method, **asked):
    """Calls `method` for a stream, writes the call down and returns the events."""
    try:
        with method(stream=True, **asked) as stream:
            events = list(stream)
    except openai.APIStatusError as error:
        tally({"status": error.status_code, "code": error.code})
        raise
    finished = [event for event in events if event.type.endswith(".completed")]
    tally({"status": 200, "cost": finished[-1].model_extra["metadata"]["cost"]})
    return events


def file(name, size=(512, 512), mode="RGB", colour=(180, 60, 30)):
    """A PNG as an upload; with mode RGBA its left half is transparent."""
    picture = Image.new(mode, size, colour)
    if mode == "RGBA":
        picture.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    data = io.BytesIO()
    picture.save(data, "PNG")
    return name, data.getvalue(), "image/png"


def call(method, **asked):
    try:
        raw = method(**asked)
    except openai.APIStatusError as error:
        tally({"status": error.status_code, "code": error.code})
        raise
    answer = Answer(raw.parse(), raw.headers)
    tally({"status": 200, "cost": answer.metadata["cost"]})
    return answer


def tally(line):
    if path := os.environ.get("LUMENFALL_TALLY"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def look(item, form, output_format):
    """The bytes behind one item of `data`, decoded: proof that they are the picture they claim to be."""
    if form == "url":
        assert item.b64_json is None
        # No key, no SDK: the link alone is enough.
        with urllib.request.urlopen(item.url, timeout=60) as response:
            assert response.headers["Content-Type"].split(";")[0] == MIME[output_format]
            data = response.read()
    else:
        assert item.url is None
        data = b64decode(item.b64_json, validate=True)
    picture = Image.open(io.BytesIO(data))
    picture.load()
    assert picture.format.lower() == output_format
    return picture
