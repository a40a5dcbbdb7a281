"""How a vector is put together: from a rule, a local time and a shipped calendar, to the form of the published ones."""

import datetime as dt
import json
import tomllib
from pathlib import Path
from zoneinfo import ZoneInfo

import engine_a
import engine_b

ROOT = Path(__file__).resolve().parents[2]

# Where the clock of a country's controllers runs.
ZONES = {
    "at": "Europe/Vienna", "be": "Europe/Brussels", "bg": "Europe/Sofia", "cy": "Asia/Nicosia",
    "cz": "Europe/Prague", "de": "Europe/Berlin", "dk": "Europe/Copenhagen", "ee": "Europe/Tallinn",
    "es": "Europe/Madrid", "fi": "Europe/Helsinki", "fr": "Europe/Paris", "gr": "Europe/Athens",
    "hr": "Europe/Zagreb", "hu": "Europe/Budapest", "ie": "Europe/Dublin", "is": "Atlantic/Reykjavik",
    "it": "Europe/Rome", "li": "Europe/Vaduz", "lt": "Europe/Vilnius", "lu": "Europe/Luxembourg",
    "lv": "Europe/Riga", "mt": "Europe/Malta", "nl": "Europe/Amsterdam", "no": "Europe/Oslo",
    "pl": "Europe/Warsaw", "pt": "Europe/Lisbon", "ro": "Europe/Bucharest", "se": "Europe/Stockholm",
    "si": "Europe/Ljubljana", "sk": "Europe/Bratislava", "gb": "Europe/London", "ch": "Europe/Zurich",
    "us": "America/New_York", "br": "America/Sao_Paulo", "jp": "Asia/Tokyo", "kr": "Asia/Seoul",
    "pt-20": "Atlantic/Azores", "pt-30": "Atlantic/Madeira",
}  # fmt: skip


class Rules:
    """The shipped rule table: rules by id, each with what its law says about zone, calendar and weekend."""

    def __init__(self):
        table = tomllib.loads((ROOT / "config" / "regulations.toml").read_text())
        self.law_of = {rule["id"]: law for law in table["regulation"] for rule in law["rule"]}
        self.by_id = {rule["id"]: rule for law in table["regulation"] for rule in law["rule"]}


def calendars():
    """The shipped calendars, by id and alias."""
    found = {}
    for path in sorted((ROOT / "config" / "holidays").glob("*.toml")):
        for calendar in tomllib.loads(path.read_text()).get("calendar", ()):
            for name in (calendar["id"], *calendar["aliases"]):
                found[name] = calendar
    return found


def zone_of(calendar):
    return ZONES.get(calendar) or ZONES[calendar.split("-")[0]]


def at(zone, local, fold=0):
    """An instant with its offset, from a local time such as `2026-05-04 10:00`; one with an offset stays as it is."""
    if "T" in local:
        return local
    moment = dt.datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return moment.isoformat()


class Disagreement(Exception):
    """The two engines differ: the vector rests on an open reading, or one of them is wrong."""


class Builder:
    """Collects vectors, each worked out by both engines."""

    def __init__(self, rules):
        self.rules, self.calendars, self.vectors = rules, calendars(), []
        self.doubts = []  # where a date worked out by hand is another one

    def expected(self, vector):
        first = engine_a.evaluate(self.rules.by_id, vector)
        second = engine_b.evaluate(self.rules.by_id, vector)
        if first != second:
            differing = sorted(key for key in first | second if first.get(key) != second.get(key))
            shown = {key: (first.get(key), second.get(key)) for key in differing}
            raise Disagreement(f"{vector.get('title')}: {shown}")
        return first

    def _days(self, vector, calendar, starts):
        """Puts the calendar's days around the clock into the vector, and works it out."""
        shipped = self.calendars.get(calendar)
        if calendar == "none":
            return vector | {"holiday_calendar": "none", "holidays": []}, []
        whole = vector | {"holidays": sorted(shipped["days"]), "extra_working_days": shipped["extra_working_days"]}
        result = self.expected(whole)
        days = [value for key, value in result.items() if key.endswith("_date")]
        first = (dt.date.fromisoformat(min(start[:10] for start in starts)) - dt.timedelta(days=10)).isoformat()
        last = (dt.date.fromisoformat(max(days)) + dt.timedelta(days=20)).isoformat()
        assert shipped["valid_from"] <= first and last <= shipped["valid_until"], f"{calendar}: {first} to {last}"
        holidays = [day for day in sorted(shipped["days"]) if first <= day <= last]
        worked = [day for day in shipped["extra_working_days"] if first <= day <= last]
        return vector | {"holiday_calendar": shipped["id"], "holidays": holidays}, worked

    def deadline(self, title, rule, received, *, type=None, tz=None, cal="none", weekend=None, pauses=(), extended=None,
                 until=None, as_of=None, target=None, opt_in=None, tags=(), due=None, fold=0, holidays=None, worked=None,
                 why="", certainty="certain"):  # fmt: skip
        """One clock. `due` is what a person worked out by hand; both engines must come to it."""
        law, shape = self.rules.law_of[rule], self.rules.by_id[rule]
        tz = tz or (zone_of(cal) if cal.split("-")[0] in ZONES else law["default_tz"])
        extension = None
        if extended:
            extension = {"granted_at": at(tz, extended)} | ({"until": until} if until else {})
        vector = {
            "id": "", "kind": "deadline", "tags": list(tags), "title": title, "regulation": law["id"], "rule": rule,
            "request_type": type or shape["request_types"][0], "received_at": at(tz, received, fold), "tz": tz,
            "weekend": list(law["weekend"] if weekend is None else weekend), "holiday_calendar": cal, "holidays": [],
            "extra_working_days": [],
            "pauses": [{"kind": k, "from": at(tz, a), "to": b and at(tz, b)} for k, a, b in pauses],
            "extension": extension, "as_of": as_of and at(tz, as_of), "internal_target_business_days": target,
        }  # fmt: skip
        if opt_in is not None:
            vector["pause_opt_in"] = opt_in
        vector, makeup = self._days(vector, cal, [vector["received_at"]])
        vector["extra_working_days"] = makeup if worked is None else worked
        if holidays is not None:
            vector["holidays"] = holidays
        expected = self.expected(vector)
        if due not in (None, expected["due_date"]):
            self.doubts.append(f"{title}: {expected['due_date']}, by hand {due}")
        self.vectors.append(vector | {"expected": expected, "certainty": certainty, "rationale": why})
        return expected

    def effective(self, title, law, contract, received, instructed, *, type, cal="none", tz=None, weekend=None, buffer=5,
                  due=None, tags=()):  # fmt: skip
        """Two clocks and the date to work by."""
        regulation = self.rules.law_of[law]
        tz = tz or (zone_of(cal) if cal.split("-")[0] in ZONES else regulation["default_tz"])
        vector = {
            "id": "", "kind": "effective_due", "tags": ["effective", *tags], "title": title, "request_type": type,
            "statutory_rule": law, "contract_rule": contract, "data_subject_received_at": at(tz, received),
            "instruction_received_at": at(tz, instructed), "tz": tz,
            "weekend": list(regulation["weekend"] if weekend is None else weekend), "holiday_calendar": cal,
            "holidays": [], "controller_buffer_business_days": buffer,
        }  # fmt: skip
        starts = [vector["data_subject_received_at"], vector["instruction_received_at"]]
        vector, makeup = self._days(vector, cal, starts)
        assert not makeup, "the form has no make-up days for two clocks"
        expected = self.expected(vector)
        if due not in (None, expected["effective_due_date"]):
            self.doubts.append(f"{title}: {expected['effective_due_date']}, by hand {due}")
        self.vectors.append(vector | {"expected": expected, "certainty": "certain"})
        return expected

    def status(self, title, bound, nows):
        vector = {
            "id": "", "kind": "status", "tags": ["status"], "title": title, "due_instant_exclusive_utc": bound,
            "checks": [{"now": now} for now in nows],
        }  # fmt: skip
        self.vectors.append(vector | self.expected(vector))

    def numbered(self):
        for number, vector in enumerate(self.vectors, 1):
            vector["id"] = f"R{number:03}"
        return self.vectors


def published():
    """The published vectors."""
    return json.loads((ROOT / "tests" / "vectors" / "deadline_vectors.json").read_text())["vectors"]
