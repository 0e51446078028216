"""`videos`: create (JSON and upload), retrieve, poll, list, delete, download; and the webhook, checked by the library of
the people who wrote its specification."""

import io
import json
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import openai
import pytest
from conftest import KEY, ROOT, connect, tally
from PIL import Image
from standardwebhooks import Webhook

MODEL = "veo-3.1-fast"


def finish(client, video):
    """Polls as the SDK's own helper does, and writes the call down."""
    done = client.videos.poll(video.id, poll_interval_ms=200)
    tally({"status": 200 if done.status == "completed" else 400, "cost": done.model_extra["metadata"]["cost"]})
    return done


def picture():
    data = io.BytesIO()
    Image.new("RGB", (1280, 720), (30, 60, 90)).save(data, "PNG")
    return data.getvalue()


def get(path):
    request = urllib.request.Request(ROOT + path, headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.mark.parametrize("path", ["/openai/v1", "/v1"])
def test_create_retrieve_download_delete(path):
    client = connect(path)
    video = client.videos.create(model=MODEL, prompt="a fox in the snow", seconds="4", size="1280x720")
    assert video.object == "video" and video.status == "queued" and video.seconds == "4" and video.size == "1280x720"
    assert video.model_extra["metadata"]["cost_estimate"] > 0
    done = finish(client, video)
    assert (done.id, done.status, done.progress, done.error) == (video.id, "completed", 100, None)
    assert done.completed_at >= done.created_at and done.expires_at > done.completed_at
    assert client.videos.retrieve(video.id).prompt == "a fox in the snow"
    content = client.videos.download_content(video.id).read()
    assert content[4:8] == b"ftyp"
    assert done.model_extra["output"]["size_bytes"] == len(content)
    gone = client.videos.delete(video.id)
    assert (gone.id, gone.deleted, gone.object) == (video.id, True, "video.deleted")
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)


def test_upload_a_first_frame(client):
    reference = ("frame.png", picture(), "image/png")
    video = client.videos.create(model=MODEL, prompt="it begins to snow", seconds="4", input_reference=reference)
    assert finish(client, video).status == "completed"
    assert get(f"/v1/requests/{video.id}")["mode"] == "image-to-video"


def test_create_and_poll(client):
    done = client.videos.create_and_poll(model=MODEL, prompt="a paper boat", seconds="4", poll_interval_ms=200)
    tally({"status": 200, "cost": done.model_extra["metadata"]["cost"]})
    assert done.status == "completed"


def test_list_walks_every_page(client):
    made = [finish(client, client.videos.create(model=MODEL, prompt=f"wave {n}", seconds="4")).id for n in range(3)]
    seen = [video.id for video in client.videos.list(limit=2)]
    assert set(made) <= set(seen) and len(seen) == len(set(seen))
    assert seen.index(made[2]) < seen.index(made[0]), "newest first"
    oldest = [video.id for video in client.videos.list(limit=2, order="asc") if video.id in made]
    assert oldest == made


def test_a_refusal_is_a_failed_video(client):
    done = finish(client, client.videos.create(model=MODEL, prompt="[refuse] a fox", seconds="4"))
    assert done.status == "failed" and done.error.code == "CONTENT_POLICY_VIOLATION" and done.error.message


def test_mistakes_are_told_at_once(client):
    for asked in [{"seconds": "soon"}, {"size": "big"}]:
        with pytest.raises(openai.BadRequestError):
            client.videos.create(model=MODEL, prompt="a fox", **asked)
        tally({"status": 400})


def test_webhooks_verify_with_the_reference_library(client):
    heard = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append((dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hook = f"http://127.0.0.1:{server.server_port}/"
    asked = {"webhook_url": hook, "metadata": {"order": "7"}}
    done = finish(client, client.videos.create(model=MODEL, prompt="a bell", seconds="4", extra_body=asked))
    for _ in range(200):
        if heard:
            break
        time.sleep(0.1)
    server.shutdown()
    headers, body = heard[0]
    event = Webhook(get("/v1/webhooks/secret")["key"]).verify(body, {k.lower(): v for k, v in headers.items()})
    assert event["type"] == "video.completed" and event["data"]["id"] == done.id
    assert event["data"]["output"]["url"] == done.model_extra["output"]["url"]
    with pytest.raises(Exception):
        Webhook(get("/v1/webhooks/secret")["key"]).verify(body + b" ", {k.lower(): v for k, v in headers.items()})


def test_images_in_the_background(client):
    raw = client.images.with_raw_response.generate(
        model="gpt-image-2", prompt="a lighthouse", extra_headers={"Prefer": "respond-async"}
    )
    assert raw.status_code == 202
    job = json.loads(raw.content)
    for _ in range(300):
        job = get(f"/v1/images/{job['id']}")
        if job["status"] not in ("queued", "in_progress"):
            break
        time.sleep(0.1)
    assert job["status"] == "completed" and job["data"][0]["url"]
    tally({"status": 200, "cost": job["metadata"]["cost"]})
