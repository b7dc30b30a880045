"""A server of chat completions without a model: a process of its own that answers by rule, and fails where a prompt asks for it.

    python -m tests.llm.stub_server PORT [MEMORY]        PORT 0 = any that is free; the first line of stdout is the address

The answer to `words` is `WORDS`; to a prompt that holds `[say]x\\ny[/say]` it is x and y on two lines. A prompt that holds `[fault NAME N]` meets that fault in its first N requests; they are counted in the
file MEMORY, so that a server that dies by one knows of it when it is started again. `GET /asked` tells all prompts, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from pathlib import Path

from aiohttp import web

MODEL = "stub"
_FAULT = re.compile(r"\[fault (\w+) (\d+)\]")
_SAY = re.compile(r"\[say\](.*?)\[/say\]")


class Stub:
    """The handlers and what they remember."""

    def __init__(self, memory: Path | None) -> None:
        self.memory = memory
        self.asked: list[str] = []
        self.under_way = self.most = 0
        self.connections: set[asyncio.Transport] = set()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        told = json.loads(await request.read())
        text = told["messages"][-1]["content"]
        if told["model"] != MODEL:
            return web.json_response({"error": {"message": f"The model `{told['model']}` does not exist."}}, status=404)
        self.asked.append(text)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        assert request.transport is not None
        self.connections.add(request.transport)
        try:
            return await self._answer(request, text, told)
        finally:
            self.under_way -= 1
            self.connections.discard(request.transport)

    async def _answer(self, request: web.Request, text: str, told: dict[str, object]) -> web.StreamResponse:
        fault = _FAULT.search(text)
        if fault and self._times(text) <= int(fault[2]):
            return await self._fail(request, fault[1])
        if "[slow]" in text:
            await asyncio.sleep(0.2)
        if "[crowded]" in text:  # the more are under way, the longer each takes
            for _ in range(10):
                await asyncio.sleep(0.003 * self.under_way)
        words = text.upper().split()
        limit = int(str(told["max_tokens"]))
        finish = "length" if len(words) > limit else "stop"
        answer = json.dumps({"request": told}) if "[request]" in text else " ".join(words[:limit])
        if say := _SAY.search(text):
            answer, finish = say[1].replace("\\n", "\n"), "stop"
        choice = {"message": {"role": "assistant", "content": answer}, "finish_reason": finish}
        usage = {"prompt_tokens": len(words), "completion_tokens": min(limit, len(words))}
        return web.json_response({"choices": [choice], "usage": usage})

    def _times(self, text: str) -> int:
        """Count, and tell how often this prompt came."""
        if self.memory is None:
            return self.asked.count(text)
        with open(self.memory, "a") as file:
            file.write(text + "\n")
        return self.memory.read_text().splitlines().count(text)

    async def _fail(self, request: web.Request, name: str) -> web.StreamResponse:
        if name == "die":
            os._exit(1)
        if name == "hang":
            await asyncio.sleep(3600)
        if name == "drop":  # as a server that dies and is back at once
            for connection in tuple(self.connections):
                connection.abort()
            raise ConnectionResetError
        if name == "cut":
            assert request.transport is not None
            request.transport.abort()
            raise ConnectionResetError
        if name == "half":
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b'{"choices": [{"mess')
            assert request.transport is not None
            request.transport.close()
            return response
        if name == "finish":
            return web.json_response({"choices": [{"message": {"content": "text"}, "finish_reason": ["stop"]}]})
        if name == "junk":
            return web.Response(text="<html>a proxy's page</html>")
        if name == "filter":
            return web.json_response({"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]})
        status = int(name)
        headers = {"Retry-After": "1"} if status == 429 else {}
        return web.json_response({"error": {"message": f"fault {status}"}}, status=status, headers=headers)

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": MODEL}]})

    async def tell(self, request: web.Request) -> web.Response:
        return web.json_response({"asked": self.asked, "most": self.most})


async def main(port: int, memory: Path | None) -> None:
    """Serve until the process is killed."""
    stub = Stub(memory)
    app = web.Application(client_max_size=64 << 20)
    app.add_routes([web.post("/v1/chat/completions", stub.chat), web.get("/v1/models", stub.models), web.get("/asked", stub.tell)])
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)  # as vLLM: who hangs up is forgotten
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
