"""LiteLLM against a running gateway, as its users call it: a prefix, the gateway's address and a key.

LUMENFALL_ROOT and LUMENFALL_KEY say where it is; LUMENFALL_TALLY is a file that takes one line per image call. LiteLLM
hides what an answer says besides the pictures, so the line is taken from the gateway's own request log, which whoever
started us then holds against the providers' bills.
"""

import asyncio
import inspect
import io
import json
import os
import urllib.request
from base64 import b64decode

# Its price list is on the network, and is not needed.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # noqa: E402
from PIL import Image  # noqa: E402

ROOT = os.environ["LUMENFALL_ROOT"]
KEY = os.environ["LUMENFALL_KEY"]


def call(method, **asked):
    """Calls a function of LiteLLM, sync or async, and returns its answer and the row of the log."""
    answer = method(api_base=ROOT + "/openai/v1", api_key=KEY, max_retries=0, **asked)
    if inspect.isawaitable(answer):
        answer = asyncio.run(finish(answer))
    row = newest()
    assert row["status"] == "completed"
    tally({"status": 200, "cost": row["cost"]})
    return answer, row


async def finish(answer):
    return await answer


def newest():
    latest = get("/v1/requests?limit=1")["data"][0]
    return get(f"/v1/requests/{latest['id']}")


def get(path):
    request = urllib.request.Request(ROOT + path, headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def tally(line):
    if path := os.environ.get("LUMENFALL_TALLY"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def look(item):
    """The picture of one item, whichever way it came."""
    if item.b64_json:
        data = b64decode(item.b64_json, validate=True)
    else:
        with urllib.request.urlopen(item.url, timeout=60) as response:
            data = response.read()
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def file(size=(512, 512)):
    data = io.BytesIO()
    Image.new("RGB", size, (180, 60, 30)).save(data, "PNG")
    data.seek(0)
    data.name = "a.png"
    return data


__all__ = ["call", "file", "litellm", "look"]
