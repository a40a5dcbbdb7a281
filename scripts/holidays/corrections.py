"""What the review changed in the source, each with its reason.

Every calendar was compared, day by day and year by year, with date-holidays 3.37.0 (npm) and workalendar 17.0.0
(Python) where they know it; a difference is either a correction here or one of the decisions listed below. Where the
sources differ and the law is not plain, the day is left out: a missing holiday makes a date earlier, never later.

Kept as the source has it, against another one:
  bg  substitutes for holidays on a weekend (Labor Code art. 154(2)), which neither other source knows
  cy  Green Monday and the Monday of Pentecost; the others have a Tuesday and the western Easter
  fi  the eves of Midsummer and Christmas, which Act 150/1930 on time limits treats as holidays
  gb-sct  15 June 2026, by royal proclamation; no other source has it yet
  gr  1 May 2024 was moved to 7 May, because of Holy Week
  ie  no substitutes for a holiday on a weekend: the Organisation of Working Time Act has none
  is  the first day of summer is the first Thursday after 18 April: 25 April in 2024 and 2030
  it  4 October, from 2026 (Act 151/2025)
  li  the days of the Labor Act; Good Friday and the bridge days of others are custom
  nl  Good Friday (Algemene termijnenwet art. 3); 5 May only every fifth year, though that Act has it each year
  nz  Matariki by its own Act; pl 24 December from 2025; ro 6 and 7 January from 2024; dk no Great Prayer Day from 2024
  se  no eves: they equal holidays for time limits (Act 1930:173) but are none, and leaving them out is earlier
  sk  1 September and 17 November are working days since 2024 and 2025, 8 May and 15 September in 2026 only
  tr  no fourth and fifth day of a feast, and no afternoons
  br, ca, jp, kr, tw, us  days that became holidays after the older source was made
  ar  days that are not worked though no holidays ("dias no laborables"), as in the published vectors
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Correction:
    """One change to some calendars: to all days with that name, unless dates or a first date are given."""

    calendars: tuple[str, ...]
    action: str  # add | drop | rename
    name: str
    reason: str
    dates: tuple[str, ...] = ()
    since: str = ""
    new_name: str = ""

    def concerns(self, day, name):
        """Whether a day of the source is one that this correction drops or renames."""
        return name == self.name and day >= self.since and (not self.dates or day in self.dates)


def add(calendars, name, dates, reason):
    return Correction(tuple(calendars.split()), "add", name, reason, tuple(dates.split()))


def drop(calendars, names, reason, dates=""):
    wanted = tuple(dates.split())
    return tuple(Correction(tuple(calendars.split()), "drop", name, reason, wanted) for name in names.split(" | "))


def rename(calendars, name, new_name, dates, reason):
    return Correction(tuple(calendars.split()), "rename", name, reason, tuple(dates.split()), new_name=new_name)


def estimated(calendars, names, since, reason):
    """Marks days that the source gives as certain, though nobody has set them yet."""
    return tuple(
        Correction(tuple(calendars.split()), "rename", name, reason, since=since, new_name=f"{name} (estimated)")
        for name in names.split(" | ")
    )


ELECTIONS = "2024-11-05 2026-11-03 2028-11-07 2030-11-05"
AFTER_THANKSGIVING = "2024-11-29 2025-11-28 2026-11-27 2027-11-26 2028-11-24 2029-11-23 2030-11-29"
JUNETEENTH = "Juneteenth National Independence Day | Juneteenth National Independence Day (observed)"
LINCOLN = "Lincoln's Birthday | Lincoln's Birthday (observed)"
LUNAR = "set each year by the government; computed"
CUSTOM = "a custom, not among the days of Labor Code art. L3422-2"

EUROPE = (
    *estimated("gr", "Labor Day (observed)", "2027-01-01", "moved because of Holy Week, by a decision still to come"),
    *drop("fr-971", "Good Friday | Mi-Careme | Victor Schoelcher Day", CUSTOM),
    *drop("fr-972 fr-mf", "Victor Schoelcher Day", CUSTOM),
    *drop(
        "ch-lu",
        "Saint Berchtold's Day | Easter Monday | Pentecost Monday",
        "a day off by custom, no public day of rest of the canton",
    ),
)

ASIA_AND_PACIFIC = (
    *drop("au-qld", "The Royal Queensland Show", "a holiday of Brisbane only; other districts have other days"),
    *estimated("au-vic", "Friday before the AFL Grand Final", "2027-01-01", "follows the match, still to be set"),
    *estimated("au-wa", "King's Birthday", "2028-01-01", "proclaimed each year"),
    *estimated(
        "in",
        "Holi | Ram Navami | Mahavira's Birthday | Buddha Purnima | Janmashtami (Vaishnava) | Dussehra | Diwali | "
        "Guru Nanak's Birthday | Maha Shivaratri",
        "2027-01-01",
        LUNAR,
    ),
    *estimated(
        "th",
        "Makha Bucha | Makha Bucha (in lieu) | Visakha Bucha | Visakha Bucha (in lieu) | Asarnha Bucha | "
        "Asarnha Bucha (in lieu) | Buddhist Lent Day",
        "2027-01-01",
        LUNAR,
    ),
    *estimated("sg", "Diwali", "2028-01-01", LUNAR),
)

UNITED_STATES = (
    *drop("us-ca us-fl", "Susan B. Anthony Day", "an observance; the state's offices are open"),
    rename(
        "us-ca",
        "Presidents' Day; Susan B. Anthony Day",
        "Presidents' Day",
        "2027-02-15",
        "the other one is an observance",
    ),
    *drop("us-ca", "Diwali", "a day that state employees may choose; the state's offices are open"),
    *drop(
        "us-ca",
        "Independence Day (observed)",
        "Gov. Code 6701 moves a holiday on a Saturday for 11 November only",
        "2026-07-03",
    ),
    *drop(
        "us-ca",
        "Juneteenth National Independence Day (observed) | Christmas Day (observed) | New Year's Day (observed)",
        "Gov. Code 6701 moves a holiday on a Saturday for 11 November only",
    ),
    *drop("us-co", "Cesar Chavez Day", "optional (C.R.S. 24-11-112)"),
    *drop("us-fl us-ia us-in us-mt us-nh", JUNETEENTH, "no paid holiday of the state by statute"),
    *drop("us-ia", LINCOLN, "no paid holiday of the state (Iowa Code 1C.2)"),
    *drop("us-ia", "Washington's Birthday", "no paid holiday of the state (Iowa Code 1C.2)"),
    add("us-ia", "Day After Thanksgiving", AFTER_THANKSGIVING, "Iowa Code 1C.2"),
    *drop("us-in", "Primary Election Day", "no election that year", "2025-05-06 2029-05-08"),
    *drop("us-in", "Election Day", "no election that year", "2025-11-04 2029-11-06"),
    *estimated("us-in", "Washington's Birthday", "2027-01-01", "the governor sets the day each year"),
    *drop("us-ky", "Good Friday", "half a day (KRS 18A.190)"),
    *drop("us-ky", "Washington's Birthday", "the state's offices are open (KRS 18A.190)"),
    add("us-ky", "Day After Thanksgiving", AFTER_THANKSGIVING, "KRS 18A.190"),
    *drop("us-md us-va", "Inauguration Day", "a holiday of the District of Columbia and its neighborhood"),
    rename(
        "us-md us-va",
        "Inauguration Day; Martin Luther King Jr. Day",
        "Martin Luther King Jr. Day",
        "2025-01-20",
        "Inauguration Day is of the District of Columbia and its neighborhood",
    ),
    add("us-md", "Election Day", ELECTIONS, "each statewide general election (Md. General Provisions 1-111)"),
    add("us-ne", "Day After Thanksgiving", AFTER_THANKSGIVING, "Neb. Rev. Stat. 62-301"),
    *drop("us-nj", LINCOLN, "the state's offices are open since 2009"),
    *drop("us-nj", JUNETEENTH, "the state has the third Friday in June"),
    add(
        "us-nj",
        "Juneteenth",
        "2024-06-21 2025-06-20 2026-06-19 2027-06-18 2028-06-16 2029-06-15 2030-06-21",
        "third Friday in June (N.J.S.A. 36:1-1)",
    ),
    add("us-nj", "Election Day", "2025-11-04 2027-11-02 2029-11-06", "a general election each year (N.J.S.A. 36:1-1)"),
    *drop("us-ri", "Washington's Birthday", "the state's offices are open"),
    add("us-ri", "Election Day", ELECTIONS, "the state's general election, in even years"),
    *drop(
        "us-tx",
        "Confederate Memorial Day | Texas Independence Day | Cesar Chavez Day | Good Friday | San Jacinto Day | "
        "Lyndon Baines Johnson Day | Emancipation Day In Texas; Juneteenth National Independence Day",
        "partly staffed or optional (Tex. Gov. Code 662.003): the state's offices are open",
    ),
    *drop(
        "us-tx",
        "Independence Day (observed) | New Year's Day (observed) | Juneteenth National Independence Day (observed) | "
        "Christmas Eve (observed) | Veterans Day (observed)",
        "a holiday on a weekend is not moved (Tex. Gov. Code 662.005)",
    ),
    rename(
        "us-tx",
        "Christmas Day (observed); Christmas Eve",
        "Christmas Eve",
        "2027-12-24",
        "a holiday on a weekend is not moved (Tex. Gov. Code 662.005)",
    ),
    rename(
        "us-tx",
        "Confederate Memorial Day; Martin Luther King Jr. Day",
        "Martin Luther King Jr. Day",
        "2026-01-19",
        "the other one is partly staffed",
    ),
    *drop("us-ut", JUNETEENTH, "the state keeps it on a Monday"),
    add(
        "us-ut",
        "Juneteenth National Freedom Day",
        "2024-06-17 2025-06-16 2026-06-15 2027-06-21 2028-06-19 2029-06-18 2030-06-17",
        "the Monday before, or after a weekend (Utah Code 63G-1-301)",
    ),
)

CORRECTIONS = (*EUROPE, *ASIA_AND_PACIFIC, *UNITED_STATES)
