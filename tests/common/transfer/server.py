#!/usr/bin/env python3
"""A server of files for tests of common/transfer: ranges, transfers that break off, a bucket that checks AWS's Signature 4, a Hub.

    server.py ROOT --port-file FILE [--cut BYTES] [--flip COUNT] [--digests] [--no-ranges] [--s3 KEY:SECRET:REGION] [--hub COMMIT] [--token TOKEN] [--log FILE]

--flip: one byte in the middle of the body of the first COUNT answers with weights is another. --digests: HEAD of a file tells its
SHA-256 as S3 does where it is asked, else as RFC 9530 has it. --cut: each answer breaks off after so many bytes of its body. --hub: ROOT/ORG/NAME/FILE as a Hub at that commit, whose files are
redirected to another host name of this server, which must not be given the token. The log has a line per request: method, path,
range or "-", status."""
import argparse
import hashlib
import hmac
import json
import os
import re
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


def sign(key, message):
    return hmac.new(key, message.encode(), hashlib.sha256).digest()


def signature_is_right(handler, access):
    """As AWS's documents describe it, from the request alone."""
    key_id, secret, region = access.split(":")
    match = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
                         handler.headers.get("Authorization", ""))
    if not match or match[1] != key_id or match[3] != region:
        return False
    date, signed, given = match[2], match[4], match[5]
    headers = "".join(f"{name}:{' '.join(handler.headers.get(name, '').split())}\n" for name in signed.split(";"))
    url = urlsplit(handler.path)
    payload = handler.headers.get("x-amz-content-sha256", hashlib.sha256(b"").hexdigest())
    if "host" not in signed.split(";") or "x-amz-date" not in signed.split(";"):
        return False
    if any(name.lower().startswith("x-amz-") and name.lower() not in signed.split(";") for name in handler.headers):
        return False
    canonical = "\n".join([handler.command, url.path, url.query, headers, signed, payload])
    scope = f"{date}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", handler.headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = sign(sign(sign(sign(("AWS4" + secret).encode(), date), region), "s3"), "aws4_request")
    return hmac.compare_digest(hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), given)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def note(self, status):
        if args.log:
            with open(args.log, "a") as f:
                f.write(f"{self.command} {self.path} {self.headers.get('Range', '-')} {status}\n")

    def answer(self, status, body=b"", headers=()):
        self.note(status)
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if args.cut and len(body) > args.cut:
            self.wfile.write(body[: args.cut])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(body)

    def file(self, path):
        full = os.path.join(args.root, path.lstrip("/"))
        if ".." in path or not os.path.isfile(full):
            return self.answer(404, b"<html>no such file</html>")
        with open(full, "rb") as f:
            body = f.read()
        digest = []
        if args.digests and self.command == "HEAD":
            base64 = b64encode(hashlib.sha256(body).digest()).decode()
            if self.headers.get("x-amz-checksum-mode") == "ENABLED":
                digest = [("x-amz-checksum-sha256", base64)]
            elif not args.s3:
                digest = [("Repr-Digest", f"sha-512=:AAAA:, sha-256=:{base64}:")]
        if args.flip and self.command == "GET" and path.endswith(".safetensors"):
            args.flip -= 1
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1:]
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not match or args.no_ranges:
            return self.answer(200, body, digest)
        start, end = int(match[1]), int(match[2]) + 1 if match[2] else len(body)
        if start >= len(body):
            return self.answer(416, b"", [("Content-Range", f"bytes */{len(body)}")])
        return self.answer(206, body[start:end], [("Content-Range", f"bytes {start}-{min(end, len(body)) - 1}/{len(body)}")])

    def hub(self, path):
        if args.token and self.headers.get("Authorization") != "Bearer " + args.token:
            return self.answer(401)
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/([^/]+)", path)
        if match:
            folder = os.path.join(args.root, match[1])
            if not os.path.isdir(folder) or match[2] not in ("main", "refs%2Fpr%2F1", args.hub):
                return self.answer(404, b'{"error": "no such model"}')
            siblings = []
            for name in sorted(os.listdir(folder)):
                with open(os.path.join(folder, name), "rb") as f:
                    body = f.read()
                sibling = {"rfilename": name, "size": len(body)}
                if name.endswith(".safetensors"):
                    sibling["lfs"] = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}
                siblings.append(sibling)
            return self.answer(200, json.dumps({"id": match[1], "sha": args.hub, "siblings": siblings}).encode())
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([0-9a-f]{40})/([^/]+)", path)
        if not match or match[2] != args.hub:
            return self.answer(404)
        port = self.server.server_address[1]
        return self.answer(302, b"", [("Location", f"http://localhost:{port}/cdn/{match[1]}/{match[3]}")])

    def do_GET(self):
        path = urlsplit(self.path).path
        if args.s3 and not signature_is_right(self, args.s3):
            return self.answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        if args.hub and path.startswith("/cdn/"):
            if self.headers.get("Authorization"):
                return self.answer(400, b"the token was sent to another host")
            return self.file(path[len("/cdn/"):])
        return self.hub(path) if args.hub else self.file(path)

    do_HEAD = do_GET


parser = argparse.ArgumentParser()
parser.add_argument("root")
parser.add_argument("--port-file", required=True)
parser.add_argument("--cut", type=int, default=0)
parser.add_argument("--flip", type=int, default=0)
parser.add_argument("--digests", action="store_true")
parser.add_argument("--no-ranges", action="store_true")
parser.add_argument("--s3")
parser.add_argument("--hub")
parser.add_argument("--token")
parser.add_argument("--log")
args = parser.parse_args()
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(args.port_file + ".tmp", "w") as f:
    f.write(str(server.server_address[1]))
os.rename(args.port_file + ".tmp", args.port_file)
server.serve_forever()
