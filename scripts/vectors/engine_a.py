"""Engine A: a deadline by date arithmetic of libraries (dateutil, numpy) and sets of days.

It shares no code with engine B nor with the product. Where the conventions leave a reading open, A and B read it
differently on purpose, so that no vector can depend on it; those places are marked `open reading`.
"""

from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
from dateutil import parser
from dateutil.relativedelta import relativedelta

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
ONE = timedelta(days=1)


def instant(text):
    return parser.isoparse(text)


class Calendar:
    """The working days of a vector, as numpy counts them."""

    def __init__(self, vector):
        self.weekend = {DAYS.index(name) for name in vector["weekend"]}
        self.holidays = {date.fromisoformat(day) for day in vector["holidays"]}
        self.worked = {date.fromisoformat(day) for day in vector.get("extra_working_days") or []}

    def working(self, day):
        return day in self.worked or (day.weekday() not in self.weekend and day not in self.holidays)

    def _numpy(self, around, reach, without):
        span = [around + timedelta(days=n) for n in range(-reach, reach + 1)]
        closed = [day for day in span if day in without or not self.working(day)]
        return np.busdaycalendar(weekmask="1111111", holidays=np.array(closed, dtype="datetime64[D]"))

    def offset(self, start, days, without=frozenset()):
        """The n-th working day after the start, or before it for a negative n."""
        calendar = self._numpy(start, 60 + 4 * abs(days) + len(without), without)
        roll = "backward" if days > 0 else "forward"
        return np.busday_offset(np.datetime64(start), days, roll=roll, busdaycal=calendar).astype(object)

    def rolled(self, day, how):
        if how == "next_working_day":
            calendar = self._numpy(day, 60, frozenset())
            return np.busday_offset(np.datetime64(day), 0, roll="forward", busdaycal=calendar).astype(object)
        if how == "next_non_sunday_non_holiday":
            closed = np.array(sorted(self.holidays), dtype="datetime64[D]")
            calendar = np.busdaycalendar(weekmask="1111110", holidays=closed)
            return np.busday_offset(np.datetime64(day), 0, roll="forward", busdaycal=calendar).astype(object)
        assert how == "none"
        return day


def due_date(rule, amount, unit, calendar, day0, excluded):
    """The last day, with the excluded dates left uncounted."""
    if unit == "business_days":
        return calendar.rolled(calendar.offset(day0, amount, excluded), rule["roll"])
    step = relativedelta(months=amount) if unit == "calendar_months" else relativedelta(days=amount)
    return calendar.rolled(day0 + step + timedelta(days=len(excluded)), rule["roll"])


def day_after_begins(day, zone):
    """The first instant of the local day after this one: stepped to from noon, then bisected to the second."""
    early = datetime(day.year, day.month, day.day, 12, tzinfo=zone).astimezone(timezone.utc)
    late = early + timedelta(minutes=15)
    while late.astimezone(zone).date() <= day:
        early, late = late, late + timedelta(minutes=15)
    while late - early > timedelta(seconds=1):
        middle = early + timedelta(seconds=(late - early).seconds // 2)
        if middle.astimezone(zone).date() > day:
            late = middle
        else:
            early = middle
    return late


def pauses_of(rule, vector, zone):
    """The pauses that count, as (mode, first local date, last local date, open)."""
    opted = rule.get("pause_opt_in_request_types") or []
    if vector["request_type"] in opted and not vector.get("pause_opt_in", False):
        return []
    found = []
    for pause in vector.get("pauses") or []:
        mode = (rule.get("pause") or {}).get(pause["kind"], "none")
        if mode == "none":
            continue
        last = pause["to"] or vector["as_of"]
        span = [instant(text).astimezone(zone).date() for text in (pause["from"], last)]
        found.append((mode, *span, pause["to"] is None))
    return sorted(found, key=lambda pause: pause[1])


def dates_of(pause, day0):
    mode, first, last, _ = pause
    if mode == "suspend":
        first += ONE
    span = {first + timedelta(days=n) for n in range((last - first).days + 1)}
    return {day for day in span if day > day0}


def clock(rule, vector, started_at):
    zone, calendar = ZoneInfo(vector["tz"]), Calendar(vector)
    pauses = pauses_of(rule, vector, zone)
    day0 = instant(started_at).astimezone(zone).date()
    resets = [pause for pause in pauses if pause[0] == "reset"]
    day0 = max([day0, *(pause[2] for pause in resets)])  # open reading: a late reset counts
    counting = [pause for pause in pauses if pause[0] != "reset"]
    amount, unit = rule["due"]["amount"], rule["due"]["unit"]
    initial = due_date(rule, amount, unit, calendar, day0, frozenset())

    answer = {}
    extension, granted = rule.get("extension"), vector.get("extension")
    extended, until = amount, None
    if extension:
        notice = initial
        if rule.get("pause_shifts_extension_notice"):
            # open reading: begun on or before the initial date as it is without any pause
            moved = set().union(*(dates_of(p, day0) for p in counting if p[1] <= initial))
            notice = due_date(rule, amount, unit, calendar, day0, moved)
        answer["extension_notice_due_date"] = notice.isoformat()
        if granted:
            valid = instant(granted["granted_at"]) < day_after_begins(notice, zone)
            answer["extension_valid"] = valid
            if valid and extension["open_ended"]:
                until = date.fromisoformat(granted["until"])
            elif valid:
                assert extension["unit"] == unit
                extended += extension["amount"]

    excluded, due = set(), due_date(rule, extended, unit, calendar, day0, frozenset())
    for pause in counting:
        if pause[1] <= due:
            excluded |= dates_of(pause, day0)
            due = due_date(rule, extended, unit, calendar, day0, excluded)
    if until:
        due = max(due, until)

    if any(pause[3] for pause in resets):
        state = "not_started"
    else:
        state = "paused" if any(pause[3] for pause in counting) else "running"  # open reading: a late one too
    bound = day_after_begins(due, zone)
    answer |= {
        "state": state,
        "clock_start_date": day0.isoformat(),
        "paused_days": len(excluded),
        "due_date": due.isoformat(),
        "due_instant_exclusive_utc": bound.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "due_instant_exclusive_local": bound.astimezone(zone).isoformat(),
    }
    if ack := rule.get("ack"):
        assert ack["unit"] == "business_days"
        answer["ack_due_date"] = calendar.offset(day0, ack["amount"]).isoformat()  # open reading: pauses ignored
    if target := vector.get("internal_target_business_days"):
        answer["internal_target_date"] = calendar.offset(day0, target, excluded).isoformat()
    return answer


def effective(rules, vector):
    plain = vector | {"pauses": [], "extension": None, "as_of": None}
    law = clock(rules[vector["statutory_rule"]], plain, vector["data_subject_received_at"])["due_date"]
    contract = clock(rules[vector["contract_rule"]], plain, vector["instruction_received_at"])["due_date"]
    buffer = vector["controller_buffer_business_days"]
    day = date.fromisoformat(law)
    buffered = Calendar(vector).offset(day, -buffer) if buffer else day
    instructed = instant(vector["instruction_received_at"]).astimezone(ZoneInfo(vector["tz"])).date()
    exhausted = buffered <= instructed
    side = law if exhausted else buffered.isoformat()
    return {
        "statutory_due_date": law,
        "contract_due_date": contract,
        "buffered_statutory_date": buffered.isoformat(),
        "effective_due_date": min(side, contract),
        "buffer_exhausted": exhausted,
        "binding": "statutory" if side <= contract else "contract",
    }


def evaluate(rules, vector):
    """The members of `expected`; for a status, its checks with their answers."""
    if vector["kind"] == "deadline":
        return clock(rules[vector["rule"]], vector, vector["received_at"])
    if vector["kind"] == "effective_due":
        return effective(rules, vector)
    bound = instant(vector["due_instant_exclusive_utc"])
    return {"checks": [{"now": c["now"], "overdue": instant(c["now"]) >= bound} for c in vector["checks"]]}
