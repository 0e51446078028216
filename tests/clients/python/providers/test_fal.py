"""fal's SDK. It takes hosts from the environment when it is imported, and speaks nothing but TLS."""

import pytest

from conftest import BAD, GOOD, PROMPT, REFUSED, fetch, front, look

OPEN = "fal-ai/flux/schnell"
CLOSED = "fal-ai/flux-pro/v1.1"


@pytest.fixture(scope="module")
def fal(certificate):
    with front("fal", certificate) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAL_RUN_HOST", address.removeprefix("https://"))
        patch.setenv("FAL_QUEUE_RUN_HOST", address.removeprefix("https://"))
        import fal_client

        yield fal_client


def test_draws(fal):
    size = {"width": 640, "height": 384}
    asked = {"prompt": PROMPT, "image_size": size, "output_format": "png", "num_images": 2, "seed": 7}
    handle = fal.SyncClient(key=GOOD).submit(OPEN, arguments=asked)
    steps = [type(status) for status in handle.iter_events(interval=0.02)]
    assert steps == [fal.Queued, fal.InProgress, fal.Completed]
    result = handle.get()
    assert result["seed"] == 7
    assert result["has_nsfw_concepts"] == [False, False]
    for image in result["images"]:
        assert (image["width"], image["height"], image["content_type"]) == (640, 384, "image/png")
        look(fetch(image["url"]), "PNG", (640, 384))


def test_blackens(fal):
    # Open models are not refused: the safety checker paints the picture black.
    result = fal.SyncClient(key=GOOD).subscribe(OPEN, arguments={"prompt": REFUSED, "output_format": "png"})
    assert result["has_nsfw_concepts"] == [True]
    picture = look(fetch(result["images"][0]["url"]), "PNG", (1024, 768))
    assert picture.convert("L").getextrema() == (0, 0)


def test_refuses(fal):
    with pytest.raises(fal.FalClientHTTPError) as caught:
        fal.SyncClient(key=GOOD).subscribe(CLOSED, arguments={"prompt": REFUSED})
    assert caught.value.status_code == 422
    assert caught.value.message[0]["type"] == "content_policy_violation"


def test_finds_mistakes(fal):
    with pytest.raises(fal.FalClientHTTPError) as caught:
        fal.SyncClient(key=GOOD).subscribe(OPEN, arguments={"prompt": PROMPT, "num_images": 99})
    assert caught.value.status_code == 422
    assert caught.value.message[0]["loc"] == ["body", "num_images"]


def test_cancels(fal):
    handle = fal.SyncClient(key=GOOD).submit(OPEN, arguments={"prompt": PROMPT})
    handle.cancel()
    assert isinstance(handle.status(), fal.Completed)


def test_knows_its_keys(fal):
    with pytest.raises(fal.FalClientHTTPError) as caught:
        fal.SyncClient(key=BAD).submit(OPEN, arguments={"prompt": PROMPT})
    assert caught.value.status_code == 401
