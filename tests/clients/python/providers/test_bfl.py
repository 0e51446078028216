"""Black Forest Labs' SDK. It takes a host: a path in its base URL is dropped."""

import pytest
from blackforest import BFLClient
from blackforest.client import BFLError
from blackforest.types.general.client_config import ClientConfig

from conftest import BAD, GOOD, PROMPT, REFUSED, fetch, front, look

WAIT = ClientConfig(sync=True, polling_interval=0.1, max_retries=5)


@pytest.fixture(scope="module")
def bfl():
    with front("bfl") as address:
        yield address


def test_draws(bfl):
    asked = {"prompt": PROMPT, "width": 640, "height": 384, "output_format": "png", "seed": 7}
    answer = BFLClient(GOOD, bfl).generate("flux-pro-1.1", asked, WAIT)
    assert answer.result["seed"] == 7
    look(fetch(answer.result["sample"]), "PNG", (640, 384))


def test_refuses(bfl):
    # It takes a refusal for an unfinished task and asks again until it gives up; the status alone tells.
    client = BFLClient(GOOD, bfl)
    with pytest.raises(BFLError, match="Polling exceeded maximum retries"):
        client.generate("flux-pro-1.1", {"prompt": REFUSED}, WAIT)
    ticket = client.generate("flux-pro-1.1", {"prompt": REFUSED}, ClientConfig(sync=False))
    states = [client.get_task_status(ticket.id).status for _ in range(3)]
    assert states[-1] == "Request Moderated"


def test_knows_its_keys(bfl):
    # One class for every error, with the status in the text.
    with pytest.raises(BFLError, match="403"):
        BFLClient(BAD, bfl).generate("flux-pro-1.1", {"prompt": PROMPT})
