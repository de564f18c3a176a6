// An HTTP server: the fetch event is answered for each request.
addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const url = new URL(request.url);
  if (url.pathname === "/json") {
    const sent = request.method === "POST" ? await request.json() : null;
    return Response.json({ language: "JavaScript", path: url.pathname, query: url.search, sent });
  }
  return new Response("Hello from JavaScript!\n", { headers: { "content-type": "text/plain" } });
}
