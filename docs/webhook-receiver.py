"""A receiver for Redress's webhook connector: python3 webhook-receiver.py PORT, WEBHOOK_SECRET=whsec_… in the environment."""
import base64, hashlib, hmac, json, os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
PEOPLE = json.load(open(os.environ["PEOPLE"])) if "PEOPLE" in os.environ else []  # your database
ANSWERED = {}  # webhook-id -> answer: a repeated call is told the same and does nothing (keep it in your database, too)

def is_theirs(row, wanted):  # exact: a substring or a pattern would be somebody else
    return any(str(row.get(i["type"], "")).casefold() == i["value"].casefold() if i["type"] == "email"
               else row.get(i["type"]) == i["value"] for i in wanted)

def answer(call):
    if call["call"] == "check":
        return {"status": "ok"}
    theirs = [row for row in PEOPLE if is_theirs(row, call["identifiers"])]
    if call["call"] == "verify":
        bad = theirs if call["of"] == "erase" else [row for row in theirs for c in call["corrections"] if row[c["field"]] != c["value"]]
        return {"status": "residue", "remaining": len(bad)} if bad else {"status": "confirmed", "remaining": 0}
    if not theirs:
        return {"status": "nothing_found"}
    if len(theirs) > call["max_matches"]:
        return {"status": "ambiguous", "matched": len(theirs)}
    if call["call"] == "export":
        return {"status": "done", "found": len(theirs), "records": [{"collection": "people", "record": row} for row in theirs]}
    for row in theirs if call["call"] in ("erase", "rectify") else []:
        if call["call"] == "erase":
            PEOPLE.remove(row)
        else:
            row.update({c["field"]: c["value"] for c in call["corrections"]})
    return {"status": "done", "found": len(theirs), "changed": 0 if call["call"] == "discover" else len(theirs)}

class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        name, when = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        signature = "v1," + base64.b64encode(hmac.new(KEY, f"{name}.{when}.".encode() + body, hashlib.sha256).digest()).decode()
        genuine = any(hmac.compare_digest(signature, given) for given in self.headers["webhook-signature"].split())
        if not genuine or abs(time.time() - int(when)) > 300:
            return self.send_error(401)
        if name not in ANSWERED:
            ANSWERED[name] = json.dumps(answer(json.loads(body))).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWERED[name])))
        self.end_headers()
        self.wfile.write(ANSWERED[name])

    def log_message(self, *_):  # bodies and addresses stay out of logs
        pass

if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(server.server_port, flush=True)
    server.serve_forever()
