//! The process dies right before and right after an effect at a vendor; the vendor, which is another process's, lives on. What
//! happened is counted in its records, and what was told in the request.

use crate::support::{PATIENCE, Person, TestApp, status_of};
use futures::{StreamExt as _, stream};
use redress_sandbox::{ALL, Person as Simulated, Sandbox, Vendor, connections};
use std::fmt::Write as _;
use std::time::Duration;

/// Where the process dies, and at which vendor.
pub(super) const POINTS: &[(&str, &str)] = &[
    ("manifest.before_effect", "marketo"),
    ("manifest.after_effect", "marketo"),
    ("manifest.after_effect", "brevo"),
    ("salesforce.before_effect", "salesforce"),
    ("salesforce.after_effect", "salesforce"),
    ("yield.before_commit", "salesforce"),
    ("mailservice.before_effect", "gmail"),
    ("mailservice.after_effect", "gmail"),
    ("warehouse.before_effect", "snowflake"),
    ("warehouse.after_effect", "snowflake"),
];

fn simulated(person: &Person) -> Simulated {
    let (first, last) = person.name.rsplit_once(' ').unwrap_or(("", &person.name));
    Simulated {
        email: person.email.clone(),
        phone: person.phone.clone(),
        customer_id: person.customer_id(),
        first_name: first.to_owned(),
        last_name: last.to_owned(),
    }
}

async fn dies(at: &str, name: &str) {
    let vendor: Vendor = *ALL.iter().find(|vendor| vendor.name == name).expect("it is simulated");
    let (ann, twin) = (Person::new("ann"), Person::new("joann"));
    let people = vec![simulated(&ann), simulated(&twin)];
    let vendors = Sandbox::start(&[vendor], 0, people).await.expect("free ports");
    let (before, others) = (vendors.left(name, &ann.email), vendors.left(name, &twin.email));
    assert!(before > 0 && others > 0, "{name} knows nobody");
    let mut toml = String::from("[controller]\nname = \"acme\"\ncountry = \"DE\"\ntimezone = \"Europe/Berlin\"\n");
    for (_, url) in vendors.vendors() {
        let system = connections::system(name, name, &url);
        let manifest = matches!(name, "marketo" | "brevo");
        let system =
            if manifest { system.replace("settings = { ", "settings = { verify_after_seconds = 0, ") } else { system };
        let _ = write!(toml, "\n{system}");
    }
    let app = TestApp::builder().quick_leases().installed().await;
    let api = app.controller(&toml).await;
    app.set_env("REDRESS_CRASH_AT", at);
    app.start().await;
    let id = api.submitted(&ann.deletion()).await;
    app.wait_for_death(Duration::from_secs(45)).await;
    app.unset_env("REDRESS_CRASH_AT");
    app.start().await;
    let view = api.until_view(&id, |view| !view["closed_at"].is_null(), PATIENCE * 2).await;
    assert_eq!(status_of(&view), "completed", "{at} at {name}: {view:#}");
    let step = &view["steps"][0];
    assert_eq!(step["status"], "verified", "{at} at {name}: {step:#}");
    assert_eq!(step["found"], step["changed"], "{at} at {name}: {step:#}");
    assert!(step["changed"].as_u64().is_some_and(|n| n > 0), "what was done is told: {step:#}");
    assert_eq!(vendors.left(name, &ann.email), 0, "{at} at {name}");
    assert_eq!(vendors.left(name, &twin.email), others, "{at} at {name}: somebody else was touched");
}

#[tokio::test]
#[cfg_attr(not(feature = "crash-points"), ignore = "needs --features crash-points")]
async fn a_death_before_or_after_an_effect_at_a_vendor_is_made_good_and_told_truly() {
    // Each waits for seconds until the dead are known to be dead: a few at a time.
    stream::iter(POINTS).for_each_concurrent(3, |(at, name)| dies(at, name)).await;
}
