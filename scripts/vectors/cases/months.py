"""Months: the same day number, or the last day of a shorter month; leap years; extensions counted from the start."""


def ends_of_months(build):
    eu, uk = "eu-gdpr.all", "uk-gdpr.access"

    def month(title, received, due, cal="de", rule=eu, tags=("eu", "clamp", "month-end"), **more):
        build.deadline(title, rule, f"{received} 10:00", cal=cal, due=due, tags=tags, **more)

    month("31 Jan 2024 -> 29 Feb, leap, a Thursday", "2024-01-31", "2024-02-29", "fr")
    month("31 Jan 2025 -> 28 Feb, a Friday", "2025-01-31", "2025-02-28", "pl")
    month("31 Jan 2026 -> 28 Feb, a Saturday -> Monday 2 Mar", "2026-01-31", "2026-03-02", "it")
    month("31 Jan 2027 -> 28 Feb, a Sunday -> 1 Mar", "2027-01-31", "2027-03-01", "nl")
    month("31 Jan 2028 -> 29 Feb, leap, a Tuesday", "2028-01-31", "2028-02-29", "se")
    month("31 Jan 2029 -> 28 Feb, a Wednesday", "2029-01-31", "2029-02-28", "fi")
    month("31 Jan 2030 -> 28 Feb, a Thursday", "2030-01-31", "2030-02-28", "ie")
    month("30 Jan 2024 -> 29 Feb, one day clamped", "2024-01-30", "2024-02-29", "es")
    month("29 Jan 2024 -> 29 Feb, nothing clamped", "2024-01-29", "2024-02-29", "es")
    month("29 Jan 2026 -> 28 Feb, clamped, Saturday -> 2 Mar", "2026-01-29", "2026-03-02", "be")
    month("30 Jan 2028 -> 29 Feb, one day clamped", "2028-01-30", "2028-02-29", "dk")
    month("28 Jan 2027 -> 28 Feb, a Sunday -> 1 Mar", "2027-01-28", "2027-03-01", "cz")
    month("29 Feb 2024 -> 29 Mar, Good Friday -> Tuesday 2 Apr", "2024-02-29", "2024-04-02", "de")
    month("29 Feb 2028 -> 29 Mar, not the end of March", "2028-02-29", "2028-03-29", "at")
    month("28 Feb 2030 -> 28 Mar, not the end of March", "2030-02-28", "2030-03-28", "sk")
    month("31 Mar 2027 -> 30 Apr, a Friday", "2027-03-31", "2027-04-30", "lu")
    month("31 Mar 2028 -> 30 Apr, a Sunday; 1 May is a holiday -> 2 May", "2028-03-31", "2028-05-02", "de")
    month("31 May 2029 -> 30 Jun, a Saturday -> Monday 2 Jul", "2029-05-31", "2029-07-02", "pt")
    month("31 Aug 2030 -> 30 Sep, a Monday", "2030-08-31", "2030-09-30", "ro")
    month("31 Oct 2026 -> 30 Nov, a Monday", "2026-10-31", "2026-11-30", "hu")
    month("31 Dec 2029 -> 31 Jan 2030, a Thursday", "2029-12-31", "2030-01-31", "lv")
    month("31 Jul -> 31 Aug, two long months", "2028-07-31", "2028-08-31", "ee")
    month("30 Nov -> 30 Dec over Christmas", "2027-11-30", "2027-12-30", "lt")
    month("1 Feb 2028 -> 1 Mar over a leap day", "2028-02-01", "2028-03-01", "hr")

    def extended(title, received, told, due, cal, rule=eu, tags=("extension", "clamp", "month-end")):
        build.deadline(title, rule, f"{received} 10:00", cal=cal, extended=f"{told} 10:00", due=due, tags=tags)

    extended("30 Nov 2026 + 3 months -> 28 Feb 2027, Sunday -> 1 Mar", "2026-11-30", "2026-12-15", "2027-03-01", "fr")
    extended("30 Nov 2028 + 3 months -> 28 Feb 2029", "2028-11-30", "2028-12-20", "2029-02-28", "be")
    extended("31 Jan 2028 + 3 months -> 30 Apr, Sunday; 1 May -> 2 May", "2028-01-31", "2028-02-10", "2028-05-02", "de")
    extended(
        "31 Jan 2030 + 3 months -> 30 Apr, from the start, not from 28 Feb",
        "2030-01-31",
        "2030-02-28",
        "2030-04-30",
        "pl",
    )
    extended("31 Mar 2026 + 3 months -> 30 Jun, three months at once", "2026-03-31", "2026-04-15", "2026-06-30", "gr")
    extended("29 Nov 2027 + 3 months -> 29 Feb 2028", "2027-11-29", "2027-12-01", "2028-02-29", "gb-eng", uk)
    extended("30 Nov 2029 + 3 months -> 28 Feb 2030", "2029-11-30", "2029-12-31", "2030-02-28", "gb-sct", uk)
    extended(
        "31 Oct 2025 + 3 months -> 31 Jan 2026, Saturday -> 2 Feb",
        "2025-10-31",
        "2025-11-28",
        "2026-02-02",
        "gb-nir",
        "uk-gdpr.other",
    )
