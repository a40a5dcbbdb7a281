"""Business days: holidays of many countries, days worked in exchange, other weekends, and the internal target."""

WORK = "contract.deletion"


def countries(build):
    def law(title, rule, received, cal, due=None, tags=(), **more):
        build.deadline(title, rule, f"{received} 10:00", cal=cal, due=due, tags=["business", *tags], **more)

    cn = {"tags": ["cn", "make-up"], "certainty": "uncertain", "type": "deletion"}
    law("China: over Spring Festival 2024, with two Sundays worked", "cn.all", "2024-02-01", "cn", "2024-02-27", **cn)
    law("China: over Labor Day 2024", "cn.all", "2024-04-24", "cn", "2024-05-16", **cn)
    law("China: over National Day 2024", "cn.all", "2024-09-24", "cn", "2024-10-18", **cn)
    law("China: over Spring Festival 2025", "cn.all", "2025-01-20", "cn", "2025-02-14", **cn)
    law("China: over National Day 2025", "cn.all", "2025-09-22", "cn", "2025-10-17", **cn)
    law("China: received on a Sunday that is worked", "cn.all", "2026-01-04", "cn", "2026-01-23", **cn)
    law("China: the fifteenth day is a Saturday that is worked", "cn.all", "2026-04-17", "cn", "2026-05-12", **cn)
    sure = {"certainty": "uncertain"}
    law(
        "New Zealand: received on 10 December 2026",
        "nz.ipp6_ipp7",
        "2026-12-10",
        "nz-statutory",
        "2027-01-29",
        tags=["nz"],
        tz="Pacific/Auckland",
        **sure,
    )
    law(
        "New Zealand: received in the days that never count",
        "nz.ipp6_ipp7",
        "2027-12-28",
        "nz-statutory",
        "2028-02-14",
        tags=["nz"],
        tz="Pacific/Auckland",
        **sure,
    )
    law(
        "New Zealand: over Easter and Anzac Day 2028",
        "nz.ipp6_ipp7",
        "2028-04-07",
        "nz-statutory",
        "2028-05-10",
        tags=["nz"],
        tz="Pacific/Auckland",
    )
    law(
        "British Columbia over Christmas",
        "ca-bc.access",
        "2027-12-01",
        "ca-bc",
        tags=["ca-bc"],
        tz="America/Vancouver",
        **sure,
    )
    law(
        "Mexico over Christmas",
        "mx.arco",
        "2026-12-10",
        "mx",
        "2027-01-11",
        tags=["mx"],
        tz="America/Mexico_City",
        **sure,
    )
    law(
        "Argentina: five business days over Carnival",
        "ar.rectify",
        "2026-02-11",
        "ar",
        "2026-02-20",
        tags=["ar"],
        tz="America/Argentina/Buenos_Aires",
        type="deletion",
    )
    law(
        "California: 15 business days over Christmas",
        "us-ca-ccpa.optout",
        "2026-12-11",
        "us-federal",
        "2027-01-05",
        tags=["us"],
        tz="America/Los_Angeles",
    )
    law(
        "California: confirmed in 10 business days over Thanksgiving",
        "us-ca-ccpa.requests",
        "2027-11-22",
        "us-federal",
        "2028-01-06",
        tags=["us", "ack"],
        tz="America/Los_Angeles",
        type="know",
    )
    law(
        "A promise of 30 business days over Golden Week",
        WORK,
        "2026-04-20",
        "jp",
        "2026-06-05",
        tags=["jp", "contract"],
    )
    law("A promise of 30 business days over Chuseok", WORK, "2026-09-01", "kr", "2026-10-19", tags=["kr", "contract"])
    law(
        "A promise of 30 business days over Christmas in England", WORK, "2027-12-01", "gb-eng", tags=["uk", "contract"]
    )
    law(
        "A promise of 30 business days over New Year in Scotland", WORK, "2027-12-01", "gb-sct", tags=["uk", "contract"]
    )
    law("A promise of 30 business days in Brazil", WORK, "2028-04-03", "br", "2028-05-18", tags=["br", "contract"])
    law(
        "A promise of 30 business days in Bavaria in May",
        WORK,
        "2028-05-02",
        "de-by",
        "2028-06-16",
        tags=["de", "contract", "regional"],
    )
    law("The same in Hamburg", WORK, "2028-05-02", "de-hh", "2028-06-15", tags=["de", "contract", "regional"])
    law(
        "Passed on in two business days over Easter",
        "contract.forward",
        "2027-03-25",
        "de",
        "2027-03-31",
        tags=["contract", "forward"],
    )
    law(
        "Passed on in five business days over Christmas in Poland",
        "dpa.forward",
        "2026-12-22",
        "pl",
        "2026-12-31",
        tags=["dpa", "forward"],
        **sure,
    )
    law(
        "Helped within ten business days in Ireland",
        "dpa.assist",
        "2027-01-29",
        "ie",
        "2027-02-15",
        tags=["dpa"],
        **sure,
    )


def weekends(build):
    def days(title, received, due, tags=(), cal="none", tz="UTC", rule=WORK, **more):
        build.deadline(title, rule, received, tz=tz, cal=cal, due=due, tags=["business", "weekend", *tags], **more)

    # 1 Sep 2026 is a Tuesday.
    days("A weekend of Friday and Saturday", "2026-09-01 10:00", "2026-10-13", tz="Asia/Riyadh", weekend=["fri", "sat"])
    days("A weekend of Sunday alone", "2026-09-01 10:00", "2026-10-06", tz="Asia/Kolkata", weekend=["sun"])
    days("A weekend of Friday alone", "2026-09-03 10:00", "2026-10-08", tz="Asia/Tehran", weekend=["fri"])
    days("No weekend: business days are days", "2026-09-01 10:00", "2026-10-01", weekend=[])
    days("A weekend of three days", "2026-09-01 10:00", "2026-10-22", weekend=["fri", "sat", "sun"])
    days("Received on the last evening before a weekend", "2026-09-04 23:59:59", "2026-10-16", tz="Europe/Madrid")
    days("Received on a Saturday", "2026-09-05 12:00", "2026-10-16", tz="Europe/Madrid")
    days("Received on a Sunday: the same", "2026-09-06 12:00", "2026-10-16", tz="Europe/Madrid")
    days(
        "Two Saturdays worked come two days sooner",
        "2026-09-01 10:00",
        "2026-10-09",
        worked=["2026-09-12", "2026-09-26"],
    )
    days(
        "A holiday on each Monday",
        "2026-09-01 10:00",
        "2026-10-22",
        holidays=["2026-09-07", "2026-09-14", "2026-09-21", "2026-09-28", "2026-10-05", "2026-10-12", "2026-10-19"],
    )
    days(
        "Israel: Rosh Hashanah, Yom Kippur and Sukkot",
        "2026-09-01 10:00",
        None,
        cal="il",
        tz="Asia/Jerusalem",
        weekend=["fri", "sat"],
    )


def internal_targets(build):
    def target(title, received, number, cal="de", rule=WORK, **more):
        build.deadline(title, rule, f"{received} 10:00", cal=cal, target=number, tags=["target"], **more)

    target("One business day from a Friday", "2026-09-04", 1)
    target("Two business days over Easter", "2027-03-25", 2)
    target("Ten business days over the turn of the year", "2026-12-21", 10)
    target("Twenty business days in France in May", "2028-04-28", 20, "fr")
    target("Ten business days for an access request", "2026-05-11", 10, "fr", rule="contract.access")
    target("A target beside a law's month", "2026-05-11", 10, "de", rule="eu-gdpr.all")
