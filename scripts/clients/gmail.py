#!/usr/bin/env python3
"""Drives a Gmail server with Google's own client, as a second opinion on the simulator; fails at the first difference.

    scripts/clients/gmail.py http://127.0.0.1:PORT SERVICE_ACCOUNT KEY_FILE ADMIN MAILBOX [ADDRESS]

The first run installs google-api-python-client and google-auth into a virtual environment of its own
(~/.cache/redress-clients/gmail). Requests are built from the discovery documents that the client brings along, so a path,
a parameter or a body that Google does not have cannot be sent; answers are read by the client, not by us.
"""

import base64
import os
import subprocess
import sys

HOME = os.path.expanduser("~/.cache/redress-clients/gmail")


def own_python():
    """Runs this file again with the client installed."""
    python = os.path.join(HOME, "bin", "python")
    if sys.prefix != HOME:
        if not os.path.exists(os.path.join(HOME, "ready")):
            subprocess.run([sys.executable, "-m", "venv", HOME], check=True)
            wanted = ["google-api-python-client", "google-auth", "google-auth-httplib2"]
            subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)
            open(os.path.join(HOME, "ready"), "w").close()
        os.execv(python, [python, os.path.abspath(__file__), *sys.argv[1:]])


def main(url, account, key_file, admin, mailbox, address="ann@shop.example"):
    from google.auth.exceptions import RefreshError
    from google.oauth2 import service_account
    from googleapiclient.discovery import build
    from googleapiclient.errors import HttpError

    with open(key_file, encoding="ascii") as file:
        info = {"client_email": account, "private_key": file.read(), "token_uri": url + "/token", "type": "service_account"}

    def api(name, version, user, *scopes):
        credentials = service_account.Credentials.from_service_account_info(info, scopes=scopes, subject=user)
        options = {"api_endpoint": url}
        return build(name, version, credentials=credentials, client_options=options, static_discovery=True, cache_discovery=False)

    checks = 0

    def same(what, seen, wanted):
        nonlocal checks
        checks += 1
        if seen != wanted:
            sys.exit(f"{what}: expected {wanted!r}, got {seen!r}")

    def refused(what, call, status):
        try:
            call()
        except HttpError as error:
            same(what, error.resp.status, status)
            same(what + " has a reason", bool(error.reason), True)
            return
        sys.exit(f"{what}: was not refused")

    directory = api("admin", "directory_v1", admin, "https://www.googleapis.com/auth/admin.directory.user.readonly")
    users = directory.users().list(customer="my_customer", maxResults=1).execute()
    addresses, request = [], directory.users().list(customer="my_customer", maxResults=1)
    while request is not None:
        page = request.execute()
        addresses += [user["primaryEmail"] for user in page["users"]]
        request = directory.users().list_next(request, page)
    same("a page of one user", len(users["users"]), 1)
    same("the mailbox is in the directory", mailbox in addresses, True)

    gmail = api("gmail", "v1", mailbox, "https://mail.google.com/").users()
    same("the profile", gmail.getProfile(userId="me").execute()["emailAddress"], mailbox)
    every, request = [], gmail.messages().list(userId=mailbox, includeSpamTrash=True, maxResults=2)
    while request is not None:
        page = request.execute()
        every += [message["id"] for message in page.get("messages", [])]
        request = gmail.messages().list_next(request, page)
    same("ids are unique", len(every), len(set(every)))
    same("there are messages", len(every) > 2, True)

    def search(address):
        words = " ".join(f'{operator}:"{address}"' for operator in ("from", "to", "cc", "bcc"))
        found = gmail.messages().list(userId="me", q="{" + words + "}", includeSpamTrash=True).execute()
        return [message["id"] for message in found.get("messages", [])]

    hits = search(address)
    same("a search finds some and not all", 0 < len(hits) < len(every), True)
    same("a search for nobody has no messages", search("nobody@nowhere.example"), [])
    metadata = gmail.messages().get(userId="me", id=hits[0], format="metadata", metadataHeaders=["From", "To"]).execute()
    names = {header["name"] for header in metadata["payload"]["headers"]}
    same("only the headers that were asked for", names <= {"From", "To"} and bool(names), True)
    raw = gmail.messages().get(userId="me", id=hits[0], format="raw").execute()["raw"]
    text = base64.urlsafe_b64decode(raw).decode()
    same("the raw message holds the address", address in text.lower(), True)
    same("a deletion answers nothing", gmail.messages().batchDelete(userId="me", body={"ids": hits + ["19a0ffffffffffff"]}).execute(), "")
    same("what was deleted is not found", search(address), [])
    refused("a deleted message", lambda: gmail.messages().get(userId="me", id=hits[0]).execute(), 404)
    refused("somebody else's mailbox", lambda: gmail.messages().list(userId=admin).execute(), 403)
    refused("1001 ids", lambda: gmail.messages().batchDelete(userId="me", body={"ids": ["1a"] * 1001}).execute(), 400)
    read_only = api("gmail", "v1", mailbox, "https://www.googleapis.com/auth/gmail.modify").users()
    refused("deleting without the whole scope", lambda: read_only.messages().batchDelete(userId="me", body={"ids": ["1a"]}).execute(), 403)
    for what, user, scope in [
        ("an unknown user", "never@corp.test", "https://mail.google.com/"),
        ("a scope that was not delegated", mailbox, "https://www.googleapis.com/auth/drive"),
    ]:
        try:
            api("gmail", "v1", user, scope).users().getProfile(userId="me").execute()
            sys.exit(f"{what}: was not refused")
        except RefreshError:
            checks += 1
    print(f"{checks} checks by google-api-python-client passed")


if __name__ == "__main__":
    if len(sys.argv) not in (6, 7):
        sys.exit(__doc__)
    own_python()
    main(*sys.argv[1:])
