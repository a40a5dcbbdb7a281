#!/usr/bin/env python3
"""Drives the simulated Marketo with a client that knows nothing of this project.

usage: scripts/clients/marketo.py URL [SECRET]

URL is where `redress sandbox` serves Marketo; SECRET is what it takes for a client secret (`sandbox-key`). The client,
`marketorestpython`, is installed into a virtual environment beside this script's temporary files. A simulator with which it
signs in, creates, finds, updates and deletes leads as it does at Marketo is one that can be believed. Exits with 1 at the first
difference.
"""

import os
import subprocess
import sys
import tempfile
import venv

CLIENT = "marketorestpython==0.5.25"


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        from marketorestpython.client import MarketoClient
        from marketorestpython.helper.exceptions import MarketoException
    except ImportError:
        install()
    drive(MarketoClient, MarketoException, sys.argv[1].rstrip("/"), (sys.argv[2:] or ["sandbox-key"])[0])


def install() -> None:
    """Makes the environment once and starts this script again inside it."""
    place = os.path.join(tempfile.gettempdir(), "redress-client-marketo")
    python = os.path.join(place, "bin", "python3")
    if os.environ.get("REDRESS_CLIENT_INSTALLED"):
        sys.exit("the client was installed but cannot be imported")
    venv.create(place, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "setuptools<81", CLIENT], check=True)
    os.execve(python, [python, *sys.argv], {**os.environ, "REDRESS_CLIENT_INSTALLED": "1"})


def same(what: str, seen: object, wanted: object) -> None:
    if seen != wanted:
        sys.exit(f"{what}: expected {wanted!r}, saw {seen!r}")
    print(f"ok: {what}")


def drive(client_class: type, exception: type, url: str, secret: str) -> None:
    def client(secret: str):
        made = client_class("123-ABC-456", "driver", secret)
        made.host = url
        return made

    try:
        client(secret + "-wrong").get_lead_by_id(id=1)
        sys.exit("a wrong client secret was taken")
    except Exception as refused:  # the client raises Exception with the vendor's words
        same("a wrong secret is refused", "credentials" in str(refused), True)

    marketo = client(secret)
    marketo.authenticate()
    token, life = marketo.token, marketo.expires_in
    same("a token lives an hour", 3_500 < life <= 3_600, True)
    again = client(secret)
    again.authenticate()
    same("the same token is given again, with what is left of its life", (again.token, again.expires_in <= life), (token, True))

    people = [
        {"email": f"driver.{n}@client.example", "firstName": "Dora", "lastName": f"Nummer {n}", "phone": "+4915100000000"}
        for n in range(5)
    ]
    made = marketo.create_update_leads(leads=people, action="createOnly", lookupField="email")
    same("five leads are created", [one["status"] for one in made], ["created"] * 5)
    ids = [one["id"] for one in made]

    found = marketo.get_multiple_leads_by_filter_type(
        filterType="email",
        filterValues=["driver.0@client.example", "DRIVER.1@client.example", "nobody@client.example"],
        fields="id,email,firstName",
        batchSize="1",
    )
    same("two of three are found, page by page, by a POST that is a GET", sorted(one["id"] for one in found), sorted(ids[:2]))
    same("only the fields asked for", sorted(found[0]), ["email", "firstName", "id"])

    nobody = marketo.get_multiple_leads_by_filter_type(
        filterType="email", filterValues=["nobody@client.example"]
    )
    same("nobody is an empty list", nobody, [])

    changed = marketo.create_update_leads(
        leads=[{"id": ids[0], "firstName": "Änne"}], action="updateOnly", lookupField="id"
    )
    same("a lead is updated by id", [one["status"] for one in changed], ["updated"])
    one = marketo.get_lead_by_id(id=ids[0], fields="firstName,lastName")
    same("and read again", (one[0]["firstName"], one[0]["lastName"]), ("Änne", "Nummer 0"))
    missed = marketo.create_update_leads(
        leads=[{"id": 999_999, "firstName": "X"}], action="updateOnly", lookupField="id"
    )
    same("an absent lead is skipped with 1004", missed[0]["reasons"][0]["code"], "1004")

    described = marketo.describe()
    same("the fields are described", {"id", "email"} <= {one["rest"]["name"] for one in described}, True)

    deleted = marketo.delete_lead(id=[*ids, 999_999])
    same("each deletion has its answer", [one["status"] for one in deleted], ["deleted"] * 5 + ["skipped"])
    left = marketo.get_multiple_leads_by_filter_type(
        filterType="id", filterValues=[str(one) for one in ids]
    )
    same("they are gone", left, [])
    try:
        marketo.get_lead_by_id(id=ids[0])
        sys.exit("a deleted lead was given")
    except exception as gone:
        same("a deleted lead is 1004", gone.code, "1004")
    gone = marketo.get_deleted_leads(sinceDatetime="2026-01-01")
    same("and told among the deleted", {one["leadId"] for one in gone} >= set(ids), True)


if __name__ == "__main__":
    main()
