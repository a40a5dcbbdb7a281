"""Extensions whose notice names the date: it holds as it is, neither rolled nor earlier than the period itself."""


def named_dates(build):
    def named(title, rule, received, told, until, due, tags=(), **more):
        build.deadline(
            title, rule, received, extended=told, until=until, due=due, tags=["extension", "named", *tags], **more
        )

    ch = {"cal": "ch-zh"}
    named(
        "Switzerland: the notice names a Sunday, which stays",
        "ch-fadp.access",
        "2026-06-01 10:00",
        "2026-06-20 10:00",
        "2026-08-09",
        "2026-08-09",
        **ch,
    )
    named(
        "Switzerland: a holiday named, which stays",
        "ch-fadp.access",
        "2026-06-01 10:00",
        "2026-06-20 10:00",
        "2026-08-01",
        "2026-08-01",
        **ch,
    )
    named(
        "Switzerland: told in the last second",
        "ch-fadp.access",
        "2026-06-01 10:00",
        "2026-07-01 23:59:59",
        "2026-09-15",
        "2026-09-15",
        tags=["bound"],
        **ch,
    )
    named(
        "Switzerland: told a second late, void",
        "ch-fadp.access",
        "2026-06-01 10:00",
        "2026-07-02 00:00:00",
        "2026-09-15",
        "2026-07-01",
        tags=["bound", "void"],
        **ch,
    )
    named(
        "Switzerland: a date named that the 30 days already give",
        "ch-fadp.access",
        "2026-06-01 10:00",
        "2026-06-20 10:00",
        "2026-07-01",
        "2026-07-01",
        **ch,
    )
    named(
        "Switzerland: an earlier date named: the 30 days stay",
        "ch-fadp.access",
        "2026-06-01 10:00",
        "2026-06-10 10:00",
        "2026-06-25",
        "2026-07-01",
        **ch,
    )
    named(
        "Switzerland: the cost share moves the start and the notice",
        "ch-fadp.access",
        "2026-06-01 10:00",
        "2026-07-13 23:59:59",
        "2026-08-31",
        "2026-08-31",
        tags=["reset", "bound"],
        pauses=[("fee", "2026-06-03 09:00", "2026-06-13 09:00")],
        **ch,
    )
    named(
        "Switzerland: other rights alike",
        "ch-fadp.other",
        "2026-06-01 10:00",
        "2026-06-20 10:00",
        "2026-07-31",
        "2026-07-31",
        type="deletion",
        certainty="uncertain",
        **ch,
    )
    named(
        "New Zealand: named beyond 20 working days",
        "nz.ipp6_ipp7",
        "2026-06-15 10:00",
        "2026-07-14 23:59:59",
        "2026-08-15",
        "2026-08-15",
        cal="nz-statutory",
        tz="Pacific/Auckland",
        tags=["business", "bound"],
    )
    named(
        "New Zealand: told on the 21st working day, void",
        "nz.ipp6_ipp7",
        "2026-06-15 10:00",
        "2026-07-15 00:00:00",
        "2026-08-15",
        "2026-07-14",
        cal="nz-statutory",
        tz="Pacific/Auckland",
        tags=["business", "bound", "void"],
    )
    named(
        "Korea: ten days, then a named date",
        "kr.all",
        "2026-09-14 10:00",
        "2026-09-24 20:00",
        "2026-10-05",
        "2026-10-05",
        cal="kr",
    )
    named(
        "Korea: told from Berlin, on the 25th in Seoul: void",
        "kr.all",
        "2026-09-14 10:00",
        "2026-09-24T17:00:00+02:00",
        "2026-10-05",
        "2026-09-24",
        cal="kr",
        tags=["void", "tz"],
    )
    named(
        "Singapore: a named date",
        "sg.access",
        "2026-05-01 10:00",
        "2026-05-31 23:00",
        "2026-06-30",
        "2026-06-30",
        cal="sg",
        tz="Asia/Singapore",
    )
    named(
        "Australia: a named date",
        "au.org",
        "2026-03-06 23:30",
        "2026-04-05 23:59:59",
        "2026-05-01",
        "2026-05-01",
        cal="au-nsw",
        tz="Australia/Sydney",
        tags=["dst", "bound"],
        certainty="uncertain",
    )
