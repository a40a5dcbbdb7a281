//! The words of the board, each with what it means here and the article or rule it comes from.

/// One word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) word: &'static str,
    pub(super) meaning: &'static str,
    /// The article or rule; empty where the word is ours.
    pub(super) source: &'static str,
}

/// Every word that a page explains, sorted.
pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "approval",
        "A person says that work may begin, or that the answer may be handed over. Where four eyes are asked for, not the one who submitted.",
        "GDPR Art. 28(3)(a)",
    ),
    entry("at_risk", "Three quarters of the time are over. Somebody should look.", ""),
    entry(
        "awaiting_controller",
        "The controller has to answer something before work can go on. The contract's clock may stand still, the law's only where the law says so.",
        "GDPR Art. 12(6)",
    ),
    entry("band", "How near the due date is: on track, at risk, critical, overdue.", ""),
    entry(
        "binding",
        "The earlier of the contract's date and the law's date. It is the one we work to.",
        "GDPR Art. 28(3)(e)",
    ),
    entry(
        "break_glass",
        "Emergency rights: taken up by somebody who was given the role for it, for minutes and for a reason, and told to everybody at once.",
        "GDPR Art. 32(4)",
    ),
    entry(
        "controller",
        "Who decides why and how personal data are processed: our customer, on whose instruction we act.",
        "GDPR Art. 4(7)",
    ),
    entry(
        "credentials_expire_on",
        "The last day on which the vendor takes them, as somebody told us. After it every step there would fail, and requests would be late.",
        "",
    ),
    entry(
        "credentials_refused",
        "The system is there and says no to our password or token. Nothing is sent until others are set; it is asked now and then.",
        "",
    ),
    entry("critical", "Three working days or fewer are left.", ""),
    entry(
        "dead_letter",
        "Something that was tried again and again and was then put aside, so that it holds up nothing else. It is tried again when a person says so.",
        "",
    ),
    entry(
        "due",
        "The last day on which the request can be answered in time, in the controller's time zone.",
        "GDPR Art. 12(3); Regulation 1182/71 Art. 3",
    ),
    entry(
        "evidence",
        "What shows that the law was kept: who did what and when, by which rules, in which system, and how that was checked.",
        "GDPR Art. 5(2), 24(1)",
    ),
    entry(
        "extension",
        "The law's date may be moved once if requests are complex or many, and if the person is told the reason in the first month.",
        "GDPR Art. 12(3)",
    ),
    entry(
        "forecast",
        "When the request will really end, from the work that lies before it and how fast each system has been.",
        "",
    ),
    entry(
        "hold",
        "Data that have to be kept for a legal claim or duty are not deleted until the hold is released.",
        "GDPR Art. 17(3)(b), (e)",
    ),
    entry(
        "instruction",
        "What a controller has documented that we do by ourselves: which rights in which of its systems, and what a person decides first.",
        "GDPR Art. 28(3)(a)",
    ),
    entry(
        "legal_hold",
        "Somebody said that data have to be kept as they are for a legal claim or duty. What deletes or changes them waits until the hold is released; the law's dates go on.",
        "GDPR Art. 17(3)(e), 18(2)",
    ),
    entry("needs_attention", "The engine cannot go on by itself; a person has to decide or mend something.", ""),
    entry(
        "on_time",
        "Answered before the due date had passed: the earlier of the contract's and the law's.",
        "GDPR Art. 12(3)",
    ),
    entry("overdue", "The due date is over. The controller was told at once.", "GDPR Art. 12(3)"),
    entry(
        "paused",
        "The clock of the date stands still because something is missing that only others can give.",
        "EDPB Guidelines 01/2022, 5.3",
    ),
    entry(
        "retained",
        "Data that stay although deletion was asked for, each with the reason that the law gives for it. The person is told.",
        "GDPR Art. 17(3)",
    ),
    entry(
        "permanence",
        "Whether what is deleted is gone at once, can be restored for a while, or is removed by the vendor days later. The certificate says which.",
        "GDPR Art. 17(1)",
    ),
    entry("rate_budget", "How many calls a vendor takes in a time. A part of each is kept for what is due soon.", ""),
    entry(
        "statutory",
        "The date that the law gives the controller, counted from when it got the person's request.",
        "GDPR Art. 12(3)",
    ),
    entry("subject", "The person whose data these are.", "GDPR Art. 4(1)"),
    entry(
        "task",
        "Work in a place that no program reaches. A person does it and reports what was found and changed; the report counts as evidence.",
        "GDPR Art. 5(2)",
    ),
    entry("verified", "A second, fresh read found nothing left to do.", ""),
];

const fn entry(word: &'static str, meaning: &'static str, source: &'static str) -> Entry {
    Entry { word, meaning, source }
}

/// The entry of a word.
pub(super) fn explained(word: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.word == word)
}
