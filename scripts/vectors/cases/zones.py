"""Time zones: the local date of a receipt, the first instant of the next day, and one instant in many offsets."""

DAYS30 = "contract.access"


def receipts(build):
    def pair(place, zone, day, due, next_due):
        """The last second of a day and the first of the next are a day apart."""
        year, month, number = day.split("-")
        after = f"{year}-{month}-{int(number) + 1:02}"
        build.deadline(
            f"{place}: the last second of the day",
            DAYS30,
            f"{day} 23:59:59",
            tz=zone,
            cal="none",
            due=due,
            tags=["tz", "boundary"],
        )
        build.deadline(
            f"{place}: the first second of the next",
            DAYS30,
            f"{after} 00:00:00",
            tz=zone,
            cal="none",
            due=next_due,
            tags=["tz", "boundary"],
        )

    pair("Kiritimati, +14", "Pacific/Kiritimati", "2027-06-09", "2027-07-09", "2027-07-10")
    pair("Pago Pago, -11", "Pacific/Pago_Pago", "2027-06-09", "2027-07-09", "2027-07-10")
    pair("Chatham, +12:45", "Pacific/Chatham", "2027-06-09", "2027-07-09", "2027-07-10")
    pair("Marquesas, -9:30", "Pacific/Marquesas", "2027-06-09", "2027-07-09", "2027-07-10")
    pair("Lord Howe, half an hour of summer time", "Australia/Lord_Howe", "2027-03-20", "2027-04-19", "2027-04-20")
    pair("Newfoundland, -2:30 in summer", "America/St_Johns", "2027-06-09", "2027-07-09", "2027-07-10")
    pair("Kathmandu, +5:45", "Asia/Kathmandu", "2027-06-09", "2027-07-09", "2027-07-10")

    def at(title, rule, received, zone, due, cal="none", tags=(), **more):
        build.deadline(title, rule, received, tz=zone, cal=cal, due=due, tags=["tz", *tags], **more)

    at(
        "The last millisecond of August in Berlin",
        "eu-gdpr.all",
        "2026-08-31T21:59:59.999Z",
        "Europe/Berlin",
        "2026-09-30",
        "de",
    )
    at(
        "A millisecond later it is September",
        "eu-gdpr.all",
        "2026-08-31T22:00:00.000Z",
        "Europe/Berlin",
        "2026-10-01",
        "de",
    )
    at(
        "New Year's Eve in Honolulu is New Year's Day in Auckland",
        "nz.ipp6_ipp7",
        "2027-12-31T02:00:00-10:00",
        "Pacific/Auckland",
        "2028-02-14",
        "nz-statutory",
        certainty="uncertain",
    )
    at(
        "Leap day in Los Angeles, 1 March in Berlin",
        "eu-gdpr.all",
        "2028-02-29T16:00:00-08:00",
        "Europe/Berlin",
        "2028-04-03",
        "de",
        tags=["leap"],
    )
    at(
        "Leap day in Berlin, told from Tokyo on 1 March",
        "eu-gdpr.all",
        "2028-03-01T07:59:59+09:00",
        "Europe/Berlin",
        "2028-03-29",
        "de",
        tags=["leap"],
    )
    at(
        "Received in the hour that summer time skips, as the clock would have shown it",
        DAYS30,
        "2026-03-29T02:30:00+01:00",
        "Europe/Berlin",
        "2026-04-28",
        tags=["dst", "gap"],
    )
    at(
        "Received in the hour that comes twice, the first time",
        DAYS30,
        "2026-10-25T02:30:00+02:00",
        "Europe/Berlin",
        "2026-11-24",
        tags=["dst", "overlap"],
    )
    at(
        "Received in the hour that comes twice, the second time",
        DAYS30,
        "2026-10-25T02:30:00+01:00",
        "Europe/Berlin",
        "2026-11-24",
        tags=["dst", "overlap"],
    )
    at(
        "Azores: the midnight that comes twice, the first time",
        DAYS30,
        "2026-10-25T00:00:00+00:00",
        "Atlantic/Azores",
        "2026-11-24",
        tags=["dst", "overlap"],
    )
    at(
        "Azores: a second before that midnight",
        DAYS30,
        "2026-10-24T23:59:59+00:00",
        "Atlantic/Azores",
        "2026-11-23",
        tags=["dst", "overlap"],
    )
    at(
        "Santiago: the last hour of the day comes twice",
        DAYS30,
        "2026-04-05T03:30:00Z",
        "America/Santiago",
        "2026-05-04",
        tags=["dst", "overlap"],
        why="At 24:00 on 4 April the clock goes back to 23:00: 03:30 UTC is 23:30 on the 4th.",
    )


def bounds(build):
    def ends(title, zone, received, due, tags=(), rule=DAYS30, cal="none", **more):
        build.deadline(title, rule, f"{received} 10:00", tz=zone, cal=cal, due=due, tags=["tz", "bound", *tags], **more)

    gap, twice = ["dst", "no-midnight"], ["dst", "two-midnights"]
    ends("Cairo 2024: the next day begins at 01:00", "Africa/Cairo", "2024-03-26", "2024-04-25", gap)
    ends("Cairo 2027: the next day begins at 01:00", "Africa/Cairo", "2027-03-30", "2027-04-29", gap)
    ends("Beirut: the next day begins at 01:00", "Asia/Beirut", "2026-02-26", "2026-03-28", gap)
    ends("Santiago: the next day begins at 01:00", "America/Santiago", "2026-08-06", "2026-09-05", gap)
    ends(
        "Asuncion 2024, the last summer time: the next day begins at 01:00",
        "America/Asuncion",
        "2024-09-05",
        "2024-10-05",
        gap,
    )
    ends("Havana: the next day begins at 01:00", "America/Havana", "2026-02-05", "2026-03-07", gap)
    ends("Nuuk: the day ends an hour early, at 23:00", "America/Nuuk", "2026-02-26", "2026-03-28", ["dst"])
    ends("Nuuk: the day has its last hour twice", "America/Nuuk", "2026-09-24", "2026-10-24", ["dst"])
    ends("Cairo: the day has its last hour twice", "Africa/Cairo", "2026-09-29", "2026-10-29", ["dst"])
    ends(
        "Azores: midnight comes twice, the first one ends the day", "Atlantic/Azores", "2026-09-24", "2026-10-24", twice
    )
    ends("Azores: the day that begins twice", "Atlantic/Azores", "2026-09-25", "2026-10-25", twice)
    ends(
        "Havana: midnight comes twice, the first one ends the day", "America/Havana", "2025-10-02", "2025-11-01", twice
    )
    ends(
        "Lord Howe: half an hour is skipped on the due day", "Australia/Lord_Howe", "2026-09-04", "2026-10-04", ["dst"]
    )
    ends("Chatham: the due day has 25 hours", "Pacific/Chatham", "2026-03-06", "2026-04-05", ["dst"])
    ends("Casablanca: the clock goes back for Ramadan", "Africa/Casablanca", "2026-01-16", "2026-02-15", ["dst"])
    ends("Troll: the clock moves two hours", "Antarctica/Troll", "2026-02-27", "2026-03-29", ["dst"])
    ends("Kiritimati: the first day on earth to end", "Pacific/Kiritimati", "2026-09-01", "2026-10-01")
    ends("Pago Pago: the last day on earth to end", "Pacific/Pago_Pago", "2026-09-01", "2026-10-01")
    ends("Kolkata", "Asia/Kolkata", "2028-01-30", "2028-02-29", ["leap"])
    ends("Berlin: due on the Sunday with 23 hours", "Europe/Berlin", "2027-02-26", "2027-03-28", ["dst"])
    ends("Berlin: due on the Sunday with 25 hours", "Europe/Berlin", "2027-10-01", "2027-10-31", ["dst"])
    ends(
        "London: a month over the begin of summer time",
        "Europe/London",
        "2027-03-01",
        "2027-04-01",
        ["dst", "uk"],
        "uk-gdpr.access",
        "gb-eng",
    )
    ends(
        "Sydney: 30 days over the begin of summer time",
        "Australia/Sydney",
        "2026-09-04",
        "2026-10-04",
        ["dst", "au"],
        "au.org",
        "au-nsw",
        certainty="uncertain",
    )
    ends(
        "Dublin, where winter time is the exception",
        "Europe/Dublin",
        "2026-10-20",
        "2026-11-20",
        ["dst", "eu"],
        "eu-gdpr.all",
        "ie",
    )
    ends(
        "Sao Paulo has no summer time any more",
        "America/Sao_Paulo",
        "2026-10-20",
        "2026-11-04",
        ["br"],
        "br-lgpd.access_full",
        "br",
    )
    ends("Istanbul stays on +03 all year", "Europe/Istanbul", "2026-10-10", "2026-11-09", ["tr"], "tr.all", "tr")
    build.status(
        "A day after which there is no midnight is over at 01:00",
        "2027-04-29T22:00:00Z",
        [
            "2027-04-29T21:59:59.999Z",
            "2027-04-29T23:59:59.999+02:00",
            "2027-04-29T22:00:00Z",
            "2027-04-30T01:00:00+03:00",
        ],
    )
    build.status(
        "Of two midnights the first is too late",
        "2026-10-25T00:00:00Z",
        [
            "2026-10-24T23:59:59+00:00",
            "2026-10-25T00:00:00+00:00",
            "2026-10-25T00:00:00-01:00",
            "2026-10-24T23:00:00-01:00",
        ],
    )
    build.status(
        "A millisecond decides",
        "2026-07-01T10:00:00Z",
        [
            "2026-07-01T09:59:59.999Z",
            "2026-07-01T10:00:00.000Z",
            "2026-07-02T00:00:00+14:00",
            "2026-06-30T23:00:00-11:00",
        ],
    )


def one_instant(build):
    same = [
        "2026-03-31T22:30:00Z",
        "2026-04-01T00:30:00+02:00",
        "2026-03-31T15:30:00-07:00",
        "2026-04-01T12:30:00+14:00",
        "2026-03-31T11:30:00-11:00",
        "2026-04-01T04:15:00+05:45",
    ]
    for received in same:
        build.deadline(
            f"One instant, written {received[19:]}",
            "eu-gdpr.all",
            received,
            tz="Europe/Berlin",
            cal="de",
            due="2026-05-04",
            tags=["tz", "same-instant"],
        )
    for zone, due in (
        ("Pacific/Auckland", "2026-05-01"),
        ("Asia/Tokyo", "2026-05-01"),
        ("Europe/London", "2026-04-30"),
        ("America/New_York", "2026-04-30"),
        ("Pacific/Honolulu", "2026-04-30"),
    ):
        build.deadline(
            f"That instant, where the clock runs in {zone}", DAYS30, same[0], tz=zone, cal="none", due=due, tags=["tz"]
        )
