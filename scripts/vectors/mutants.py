"""Whether the vectors tell a wrong engine from a right one: engine A is broken in obvious ways, one at a time."""

import sys
import types
from pathlib import Path

SOURCE = (Path(__file__).parent / "engine_a.py").read_text()

# What is got wrong, and the change to the source that does it.
MUTANTS = {
    "a month is 30 days": ("relativedelta(months=amount)", "timedelta(days=30 * amount)"),
    "31 January and a month is 3 March": (
        "day0 + step + timedelta(",
        "day0.replace(day=1) + step + timedelta(day0.day - 1) + timedelta(",
    ),
    "day 0 counts": ("calendar.rolled(day0 + step", "calendar.rolled(day0 - ONE + step"),
    "the date in UTC": (
        "day0 = instant(started_at).astimezone(zone)",
        "day0 = instant(started_at).astimezone(timezone.utc)",
    ),
    "the date as the text has it": ("day0 = instant(started_at).astimezone(zone)", "day0 = instant(started_at)"),
    "no roll": (
        'if how == "next_working_day":',
        'if how == "next_working_day":\n            return day\n        if how == "":',
    ),
    "a roll over the weekend only": (
        "calendar = self._numpy(day, 60, frozenset())",
        'calendar = np.busdaycalendar(weekmask="1111100")',
    ),
    "Saturday rolls where it counts": ('weekmask="1111110"', 'weekmask="1111100"'),
    "days worked in exchange forgotten": ("return day in self.worked or (", "return ("),
    "every weekend is Saturday and Sunday": ('{DAYS.index(name) for name in vector["weekend"]}', "{5, 6}"),
    "suspension counts the day of the question": ('if mode == "suspend":', 'if mode == "":'),
    "a clarification leaves out the day of the question": ('if mode == "suspend":', 'if mode == "exclude_inclusive":'),
    "overlaps count twice": (
        "            excluded |= dates_of(pause, day0)\n",
        "            excluded |= {d if d not in excluded else d - 4000 * ONE for d in dates_of(pause, day0)}\n",
    ),
    "late pauses count": ("        if pause[1] <= due:", "        if True:"),
    "a pause on the last day is late": ("        if pause[1] <= due:", "        if pause[1] < due:"),
    "lateness by the first date only": ("        if pause[1] <= due:", "        if pause[1] <= initial:"),
    "pauses in the order listed": ("return sorted(found, key=lambda pause: pause[1])", "return found"),
    "dates before day 0 are paused": ("in span if day > day0", "in span"),
    "pauses count unless refused": ('not vector.get("pause_opt_in", False)', 'vector.get("pause_opt_in") is False'),
    "the first of several arrivals": (
        "day0 = max([day0, *(pause[2] for pause in resets)])",
        "day0 = max(day0, min((pause[2] for pause in resets), default=day0))",
    ),
    "an arrival does not move day 0": ("day0 = max([day0, *(pause[2] for pause in resets)])", "pass"),
    "an open pause is running": ('"paused" if any(pause[3]', '"paused" if any(False'),
    "an extension from the initial date": (
        'extended += extension["amount"]',
        'day0, extended = initial, extension["amount"]',
    ),
    "a late notice extends": ("valid = instant(", "valid = True or instant("),
    "a notice a day late extends": ("day_after_begins(notice, zone)", "day_after_begins(notice + ONE, zone)"),
    "the notice by the date of its text": (
        'instant(granted["granted_at"]) < day_after_begins(notice, zone)',
        'instant(granted["granted_at"]).date() <= notice',
    ),
    "no pause moves the notice": ('if rule.get("pause_shifts_extension_notice"):', "if False:"),
    "every pause moves the notice": ('if rule.get("pause_shifts_extension_notice"):', "if True:"),
    "a named date rolls": ("due = max(due, until)", "due = max(due, calendar.rolled(until, 'next_working_day'))"),
    "an earlier named date counts": ("due = max(due, until)", "due = until"),
    "the day ends 24 hours after noon less 12": (
        "    return late\n",
        "    return datetime(day.year, day.month, day.day, 0, tzinfo=zone).astimezone(timezone.utc) + timedelta(hours=24)\n",
    ),
    "the day ends at midnight of the clock, the second one": (
        "    return late\n",
        "    return (datetime(day.year, day.month, day.day, fold=1, tzinfo=zone) + ONE).replace(fold=1)"
        ".astimezone(timezone.utc)\n",
    ),
    "a target that no pause moves": ("calendar.offset(day0, target, excluded)", "calendar.offset(day0, target)"),
    "no buffer": ("offset(day, -buffer) if buffer", "offset(day, 0) if False"),
    "used up a day later": ("exhausted = buffered <= instructed", "exhausted = buffered < instructed"),
    "the law's date, used up or not": ("side = law if exhausted", "side = law if False"),
    "the contract is named on a tie": ("if side <= contract", "if side < contract"),
}


def told_apart(rules, vectors):
    """Prints how many vectors catch each wrong engine; 1 if one passes."""
    survivors = []
    for name, (right, wrong) in MUTANTS.items():
        assert SOURCE.count(right) == 1, f"{name}: the source has changed"
        engine = types.ModuleType("mutant")
        exec(compile(SOURCE.replace(right, wrong), name, "exec"), engine.__dict__)
        caught = [vector["id"] for vector in vectors if not passes(engine, rules, vector)]
        if not caught:
            survivors.append(name)
        print(f"{name}: {len(caught)} vectors differ, such as {', '.join(caught[:3])}")
    if survivors:
        print(f"no vector tells these from the right one: {survivors}", file=sys.stderr)
    return 1 if survivors else 0


def passes(engine, rules, vector):
    try:
        found = engine.evaluate(rules.by_id, vector)
    except Exception:  # a broken engine may well fail, which tells it
        return False
    return found == (vector.get("expected") or {"checks": vector["checks"]})
