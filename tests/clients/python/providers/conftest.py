"""The providers' own SDKs against the simulators: only the address and the key are changed.

SANDBOX says where the simulators are; SANDBOX/<provider> is that provider's base URL. Where an SDK cannot do what the
others do, its test says what it does instead.
"""

import io
import os
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import trustme
from PIL import Image

SANDBOX = os.environ["SANDBOX"]

GOOD = "a-good-key"
BAD = "a-bad-key"
PROMPT = "a lighthouse at dusk"
REFUSED = "a lighthouse at dusk [refuse]"

MAGIC = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "WEBP": b"RIFF"}


def fetch(url):
    """A result file: no key, no SDK, the link alone is enough."""
    with urlopen(url, timeout=30) as response:
        return response.read()


def look(data, form, size):
    """The bytes are a picture of that format and size."""
    assert data.startswith(MAGIC[form])
    picture = Image.open(io.BytesIO(data))
    picture.load()
    assert (picture.format, picture.size) == (form, size)
    return picture


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """For `localhost`, from an authority that this process trusts while it tests."""
    authority = trustme.CA()
    trusted = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(trusted))
        yield authority.issue_cert("localhost")


@contextmanager
def front(provider, certificate=None):
    """A host of its own for one provider, with TLS if there is a certificate, for SDKs that take a host and no path.
    Links to the simulator lead back here."""
    base = f"{SANDBOX}/{provider}"
    hop = ("host", "connection", "accept-encoding", "content-length", "transfer-encoding")

    class Front(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in hop}
            try:
                answer = urlopen(Request(base + self.path, body or None, headers, method=self.command), timeout=30)
            except HTTPError as error:
                answer = error
            with answer:
                data = answer.read()
            if answer.headers.get_content_type() == "application/json":
                data = data.replace(base.encode(), here.encode())
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in hop:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = forward

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        here = f"http://127.0.0.1:{server.server_port}"
        if certificate:
            here = f"https://localhost:{server.server_port}"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        try:
            yield here
        finally:
            server.shutdown()
            thread.join()
