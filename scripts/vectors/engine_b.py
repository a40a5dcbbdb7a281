"""Engine B: a deadline by counting days one at a time, with the standard library only.

It shares no code with engine A nor with the product: its own parser of instants, months counted by walking to the next
month's days, working days counted by looking at each day, and the end of a day found by asking what date it is at each
minute. Where the conventions leave a reading open, A and B read it differently on purpose; see engine A.
"""

import datetime
import re
import zoneinfo

NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
INSTANT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")


def epoch_ms(text):
    """Milliseconds since 1970, by the digits of the text."""
    year, month, day, hour, minute, second, fraction, offset = INSTANT.fullmatch(text).groups()
    days = datetime.date(int(year), int(month), int(day)).toordinal() - 719163
    seconds = days * 86400 + int(hour) * 3600 + int(minute) * 60 + int(second)
    if offset != "Z":
        sign = -1 if offset[0] == "-" else 1
        seconds -= sign * (int(offset[1:3]) * 3600 + int(offset[4:6]) * 60)
    return seconds * 1000 + int(((fraction or "") + "000")[:3])


def local_date(seconds, zone):
    return datetime.datetime.fromtimestamp(seconds, zone).date()


def next_day(day):
    return datetime.date.fromordinal(day.toordinal() + 1)


def open_day(vector, day):
    """Whether people work on that day."""
    text = day.isoformat()
    if text in (vector.get("extra_working_days") or []):
        return True
    if text in vector["holidays"]:
        return False
    return NAMES[day.weekday()] not in vector["weekend"]


def months_later(day, months):
    year, month = day.year, day.month
    for _ in range(months):
        month += 1
        if month == 13:
            year, month = year + 1, 1
    last = datetime.date(year, month, 1)
    while last.day < day.day and next_day(last).month == month:
        last = next_day(last)
    return last


def walk(rule, amount, unit, vector, day0, skipped):
    """The due date: the amount from day 0, the skipped dates uncounted, then moved as the rule says."""
    if unit == "business_days":
        day, left = day0, amount
        while left > 0:
            day = next_day(day)
            if open_day(vector, day) and day not in skipped:
                left -= 1
    else:
        if unit == "calendar_months":
            day = months_later(day0, amount)
        else:
            day = day0
            for _ in range(amount):
                day = next_day(day)
        for _ in skipped:
            day = next_day(day)
    if rule["roll"] == "next_working_day":
        while not open_day(vector, day):
            day = next_day(day)
    elif rule["roll"] == "next_non_sunday_non_holiday":
        while day.weekday() == 6 or day.isoformat() in vector["holidays"]:
            day = next_day(day)
    return day


def end_of(day, zone):
    """The first second at which the local date is later than that day, found minute by minute."""
    second = (day.toordinal() - 719163) * 86400 - 15 * 3600
    while local_date(second, zone) <= day:
        second += 60
    while local_date(second - 1, zone) > day:
        second -= 1
    return second


def spans(rule, vector, zone):
    """What the request waited for, in order: (first date, last date, mode, still open)."""
    if vector["request_type"] in rule.get("pause_opt_in_request_types", ()) and vector.get("pause_opt_in") is not True:
        return []
    list_of = []
    for pause in vector.get("pauses") or ():
        mode = rule.get("pause", {}).get(pause["kind"], "none")
        end = pause["to"] if pause["to"] is not None else vector["as_of"]
        first = local_date(epoch_ms(pause["from"]) // 1000, zone)
        last = local_date(epoch_ms(end) // 1000, zone)
        if mode != "none":
            list_of.append((first, last, mode, pause["to"] is None))
    list_of.sort(key=lambda span: span[0])
    return list_of


def uncounted(span, day0):
    first, last, mode, _ = span
    days, day = [], first
    while day <= last:
        if day > day0 and not (mode == "suspend" and day == first):
            days.append(day)
        day = next_day(day)
    return days


def stand_still(rule, amount, unit, vector, day0, list_of):
    """The due date after the pauses in turn, the dates left uncounted, and the pauses that had an effect."""
    skipped, heard = [], []
    due = walk(rule, amount, unit, vector, day0, skipped)
    for span in list_of:
        if span[0] > due:
            continue
        heard.append(span)
        for day in uncounted(span, day0):
            if day not in skipped:
                skipped.append(day)
        due = walk(rule, amount, unit, vector, day0, skipped)
    return due, skipped, heard


def deadline(rule, vector, received_at):
    zone = zoneinfo.ZoneInfo(vector["tz"])
    amount, unit = rule["due"]["amount"], rule["due"]["unit"]
    day0 = local_date(epoch_ms(received_at) // 1000, zone)
    first_due = walk(rule, amount, unit, vector, day0, [])
    state, others = "running", []
    for span in spans(rule, vector, zone):
        if span[2] != "reset":
            others.append(span)
        elif span[0] <= first_due:  # open reading: a late reset has no effect
            if span[1] > day0:
                day0 = span[1]
            if span[3]:
                state = "not_started"

    result = {}
    total, named = amount, None
    if "extension" in rule:
        if rule.get("pause_shifts_extension_notice"):
            # open reading: begun on or before the initial date as it stands after the pauses before it
            notice = stand_still(rule, amount, unit, vector, day0, others)[0]
        else:
            notice = walk(rule, amount, unit, vector, day0, [])
        result["extension_notice_due_date"] = notice.isoformat()
        if vector.get("extension") is not None:
            told = epoch_ms(vector["extension"]["granted_at"])
            in_time = local_date(told // 1000, zone) <= notice
            result["extension_valid"] = in_time
            if in_time:
                if rule["extension"]["open_ended"]:
                    named = datetime.date(*map(int, vector["extension"]["until"].split("-")))
                else:
                    total += rule["extension"]["amount"]

    due, skipped, heard = stand_still(rule, total, unit, vector, day0, others)
    if state == "running" and any(span[3] for span in heard):  # open reading: a late open pause has no effect
        state = "paused"
    paused_days = len(skipped)
    if unit == "business_days":  # open reading: only the dates before the due date
        paused_days = sum(1 for day in skipped if day <= due)
    if named is not None and named > due:
        due = named

    second = end_of(due, zone)
    local = datetime.datetime.fromtimestamp(second, zone)
    offset = int(local.utcoffset().total_seconds()) // 60
    utc = datetime.datetime.fromtimestamp(second, datetime.timezone.utc)
    result["state"] = state
    result["clock_start_date"] = day0.isoformat()
    result["paused_days"] = paused_days
    result["due_date"] = due.isoformat()
    result["due_instant_exclusive_utc"] = utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    sign = "-" if offset < 0 else "+"
    shown = f"{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    result["due_instant_exclusive_local"] = local.strftime("%Y-%m-%dT%H:%M:%S") + shown
    if "ack" in rule:  # open reading: pauses skipped
        result["ack_due_date"] = nth_working_day(vector, day0, rule["ack"]["amount"], skipped).isoformat()
    if vector.get("internal_target_business_days") is not None:
        target = nth_working_day(vector, day0, vector["internal_target_business_days"], skipped)
        result["internal_target_date"] = target.isoformat()
    return result


def nth_working_day(vector, day, count, skipped):
    while count > 0:
        day = next_day(day)
        if open_day(vector, day) and day not in skipped:
            count -= 1
    return day


def two_clocks(rules, vector):
    law = deadline(rules[vector["statutory_rule"]], vector, vector["data_subject_received_at"])["due_date"]
    contract = deadline(rules[vector["contract_rule"]], vector, vector["instruction_received_at"])["due_date"]
    day, left = datetime.date.fromisoformat(law), vector["controller_buffer_business_days"]
    while left > 0:
        day = datetime.date.fromordinal(day.toordinal() - 1)
        if open_day(vector, day):
            left -= 1
    zone = zoneinfo.ZoneInfo(vector["tz"])
    exhausted = not day > local_date(epoch_ms(vector["instruction_received_at"]) // 1000, zone)
    from_law = law if exhausted else day.isoformat()
    if contract < from_law:
        governs, date = "contract", contract
    else:
        governs, date = "statutory", from_law
    return {
        "statutory_due_date": law,
        "contract_due_date": contract,
        "buffered_statutory_date": day.isoformat(),
        "effective_due_date": date,
        "buffer_exhausted": exhausted,
        "binding": governs,
    }


def evaluate(rules, vector):
    """The members of `expected`; for a status, its checks with their answers."""
    kind = vector["kind"]
    if kind == "deadline":
        return deadline(rules[vector["rule"]], vector, vector["received_at"])
    if kind == "effective_due":
        return two_clocks(rules, vector)
    late = epoch_ms(vector["due_instant_exclusive_utc"])
    checks = []
    for check in vector["checks"]:
        checks.append({"now": check["now"], "overdue": not epoch_ms(check["now"]) < late})
    return {"checks": checks}
