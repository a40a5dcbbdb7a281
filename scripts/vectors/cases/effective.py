"""The date to work by: the contract's, or the law's less a buffer; the buffer used up; ties."""

import datetime as dt

GDPR, CCPA, WORK, DAYS30 = "eu-gdpr.all", "us-ca-ccpa.requests", "contract.deletion", "contract.access"


def dates_to_work_by(build):
    def both(title, law, contract, received, instructed, type="deletion", cal="de", **more):
        build.effective(title, law, contract, received, instructed, type=type, cal=cal, **more)

    both("Deletion passed on the same day", GDPR, WORK, "2026-09-07 10:00", "2026-09-07 12:00", due="2026-09-30")
    both("Deletion passed on after a week", GDPR, WORK, "2026-09-07 10:00", "2026-09-14 12:00", due="2026-09-30")
    both(
        "Access: 30 days against a month less five business days",
        GDPR,
        DAYS30,
        "2026-09-07 10:00",
        "2026-09-08 12:00",
        "access",
        due="2026-09-30",
    )
    both(
        "Ten business days to assist come first",
        GDPR,
        "dpa.assist",
        "2026-09-07 10:00",
        "2026-09-08 12:00",
        due="2026-09-22",
    )
    both(
        "The buffer is counted back over New Year", GDPR, WORK, "2026-12-05 10:00", "2026-12-07 10:00", due="2026-12-28"
    )
    both(
        "The buffer is counted back over Easter",
        GDPR,
        DAYS30,
        "2027-03-01 10:00",
        "2027-03-02 10:00",
        "access",
        due="2027-03-23",
    )
    both(
        "The law's date is on a Saturday: five business days before it",
        CCPA,
        WORK,
        "2026-07-22 10:00",
        "2026-07-23 10:00",
        cal="us-federal",
        tz="America/Los_Angeles",
        due="2026-08-31",
    )
    both(
        "California: 30 business days against 45 days",
        CCPA,
        WORK,
        "2026-12-01 10:00",
        "2026-12-02 10:00",
        cal="us-federal",
        tz="America/Los_Angeles",
        due="2027-01-08",
    )
    both(
        "Iowa's 90 days: the contract binds",
        "us-ia.requests",
        WORK,
        "2027-02-01 10:00",
        "2027-02-02 10:00",
        cal="us-federal",
        tz="America/Chicago",
        due="2027-03-17",
    )
    both(
        "Access under Iowa's 90 days: 30 days bind",
        "us-ia.requests",
        DAYS30,
        "2027-02-01 10:00",
        "2027-02-02 10:00",
        "access",
        cal="us-federal",
        tz="America/Chicago",
        due="2027-03-04",
    )
    both(
        "England: a month",
        "uk-gdpr.other",
        WORK,
        "2026-08-03 10:00",
        "2026-08-04 10:00",
        cal="gb-eng",
        due="2026-08-26",
    )
    both(
        "Quebec: 30 days on a Sunday",
        "ca-qc.access",
        WORK,
        "2026-05-08 10:00",
        "2026-05-11 10:00",
        cal="ca-qc",
        tz="America/Toronto",
        due="2026-06-01",
    )
    both(
        "Israel: a weekend of Friday and Saturday",
        "il.access",
        WORK,
        "2026-10-11 10:00",
        "2026-10-12 10:00",
        cal="il",
        due="2026-11-03",
    )
    both(
        "No buffer: the law's date itself",
        GDPR,
        WORK,
        "2026-09-07 10:00",
        "2026-09-08 12:00",
        buffer=0,
        due="2026-10-07",
    )
    both("A buffer of one day", GDPR, WORK, "2026-09-07 10:00", "2026-09-08 12:00", buffer=1, due="2026-10-06")
    both("A buffer of ten days", GDPR, WORK, "2026-09-07 10:00", "2026-09-08 12:00", buffer=10, due="2026-09-23")
    both(
        "The instruction's date is the local one",
        GDPR,
        DAYS30,
        "2026-09-07T23:30:00Z",
        "2026-09-08T23:30:00Z",
        "access",
        due="2026-10-01",
    )
    tie = tie_between(build, GDPR, DAYS30)
    both(
        "The law's buffered date and the contract's are the same",
        GDPR,
        DAYS30,
        f"{tie} 10:00",
        f"{tie} 11:00",
        "access",
        buffer=0,
        tags=["tie"],
    )
    both(
        "The same with a buffer: the law is named",
        GDPR,
        "dpa.assist",
        "2026-09-07 10:00",
        "2026-09-16 10:00",
        due="2026-09-30",
        tags=["tie"],
    )


def tie_between(build, law, contract):
    """A day in 2027 from which a month and thirty days end together, with no roll."""
    closed = set(build.calendars["de"]["days"])
    day = dt.date(2027, 1, 4)
    while True:
        month = (day.replace(day=1) + dt.timedelta(days=32)).replace(day=min(day.day, 28))
        if (
            day.day <= 28
            and month == day + dt.timedelta(days=30)
            and month.weekday() < 5
            and month.isoformat() not in closed
        ):
            return day.isoformat()
        day += dt.timedelta(days=1)


def too_late(build):
    def late(title, law, contract, received, instructed, due, type="deletion", cal="de", tags=(), **more):
        build.effective(
            title, law, contract, received, instructed, type=type, cal=cal, due=due, tags=["exhausted", *tags], **more
        )

    # GDPR, received 7 Sep 2026: due 7 Oct, buffered 30 Sep.
    late(
        "Instructed the day before the buffered date: still worked to",
        GDPR,
        WORK,
        "2026-09-07 10:00",
        "2026-09-29 10:00",
        "2026-09-30",
        tags=["edge"],
    )
    late(
        "Instructed on the buffered date: the buffer is used up",
        GDPR,
        WORK,
        "2026-09-07 10:00",
        "2026-09-30 00:00",
        "2026-10-07",
        tags=["edge"],
    )
    late(
        "Instructed in the last second before it",
        GDPR,
        WORK,
        "2026-09-07 10:00",
        "2026-09-29 23:59:59",
        "2026-09-30",
        tags=["edge"],
    )
    late("Instructed two days before the law's date", GDPR, WORK, "2026-09-07 10:00", "2026-10-05 10:00", "2026-10-07")
    late(
        "Instructed after the law's date: it stays overdue",
        GDPR,
        WORK,
        "2026-09-07 10:00",
        "2026-10-12 10:00",
        "2026-10-07",
    )
    late(
        "Used up, and the contract is earlier",
        GDPR,
        "contract.forward",
        "2026-09-07 10:00",
        "2026-10-01 10:00",
        "2026-10-05",
        type="misdirected_request",
    )
    late(
        "Korea: ten days, instructed on the fourth",
        "kr.all",
        WORK,
        "2026-09-07 10:00",
        "2026-09-11 10:00",
        "2026-09-17",
        cal="kr",
    )
    late(
        "Kenya: seven days for access",
        "ke.access",
        DAYS30,
        "2026-09-07 10:00",
        "2026-09-08 10:00",
        "2026-09-14",
        type="access",
        cal="ke",
        tz="Africa/Nairobi",
    )
    late(
        "Argentina: five business days to correct",
        "ar.rectify",
        DAYS30,
        "2026-09-07 10:00",
        "2026-09-07 12:00",
        "2026-09-14",
        type="correction",
        cal="ar",
        tz="America/Argentina/Buenos_Aires",
    )
    late(
        "A buffer of thirty business days is used up at once",
        GDPR,
        WORK,
        "2026-09-07 10:00",
        "2026-09-07 12:00",
        "2026-10-07",
        buffer=30,
    )
