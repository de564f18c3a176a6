"""An HTTP server: handle() is called for each request."""

import json

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        path = request.path_with_query() or "/"
        if path.startswith("/json"):
            kind, text = b"application/json", json.dumps({"language": "Python", "path": path})
        else:
            kind, text = b"text/plain", "Hello from Python!\n"
        response = OutgoingResponse(Fields.from_list([("content-type", kind)]))
        body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        with body.write() as stream:
            stream.blocking_write_and_flush(text.encode())
        OutgoingBody.finish(body, None)
