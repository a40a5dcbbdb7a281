"""Waiting that moves the start (identity, fee), and waiting for the controller under a contract."""

UK, OTHER = "uk-gdpr.access", "uk-gdpr.other"


def relevant_times(build):
    def uk(title, pauses, due, rule=UK, tags=(), **more):
        # Received Monday 1 Jun 2026; due Wednesday 1 Jul.
        build.deadline(
            title,
            rule,
            "2026-06-01 10:00",
            cal="gb-eng",
            pauses=pauses,
            due=due,
            tags=["pause", "reset", *tags],
            **more,
        )

    ident, fee, clar = "identity", "fee", "clarification"
    uk(
        "The identity arrived on the day of the request",
        [(ident, "2026-06-01 11:00", "2026-06-01 15:00")],
        "2026-07-01",
    )
    uk(
        "The identity arrived a second after midnight",
        [(ident, "2026-06-01 11:00", "2026-06-02 00:00:01")],
        "2026-07-02",
    )
    uk(
        "The fee, then the identity: the latest",
        [(fee, "2026-06-01 11:00", "2026-06-04 15:00"), (ident, "2026-06-01 11:00", "2026-06-09 15:00")],
        "2026-07-09",
    )
    uk(
        "The identity asked twice: the later answer",
        [(ident, "2026-06-01 11:00", "2026-06-04 15:00"), (ident, "2026-06-08 11:00", "2026-06-12 15:00")],
        "2026-07-13",
    )
    uk(
        "A question before the identity came does not matter",
        [(clar, "2026-06-02 09:00", "2026-06-08 09:00"), (ident, "2026-06-02 09:00", "2026-06-10 09:00")],
        "2026-07-10",
        tags=["several"],
    )
    uk(
        "A question over the day on which the identity came",
        [(clar, "2026-06-08 09:00", "2026-06-12 09:00"), (ident, "2026-06-02 09:00", "2026-06-10 09:00")],
        "2026-07-13",
        tags=["several"],
        why="Day 0 is 10 June; of the question only 11 and 12 June are after it: 10 July + 2, a Sunday.",
    )
    uk(
        "Identity, fee and a question",
        [
            (ident, "2026-06-01 11:00", "2026-06-05 09:00"),
            (fee, "2026-06-03 09:00", "2026-06-08 09:00"),
            (clar, "2026-06-15 09:00", "2026-06-17 09:00"),
        ],
        "2026-07-13",
        tags=["several"],
        why="Day 0 is 8 June; three days are not counted: 8 July + 3, a Saturday.",
    )
    uk(
        "The fee is still missing",
        [(fee, "2026-06-02 09:00", None)],
        "2026-07-20",
        as_of="2026-06-20 12:00",
        tags=["open"],
    )
    uk(
        "The fee came, the identity is missing",
        [(fee, "2026-06-02 09:00", "2026-06-08 09:00"), (ident, "2026-06-02 09:00", None)],
        "2026-07-13",
        as_of="2026-06-12 12:00",
        tags=["open", "several"],
    )
    uk(
        "Identity and question both open: not started",
        [(clar, "2026-06-03 09:00", None), (ident, "2026-06-02 09:00", None)],
        "2026-07-13",
        as_of="2026-06-12 12:00",
        tags=["open", "several"],
    )
    uk(
        "Deletion: the identity moves the start as well",
        [(ident, "2026-06-02 09:00", "2026-06-10 09:00")],
        "2026-07-10",
        rule=OTHER,
        type="deletion",
    )
    uk(
        "The relevant time on the last day of a month",
        [(ident, "2026-06-02 09:00", "2026-06-30 09:00")],
        "2026-07-30",
        tags=["month-end"],
    )

    def swiss(title, pauses, due, tags=(), **more):
        build.deadline(
            title,
            "ch-fadp.access",
            "2026-06-01 10:00",
            cal="ch-zh",
            pauses=pauses,
            due=due,
            tags=["pause", "reset", "ch", *tags],
            **more,
        )

    swiss(
        "The cost share is still being thought over",
        [(fee, "2026-06-03 09:00", None)],
        "2026-07-10",
        tags=["open", "fee"],
        as_of="2026-06-10 12:00",
    )
    swiss(
        "Asking for the identity does not stop the 30 days",
        [(ident, "2026-06-03 09:00", "2026-06-10 09:00")],
        "2026-07-01",
        tags=["none"],
    )
    swiss(
        "The cost share and a question: only the first matters",
        [(fee, "2026-06-03 09:00", "2026-06-13 09:00"), (clar, "2026-06-03 09:00", "2026-06-20 09:00")],
        "2026-07-13",
        tags=["fee", "several"],
    )
    build.deadline(
        "California: verification never stops the 45 days",
        "us-ca-ccpa.requests",
        "2026-06-01 10:00",
        tz="America/Los_Angeles",
        cal="us-federal",
        type="deletion",
        due="2026-07-16",
        tags=["pause", "none", "us"],
        pauses=[(ident, "2026-06-02 09:00", "2026-06-30 09:00"), (clar, "2026-06-02 09:00", None)],
        as_of="2026-07-01 12:00",
    )


def contracts(build):
    def contract(title, rule, pauses, due, received="2026-09-01 10:00", tags=(), **more):
        # Received Tuesday 1 Sep 2026: 30 days end on 1 Oct, 30 business days on 13 Oct.
        build.deadline(
            title, rule, received, cal="de", pauses=pauses, due=due, tags=["pause", "contract", *tags], **more
        )

    days, work, own = "contract.access", "contract.deletion", "controller"
    contract(
        "Waiting for the controller over a weekend, calendar days",
        days,
        [(own, "2026-09-04 17:00", "2026-09-07 09:00")],
        "2026-10-04",
    )
    contract(
        "The same in business days: one",
        work,
        [(own, "2026-09-04 17:00", "2026-09-07 09:00")],
        "2026-10-14",
        target=10,
        tags=["business"],
    )
    contract(
        "Two waits in business days",
        work,
        [(own, "2026-09-04 09:00", "2026-09-08 09:00"), (own, "2026-09-21 09:00", "2026-09-22 09:00")],
        "2026-10-16",
        target=20,
        tags=["business", "two"],
    )
    contract(
        "Overlapping waits in business days",
        work,
        [(own, "2026-09-04 09:00", "2026-09-10 09:00"), (own, "2026-09-08 09:00", "2026-09-15 09:00")],
        "2026-10-22",
        tags=["business", "overlap"],
    )
    contract(
        "A wait over a holiday: the holiday is not lost twice",
        work,
        [(own, "2026-12-22 09:00", "2026-12-28 09:00")],
        "2027-01-21",
        received="2026-12-03 10:00",
        target=10,
        tags=["business", "holiday"],
    )
    contract(
        "A wait in which every day was off anyway",
        work,
        [(own, "2026-12-24 18:00", "2026-12-27 20:00")],
        "2027-01-18",
        received="2026-12-03 10:00",
        tags=["business", "holiday"],
    )
    contract(
        "Still waiting for the controller, business days",
        work,
        [(own, "2026-09-10 09:00", None)],
        "2026-10-19",
        as_of="2026-09-16 12:00",
        tags=["business", "open"],
    )
    contract(
        "Still waiting for the controller, calendar days",
        days,
        [(own, "2026-09-10 09:00", None)],
        "2026-10-07",
        as_of="2026-09-16 12:00",
        tags=["open"],
    )
    contract(
        "A wait begun after 30 business days: no effect",
        work,
        [(own, "2026-10-14 09:00", "2026-10-20 09:00")],
        "2026-10-13",
        tags=["business", "late"],
    )
    contract(
        "A wait begun after 30 days: no effect",
        days,
        [(own, "2026-10-02 00:00:00", "2026-10-20 09:00")],
        "2026-10-01",
        tags=["late"],
    )
    contract(
        "A wait begun on the 30th day: it counts",
        days,
        [(own, "2026-10-01 23:00", "2026-10-05 09:00")],
        "2026-10-05",
        tags=["edge"],
    )
    contract(
        "The person's identity does not stop the contract's clock",
        days,
        [("identity", "2026-09-04 17:00", "2026-09-11 09:00")],
        "2026-10-01",
        tags=["none"],
    )
    contract(
        "Ten business days to assist, five of them waited for",
        "dpa.assist",
        [(own, "2026-09-04 17:00", "2026-09-11 09:00")],
        "2026-09-22",
        tags=["business", "dpa"],
    )
    contract(
        "A wait over the internal target moves it too",
        work,
        [(own, "2026-09-10 09:00", "2026-09-21 09:00")],
        "2026-10-22",
        target=10,
        tags=["business", "target"],
    )
    contract(
        "A wait after the internal target leaves it",
        work,
        [(own, "2026-09-21 09:00", "2026-09-25 09:00")],
        "2026-10-19",
        target=10,
        tags=["business", "target"],
    )
