"""What is shipped: one row per calendar, and the name each part of the product knows it by.

Every calendar is taken from the `holidays` package, category `public` unless the row says otherwise.
`corrections.py` holds what the review changed.
"""

from dataclasses import dataclass, field

FIRST, LAST = "2024-01-01", "2030-12-31"

# The national rows say "holidays of the whole country": a regional day is in the region's own calendar only.
WHOLE = "holidays of the whole country"


@dataclass(frozen=True)
class Row:
    """One calendar: its id, and where its days come from."""

    id: str
    name: str
    subdivision: str | None = None
    categories: tuple[str, ...] = ("public",)
    aliases: tuple[str, ...] = ()
    default_for: tuple[str, ...] = ()
    valid_until: str = LAST
    makeup_days: bool = False
    common_to: tuple[str, ...] = ()  # the days that all these subdivisions share, instead of a subdivision's own
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Country:
    """One file: the rows of a country, and what they were reviewed against."""

    code: str
    reviewed: str
    rows: tuple[Row, ...] = field(default_factory=tuple)


DATE_HOLIDAYS = "date-holidays 3.37.0 (npm)"
BOTH = f"{DATE_HOLIDAYS} and workalendar 17.0.0 (Python)"


def whole(code, name, *, reviewed=BOTH, **kw):
    """A country with one calendar, the national one."""
    return Country(code, reviewed, (national(code, name, **kw),))


def national(code, name, **kw):
    """The row of a whole country."""
    return Row(code.lower(), f"{name}: {WHOLE}", default_for=(code,), **kw)


def regions(code, country, names, **kw):
    """Rows for regions, each of which a controller there selects by its ISO 3166-2 code."""
    return tuple(
        Row(
            f"{code}-{region}".lower(),
            f"{country}: {name}",
            subdivision=region,
            default_for=(f"{code}-{region}",),
            **kw,
        )
        for region, name in names.items()
    )


LAENDER = {
    "BB": "Brandenburg", "BE": "Berlin", "BW": "Baden-Wuerttemberg", "BY": "Bavaria", "HB": "Bremen",
    "HE": "Hesse", "HH": "Hamburg", "MV": "Mecklenburg-Western Pomerania", "NI": "Lower Saxony",
    "NW": "North Rhine-Westphalia", "RP": "Rhineland-Palatinate", "SH": "Schleswig-Holstein", "SL": "Saarland",
    "SN": "Saxony", "ST": "Saxony-Anhalt", "TH": "Thuringia",
}  # fmt: skip
COMMUNITIES = {
    "AN": "Andalusia", "AR": "Aragon", "AS": "Asturias", "CB": "Cantabria", "CE": "Ceuta", "CL": "Castile and Leon",
    "CM": "Castile-La Mancha", "CN": "Canary Islands", "CT": "Catalonia", "EX": "Extremadura", "GA": "Galicia",
    "IB": "Balearic Islands", "MC": "Murcia", "MD": "Madrid", "ML": "Melilla", "NC": "Navarre",
    "PV": "Basque Country", "RI": "La Rioja", "VC": "Valencian Community",
}  # fmt: skip
CANTONS = {
    "AG": "Aargau", "AI": "Appenzell Innerrhoden", "AR": "Appenzell Ausserrhoden", "BE": "Bern",
    "BL": "Basel-Landschaft", "BS": "Basel-Stadt", "FR": "Fribourg", "GE": "Geneva", "GL": "Glarus",
    "GR": "Grisons", "JU": "Jura", "LU": "Lucerne", "NE": "Neuchatel", "NW": "Nidwalden", "OW": "Obwalden",
    "SG": "St. Gallen", "SH": "Schaffhausen", "SO": "Solothurn", "SZ": "Schwyz", "TG": "Thurgau", "TI": "Ticino",
    "UR": "Uri", "VD": "Vaud", "VS": "Valais", "ZG": "Zug", "ZH": "Zurich",
}  # fmt: skip
STATES = {
    "CA": "California", "CO": "Colorado", "CT": "Connecticut", "DE": "Delaware", "FL": "Florida", "IA": "Iowa",
    "IN": "Indiana", "KY": "Kentucky", "MD": "Maryland", "MN": "Minnesota", "MT": "Montana", "NE": "Nebraska",
    "NH": "New Hampshire", "NJ": "New Jersey", "NV": "Nevada", "OR": "Oregon", "RI": "Rhode Island",
    "TN": "Tennessee", "TX": "Texas", "UT": "Utah", "VA": "Virginia", "WA": "Washington",
}  # fmt: skip
AUSTRALIA = {
    "ACT": "Australian Capital Territory", "NSW": "New South Wales", "NT": "Northern Territory",
    "QLD": "Queensland", "SA": "South Australia", "TAS": "Tasmania", "VIC": "Victoria", "WA": "Western Australia",
}  # fmt: skip
OVERSEAS = {
    "57": "Moselle", "6AE": "Alsace", "971": "Guadeloupe", "972": "Martinique", "973": "French Guiana",
    "974": "Reunion", "976": "Mayotte", "MF": "Saint Martin",
}  # fmt: skip

MOVED_DAYS = (
    "Days off moved by yearly decree are published up to 2026; a later one that is missing makes a date earlier, "
    "never later. The Saturdays worked in exchange stay non-working: under Regulation 1182/71 a Saturday never is a "
    "working day."
)
SWEDISH = (
    "Midsummer Eve, Christmas Eve and New Year's Eve equal holidays for time limits (Act 1930:173) but are none; they "
    "are left out, which makes a date earlier, never later."
)
DUTCH = (
    "5 May is a day off every fifth year; that the Algemene termijnenwet has it each year is left out, which makes a "
    "date earlier, never later."
)
SPANISH = "The region's list is published each autumn for the next year; the last one known is for 2026."


def french(region, name):
    """A French row; the two Alsatian departements were merged into one ISO code in 2021."""
    old = ("FR-67", "FR-68") if region == "6AE" else ()
    return Row(
        f"fr-{region}".lower(),
        f"France: {name}",
        subdivision=region,
        aliases=tuple(code.lower() for code in old),
        default_for=(f"FR-{region}", *old),
    )


COUNTRIES = (
    # European Union
    whole("AT", "Austria"),
    whole("BE", "Belgium"),
    whole("BG", "Bulgaria"),
    whole("CY", "Cyprus"),
    whole("CZ", "Czechia"),
    Country("DE", BOTH, (national("DE", "Germany"), *regions("DE", "Germany", LAENDER))),
    whole("DK", "Denmark"),
    whole("EE", "Estonia"),
    Country(
        "ES",
        BOTH,
        (
            national("ES", "Spain"),
            *regions("ES", "Spain", COMMUNITIES, valid_until="2026-12-31", notes=(SPANISH,)),
        ),
    ),
    whole("FI", "Finland"),
    Country("FR", BOTH, (national("FR", "France"), *(french(r, n) for r, n in OVERSEAS.items()))),
    whole("GR", "Greece"),
    whole("HR", "Croatia"),
    whole("HU", "Hungary", notes=(MOVED_DAYS,)),
    whole("IE", "Ireland"),
    Country("IT", BOTH, (national("IT", "Italy"), *regions("IT", "Italy", {"BZ": "South Tyrol"}))),
    whole("LT", "Lithuania"),
    whole("LU", "Luxembourg"),
    whole("LV", "Latvia", notes=(MOVED_DAYS,)),
    whole("MT", "Malta"),
    whole("NL", "Netherlands", notes=(DUTCH,)),
    whole("PL", "Poland"),
    Country("PT", BOTH, (national("PT", "Portugal"), *regions("PT", "Portugal", {"20": "Azores", "30": "Madeira"}))),
    whole("RO", "Romania"),
    whole("SE", "Sweden", notes=(SWEDISH,)),
    whole("SI", "Slovenia"),
    whole("SK", "Slovakia"),
    # European Economic Area
    whole("IS", "Iceland"),
    whole("LI", "Liechtenstein", reviewed=DATE_HOLIDAYS),
    whole("NO", "Norway"),
    # Other Europe
    Country(
        "CH",
        BOTH,
        (
            Row(
                "ch",
                "Switzerland: holidays of every canton",
                aliases=("ch-canton",),
                default_for=("CH",),
                notes=("Only the days that all cantons share; a controller in Switzerland selects its canton.",),
            ),
            *regions("CH", "Switzerland", CANTONS),
        ),
    ),
    Country(
        "GB",
        BOTH,
        (
            Row(
                "gb-eng",
                "United Kingdom: England and Wales",
                subdivision="ENG",
                aliases=("uk-england-wales", "gb-wls"),
                default_for=("GB", "GB-ENG", "GB-WLS"),
            ),
            Row(
                "gb-nir",
                "United Kingdom: Northern Ireland",
                subdivision="NIR",
                aliases=("uk-northern-ireland",),
                default_for=("GB-NIR",),
            ),
            Row(
                "gb-sct",
                "United Kingdom: Scotland",
                subdivision="SCT",
                aliases=("uk-scotland",),
                default_for=("GB-SCT",),
            ),
        ),
    ),
    whole("TR", "Turkiye", aliases=("tr-national",)),
    # Americas
    whole("AR", "Argentina", aliases=("ar-national",)),
    whole("BM", "Bermuda", reviewed=DATE_HOLIDAYS, aliases=("bm-national",)),
    whole("BR", "Brazil", aliases=("br-national",)),
    Country(
        "CA",
        BOTH,
        (
            Row(
                "ca-federal",
                "Canada: general holidays of the Canada Labour Code",
                categories=("public", "government"),
                aliases=("ca",),
                default_for=("CA",),
                notes=("The source's categories public and government together.",),
            ),
            Row("ca-ab", "Canada: Alberta", subdivision="AB", default_for=("CA-AB",)),
            Row("ca-bc", "Canada: British Columbia", subdivision="BC", default_for=("CA-BC",)),
            Row("ca-on", "Canada: Ontario", subdivision="ON", default_for=("CA-ON",)),
            Row("ca-qc", "Canada: Quebec", subdivision="QC", default_for=("CA-QC",)),
        ),
    ),
    whole("MX", "Mexico", aliases=("mx-national",)),
    Country(
        "US",
        BOTH,
        (
            Row("us-federal", "United States: federal holidays", aliases=("us",), default_for=("US",)),
            *(
                Row(f"us-{state}".lower(), f"United States: {name}, days the state's offices are closed", state)
                for state, name in STATES.items()
            ),
        ),
    ),
    # Asia and the Pacific
    Country(
        "AU",
        BOTH,
        (
            Row(
                "au",
                "Australia: holidays common to all states and territories",
                common_to=tuple(AUSTRALIA),
                aliases=("au-national",),
            ),
            *(
                Row(
                    f"au-{state}".lower(),
                    f"Australia: {name}",
                    subdivision=state,
                    default_for=("AU", "AU-NSW") if state == "NSW" else (f"AU-{state}",),
                )
                for state, name in AUSTRALIA.items()
            ),
        ),
    ),
    whole(
        "CN",
        "China",
        reviewed=DATE_HOLIDAYS,
        aliases=("cn-national",),
        valid_until="2026-12-31",
        makeup_days=True,
        notes=("The State Council publishes each year's days off and make-up days; the last ones known are for 2026.",),
    ),
    whole("IL", "Israel", aliases=("il-national",)),
    Country(
        "IN",
        DATE_HOLIDAYS,
        (
            Row(
                "in",
                "India: gazetted holidays of the central government",
                aliases=("in-national",),
                default_for=("IN",),
            ),
        ),
    ),
    whole("JP", "Japan", aliases=("jp-national",)),
    whole("KR", "South Korea", aliases=("kr-national",)),
    Country(
        "NZ",
        BOTH,
        (
            Row(
                "nz",
                f"New Zealand: {WHOLE}",
                aliases=("nz-national",),
                default_for=("NZ",),
                notes=("Anniversary days of the provinces are no part of it.",),
            ),
            Row(
                "nz-statutory",
                "New Zealand: public holidays and the days from 25 December to 15 January",
                notes=(
                    "What the Privacy Act 2020 leaves out of its working days: the public holidays of the whole "
                    "country, and 25 December to 15 January.",
                ),
            ),
        ),
    ),
    whole("SA", "Saudi Arabia", reviewed=DATE_HOLIDAYS, aliases=("sa-national",)),
    whole("SG", "Singapore", aliases=("sg-national",)),
    whole("TH", "Thailand", reviewed=DATE_HOLIDAYS, aliases=("th-national",)),
    whole("TW", "Taiwan", aliases=("tw-national",), makeup_days=True),
    # Africa
    whole("KE", "Kenya", aliases=("ke-national",)),
    whole("ZA", "South Africa", aliases=("za-national",)),
)
