"""Rolls over chains of days that are not worked, with the shipped calendars of many countries."""

import datetime as dt
import random

from build import zone_of

CALENDARS = (
    "at be bg cy cz de dk ee es fi fr gr hr hu ie it lt lu lv mt nl pl pt ro se si sk is li no gb-eng gb-sct gb-nir de-by "
    "de-be de-sn de-th es-ct es-md fr-57 it-bz pt-20"
).split()


def is_open(calendar, day):
    return day.weekday() < 5 and day.isoformat() not in calendar["days"]


def chains(calendar):
    """Stretches of closed days with at least one holiday on a weekday, as (first day, length)."""
    day, found = dt.date(2024, 3, 1), []
    while day.isoformat() < min(calendar["valid_until"], "2030-11-20"):
        length, holiday = 0, False
        while not is_open(calendar, day + dt.timedelta(days=length)):
            inside = day + dt.timedelta(days=length)
            holiday |= inside.weekday() < 5
            length += 1
        if holiday and length >= 3:
            found.append((day, length))
        day += dt.timedelta(days=max(length, 1))
    return found


def chains_of_holidays(build):
    drawn = random.Random(7)
    for name in CALENDARS:
        calendar = build.calendars[name]
        ranked = sorted(chains(calendar), key=lambda chain: (-chain[1], chain[0]))
        # The due day falls on the first day of one of the longest chains, so that all of it is rolled over.
        longest = [chain for chain in ranked if chain[1] == ranked[0][1] and chain[0].day <= 28] or ranked
        first, length = drawn.choice(longest)
        received = (first.replace(day=1) - dt.timedelta(days=1)).replace(day=min(first.day, 28))
        rule = "uk-gdpr.access" if name.startswith("gb") else "eu-gdpr.all"
        due = first + dt.timedelta(days=length)
        build.deadline(
            f"{calendar['name']}: {length} days off from {first:%-d %b %Y}",
            rule,
            f"{received} 09:30",
            cal=name,
            tz=zone_of(name),
            due=due.isoformat() if first.day <= 28 else None,
            tags=["roll", "holiday", name],
        )


def sundays_and_holidays(build):
    def za(title, rule, received, due, type, **more):
        build.deadline(
            title,
            rule,
            f"{received} 10:00",
            cal="za",
            tz="Africa/Johannesburg",
            type=type,
            due=due,
            tags=["roll", "za"],
            certainty="uncertain",
            **more,
        )

    popia, paia = "za-popia.correct", "za-paia.access"
    za("Due Good Friday -> Saturday, which counts as a day", popia, "2026-03-04", "2026-04-04", "deletion")
    za("Due Easter Sunday -> Tuesday, over Family Day", popia, "2026-03-06", "2026-04-07", "correction")
    za("Due 26 Dec 2026, a holiday on a Saturday -> Monday 28", popia, "2026-11-26", "2026-12-28", "objection")
    za("Due Saturday 11 Jul 2026, no holiday: stays", paia, "2026-06-11", "2026-07-11", "access")
    za("Due Sunday 9 Aug 2026, a holiday, its Monday too -> 11 Aug", paia, "2026-07-10", "2026-08-11", "access")
    za(
        "60 days to Sunday 3 May 2026 -> Monday",
        paia,
        "2026-03-04",
        "2026-05-04",
        "access",
        extended="2026-03-20 10:00",
    )
    za(
        "60 days to Friday 1 May 2026, a holiday -> Saturday 2",
        paia,
        "2026-03-02",
        "2026-05-02",
        "access",
        extended="2026-03-20 10:00",
    )

    def plain(title, holidays, received, due, **more):
        build.deadline(
            title,
            "eu-gdpr.all",
            received,
            tz="Europe/Berlin",
            cal="none",
            holidays=holidays,
            due=due,
            tags=["roll", "custom-holidays"],
            **more,
        )

    week = [f"2026-08-{day}" for day in range(10, 15)]
    plain("A week of holidays between two weekends: nine days", week, "2026-07-08 10:00", "2026-08-17")
    plain("A holiday on the Saturday changes nothing", ["2026-08-08"], "2026-07-08 10:00", "2026-08-10")
    plain(
        "A weekend day that is worked stops the roll",
        ["2026-08-07"],
        "2026-07-07 10:00",
        "2026-08-08",
        worked=["2026-08-08"],
    )
    plain(
        "A weekend of Friday and Saturday: due Friday -> Sunday",
        [],
        "2026-07-07 10:00",
        "2026-08-09",
        weekend=["fri", "sat"],
    )
    plain("No weekend at all: due Sunday stays", [], "2026-07-09 10:00", "2026-08-09", weekend=[])
    plain("No weekend, but a holiday", ["2026-08-09"], "2026-07-09 10:00", "2026-08-10", weekend=[])
