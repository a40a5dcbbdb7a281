//! Against OpenLDAP.

use crate::conformance::{
    self, Broken, MemoryJournal, MemorySink, Person, Target, ann, bea, confirmed, done, everybody, nothing_found, only,
    rectifying, subject, trouble, work,
};
use crate::{Admits, Connector, Effect, Journal, Lost, Network, Receipt, SystemSpec, Trouble, Verdict, Work};
use async_trait::async_trait;
use ldap3::{Ldap, LdapConnAsync, Scope, SearchEntry};
use redress_domain::{Correction, IdentifierType, Verb};
use redress_testkit::Slapd;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

const PEOPLE: &str = "ou=people,dc=shop,dc=example";

struct Shop(Slapd);

impl Shop {
    async fn new() -> Self {
        Self(Slapd::start().await)
    }

    /// The side door.
    async fn admin(&self) -> Ldap {
        let url = format!("ldap://127.0.0.1:{}", self.0.port());
        let (connection, mut ldap) = LdapConnAsync::new(&url).await.expect("it runs");
        tokio::spawn(async move { drop(connection.drive().await) });
        ldap.simple_bind(Slapd::ADMIN, "pw").await.expect("an answer").success().expect("signed in");
        ldap
    }

    async fn add(&self, dn: &str, attributes: &[(&str, &[&str])]) {
        let set = |values: &[&str]| values.iter().map(|value| value.as_bytes().to_vec()).collect::<HashSet<_>>();
        let attributes = attributes.iter().map(|(name, values)| (name.as_bytes().to_vec(), set(values))).collect();
        self.admin().await.add(dn, attributes).await.expect("an answer").success().expect("added");
    }

    async fn entries(&self) -> Vec<SearchEntry> {
        let asked = self.admin().await.search(PEOPLE, Scope::Subtree, "(employeeNumber=*)", vec!["*"]).await;
        let (entries, _) = asked.expect("an answer").success().expect("found");
        entries.into_iter().map(SearchEntry::construct).collect()
    }

    async fn person(&self, at: &str, person: &Person) {
        let Person { customer_id, email, phone, full_name } = person;
        // mail holds ASCII only.
        let place = if email.is_ascii() { "mail" } else { "description" };
        self.add(
            at,
            &[
                ("objectClass", &["inetOrgPerson"]),
                ("cn", &["entry"]),
                ("sn", &["-"]),
                ("displayName", &[full_name]),
                ("employeeNumber", &[customer_id]),
                ("telephoneNumber", &[phone]),
                (place, &[email]),
            ],
        )
        .await;
    }
}

fn spec(port: u16, more: &Value) -> SystemSpec {
    let mut settings = json!({
        "host": "127.0.0.1", "port": port, "tls": "none", "base_dn": PEOPLE, "bind_dn": Slapd::ADMIN,
        "filter": "(objectClass=inetOrgPerson)",
        "identify": {"email": ["mail", "description"], "phone": ["telephoneNumber", "mobile"], "customer_id": ["employeeNumber"]},
        "fields": {"full_name": "displayName"},
    });
    for (name, value) in more.as_object().expect("an object") {
        settings[name] = value.clone();
    }
    SystemSpec {
        name: "directory".into(),
        connector: "ldap".into(),
        settings: settings.as_object().cloned().expect("an object"),
        secrets: [("bind_password".to_owned(), "pw".into())].into(),
        tables: Vec::new(),
        max_matches: 25,
        base_dir: None,
        network: Network::default(),
    }
}

fn connect(spec: &SystemSpec) -> Arc<dyn Connector> {
    crate::registry::connect(spec).unwrap_or_else(|faults| panic!("{faults:?}"))
}

#[async_trait]
impl Target for Shop {
    async fn seed(&self, people: &[Person]) {
        let mut admin = self.admin().await;
        for entry in self.entries().await {
            admin.delete(&entry.dn).await.expect("an answer").success().expect("deleted");
        }
        for (i, person) in people.iter().enumerate() {
            self.person(&format!("uid=p{i},{PEOPLE}"), person).await;
        }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        connect(&spec(self.0.port(), &json!({})))
    }

    fn limited(&self) -> Option<Arc<dyn Connector>> {
        let mut spec = spec(self.0.port(), &json!({}));
        spec.max_matches = 1;
        Some(connect(&spec))
    }

    async fn snapshot(&self) -> BTreeMap<String, u64> {
        let mut snapshot = BTreeMap::new();
        for entry in self.entries().await {
            let address = entry.attrs.get("mail").or_else(|| entry.attrs.get("description")).expect("an address");
            *snapshot.entry(address[0].clone()).or_default() += 1;
        }
        snapshot
    }

    fn broken(&self, how: Broken) -> Option<Arc<dyn Connector>> {
        Some(match how {
            Broken::Unreachable => connect(&spec(1, &json!({}))),
            Broken::WrongPassword => {
                let mut spec = spec(self.0.port(), &json!({}));
                spec.secrets.insert("bind_password".to_owned(), "memory-canary".into());
                connect(&spec)
            }
        })
    }

    fn correctable(&self) -> Option<&str> {
        Some("full_name")
    }

    async fn read_field(&self, email: &str, _field: &str) -> Option<String> {
        let holds = |entry: &&SearchEntry| {
            ["mail", "description"].iter().any(|name| entry.attrs.get(*name).is_some_and(|all| all[0] == email))
        };
        self.entries().await.iter().find(holds)?.attrs.get("displayName")?.first().cloned()
    }

    fn secrets(&self) -> Vec<String> {
        vec!["memory-canary".to_owned()]
    }
}

fn code(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Retry(problem) | Trouble::Denied(problem) | Trouble::Ambiguous { problem, .. } => problem.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_conforms() {
    conformance::run(&Shop::new().await).await;
}

#[tokio::test]
async fn a_filter_in_an_identifier_is_text_and_reaches_nobody() {
    let shop = Shop::new().await;
    shop.seed(&everybody()).await;
    let connector = shop.connector();
    for text in ["*)(uid=*))(|(uid=*", "*", "\\2a", "C-1007)(employeeNumber=*", "C-10*", "(", ")"] {
        let subject = subject(&[(IdentifierType::CustomerId, text)]);
        nothing_found(only(connector.erase(&[work("h", &subject)], &MemoryJournal::default()).await));
    }
    assert_eq!(shop.entries().await.len(), everybody().len());
    // What is special in a filter can be somebody's identifier.
    let mut odd = ann();
    odd.customer_id = "a*)(b\\2a".to_owned();
    shop.person(&format!("uid=odd,{PEOPLE}"), &odd).await;
    let subject = subject(&[(IdentifierType::CustomerId, "a*)(b\\2a")]);
    assert_eq!(done(only(connector.erase(&[work("o", &subject)], &MemoryJournal::default()).await)).changed, 1);
    assert_eq!(shop.entries().await.len(), everybody().len());
}

#[tokio::test]
async fn values_are_many_binary_or_secret_and_numbers_are_in_any_notation() {
    let shop = Shop::new().await;
    shop.add(
        &format!("cn=Ann,{PEOPLE}"),
        &[
            ("objectClass", &["inetOrgPerson"]),
            ("sn", &["Vorbild"]),
            ("employeeNumber", &["C-1007"]),
            ("mail", &["old@shop.example", "ANN@shop.example"]),
            ("mobile", &["0151 / 12 34-56 78"]),
            ("userPassword", &["never-shown"]),
            ("audio", &["\u{1}\u{2}"]),
        ],
    )
    .await;
    let connector = shop.connector();
    for subject in [ann().subject_by(IdentifierType::Email), ann().subject_by(IdentifierType::Phone)] {
        let sink = MemorySink::default();
        assert_eq!(done(only(connector.export(&[work("x", &subject)], &sink).await)).found, 1);
        let (_, record) = sink.records("x").remove(0);
        assert!(record["mail"].as_array().is_some_and(|all| all.len() == 2), "{record:?}");
        assert_eq!(record["sn"], "Vorbild");
        assert_eq!(record["audio"], "AQI=");
        assert!(!sink.text("x").contains("never-shown") && !record.contains_key("entryUUID"), "{record:?}");
    }
    let some = connect(&spec(shop.0.port(), &json!({"attributes": ["sn"]})));
    let (subject, sink) = (ann().subject(), MemorySink::default());
    done(only(some.export(&[work("x", &subject)], &sink).await));
    assert_eq!(sink.records("x")[0].1.keys().collect::<Vec<_>>(), ["dn", "sn"]);
    // Phone and mail of another person's request: the stronger one contradicts.
    let other =
        conformance::subject(&[(IdentifierType::CustomerId, "C-2"), (IdentifierType::Email, "ann@shop.example")]);
    let answer = connector.erase(&[work("e", &other)], &MemoryJournal::default()).await;
    assert_eq!(code(trouble(only(answer))), "identifiers_contradict");
}

#[tokio::test]
async fn an_entry_with_others_below_it_stops_before_anything_is_touched() {
    let shop = Shop::new().await;
    shop.seed(&[ann()]).await;
    let below = format!("ou=devices,uid=p0,{PEOPLE}");
    shop.add(&below, &[("objectClass", &["organizationalUnit"])]).await;
    let (subject, journal) = (ann().subject(), MemoryJournal::default());
    let answer = shop.connector().erase(&[work("e", &subject)], &journal).await;
    assert_eq!(code(trouble(only(answer))), "not_a_leaf");
    assert_eq!(journal.items(), 0);

    // Below it is another entry of the same person: that goes first.
    shop.admin().await.delete(&below).await.expect("an answer").success().expect("deleted");
    shop.person(&format!("uid=below,uid=p0,{PEOPLE}"), &ann()).await;
    let erased = done(only(shop.connector().erase(&[work("e", &subject)], &journal).await));
    assert_eq!((erased.found, erased.changed, erased.effect), (2, 2, Some(Effect::Permanent)));
    assert!(shop.entries().await.is_empty());
}

#[tokio::test]
async fn more_than_a_page_is_read_and_a_limit_is_no_empty_answer() {
    let shop = Shop::new().await;
    let mut admin = shop.admin().await;
    for i in 0..650 {
        let attributes = [
            ("objectClass", "inetOrgPerson".to_owned()),
            ("cn", "entry".to_owned()),
            ("sn", "-".to_owned()),
            ("employeeNumber", format!("N-{i}")),
            ("mail", "all@shop.example".to_owned()),
        ];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), HashSet::from([value])));
        let dn = format!("uid=n{i},{PEOPLE}");
        admin.add(&dn, attributes.into()).await.expect("an answer").success().expect("added");
    }
    let subject = conformance::subject(&[(IdentifierType::Email, "all@shop.example")]);
    let found = done(only(shop.connector().discover(&[work("d", &subject)]).await));
    assert_eq!(found.found, 650);
    for (settings, expected) in
        [(json!({"bind_dn": Slapd::READER}), "search_limited"), (json!({"max_entries": 600}), "too_many_entries")]
    {
        let connector = connect(&spec(shop.0.port(), &settings));
        assert_eq!(code(trouble(only(connector.discover(&[work("d", &subject)]).await))), expected);
    }
    // A whole batch of people, each with one entry.
    let people: Vec<_> =
        (0..100).map(|i| conformance::subject(&[(IdentifierType::CustomerId, &format!("N-{i}"))])).collect();
    let keys: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    let batch: Vec<Work<'_>> = keys.iter().zip(&people).map(|(key, subject)| work(key, subject)).collect();
    let journal = MemoryJournal::default();
    for outcome in shop.connector().erase(&batch, &journal).await {
        assert_eq!(done(outcome).changed, 1);
    }
    assert_eq!((journal.items(), shop.entries().await.len()), (100, 550));
}

#[tokio::test]
async fn whatever_hides_entries_is_trouble() {
    let shop = Shop::new().await;
    shop.seed(&everybody()).await;
    let subject = ann().subject();
    for (settings, expected) in [
        (json!({"base_dn": "ou=nowhere,dc=shop,dc=example"}), "base_missing"),
        (json!({"base_dn": "dc=elsewhere,dc=example"}), "base_missing"),
        (json!({"identify": {"email": ["mial"]}}), "attribute_unknown"),
        (json!({"bind_dn": "cn=nobody,dc=shop,dc=example"}), "credentials_refused"),
        // Its numbers may be searched for and not read.
        (json!({"bind_dn": Slapd::READER, "identify": {"phone": ["telephoneNumber"]}}), "attribute_unreadable"),
        (json!({"bind_dn": Slapd::READER}), "permission_missing"),
    ] {
        let connector = connect(&spec(shop.0.port(), &settings));
        let answer = connector.erase(&[work("e", &subject)], &MemoryJournal::default()).await;
        assert_eq!(code(trouble(only(answer))), expected, "{settings}");
    }
    // A part of the tree that is elsewhere.
    shop.add(
        &format!("ou=far,{PEOPLE}"),
        &[("objectClass", &["referral", "extensibleObject"]), ("ref", &["ldap://far.example/ou=far"])],
    )
    .await;
    let answer = shop.connector().discover(&[work("d", &subject)]).await;
    assert_eq!(code(trouble(only(answer))), "referral");
    assert_eq!(shop.entries().await.len(), everybody().len());
}

#[tokio::test]
async fn it_speaks_tls_both_ways_and_goes_only_where_it_may() {
    struct Nowhere;
    impl Admits for Nowhere {
        fn admits(&self, _: &str, addresses: &[IpAddr], _: Option<u16>) -> bool {
            assert!(!addresses.is_empty());
            false
        }
    }
    let shop = Shop::new().await;
    shop.seed(&[ann()]).await;
    let (ca, subject) = (shop.0.ca_file(), ann().subject());
    for (tls, port) in [("implicit", shop.0.tls_port()), ("starttls", shop.0.port())] {
        for host in ["127.0.0.1", "localhost"] {
            let connector = connect(&spec(port, &json!({"host": host, "tls": tls, "ca_file": ca})));
            assert_eq!(done(only(connector.discover(&[work("d", &subject)]).await)).found, 1, "{tls} {host}");
        }
        let distrusting = connect(&spec(port, &json!({"tls": tls})));
        let answer = distrusting.discover(&[work("d", &subject)]).await;
        assert_eq!(code(trouble(only(answer))), "tls_refused", "{tls}");
    }
    let mut guarded = spec(shop.0.tls_port(), &json!({"tls": "implicit", "ca_file": ca}));
    guarded.network = Network::guarded(Arc::new(Nowhere));
    let answer = connect(&guarded).discover(&[work("d", &subject)]).await;
    assert_eq!(code(trouble(only(answer))), "address_not_allowed");
    guarded.settings.insert("tls".to_owned(), "none".into());
    assert!(crate::registry::connect(&guarded).is_err_and(|faults| faults[0].path == "settings.tls"));
}

#[tokio::test]
async fn attributes_are_removed_from_an_entry_that_stays() {
    let shop = Shop::new().await;
    shop.seed(&everybody()).await;
    let gone = ["mail", "description", "telephoneNumber", "mobile", "employeeNumber", "displayName"];
    let connector = connect(&spec(shop.0.port(), &json!({"on_delete": "null", "null": gone})));
    let (subject, journal) = (ann().subject(), MemoryJournal::default());
    let erased = done(only(connector.erase(&[work("e", &subject)], &journal).await));
    assert_eq!((erased.found, erased.changed, &erased.effect), (1, 1, &Some(Effect::Anonymised)));
    let prior = erased.receipt.as_ref();
    confirmed(only(connector.verify(Verb::Erase, &[Work { prior, ..work("v", &subject) }]).await));
    assert_eq!(shop.entries().await.len(), everybody().len() - 1);
    let again = done(only(connector.erase(&[Work { prior, ..work("e", &subject) }], &journal).await));
    assert_eq!((again.found, again.changed), (1, 1));

    // Somebody fills it in again: it is seen by the entry's own key, whatever it says.
    let name = vec![ldap3::Mod::Add("displayName".to_owned(), HashSet::from(["Anybody".to_owned()]))];
    shop.admin().await.modify(&format!("uid=p0,{PEOPLE}"), name).await.expect("an answer").success().expect("changed");
    let verdict = only(connector.verify(Verb::Erase, &[Work { prior, ..work("v", &subject) }]).await);
    assert!(matches!(verdict, Verdict::Residue { remaining: 1, .. }), "{verdict:?}");

    let too_much = [&gone[..], &["sn"]].concat();
    let required = connect(&spec(shop.0.port(), &json!({"on_delete": "null", "null": too_much})));
    let bea = bea().subject();
    let answer = required.erase(&[work("e", &bea)], &MemoryJournal::default()).await;
    assert_eq!(code(trouble(only(answer))), "attribute_required");
}

/// Gives the entry to somebody else at the moment at which its deletion is announced.
struct Meddler<'a>(&'a Shop);

#[async_trait]
impl Journal for Meddler<'_> {
    async fn intend(&self, _key: &str, _receipt: &Receipt) -> Result<(), Lost> {
        let mail = vec![ldap3::Mod::Replace("mail".to_owned(), HashSet::from(["carl@shop.example".to_owned()]))];
        let dn = format!("uid=p0,{PEOPLE}");
        self.0.admin().await.modify(&dn, mail).await.expect("an answer").success().expect("changed");
        Ok(())
    }
}

/// Gives the entry another name at that moment.
struct Renamer<'a>(&'a Shop);

#[async_trait]
impl Journal for Renamer<'_> {
    async fn intend(&self, _key: &str, _receipt: &Receipt) -> Result<(), Lost> {
        let renamed = self.0.admin().await.modifydn(&format!("uid=p0,{PEOPLE}"), "uid=new", true, None).await;
        renamed.expect("an answer").success().expect("renamed");
        Ok(())
    }
}

#[tokio::test]
async fn an_entry_that_became_somebody_elses_stays_and_a_part_of_a_name_is_not_corrected() {
    let shop = Shop::new().await;
    shop.seed(&[ann()]).await;
    let subject = ann().subject_by(IdentifierType::Email);
    let answer = shop.connector().erase(&[work("e", &subject)], &Meddler(&shop)).await;
    assert_eq!(code(trouble(only(answer))), "entry_changed");
    assert_eq!(shop.entries().await.len(), 1);

    // One that gets another name meanwhile is not taken for gone.
    let subject = conformance::subject(&[(IdentifierType::CustomerId, "C-1007")]);
    let answer = shop.connector().erase(&[work("e", &subject)], &Renamer(&shop)).await;
    assert_eq!(code(trouble(only(answer))), "entry_changed");
    assert_eq!(shop.entries().await.len(), 1);

    let named = connect(&spec(shop.0.port(), &json!({"fields": {"user": "uid"}})));
    let corrections = [Correction { field: "user".to_owned(), value: "ann".into() }];
    let item = [rectifying("r", &subject, &corrections)];
    let answer = named.rectify(&item, &MemoryJournal::default()).await;
    assert_eq!(code(trouble(only(answer))), "part_of_name");
}

#[tokio::test]
async fn the_check_says_what_it_cannot_see_and_settings_are_read_strictly() {
    let shop = Shop::new().await;
    shop.seed(&[ann()]).await;
    let report = shop.connector().check().await.expect("in order");
    assert!(report.ok.contains(&"email by mail".to_owned()), "{report:?}");
    assert!(report.warnings.iter().any(|text| text.contains("mobile")), "{report:?}");

    for (settings, path) in [
        (json!({"filter": "objectClass=*)(uid=*"}), "settings.filter"),
        (json!({"filter": "(objectClass=*"}), "settings.filter"),
        (json!({"identify": {"email": ["mail)(uid"]}}), "settings.identify"),
        (json!({"identify": {"email": "mail"}}), "settings.identify"),
        (json!({"attributes": ["userPassword"]}), "settings.attributes"),
        (json!({"fields": {"password": "userPassword"}}), "settings.fields"),
        (json!({"on_delete": "null", "null": ["mail"]}), "settings.null"),
        (json!({"scope": "base"}), "settings.scope"),
        (json!({"host": "[::1]"}), "settings.host"),
    ] {
        let faults = crate::registry::connect(&spec(389, &settings)).err().unwrap_or_default();
        assert!(faults.iter().any(|fault| fault.path == path), "{settings}: {faults:?}");
    }
    let mut anonymous = spec(389, &json!({}));
    anonymous.secrets.insert("bind_password".to_owned(), "".into());
    assert!(crate::registry::connect(&anonymous).is_err_and(|faults| faults[0].path == "secrets.bind_password"));
}
