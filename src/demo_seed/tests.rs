use super::*;
use crate::provision::ControllerFile;
use RequestType::{Access, Correction, Deletion};
use redress_domain::Identifier;
use std::collections::{BTreeMap, BTreeSet};

/// A folder of its own for one test, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("redress-seed-{name}-{}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Every file under a folder with its bytes; a database is as good as its rows, which the census counts.
fn files(folder: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>, root: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into, root);
        } else {
            into.insert(path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap());
        }
    }
}

#[tokio::test]
async fn one_number_makes_one_world_and_a_second_run_replaces_it() {
    let (one, two) = (Folder::new("one"), Folder::new("two"));
    let first = seed(&one.0, 7).await.unwrap();
    let again = seed(&one.0, 7).await.unwrap();
    seed(&two.0, 8).await.unwrap();
    let other = seed(&two.0, 7).await.unwrap();
    assert_eq!(first.people, again.people);
    assert_eq!(first.people, other.people);
    assert_eq!(format!("{:?}", first.requests), format!("{:?}", other.requests));
    let (mut left, mut right) = (BTreeMap::new(), BTreeMap::new());
    files(&one.0, &mut left, &one.0);
    files(&two.0, &mut right, &two.0);
    assert!(left == right, "two folders of one number differ");
    assert_ne!(first.people, seed(&two.0, 8).await.unwrap().people);
}

#[tokio::test]
async fn the_census_finds_everybody_and_nobody_else() {
    let folder = Folder::new("census");
    let world = seed(&folder.0, DEFAULT_SEED).await.unwrap();
    let mut counts = census(&folder.0).await.unwrap();
    for staff in ["support@harbor-goods.example", "warehouse@harbor-goods.example"] {
        assert!(counts.remove(staff).is_some(), "{staff}");
    }
    let people: BTreeSet<&String> = world.people.iter().map(|person| &person.email).collect();
    assert_eq!(counts.keys().collect::<BTreeSet<_>>(), people);
    assert!(counts.values().all(|records| (2..=40).contains(records)), "{counts:?}");

    // One more record of one person, in other spelling, is one more in the census.
    let email = &world.people[0].email;
    let before = counts[email];
    let message = format!("From: \"x, y\" <{}>\r\nTo: {email}\r\n\r\nTo: {}\r\n", email.to_uppercase(), world.twins[0]);
    std::fs::write(folder.0.join("mail/new/1.x"), message).unwrap();
    let counts = census(&folder.0).await.unwrap();
    assert_eq!(counts[email], before + 1);
}

#[tokio::test]
async fn requests_are_sixty_people_s_and_none_is_a_twin() {
    let folder = Folder::new("requests");
    let world = seed(&folder.0, DEFAULT_SEED).await.unwrap();
    let count = |kind| world.requests.iter().filter(|request| request.kind == kind).count();
    assert_eq!((count(Access), count(Correction), count(Deletion), world.requests.len()), (25, 15, 20, 60));
    let targets: BTreeSet<&String> = world.requests.iter().map(|request| &request.email).collect();
    assert_eq!(targets.len(), 60);
    assert!(world.twins.len() >= 60, "{}", world.twins.len());
    assert!(world.twins.iter().all(|twin| !targets.contains(twin)));
    for request in &world.requests {
        assert_eq!(request.corrections.is_empty(), request.kind != Correction);
        assert_eq!(request.identifiers[0].0, IdentifierType::Email);
        for (kind, value) in &request.identifiers {
            let given = Identifier::parse(*kind, value, Some("DE")).unwrap();
            let owners = world.people.iter().filter(|person| {
                let stored = match kind {
                    IdentifierType::Email => &person.email,
                    IdentifierType::Phone => &person.phone,
                    _ => &person.customer_id,
                };
                given.is_same_as(stored, Some("DE"))
            });
            assert_eq!(owners.map(|p| &p.email).collect::<Vec<_>>(), [&request.email], "{kind}");
        }
    }
    let body = world.requests.iter().find(|request| request.kind == Correction).unwrap().to_json();
    assert_eq!(body["type"], "correction");
    assert!(body["corrections"][0]["field"].is_string() && body["subject"]["identifiers"][0]["value"].is_string());
}

#[tokio::test]
async fn every_spelling_in_the_systems_is_its_owner_s() {
    let folder = Folder::new("spellings");
    let world = seed(&folder.0, DEFAULT_SEED).await.unwrap();
    let mut crm = databases::open(&folder.0.join(CRM), false).await.unwrap();
    let rows: Vec<(String, String, String)> =
        sqlx::query_as("SELECT id, email, phone FROM customers").fetch_all(&mut crm).await.unwrap();
    assert_eq!(rows.len(), 300);
    let (mut spellings, mut notations) = (0, 0);
    for (id, email, phone) in rows {
        let person = world.people.iter().find(|person| person.customer_id == id).unwrap();
        let same = |kind, normal: &str, stored: &str| {
            Identifier::parse(kind, normal, Some("DE")).unwrap().is_same_as(stored, Some("DE"))
        };
        assert!(same(IdentifierType::Email, &person.email, &email), "{email}");
        assert!(same(IdentifierType::Phone, &person.phone, &phone), "{phone}");
        spellings += usize::from(email != person.email);
        notations += usize::from(phone != person.phone);
    }
    assert!(spellings > 50 && notations > 150, "{spellings} {notations}");
}

#[tokio::test]
async fn the_controller_s_file_is_one() {
    let folder = Folder::new("toml");
    let world = seed(&folder.0, DEFAULT_SEED).await.unwrap();
    let file = ControllerFile::load(&folder.0.join("controller.toml"), &|_| None).unwrap_or_else(|e| panic!("{e}"));
    let names: Vec<&str> = file.systems.iter().map(|system| system.name.as_str()).collect();
    assert_eq!(names, ["crm", "newsletter", "mail"]);
    assert_eq!(file.systems[0].settings["path"], folder.0.join("crm.db").to_str().unwrap());
    assert_eq!(std::fs::read_to_string(folder.0.join("controller.toml")).unwrap(), world.controller_toml);
}

#[tokio::test]
async fn a_folder_that_is_not_ours_is_left_alone() {
    let folder = Folder::new("foreign");
    std::fs::create_dir_all(folder.0.join("mail")).unwrap();
    std::fs::write(folder.0.join("mail/letter"), "dear").unwrap();
    assert!(matches!(seed(&folder.0, 1).await, Err(SeedError::NotOurs(_))));
    assert!(folder.0.join("mail/letter").exists());
}
