use super::*;

fn tally(numbers: &[i64]) -> Tally {
    let mut tally = Tally::default();
    for number in numbers {
        tally.add(*number);
    }
    tally
}

fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().expect("an instant").as_millisecond()
}

#[test]
fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
    for (numbers, median) in [
        (&[7][..], "7.0"),
        (&[1, 2], "1.5"),
        (&[9, 1, 5], "5.0"),
        (&[1, 1, 1, 100], "1.0"),
        (&[4, 1, 3, 2], "2.5"),
        (&[0, 0], "0.0"),
    ] {
        assert_eq!(tally(numbers).median().expect("one").to_string(), median, "{numbers:?}");
    }
}

#[test]
fn the_mean_is_rounded_half_up_to_a_tenth() {
    for (numbers, mean) in [
        (&[1, 2][..], "1.5"),
        (&[1, 1, 2], "1.3"),
        (&[1, 2, 2], "1.7"),
        (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "0.1"),
        (&[5], "5.0"),
    ] {
        assert_eq!(tally(numbers).mean().expect("one").to_string(), mean, "{numbers:?}");
    }
}

#[test]
fn a_percentile_is_one_of_the_numbers_by_nearest_rank() {
    let hundred: Vec<i64> = (1..=100).collect();
    assert_eq!(tally(&hundred).percentile(95), Some(95));
    assert_eq!(tally(&hundred[..20]).percentile(95), Some(19));
    assert_eq!(tally(&hundred[..10]).percentile(95), Some(10));
    assert_eq!(tally(&[3]).percentile(95), Some(3));
    assert_eq!(tally(&hundred).percentile(0), Some(1));
}

#[test]
fn of_nothing_there_is_neither_median_nor_mean_nor_percentage() {
    let nothing = Tally::default();
    assert_eq!((nothing.median(), nothing.mean(), nothing.percentile(95)), (None, None, None));
    assert_eq!(Share::default().percent(), None);
}

#[test]
fn order_and_repetition_of_the_numbers_do_not_matter() {
    let mut counted = Tally::default();
    counted.add_many(3, 2);
    counted.add_many(1, 1);
    counted.add_many(8, 0);
    assert_eq!(counted, tally(&[3, 1, 3]));
    assert_eq!(counted.count(), 3);
    assert_eq!(tally(&[-4]), tally(&[0]), "what is negative counts as 0");
}

#[test]
fn a_hundred_percent_means_all() {
    let percent = |numerator, denominator| Share { numerator, denominator }.percent().expect("some").to_string();
    assert_eq!(percent(9_999, 10_000), "99.9");
    assert_eq!(percent(10_000, 10_000), "100.0");
    assert_eq!(percent(2, 3), "66.6");
    assert_eq!(percent(0, 3), "0.0");
    assert_eq!(percent(u64::MAX, u64::MAX), "100.0");
}

#[test]
fn every_age_is_in_the_bucket_that_names_it() {
    for (days, label) in [
        (-3, "0-7"),
        (0, "0-7"),
        (7, "0-7"),
        (8, "8-14"),
        (14, "8-14"),
        (15, "15-21"),
        (21, "15-21"),
        (22, "22-30"),
        (30, "22-30"),
        (31, "31-45"),
        (45, "31-45"),
        (46, "46-60"),
        (60, "46-60"),
        (61, "61-90"),
        (90, "61-90"),
        (91, "> 90"),
        (4_000, "> 90"),
    ] {
        assert_eq!(AGES[age_bucket(days)].0, label, "{days} days");
    }
}

#[test]
fn days_are_counted_between_local_dates_across_the_change_of_clocks() {
    let los_angeles = TimeZone::get("America/Los_Angeles").expect("a zone");
    // 23:30 on 7 March to 00:30 on 9 March, local: the clocks go forward on the 8th.
    let (from, to) = (ms("2026-03-08T07:30:00Z"), ms("2026-03-09T07:30:00Z"));
    assert_eq!(days_between(from, to, &los_angeles), 2);
    assert_eq!(days_between(from, to, &TimeZone::UTC), 1);
    assert_eq!(days_between(to, from, &los_angeles), 0, "never less than none");
    assert_eq!(days_between(ms("2025-12-31T20:00:00Z"), ms("2027-01-01T20:00:00Z"), &los_angeles), 366);
}

#[test]
fn a_day_begins_at_its_first_instant_even_where_midnight_is_left_out() {
    let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
    assert_eq!(day_start("2026-11-01".parse().expect("a date"), &berlin), ms("2026-10-31T23:00:00Z"));
    // In Chile the clocks go forward at midnight: 6 September 2026 begins at one o'clock.
    let santiago = TimeZone::get("America/Santiago").expect("a zone");
    assert_eq!(day_start("2026-09-06".parse().expect("a date"), &santiago), ms("2026-09-06T04:00:00Z"));
}

const OPEN: OpenCase = OpenCase {
    band: Band::OnTrack,
    stage: Stage::InProgress,
    needs_attention: false,
    clock: OpenClock::Running,
    age_days: 3,
    due_today: false,
    past_statutory: false,
    extended: false,
    forecast_late: false,
};

#[test]
fn an_open_request_is_counted_once_in_each_dimension() {
    let mut figures = OpenFigures::default();
    figures.add(&OPEN);
    figures.add(&OpenCase { band: Band::Overdue, past_statutory: true, age_days: 60, needs_attention: true, ..OPEN });
    figures.add(&OpenCase {
        stage: Stage::AwaitingController,
        clock: OpenClock::Paused(Some(PauseKind::Controller)),
        age_days: 31,
        ..OPEN
    });
    figures.add(&OpenCase {
        clock: OpenClock::NotStarted,
        extended: true,
        forecast_late: true,
        due_today: true,
        ..OPEN
    });
    assert_eq!(figures.total, 4);
    assert_eq!(
        (figures.in_band(Band::OnTrack), figures.in_band(Band::Overdue), figures.in_band(Band::AtRisk)),
        (3, 1, 0)
    );
    assert_eq!(figures.ages, [2, 0, 0, 0, 1, 1, 0, 0]);
    assert_eq!((figures.needs_attention, figures.awaiting_controller, figures.not_started), (1, 1, 1));
    assert_eq!((figures.waiting_for(Some(PauseKind::Controller)), figures.waiting_for(None)), (1, 0));
    assert_eq!((figures.due_today, figures.past_statutory, figures.extended, figures.forecast_late), (1, 1, 1, 1));
}

#[test]
fn only_answers_count_as_in_time_or_late_and_nothing_late_is_hidden() {
    let case =
        ClosedCase { stage: Stage::Completed, days: 10, in_time: true, in_statutory_time: Some(true), extended: false };
    let mut figures = ClosedFigures::default();
    figures.add(&case);
    figures.add(&ClosedCase { stage: Stage::Rejected, days: 40, in_time: false, extended: true, ..case });
    figures.add(&ClosedCase { stage: Stage::PartiallyCompleted, days: 20, in_statutory_time: None, ..case });
    figures.add(&ClosedCase { stage: Stage::Withdrawn, days: 99, in_time: false, ..case });
    figures.add(&ClosedCase { stage: Stage::Expired, ..case });
    assert_eq!((figures.total(), figures.ended(Stage::Withdrawn), figures.ended(Stage::Completed)), (5, 1, 1));
    assert_eq!(figures.on_time, Share { numerator: 2, denominator: 3 });
    assert_eq!(figures.within_statutory, Share { numerator: 2, denominator: 2 });
    assert_eq!(figures.extended, Share { numerator: 1, denominator: 3 });
    assert_eq!(figures.late_without_answer, 1);
    assert_eq!((figures.days.count(), figures.days.median()), (3, Some(Tenths::whole(20))));
}

#[test]
fn a_number_with_one_decimal_place_is_the_same_in_text_and_json() {
    for tenths in [0, 5, 10, 125, 999, 1000] {
        let number = Tenths::new(tenths);
        assert_eq!(serde_json::to_string(&number).expect("a number"), number.to_string());
    }
}
