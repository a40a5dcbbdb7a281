"""Every rule of the table once, at times drawn with a fixed seed."""

import datetime as dt
import random
from zoneinfo import ZoneInfo

from build import Disagreement, zone_of

SEED = 20261122
STAND_INS = {
    "member-state-of-controller": "de",
    "ch-canton": "ch-zh",
    "tenant": "de",
}


def every_rule(build):
    drawn = random.Random(SEED)
    for rule, law in build.rules.law_of.items():
        for _ in range(100):
            before = len(build.vectors)
            try:
                one(build, drawn, rule, law)
                break
            except Disagreement:  # drawn onto an open reading: draw again
                del build.vectors[before:]
        else:
            raise AssertionError(f"{rule}: nothing could be drawn")


def one(build, drawn, rule, law):
    shape = build.rules.by_id[rule]
    calendar = STAND_INS.get(law["calendar"], law["calendar"])
    calendar = build.calendars[calendar]["id"]
    zone = zone_of(calendar) if law["calendar"] in STAND_INS else law["default_tz"]
    last = build.calendars[calendar]["valid_until"]
    span = (dt.date.fromisoformat(last) - dt.date(2024, 2, 1)).days - 240
    day = dt.datetime(2024, 2, 1) + dt.timedelta(days=drawn.randrange(span), seconds=drawn.randrange(86400))
    moment = day.replace(tzinfo=ZoneInfo(zone))
    received = moment.isoformat()
    if drawn.random() < 0.3:  # the same instant, as another clock shows it
        other = drawn.choice(["UTC", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Auckland"])
        received = moment.astimezone(ZoneInfo(other)).isoformat()

    kind = drawn.choice(shape["request_types"])
    said, extended, until, opt_in = [], None, None, None
    pauses = []
    modes = {k: m for k, m in shape.get("pause", {}).items() if m != "none"}
    if modes and drawn.random() < 0.7:
        asked = day + dt.timedelta(days=drawn.randrange(1, 12), hours=3)
        answered = asked + dt.timedelta(days=drawn.randrange(0, 15), hours=5)
        pauses.append((drawn.choice(sorted(modes)), str(asked), str(answered)))
        said.append("paused")
    if kind in shape.get("pause_opt_in_request_types", ()):
        opt_in = drawn.choice([True, False])
        said.append("controller counts pauses" if opt_in else "controller counts no pauses")
    if extension := shape.get("extension"):
        if drawn.random() < 0.6:
            told = day + dt.timedelta(days=drawn.randrange(1, 9), hours=1)
            extended = str(told)
            said.append("extended")
            if extension["open_ended"]:
                until = (day.date() + dt.timedelta(days=drawn.randrange(45, 90))).isoformat()
    target = 10 if law["role"] == "processor_contract" and drawn.random() < 0.5 else None
    title = f"{law['name'].split(' (')[0]}, {kind}" + "".join(f", {word}" for word in said)
    build.deadline(
        title,
        rule,
        received,
        type=kind,
        tz=zone,
        cal=calendar,
        pauses=pauses,
        extended=extended,
        until=until,
        opt_in=opt_in,
        target=target,
        tags=["sweep"],
        certainty=certainty(shape),
    )


def certainty(shape):
    return "certain" if shape["confidence"] == "high" else "uncertain"
