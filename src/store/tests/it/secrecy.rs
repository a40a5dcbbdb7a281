//! Personal data at rest are sealed, opened only with the right key in the right place, and never part of an error.

use crate::lab::{CANARIES, Lab, Wish, render};
use redress_domain::RequestType;
use redress_store::{ArtifactMeta, Dialect, Error};
use std::error::Error as _;

on_both!(
    no_byte_of_the_database_shows_who_the_person_is,
    no_error_shows_who_the_person_is_or_what_a_row_holds,
    another_master_key_opens_nothing,
    a_sealed_value_moved_to_another_row_does_not_open,
    one_damaged_request_does_not_stop_its_neighbours,
);

/// Every byte that the database keeps, as far as it can be asked for.
pub(crate) async fn every_byte(lab: &Lab) -> Vec<u8> {
    let mut all = Vec::new();
    match lab.store.dialect() {
        Dialect::Sqlite => {
            for file in std::fs::read_dir(&lab.folder).expect("a folder") {
                all.extend(std::fs::read(file.expect("an entry").path()).expect("a file"));
            }
        }
        Dialect::Postgres => {
            for table in lab.query("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'").await {
                for row in lab.query(&format!("SELECT t::text FROM {table} t")).await {
                    all.extend(row.bytes());
                    all.push(b'\n');
                }
            }
        }
    }
    all
}

fn holds(all: &[u8], text: &[u8]) -> bool {
    all.windows(text.len()).any(|window| window == text)
}

fn hex(text: &str) -> String {
    text.bytes().flat_map(|b| [b >> 4, b & 15]).filter_map(|n| char::from_digit(u32::from(n), 16)).collect()
}

async fn no_byte_of_the_database_shows_who_the_person_is(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    for kind in [RequestType::Access, RequestType::Correction, RequestType::Deletion] {
        let wish = Wish::of(kind).told().key(&format!("{kind}"), "body");
        lab.begun(&ctl, wish).await;
    }
    // With receipts and artifacts, but before their packages replace them.
    let steps = lab.store.claim("one", &["notify".into()], 1, 60_000).await.expect("claimed");
    let key = lab.store.dsr_key(&ctl, &steps[0].dsr_id).await.expect("a key");
    lab.store.intend(&steps[0], &key, "canary-receipt").await.expect("kept");
    let file = ArtifactMeta::Attachment {
        collection: "INBOX".into(),
        name: "canary-artifact.eml".into(),
        media_type: "message/rfc822".into(),
    };
    lab.store.put_artifact(&steps[0], &key, 7, &file, b"canary-artifact").await.expect("kept");
    lab.store.release(&steps).await.expect("released");
    let before = every_byte(&lab).await;
    lab.work_off().await;
    assert_eq!(lab.count("dsrs WHERE status = 'completed'").await, 3);
    let after = every_byte(&lab).await;
    for (when, all) in [("while it runs", &before), ("after it ended", &after)] {
        assert!(holds(all, ctl.as_str().as_bytes()), "the search finds what is there");
        for canary in CANARIES {
            assert!(!holds(all, canary.as_bytes()), "{canary} {when}");
            assert!(!holds(all, hex(canary).as_bytes()), "{canary} in hexadecimal {when}");
        }
    }
}

async fn no_error_shows_who_the_person_is_or_what_a_row_holds(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    // The database refuses the row, and PostgreSQL quotes the whole of it in its answer.
    let refuse = match lab.store.dialect() {
        Dialect::Postgres => "ALTER TABLE dsrs ADD CONSTRAINT never CHECK (kind = 'never')",
        Dialect::Sqlite => {
            "CREATE TRIGGER never BEFORE INSERT ON dsrs BEGIN SELECT RAISE(ABORT, 'refused ' || NEW.due_before); END"
        }
    };
    lab.sql(refuse).await.expect("done");
    let new = lab.new_dsr(&ctl, &Wish::deletion().told().due(1_234_567_891_234)).await;
    let described = format!("{new:?}");
    let error = lab.store.submit(new, render).await.expect_err("refused");
    let mut texts = vec![described, format!("{error} {error:?} {error:#?}")];
    let mut source = error.source();
    while let Some(inner) = source {
        texts.push(inner.to_string());
        source = inner.source();
    }
    for text in &texts {
        for canary in CANARIES {
            assert!(!text.contains(canary), "{text}");
        }
    }
    assert!(!texts[1].contains("1234567891234"), "a row's value: {}", texts[1]);
}

async fn another_master_key_opens_nothing(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let id = lab.submit(&ctl, Wish::deletion().key("k", "b")).await;
    let seed = lab.store.signing_seed().await.expect("made");
    assert_eq!(lab.another().await.signing_seed().await.expect("read"), seed);
    let thief = lab.with_master([8; 32]).await;
    let system = thief.system_by_name(&ctl, "crm").await.expect("read").expect("there");
    let new = lab.new_dsr(&ctl, &Wish::deletion().key("k", "b")).await;
    let tries = [
        thief.dsr(&ctl, &id).await.map(drop),
        thief.identifiers(&ctl, &id).await.map(drop),
        thief.callback_url(&ctl, &id).await.map(drop),
        thief.dsr_key(&ctl, &id).await.map(drop),
        thief.system_secrets(&system).await.map(drop),
        thief.webhook_secret(&ctl).await.map(drop),
        thief.signing_seed().await.map(drop),
        thief.submit(new, render).await.map(drop),
    ];
    for (i, tried) in tries.into_iter().enumerate() {
        assert!(matches!(tried, Err(Error::Sealing)), "{i}: {tried:?}");
    }
}

async fn a_sealed_value_moved_to_another_row_does_not_open(lab: Lab) {
    let ctl = lab.with_systems(&["crm", "shop"]).await;
    let waiting = Wish::access().policy(true, 0, false);
    let (one, two) = (lab.begun(&ctl, Wish::access()).await, lab.submit(&ctl, waiting).await);
    let moved = format!("(SELECT sealed FROM dsrs WHERE id = '{one}')");
    lab.sql(&format!("UPDATE dsrs SET sealed = {moved} WHERE id = '{two}'")).await.expect("moved");
    assert!(matches!(lab.store.identifiers(&ctl, &two).await, Err(Error::Sealing)));
    let key = format!("(SELECT wrapped_key FROM dsrs WHERE id = '{one}')");
    lab.sql(&format!("UPDATE dsrs SET wrapped_key = {key} WHERE id = '{two}'")).await.expect("moved");
    assert!(matches!(lab.store.identifiers(&ctl, &two).await, Err(Error::Sealing)), "nor with its key");
    lab.store.identifiers(&ctl, &one).await.expect("its own still opens");

    let lease = lab.claim_step().await;
    let key = lab.store.dsr_key(&ctl, &one).await.expect("a key");
    let meta = ArtifactMeta::Records { collection: "customers".into() };
    for n in 0..2 {
        lab.store.put_artifact(&lease, &key, n, &meta, b"{}").await.expect("kept");
    }
    lab.sql("UPDATE artifacts SET sealed = (SELECT sealed FROM artifacts WHERE n = 0) WHERE n = 1")
        .await
        .expect("moved");
    assert!(lab.store.artifact(&ctl, &one, &lease.step_id, 0).await.is_ok());
    assert!(matches!(lab.store.artifact(&ctl, &one, &lease.step_id, 1).await, Err(Error::Sealing)));

    let sql = "UPDATE systems SET secrets = (SELECT secrets FROM systems WHERE name = 'crm') WHERE name = 'shop'";
    lab.sql(sql).await.expect("moved");
    let shop = lab.store.system_by_name(&ctl, "shop").await.expect("read").expect("there");
    assert!(matches!(lab.store.system_secrets(&shop).await, Err(Error::Sealing)));
}

async fn one_damaged_request_does_not_stop_its_neighbours(lab: Lab) {
    let ctl = lab.with_systems(&["crm"]).await;
    let damaged = lab.begun(&ctl, Wish::deletion()).await;
    let healthy = lab.begun(&ctl, Wish::deletion()).await;
    let sealed = format!("(SELECT sealed FROM dsrs WHERE id = '{healthy}')");
    lab.sql(&format!("UPDATE dsrs SET sealed = {sealed} WHERE id = '{damaged}'")).await.expect("moved");
    let leases = lab.claim().await;
    assert_eq!(leases.len(), 2);
    let opened = lab.store.open_work(leases).await.expect("opened");
    assert_eq!(opened.iter().map(|o| &o.lease.dsr_id).collect::<Vec<_>>(), [&healthy]);
}
