"""The cases, in the order of their ids: by hand what an idea can be worked out for, by a fixed seed what is swept."""

from . import effective, extensions, months, named, pauses, rolls, sweep, waits, workdays, zones


def every_case(build):
    sweep.every_rule(build)
    months.ends_of_months(build)
    rolls.chains_of_holidays(build)
    rolls.sundays_and_holidays(build)
    pauses.suspensions(build)
    pauses.clarifications(build)
    waits.relevant_times(build)
    waits.contracts(build)
    extensions.notices(build)
    extensions.with_pauses(build)
    named.named_dates(build)
    zones.receipts(build)
    zones.bounds(build)
    zones.one_instant(build)
    workdays.countries(build)
    workdays.weekends(build)
    workdays.internal_targets(build)
    effective.dates_to_work_by(build)
    effective.too_late(build)
