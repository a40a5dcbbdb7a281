"""Pauses that leave dates uncounted: alone, together, overlapping, nested, side by side, open, late and on day 0."""

EU, UK, OTHER = "eu-gdpr.all", "uk-gdpr.access", "uk-gdpr.other"


def suspensions(build):
    def eu(title, pauses, due, received="2026-09-07 10:00", tags=(), **more):
        # Received Monday 7 Sep 2026; due Wednesday 7 Oct; 3 Oct is a holiday on a Saturday.
        build.deadline(title, EU, received, cal="de", pauses=pauses, due=due, tags=["pause", "eu", *tags], **more)

    ident, clar = "identity", "clarification"
    eu("Asked 14, answered 18 Sep: four dates", [(ident, "2026-09-14 09:00", "2026-09-18 17:00")], "2026-10-12")
    eu(
        "Asked on day 0: the day after is the first not counted",
        [(ident, "2026-09-07 11:00", "2026-09-09 09:00")],
        "2026-10-09",
    )
    eu(
        "Asked and answered on day 0: nothing",
        [(ident, "2026-09-07 11:00", "2026-09-07 12:00")],
        "2026-10-07",
        tags=["same-day"],
    )
    eu(
        "Asked before midnight, answered after it: one date",
        [(clar, "2026-09-16 23:59:59", "2026-09-17 00:00:00")],
        "2026-10-08",
    )
    eu(
        "Asked at midnight, answered before the next: nothing",
        [(clar, "2026-09-16 00:00:00", "2026-09-16 23:59:59")],
        "2026-10-07",
        tags=["same-day"],
    )
    eu(
        "Two kinds overlap: a union",
        [(ident, "2026-09-10 09:00", "2026-09-16 09:00"), (clar, "2026-09-14 09:00", "2026-09-21 09:00")],
        "2026-10-19",
        tags=["overlap"],
    )
    eu(
        "One pause inside another adds nothing",
        [(ident, "2026-09-10 09:00", "2026-09-24 09:00"), (clar, "2026-09-14 09:00", "2026-09-16 09:00")],
        "2026-10-21",
        tags=["nested"],
    )
    eu(
        "The same pause twice counts once",
        [(ident, "2026-09-10 09:00", "2026-09-11 09:00"), (ident, "2026-09-10 10:00", "2026-09-11 08:00")],
        "2026-10-08",
        tags=["overlap"],
    )
    eu(
        "The second is asked when the first is answered",
        [(ident, "2026-09-10 09:00", "2026-09-14 09:00"), (clar, "2026-09-14 09:01", "2026-09-17 09:00")],
        "2026-10-14",
        tags=["adjacent"],
    )
    eu(
        "A day between two pauses counts",
        [(ident, "2026-09-10 09:00", "2026-09-14 09:00"), (clar, "2026-09-15 09:00", "2026-09-17 09:00")],
        "2026-10-13",
        tags=["two"],
    )
    eu(
        "The order in which pauses are listed does not matter",
        [(clar, "2026-09-21 09:00", "2026-09-23 09:00"), (ident, "2026-09-10 09:00", "2026-09-14 09:00")],
        "2026-10-13",
        tags=["two"],
    )
    eu("Asked on the last day", [(ident, "2026-10-07 16:00", "2026-10-09 09:00")], "2026-10-09", tags=["edge"])
    eu(
        "Asked the day after the last one: no effect",
        [(ident, "2026-10-08 00:00:00", "2026-10-20 09:00")],
        "2026-10-07",
        tags=["late"],
    )
    eu(
        "Asked one second earlier, on the last day: it counts",
        [(ident, "2026-10-07 23:59:59", "2026-10-20 09:00")],
        "2026-10-20",
        tags=["edge"],
    )
    eu(
        "Late for the first date, in time for the one that the pause before it gave",
        [(ident, "2026-10-01 09:00", "2026-10-06 09:00"), (clar, "2026-10-12 09:00", "2026-10-14 09:00")],
        "2026-10-14",
        tags=["two", "edge"],
    )
    eu(
        "The same two, listed the other way round",
        [(clar, "2026-10-12 09:00", "2026-10-14 09:00"), (ident, "2026-10-01 09:00", "2026-10-06 09:00")],
        "2026-10-14",
        tags=["two", "edge"],
    )
    eu(
        "The pause before it is late, and so is this one",
        [(clar, "2026-10-12 09:00", "2026-10-14 09:00"), (ident, "2026-10-08 09:00", "2026-10-20 09:00")],
        "2026-10-07",
        tags=["two", "late"],
    )
    eu(
        "Three in a chain, each in time only because of the one before",
        [
            (ident, "2026-10-07 09:00", "2026-10-09 09:00"),
            (clar, "2026-10-09 10:00", "2026-10-13 09:00"),
            (ident, "2026-10-13 10:00", "2026-10-15 09:00"),
        ],
        "2026-10-15",
        tags=["two", "edge"],
    )
    eu(
        "Asked on the Sunday between the last day and the rolled one: in time",
        [(ident, "2026-10-11 12:00", "2026-10-13 09:00")],
        "2026-10-12",
        received="2026-09-10 10:00",
        tags=["roll", "edge"],
        why="10 Oct is a Saturday, the rolled date Monday 12; 12 and 13 Oct are not counted: 10 Oct + 2 = 12 Oct.",
    )
    eu(
        "The paused days end on Christmas Day, which rolls",
        [(ident, "2026-11-30 09:00", "2026-12-03 09:00")],
        "2026-12-28",
        received="2026-11-22 10:00",
        tags=["roll", "holiday"],
    )
    eu(
        "The clamp comes first, then the paused days",
        [(clar, "2027-02-01 09:00", "2027-02-03 09:00")],
        "2027-03-02",
        received="2027-01-31 10:00",
        tags=["clamp"],
    )
    eu("The whole month is paused", [(clar, "2026-09-07 10:30", "2026-10-07 10:00")], "2026-11-06")
    eu(
        "A pause over the end of summer time",
        [(ident, "2026-10-23 23:30", "2026-10-26 00:30")],
        "2026-11-18",
        received="2026-10-15 10:00",
        tags=["dst"],
    )
    eu(
        "The fee and the controller stop nothing under the GDPR",
        [("fee", "2026-09-10 09:00", "2026-09-20 09:00"), ("controller", "2026-09-10 09:00", "2026-09-20 09:00")],
        "2026-10-07",
        tags=["none"],
    )
    eu(
        "An open pause of a kind that stops nothing",
        [("fee", "2026-09-10 09:00", None)],
        "2026-10-07",
        as_of="2026-09-30 12:00",
        tags=["none", "open"],
    )
    eu(
        "Still waiting: provisional",
        [(ident, "2026-09-10 09:00", None)],
        "2026-10-19",
        as_of="2026-09-20 12:00",
        tags=["open"],
    )
    eu(
        "Still waiting two days later: the same Monday",
        [(ident, "2026-09-10 09:00", None)],
        "2026-10-19",
        as_of="2026-09-22 12:00",
        tags=["open"],
    )
    eu(
        "Still waiting since today: provisional, no day lost yet",
        [(ident, "2026-09-10 09:00", None)],
        "2026-10-07",
        as_of="2026-09-10 12:00",
        tags=["open"],
    )
    eu(
        "One answered, one open",
        [(ident, "2026-09-10 09:00", "2026-09-14 09:00"), (clar, "2026-09-12 09:00", None)],
        "2026-10-15",
        as_of="2026-09-18 12:00",
        tags=["open", "overlap"],
    )
    eu(
        "Both open",
        [(ident, "2026-09-10 09:00", None), (clar, "2026-09-15 09:00", None)],
        "2026-10-15",
        as_of="2026-09-18 12:00",
        tags=["open", "overlap"],
    )
    eu(
        "As-of without an open pause changes nothing",
        [(ident, "2026-09-14 09:00", "2026-09-18 17:00")],
        "2026-10-12",
        as_of="2026-09-30 12:00",
        tags=["open"],
    )

    asked = [(ident, "2026-09-14 09:00", "2026-09-18 17:00")]
    eu(
        "Deletion: the controller did not choose that pauses count",
        asked,
        "2026-10-07",
        type="deletion",
        tags=["opt-in"],
    )
    eu(
        "Deletion: the controller chose that pauses count",
        asked,
        "2026-10-12",
        type="deletion",
        opt_in=True,
        tags=["opt-in"],
    )
    eu(
        "Portability: the controller chose that they do not",
        asked,
        "2026-10-07",
        type="portability",
        opt_in=False,
        tags=["opt-in"],
    )
    eu(
        "Restriction, still waiting, not chosen: runs on",
        [(ident, "2026-09-10 09:00", None)],
        "2026-10-07",
        type="restriction",
        as_of="2026-09-20 12:00",
        tags=["opt-in", "open"],
    )
    eu(
        "Objection, still waiting, chosen: paused",
        [(ident, "2026-09-10 09:00", None)],
        "2026-10-19",
        type="objection",
        as_of="2026-09-22 12:00",
        opt_in=True,
        tags=["opt-in", "open"],
    )


def clarifications(build):
    def uk(title, pauses, due, received="2026-06-01 10:00", rule=UK, tags=(), **more):
        # Received Monday 1 Jun 2026; due Wednesday 1 Jul.
        build.deadline(title, rule, received, cal="gb-eng", pauses=pauses, due=due, tags=["pause", "uk", *tags], **more)

    clar = "clarification"
    uk(
        "Asked and answered the same day: that day is not counted",
        [(clar, "2026-06-10 09:00", "2026-06-10 17:00")],
        "2026-07-02",
        tags=["same-day"],
    )
    uk(
        "Asked on day 0: day 0 was not counted anyway",
        [(clar, "2026-06-01 11:00", "2026-06-03 09:00")],
        "2026-07-03",
        tags=["edge"],
    )
    uk(
        "Asked and answered on day 0: nothing",
        [(clar, "2026-06-01 11:00", "2026-06-01 12:00")],
        "2026-07-01",
        tags=["edge", "same-day"],
    )
    uk(
        "Side by side with a common day: it counts once",
        [(clar, "2026-06-08 09:00", "2026-06-10 09:00"), (clar, "2026-06-10 10:00", "2026-06-12 09:00")],
        "2026-07-06",
        tags=["adjacent"],
    )
    uk(
        "Side by side without a common day",
        [(clar, "2026-06-08 09:00", "2026-06-10 09:00"), (clar, "2026-06-11 10:00", "2026-06-12 09:00")],
        "2026-07-06",
        tags=["adjacent"],
    )
    uk(
        "Three that overlap in a row",
        [
            (clar, "2026-06-08 09:00", "2026-06-12 09:00"),
            (clar, "2026-06-11 09:00", "2026-06-16 09:00"),
            (clar, "2026-06-16 09:00", "2026-06-19 09:00"),
        ],
        "2026-07-13",
        tags=["overlap"],
    )
    uk(
        "One inside another",
        [(clar, "2026-06-08 09:00", "2026-06-19 09:00"), (clar, "2026-06-10 09:00", "2026-06-12 09:00")],
        "2026-07-13",
        tags=["nested"],
    )
    uk(
        "On the last day, for an hour: one more day",
        [(clar, "2026-07-01 09:00", "2026-07-01 10:00")],
        "2026-07-02",
        tags=["edge"],
    )
    uk("On the day after: no effect", [(clar, "2026-07-02 00:00:00", "2026-07-05 10:00")], "2026-07-01", tags=["late"])
    uk(
        "23:30 UTC is the next day in summer London",
        [(clar, "2026-06-09T23:30:00Z", "2026-06-10T23:30:00Z")],
        "2026-07-03",
        tags=["tz"],
    )
    uk(
        "Still waiting for a clarification",
        [(clar, "2026-06-10 09:00", None)],
        "2026-07-06",
        as_of="2026-06-14 12:00",
        tags=["open"],
    )
    uk(
        "A correction is not paused by a question, even an open one",
        [(clar, "2026-06-10 09:00", None)],
        "2026-07-01",
        rule=OTHER,
        type="correction",
        as_of="2026-06-14 12:00",
        tags=["open", "none"],
    )
