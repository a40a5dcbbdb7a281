#!/usr/bin/env python3
"""Drives the simulated Salesforce org with simple-salesforce, which knows nothing of Redress.

usage: salesforce.py URL   (cargo run -p redress-sandbox --example serve -- salesforce)

It installs the client into a temporary environment, signs in, creates, queries, searches, updates, deletes and
bulk-deletes, and fails if anything is not as the client expects it from Salesforce.
"""

import os
import subprocess
import sys
import tempfile
import venv

CLIENT = "simple-salesforce==1.12.10"
CLIENT_ID, CLIENT_SECRET = "3MVG9redress.sandbox", "redress-sandbox-secret"


def install_and_run(url):
    with tempfile.TemporaryDirectory() as place:
        venv.create(place, with_pip=True)
        python = os.path.join(place, "bin", "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", CLIENT], check=True)
        return subprocess.run([python, __file__, url, "--installed"], check=False).returncode


def drive(url):
    from urllib.parse import urlsplit

    import requests
    from requests.adapters import HTTPAdapter
    from simple_salesforce import Salesforce
    from simple_salesforce.exceptions import SalesforceAuthenticationFailed, SalesforceMalformedRequest, SalesforceResourceNotFound

    there = urlsplit(url)

    class ToSimulator(HTTPAdapter):
        """The client speaks https to salesforce.com; the simulator is on this machine."""

        def send(self, request, **settings):
            host = urlsplit(request.url)
            request.url = request.url.replace(f"{host.scheme}://{host.netloc}", f"http://{there.netloc}", 1)
            return super().send(request, **settings)

    session = requests.Session()
    session.mount("https://", ToSimulator())
    session.mount("http://", ToSimulator())
    settings = dict(domain="redress.my", session=session, version="67.0")

    try:
        Salesforce(consumer_key=CLIENT_ID, consumer_secret="wrong", **settings)
        raise AssertionError("a wrong secret signed in")
    except SalesforceAuthenticationFailed:
        pass
    org = Salesforce(consumer_key=CLIENT_ID, consumer_secret=CLIENT_SECRET, **settings)

    limits = org.limits()["DailyApiRequests"]
    assert 0 < limits["Remaining"] < limits["Max"], limits
    fields = {field["name"]: field["type"] for field in org.Contact.describe()["fields"]}
    assert fields["Email"] == "email" and fields["Id"] == "id", fields
    assert any(found["name"] == "Contact" for found in org.describe()["sobjects"])

    made = org.Contact.create({"FirstName": "Ann", "LastName": "O'Brien", "Email": "o'brien@shop.example"})
    assert made["success"] and made["errors"] == [], made
    twin = org.Contact.create({"LastName": "Twin", "Email": "obrien@shop.example"})["id"]
    found = org.query("SELECT Id, Name, Email FROM Contact WHERE Email = 'O\\'BRIEN@shop.example'")
    assert [row["Id"] for row in found["records"]] == [made["id"]] and found["done"], found
    assert found["records"][0]["attributes"]["type"] == "Contact"
    try:
        org.query("SELECT Id FROM Contact WHERE Email = 'o'brien@shop.example'")
        raise AssertionError("an unescaped quote was taken")
    except SalesforceMalformedRequest as refused:
        assert refused.content[0]["errorCode"] == "MALFORMED_QUERY", refused
    assert org.api_usage["api-usage"].used > 0, org.api_usage

    rows = [{"LastName": f"Row {n}", "Email": f"row.{n}@shop.example"} for n in range(250)]
    for start in range(0, len(rows), 200):
        records = [{"attributes": {"type": "Contact"}, **row} for row in rows[start:start + 200]]
        answers = org.restful("composite/sobjects", method="POST", json={"allOrNone": False, "records": records})
        assert all(answer["success"] for answer in answers)
    every = org.query_all("SELECT Id FROM Contact WHERE Email LIKE 'row.%@shop.example'", headers={"Sforce-Query-Options": "batchSize=200"})
    assert every["totalSize"] == len(every["records"]) == 250, every["totalSize"]

    assert org.Contact.update(made["id"], {"LastName": "Neu"}) == 204
    assert org.Contact.get(made["id"])["LastName"] == "Neu"
    try:
        org.Contact.update(made["id"], {"Email": "nonsense"})
        raise AssertionError("a bad address was taken")
    except SalesforceMalformedRequest as refused:
        assert refused.content[0]["errorCode"] == "INVALID_EMAIL_ADDRESS", refused

    assert org.Contact.delete(made["id"]) == 204
    try:
        org.Contact.delete(made["id"])
        raise AssertionError("what is deleted was deleted again")
    except SalesforceResourceNotFound as gone:
        assert gone.content[0]["errorCode"] == "ENTITY_IS_DELETED", gone
    soql = f"SELECT Id, IsDeleted FROM Contact WHERE Id = '{made['id']}'"
    assert org.query(soql)["totalSize"] == 0
    assert org.query(soql, include_deleted=True)["records"][0]["IsDeleted"] is True

    ids = [{"Id": row["Id"]} for row in every["records"]] + [{"Id": made["id"]}]
    results = org.bulk2.Contact.hard_delete(records=ids, wait=1)
    assert results[0]["numberRecordsProcessed"] == 251 and results[0]["numberRecordsFailed"] == 1, results
    failed = org.bulk2.Contact.get_failed_records(results[0]["job_id"])
    assert "ENTITY_IS_DELETED" in failed, failed
    assert org.query("SELECT Id FROM Contact WHERE Email LIKE 'row.%'")["totalSize"] == 0
    assert org.query(f"SELECT Id FROM Contact WHERE Id = '{twin}'")["totalSize"] == 1, "the twin was touched"
    org.Contact.delete(twin)
    print("simple-salesforce: signed in, described, created, queried, paged, updated, deleted, hard-deleted 250 in bulk")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(drive(sys.argv[1]) if "--installed" in sys.argv else install_and_run(sys.argv[1]))
