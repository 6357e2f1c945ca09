"""A counter over HTTP; --once prints one answer and ends."""
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from app.counter import Counter


class Handler(BaseHTTPRequestHandler):
    counter = Counter()

    def do_GET(self):
        body = json.dumps({"count": self.counter.next()}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    if "--once" in sys.argv:
        print(json.dumps({"count": Counter().next()}))
    else:
        HTTPServer(("", 8080), Handler).serve_forever()
