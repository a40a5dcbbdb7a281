#!/usr/bin/env python3
"""Writes the holiday calendars in config/holidays, from a pinned version of the `holidays` package.

    pip install -r scripts/holidays/requirements.txt     (in a virtual environment; Python 3.11 or newer)
    python scripts/holidays/generate.py                  writes the files
    python scripts/holidays/generate.py --check          fails if they differ, or if a published vector disagrees

`tables.py` lists the calendars, `corrections.py` what the review changed and why. The files are plain, complete by
themselves and loaded by the product without this script; running it again gives the same bytes. To ship newer days:
raise the version in requirements.txt and below, set VERSION and AS_OF, run, and read the difference line by line.
"""

import argparse
import datetime as dt
import json
import re
import sys
import tomllib
import unicodedata
from pathlib import Path

import holidays

sys.dont_write_bytecode = True  # leaves nothing behind in the repository

from corrections import CORRECTIONS
from tables import COUNTRIES, FIRST

VERSION = "2026-11-22.1"
AS_OF = "2026-11-22"
PACKAGE = "0.109"
SOURCE = f"holidays {PACKAGE} (Python, MIT), category public"

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "config" / "holidays"
VECTORS = ROOT / "tests" / "vectors" / "deadline_vectors.json"

SPECIAL_LETTERS = str.maketrans({"ø": "o", "Ø": "O", "ð": "d", "þ": "th", "æ": "ae", "ß": "ss", "ł": "l", "’": "'"})
ESTIMATED = " (estimated)"


def ascii_name(name):
    """The English name in ASCII, its mark for an estimate at the end."""
    estimated = "estimated" in name
    name = name.replace("(observed, estimated)", "(observed)").replace(ESTIMATED, "")
    name = unicodedata.normalize("NFKD", name.translate(SPECIAL_LETTERS))
    name = "".join(c for c in name if not unicodedata.combining(c))
    name = re.sub(r"\(substituted from (\d\d)/(\d\d)/(\d{4})\)", r"(for \3-\1-\2)", name)
    assert name.isascii() and not set(name) & set('<>&"\\'), name
    return name + (ESTIMATED if estimated else "")


def language(code):
    """The English the package speaks for a country."""
    spoken = holidays.country_holidays(code).supported_languages
    return next((lang for lang in ("en_US", f"en_{code}") if lang in spoken), None)


def source(code, subdivision, categories, first, last):
    """The package's days from first to last, as {ISO date: name}, and the weekend days worked."""
    found = holidays.country_holidays(
        code,
        subdiv=subdivision,
        categories=categories,
        language=language(code),
        years=range(first.year, last.year + 1),
    )
    days = {day.isoformat(): ascii_name(name) for day, name in found.items() if first <= day <= last}
    worked = sorted(d.isoformat() for d in getattr(found, "weekend_workdays", ()) if first <= d <= last)
    return days, worked


def common(code, row, first, last):
    """The days that all of the row's subdivisions share."""
    all_days = [source(code, region, row.categories, first, last)[0] for region in row.common_to]
    shared = set.intersection(*(set(days) for days in all_days))
    return {day: min((days[day] for days in all_days), key=lambda name: (len(name), name)) for day in shared}


def summer_shutdown(days, first, last):
    """New Zealand: 25 December to 15 January are no working days, whatever else they are."""
    day = first
    while day <= last:
        if (day.month, day.day) >= (12, 25) or (day.month, day.day) <= (1, 15):
            days.setdefault(day.isoformat(), "Between 25 December and 15 January")
        day += dt.timedelta(days=1)


def corrected(calendar, days, used):
    """Applies the corrections of one calendar; returns the remark of each changed or missing day."""
    remarks, left_out = {}, {}
    for number, correction in enumerate(CORRECTIONS):
        if calendar not in correction.calendars:
            continue
        if correction.action == "add":
            for day in correction.dates:
                assert day not in days, f"{calendar}: {day} is there already ({days[day]})"
                days[day] = correction.name
                remarks[day] = correction.reason
            used.add((number, calendar))
            continue
        named = [day for day, name in days.items() if correction.concerns(day, name)]
        missing = set(correction.dates) - set(named)
        assert named and not missing, f"{calendar}: nothing to {correction.action}: {correction.name} {sorted(missing)}"
        for day in named:
            if correction.action == "drop":
                del days[day]
                left_out.setdefault((correction.name, correction.reason), []).append(day)
            else:
                days[day] = correction.new_name
                remarks[day] = correction.reason
        used.add((number, calendar))
    return remarks, left_out


def text(value):
    """A TOML basic string; nothing we write needs an escape."""
    assert value.isprintable() and not set(value) & set('"\\'), value
    return f'"{value}"'


def texts(values, width=110):
    """A TOML array of texts, broken into lines when long."""
    line = "[" + ", ".join(map(text, values)) + "]"
    if len(line) <= width:
        return line
    return "[\n" + "".join(f"    {text(value)},\n" for value in values) + "]"


def calendar_lines(country, row, used):
    first, last = dt.date.fromisoformat(FIRST), dt.date.fromisoformat(row.valid_until)
    if row.common_to:
        days, worked = common(country.code, row, first, last), []
    else:
        days, worked = source(country.code, row.subdivision, row.categories, first, last)
    if row.id == "nz-statutory":
        summer_shutdown(days, first, last)
    remarks, left_out = corrected(row.id, days, used)
    years = {int(day[:4]) for day in days}
    assert not set(worked) & set(days) or not row.makeup_days, f"{row.id}: a day both off and worked"
    assert years == set(range(first.year, last.year + 1)), f"{row.id}: years without a day"

    lines = ["", "[[calendar]]"]
    lines += [f"# {note}" for note in row.notes]
    for (name, reason), dropped in left_out.items():
        if len(dropped) > 4:
            lines.append(f"# Left out: {name}, every year: {reason}")
        else:
            lines.append(f"# Left out: {name}, {', '.join(sorted(dropped))}: {reason}")
    lines += [
        f"id = {text(row.id)}",
        f"aliases = {texts(row.aliases)}",
        f"name = {text(row.name)}",
        f"default_for = {texts(row.default_for)}",
        f"valid_from = {text(FIRST)}",
        f"valid_until = {text(row.valid_until)}",
        f"extra_working_days = {texts(worked if row.makeup_days else [])}",
        "[calendar.days]",
    ]
    for day in sorted(days):
        remark = f"  # {remarks[day]}" if day in remarks else ""
        lines.append(f"{text(day)} = {text(days[day])}{remark}")
    return lines


def render():
    """Every file of the folder, as {file name: text}."""
    assert holidays.__version__ == PACKAGE, f"holidays {PACKAGE} is needed, not {holidays.__version__}"
    used, files = set(), {}
    for country in sorted(COUNTRIES, key=lambda c: c.code):
        lines = [
            "# Generated by scripts/holidays/generate.py; change tables.py or corrections.py there, not this file.",
            "schema_version = 1",
            f"country = {text(country.code)}",
            f"source = {text(f'{SOURCE}; reviewed against {country.reviewed}')}",
            f"source_url = {text(f'https://pypi.org/project/holidays/{PACKAGE}/')}",
        ]
        for row in country.rows:
            lines += calendar_lines(country, row, used)
        files[f"{country.code.lower()}.toml"] = "\n".join(lines) + "\n"
    for number, correction in enumerate(CORRECTIONS):
        idle = [c for c in correction.calendars if (number, c) not in used]
        assert not idle, f"a correction names unknown calendars: {idle}"
    index = [
        "# Generated by scripts/holidays/generate.py.",
        "schema_version = 1",
        f"version = {text(VERSION)}",
        f"as_of = {text(AS_OF)}",
        "files = [",
        *(f"    {text(name)}," for name in sorted(files)),
        "]",
    ]
    files["index.toml"] = "\n".join(index) + "\n"
    return files


def read_calendars(files):
    """The calendars by id and alias, read back from the text as the product reads them."""
    by_name, places = {}, set()
    for name, content in files.items():
        if name == "index.toml":
            continue
        for calendar in tomllib.loads(content)["calendar"]:
            twice = places & set(calendar["default_for"])
            assert not twice, f"two calendars are the default for {twice}"
            places |= set(calendar["default_for"])
            for known_as in (calendar["id"], *calendar["aliases"]):
                assert known_as not in by_name, f"two calendars are called {known_as}"
                by_name[known_as] = calendar
    return by_name


def disagreements(files):
    """Where a published vector lists other holidays, in its window, than the calendar it names."""
    by_name, found, compared = read_calendars(files), [], 0
    for vector in json.loads(VECTORS.read_text())["vectors"]:
        name = vector.get("holiday_calendar")
        if name in (None, "none"):
            continue
        calendar = by_name[name]
        start = vector.get("received_at") or vector["data_subject_received_at"]
        expected = vector["expected"]
        ends = [expected[key] for key in ("due_date", "statutory_due_date", "contract_due_date") if key in expected]
        # The windows reach at least this far around the clock; beyond it a vector says nothing.
        before = 8 if vector["kind"] == "deadline" else 3
        first = (dt.date.fromisoformat(start[:10]) - dt.timedelta(days=before)).isoformat()
        last = (dt.date.fromisoformat(max(ends)) + dt.timedelta(days=10)).isoformat()
        listed = set(vector["holidays"])
        if first < calendar["valid_from"] or max(listed | {last}) > calendar["valid_until"]:
            continue
        compared += 1
        ours = {day for day in calendar["days"] if first <= day <= last}
        theirs = {day for day in listed if first <= day <= last}
        # Outside that span a day the vector does list must be ours too, even if we cannot expect the reverse.
        missing, extra = sorted((listed - set(calendar["days"])) | (theirs - ours)), sorted(ours - theirs)
        if missing or extra:
            found.append(f"{vector['id']} ({name}): we lack {missing}, we add {extra}")
        makeup = vector.get("extra_working_days") or []
        if any(day not in calendar["extra_working_days"] for day in makeup):
            found.append(f"{vector['id']} ({name}): make-up days differ")
    return found, compared


def main():
    parser = argparse.ArgumentParser(description="Writes or checks config/holidays.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file differs")
    check = parser.parse_args().check
    files = render()
    found, compared = disagreements(files)
    failed = False
    for line in found:
        failed = True
        print(f"vector {line}", file=sys.stderr)
    present = {path.name for path in FOLDER.glob("*.toml")}
    if check:
        for name in sorted(present | set(files)):
            path = FOLDER / name
            if name not in files:
                failed = True
                print(f"{path}: not made by this script", file=sys.stderr)
            elif name not in present or path.read_text() != files[name]:
                failed = True
                print(f"{path}: differs from what the script makes", file=sys.stderr)
    else:
        FOLDER.mkdir(exist_ok=True)
        for name in present - set(files):
            (FOLDER / name).unlink()
        for name, content in files.items():
            (FOLDER / name).write_text(content)
    calendars = {calendar["id"] for calendar in read_calendars(files).values()}
    print(f"{len(files) - 1} files, {len(calendars)} calendars, {compared} vectors compared")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
