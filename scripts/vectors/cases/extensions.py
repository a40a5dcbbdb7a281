"""Extensions: the notice to the second, with pauses, and in business days."""

EU, UK = "eu-gdpr.all", "uk-gdpr.access"


def notices(build):
    def eu(title, told, due, received="2026-09-07 10:00", cal="de", tags=(), **more):
        # Received Monday 7 Sep 2026: initial date 7 Oct, extended 7 Dec, a Monday.
        build.deadline(title, EU, received, cal=cal, extended=told, due=due, tags=["extension", "eu", *tags], **more)

    eu("Told in the last second of the last day", "2026-10-07 23:59:59", "2026-12-07", tags=["bound"])
    eu("Told in the first second after it: void", "2026-10-08 00:00:00", "2026-10-07", tags=["bound", "void"])
    eu("The same last second, told from Tokyo", "2026-10-08T06:59:59+09:00", "2026-12-07", tags=["bound", "tz"])
    eu(
        "The first second after it, told from Los Angeles: void",
        "2026-10-07T15:00:00-07:00",
        "2026-10-07",
        tags=["bound", "void", "tz"],
    )
    eu("Told in the last millisecond", "2026-10-07T21:59:59.999Z", "2026-12-07", tags=["bound"])
    eu("Told at the minute of receipt", "2026-09-07 10:00", "2026-12-07")
    eu(
        "The initial date rolled to Monday: told on Sunday",
        "2026-10-11 22:00",
        "2026-12-10",
        received="2026-09-10 10:00",
        tags=["roll"],
    )
    eu(
        "The initial date rolled to Monday: told in its last second",
        "2026-10-12 23:59:59",
        "2026-12-10",
        received="2026-09-10 10:00",
        tags=["roll", "bound"],
    )
    eu(
        "The initial date rolled to Monday: told on Tuesday, void",
        "2026-10-13 00:00:00",
        "2026-10-12",
        received="2026-09-10 10:00",
        tags=["roll", "void", "bound"],
    )
    eu(
        "The extended date falls on Christmas Day 2026",
        "2026-10-01 10:00",
        "2026-12-28",
        received="2026-09-25 10:00",
        tags=["roll", "holiday"],
    )
    eu(
        "The last day ends an hour early: summer time begins that night",
        "2027-03-28 23:59:59",
        "2027-05-28",
        received="2027-02-28 10:00",
        cal="none",
        tz="Europe/Berlin",
        weekend=[],
        tags=["dst", "bound"],
    )
    eu(
        "The last second of a day with 25 hours",
        "2026-10-25T22:59:59Z",
        "2026-12-25",
        received="2026-09-25 10:00",
        cal="none",
        tz="Europe/Berlin",
        weekend=[],
        tags=["dst", "bound"],
    )
    eu(
        "One second past a day with 25 hours: void",
        "2026-10-25T23:00:00Z",
        "2026-10-25",
        received="2026-09-25 10:00",
        cal="none",
        tz="Europe/Berlin",
        weekend=[],
        tags=["dst", "bound", "void"],
    )
    eu("A deletion is extended alike", "2026-09-30 10:00", "2026-12-07", type="deletion")

    def law(title, rule, received, told, due, **more):
        build.deadline(title, rule, received, extended=told, due=due, tags=["extension"], certainty="uncertain", **more)

    law(
        "Florida: 45 + 15, told in the last second",
        "us-fl.requests",
        "2027-03-01 10:00",
        "2027-04-15 23:59:59",
        "2027-04-30",
        cal="us-federal",
        tz="America/New_York",
    )
    law(
        "Florida: one second later",
        "us-fl.requests",
        "2027-03-01 10:00",
        "2027-04-16 00:00:00",
        "2027-04-15",
        cal="us-federal",
        tz="America/New_York",
    )
    law(
        "Iowa: 90 + 45 over a leap day",
        "us-ia.requests",
        "2027-12-01 10:00",
        "2028-02-01 10:00",
        "2028-04-14",
        cal="us-federal",
        tz="America/Chicago",
    )
    law(
        "Nevada: 60 + 30",
        "us-nv.optout",
        "2028-01-15 10:00",
        "2028-03-10 10:00",
        "2028-04-14",
        cal="us-federal",
        tz="America/Los_Angeles",
    )
    law(
        "Minnesota appeal: 45 + 60",
        "us-mn.appeal",
        "2026-01-05 10:00",
        "2026-02-19 10:00",
        "2026-04-20",
        cal="us-federal",
        tz="America/Chicago",
    )
    law(
        "HIPAA access: 30 + 30",
        "us-hipaa.access",
        "2028-02-01 10:00",
        "2028-03-02 23:59:59",
        "2028-04-01",
        cal="us-federal",
        tz="America/New_York",
    )
    law(
        "British Columbia: 30 + 30 business days",
        "ca-bc.access",
        "2026-06-15 10:00",
        "2026-07-28 10:00",
        "2026-09-10",
        cal="ca-bc",
        tz="America/Vancouver",
    )
    law(
        "British Columbia: notice after 30 business days, void",
        "ca-bc.access",
        "2026-06-15 10:00",
        "2026-07-29 00:00:00",
        "2026-07-28",
        cal="ca-bc",
        tz="America/Vancouver",
    )
    law(
        "Mexico: 20 + 20 business days",
        "mx.arco",
        "2026-03-02 10:00",
        "2026-03-31 10:00",
        "2026-04-28",
        cal="mx",
        tz="America/Mexico_City",
    )
    law(
        "Alberta: 45 + 30",
        "ca-ab.access",
        "2026-09-01 10:00",
        "2026-10-16 10:00",
        "2026-11-15",
        cal="ca-ab",
        tz="America/Edmonton",
    )


def with_pauses(build):
    clar, ident = "clarification", "identity"

    def eu(title, pauses, told, due, tags=(), **more):
        build.deadline(
            title,
            EU,
            "2026-09-07 10:00",
            cal="de",
            pauses=pauses,
            extended=told,
            due=due,
            tags=["extension", "pause", "eu", *tags],
            **more,
        )

    first = [(ident, "2026-09-14 09:00", "2026-09-18 17:00")]
    eu("A pause in the first month moves the extended date too", first, "2026-10-01 10:00", "2026-12-11")
    eu(
        "EU: the pause moves the date to 12 October, the notice still ends on the 7th",
        first,
        "2026-10-08 00:00:00",
        "2026-10-12",
        tags=["void", "bound"],
    )
    eu("EU: told on the 7th itself", first, "2026-10-07 23:59:59", "2026-12-11", tags=["bound"])
    eu(
        "A pause in the extended period",
        [(ident, "2026-11-02 09:00", "2026-11-06 09:00")],
        "2026-10-01 10:00",
        "2026-12-11",
    )
    eu(
        "The same pause when the notice was late: it is late too",
        [(ident, "2026-11-02 09:00", "2026-11-06 09:00")],
        "2026-10-08 10:00",
        "2026-10-07",
        tags=["void", "late"],
    )
    eu(
        "Pauses in both periods",
        [*first, (clar, "2026-11-02 09:00", "2026-11-06 09:00")],
        "2026-10-01 10:00",
        "2026-12-15",
    )
    eu(
        "A pause across the initial date",
        [(ident, "2026-10-05 09:00", "2026-10-12 09:00")],
        "2026-10-02 10:00",
        "2026-12-14",
    )
    eu(
        "A pause after the extended date",
        [(ident, "2026-12-08 09:00", "2026-12-12 09:00")],
        "2026-10-02 10:00",
        "2026-12-07",
        tags=["late"],
    )
    eu(
        "An open pause in the extended period",
        [(ident, "2026-11-02 09:00", None)],
        "2026-10-02 10:00",
        "2026-12-14",
        as_of="2026-11-09 12:00",
        tags=["open"],
    )
    eu(
        "Deletion, pauses not chosen, extended",
        first,
        "2026-10-01 10:00",
        "2026-12-07",
        type="deletion",
        tags=["opt-in"],
    )
    eu(
        "Deletion, pauses chosen, extended",
        first,
        "2026-10-01 10:00",
        "2026-12-11",
        type="deletion",
        opt_in=True,
        tags=["opt-in"],
    )

    def uk(title, pauses, told, due, rule=UK, tags=(), **more):
        build.deadline(
            title,
            rule,
            "2026-06-01 10:00",
            cal="gb-eng",
            pauses=pauses,
            extended=told,
            due=due,
            tags=["extension", "pause", "uk", *tags],
            **more,
        )

    asked = [(clar, "2026-06-08 09:00", "2026-06-10 09:00")]
    uk(
        "UK: three days not counted move the notice to 6 July; told in its last second",
        asked,
        "2026-07-06 23:59:59",
        "2026-09-04",
        tags=["bound"],
    )
    uk(
        "UK: one second after the moved notice date: void",
        asked,
        "2026-07-07 00:00:00",
        "2026-07-06",
        tags=["bound", "void"],
    )
    uk(
        "UK: a question in the extended period leaves the notice date",
        [(clar, "2026-08-03 09:00", "2026-08-04 09:00")],
        "2026-07-01 23:59:59",
        "2026-09-03",
        tags=["bound"],
    )
    uk(
        "UK: that question, the notice a second late",
        [(clar, "2026-08-03 09:00", "2026-08-04 09:00")],
        "2026-07-02 00:00:00",
        "2026-07-01",
        tags=["bound", "void", "late"],
    )
    uk(
        "UK: the identity moves the start, the notice and the extension",
        [(ident, "2026-06-01 11:00", "2026-06-30 09:00")],
        "2026-07-30 23:59:59",
        "2026-09-30",
        tags=["reset", "bound"],
    )
    uk(
        "UK: identity, then a question, then the extension",
        [(ident, "2026-06-01 11:00", "2026-06-05 09:00"), (clar, "2026-06-15 09:00", "2026-06-16 09:00")],
        "2026-07-07 12:00",
        "2026-09-07",
        tags=["reset", "several"],
    )
    uk(
        "UK: a correction's notice is not moved by a question",
        asked,
        "2026-07-02 12:00",
        "2026-07-01",
        rule="uk-gdpr.other",
        type="correction",
        tags=["void", "none"],
    )
