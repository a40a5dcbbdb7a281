//! A batch is answered as its persons would be one by one: random databases and batches, done both ways and compared.
//!
//! Whoever goes alone after the others is answered as of that moment; so the answers and what is left in the tables
//! must be those of the batch one by one in *some* order, the given one first.

use super::lab::{Kind, Lab, connect};
use crate::conformance::{MemoryJournal, MemorySink, subject};
use crate::sql::dialect::Dialect;
use crate::sql::{Engine, engine, together};
use crate::{Connector, Journal, Lost, Outcome, Receipt, Trouble, Verdict, Work};
use redress_domain::{IdentifierType, Subject, Verb};
use std::fmt::Write as _;
use std::sync::Arc;

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).expect("few sides")
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.roll(n) == 0
    }
}

const EMAILS: &[&str] = &[
    "ann@x.example",
    "Ann@X.example",
    " ann@x.example",
    "bea@x.example",
    "bea@x.example",
    "joann@x.example",
    "cyd@b\u{fc}cher.example",
    "cyd@xn--bcher-kva.example",
    "\u{e9}va@x.example",
    "\u{c9}va@x.example",
    "dan@x.example",
    "",
];
const PHONES: &[&str] = &["+4915112345678", "0151/12345678", "+4915187654321", "0151 87654321", "004915199999999", "1"];
const IDS: &[&str] = &["1", "2", "3", "4", "5", "6", "7", "8"];
const WORDS: &[&str] = &["a", "A", "b", "B", "c-1", "C-1", "\u{e9}", "e", "7", "7.0"];
const RULES: &[&str] = &["", "", " ON DELETE CASCADE", " ON DELETE SET NULL"];
const ACTIONS: &[&str] = &["delete", "delete", "delete", "null", "hash", "keep"];

/// A random database with a declaration of it, and a batch.
struct Case {
    script: String,
    toml: String,
    tables: Vec<(&'static str, Vec<&'static str>)>,
    subjects: Vec<Subject>,
    max_matches: u64,
}

struct Column {
    name: &'static str,
    identifies: Option<&'static str>,
    refers: Option<&'static str>,
}

fn case(seed: u64, kind: Kind) -> Case {
    let mut dice = Dice(seed);
    let dice = &mut dice;
    let key_type = match (dice.roll(3), kind) {
        (0, _) => "INT",
        (1, Kind::Sqlite) => "",
        _ => "VARCHAR(40)",
    };
    let pool: &[&str] = if key_type == "INT" { IDS } else { WORDS };
    let mut layout: Vec<(&'static str, Vec<Column>)> = Vec::new();
    let column = |name, identifies, refers| Column { name, identifies, refers };
    let maybe = |dice: &mut Dice, identifies| if dice.one_in(3) { None } else { Some(identifies) };
    layout.push((
        "customers",
        vec![
            column("email", Some("email"), None),
            column("phone", maybe(dice, "phone"), None),
            column("boss", None, dice.one_in(4).then_some("customers")),
        ],
    ));
    if !dice.one_in(4) {
        let email = if dice.one_in(3) { Some("email") } else { None };
        layout.push(("orders", vec![column("customer_id", None, Some("customers")), column("email", email, None)]));
        if dice.one_in(2) {
            layout.push(("notes", vec![column("order_id", None, Some("orders"))]));
        }
    }
    if dice.one_in(2) {
        layout.push(("tickets", vec![column("email", Some("email"), None)]));
    }
    if dice.one_in(2) {
        layout.push(("calls", vec![column("phone", Some("phone"), None)]));
    }
    let id_identifies = !dice.one_in(3);
    let undeclared = dice.one_in(5);

    let (mut script, mut toml) = (String::new(), String::new());
    let mut keys: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut tables = Vec::new();
    for name in ["audit", "calls", "tickets", "notes", "orders", "customers"] {
        let _ = writeln!(script, "DROP TABLE IF EXISTS {name};");
    }
    for (t, (name, columns)) in layout.iter().enumerate() {
        let mut own: Vec<&str> = Vec::new();
        for _ in 0..=dice.roll(7) {
            let key = dice.pick(pool);
            let folded = |k: &str| k.to_lowercase().replace('\u{e9}', "e").trim_end_matches(".0").to_owned();
            if own.iter().all(|k| folded(k) != folded(key)) {
                own.push(key);
            }
        }
        let enforced = dice.one_in(2);
        let mut definition = format!("id {key_type} PRIMARY KEY, body VARCHAR(200)");
        for c in columns {
            let sql_type = if c.refers.is_some() { key_type } else { "VARCHAR(254)" };
            let _ = write!(definition, ", {} {sql_type}", c.name);
        }
        for c in columns.iter().filter(|c| c.refers.is_some() && enforced) {
            let parent = c.refers.expect("refers");
            let _ = write!(definition, ", FOREIGN KEY ({}) REFERENCES {parent} (id){}", c.name, dice.pick(RULES));
        }
        let _ = writeln!(script, "CREATE TABLE {name} ({definition});");
        for (i, key) in own.iter().enumerate() {
            let mut values = format!("'{key}', '{}'", if dice.one_in(5) { "" } else { "words" });
            for c in columns {
                let value = match (c.refers, c.name) {
                    (Some(parent), _) if parent == *name => Some(own[..i].to_vec()).filter(|k| !k.is_empty()),
                    (Some(parent), _) => keys.iter().find(|(n, _)| *n == parent).map(|(_, k)| k.clone()),
                    (None, "phone") => Some(PHONES.to_vec()),
                    _ => Some(EMAILS.to_vec()),
                };
                match value {
                    Some(from) if !dice.one_in(6) => {
                        let _ = write!(values, ", '{}'", dice.pick(&from));
                    }
                    _ => values.push_str(", NULL"),
                }
            }
            let _ = writeln!(script, "INSERT INTO {name} VALUES ({values});");
        }
        keys.push((name, own));

        let action = dice.pick(ACTIONS);
        let _ =
            writeln!(toml, "[[tables]]\nname = \"{name}\"\nkey = \"id\"\non_delete = \"{action}\"\nreason = \"law\"");
        let mut identify: Vec<String> =
            columns.iter().filter_map(|c| Some(format!("{} = \"{}\"", c.identifies?, c.name))).collect();
        if t == 0 && id_identifies {
            identify.push("customer_id = \"id\"".to_owned());
        }
        let refers: Vec<String> =
            columns.iter().filter_map(|c| Some(format!("{} = \"{}.id\"", c.name, c.refers?))).collect();
        let _ = writeln!(toml, "identify = {{ {} }}\nreferences = {{ {} }}", identify.join(", "), refers.join(", "));
        if action == "null" || action == "hash" {
            let more = columns.iter().filter(|c| c.refers.is_none() && dice.one_in(2)).map(|c| c.name);
            let listed: Vec<String> = std::iter::once("body").chain(more).map(|c| format!("\"{c}\"")).collect();
            let _ = writeln!(toml, "columns = [{}]", listed.join(", "));
        }
        tables.push((*name, columns.iter().map(|c| c.name).collect()));
    }
    if undeclared {
        let rule = dice.pick(RULES);
        let _ = writeln!(
            script,
            "CREATE TABLE audit (id INT PRIMARY KEY, who {key_type}, FOREIGN KEY (who) REFERENCES customers (id){rule});"
        );
        if let Some(key) = keys[0].1.first().filter(|_| dice.one_in(2)) {
            let _ = writeln!(script, "INSERT INTO audit VALUES (1, '{key}');");
        }
    }
    let mut subjects = Vec::new();
    for _ in 0..2 + dice.roll(3) {
        let mut identifiers = Vec::new();
        if dice.one_in(3) && id_identifies {
            identifiers.push((IdentifierType::CustomerId, dice.pick(pool)));
        }
        if dice.one_in(3) {
            identifiers.push((IdentifierType::Phone, dice.pick(&PHONES[..5])));
        }
        for _ in 0..dice.roll(3).max(usize::from(identifiers.is_empty())) {
            identifiers.push((IdentifierType::Email, dice.pick(&EMAILS[..11])));
        }
        subjects.push(subject(&identifiers));
    }
    let max_matches = if dice.one_in(3) { 2 } else { 25 };
    Case { script, toml, tables, subjects, max_matches }
}

/// One copy of the database with a connector to it.
async fn fresh(lab: &Lab, case: &Case) -> Arc<dyn Connector> {
    lab.sql(&case.script).await;
    let mut spec = lab.spec(&case.toml);
    spec.max_matches = case.max_matches;
    connect(&spec)
}

async fn contents(lab: &Lab, case: &Case) -> String {
    let mut all = String::new();
    for (table, columns) in &case.tables {
        let columns: Vec<String> = ["id", "body"]
            .iter()
            .chain(columns)
            .map(|c| {
                let text = lab.pick(format!("CAST({c} AS TEXT)"), format!("{c}::text"), format!("CAST({c} AS CHAR)"));
                format!("coalesce({text}, '-')")
            })
            .collect();
        let rows = lab.query(&format!("SELECT {} FROM {table} ORDER BY 1", columns.join(", "))).await;
        let _ = writeln!(all, "{table}: {rows:?}");
    }
    all
}

/// All that is said of one person.
fn said(outcome: &Outcome) -> String {
    let receipt = receipt(outcome).map(|receipt| receipt.0);
    format!("{outcome:?} {receipt:?}")
}

fn receipt(outcome: &Outcome) -> Option<Receipt> {
    match outcome {
        Outcome::Done(done) => done.receipt.clone(),
        _ => None,
    }
}

fn items<'a>(keys: &'a [String], subjects: &'a [Subject], receipts: &'a [Option<Receipt>]) -> Vec<Work<'a>> {
    let prior = |i: usize| receipts.get(i).and_then(Option::as_ref);
    let items = subjects.iter().enumerate();
    items.map(|(i, subject)| Work { key: &keys[i], subject, corrections: &[], prior: prior(i) }).collect()
}

fn orders(n: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for _ in 0..n {
        all = all
            .iter()
            .flat_map(|order: &Vec<usize>| {
                (0..n).filter(|i| !order.contains(i)).map(|i| [order.clone(), vec![i]].concat()).collect::<Vec<_>>()
            })
            .collect();
    }
    all
}

async fn reads_agree(seed: u64, case: &Case, connector: &Arc<dyn Connector>, items: &[Work<'_>]) {
    let (together, alone) = (MemorySink::default(), MemorySink::default());
    let exported = connector.export(items, &together).await;
    let counted = connector.discover(items).await;
    for (i, item) in items.iter().enumerate() {
        let one = connector.export(&items[i..=i], &alone).await;
        assert_eq!(said(&exported[i]), said(&one[0]), "seed {seed}, export of {i}\n{}\n{}", case.script, case.toml);
        assert_eq!(together.records(item.key), alone.records(item.key), "seed {seed}, export of {i}\n{}", case.script);
        let one = connector.discover(&items[i..=i]).await;
        assert_eq!(said(&counted[i]), said(&one[0]), "seed {seed}, discovery of {i}\n{}\n{}", case.script, case.toml);
    }
}

async fn agrees(seed: u64, labs: &[Lab; 2]) {
    let case = case(seed, labs[0].kind);
    let keys: Vec<String> = (0..case.subjects.len()).map(|i| i.to_string()).collect();
    let connector = fresh(&labs[0], &case).await;
    let work = items(&keys, &case.subjects, &[]);
    reads_agree(seed, &case, &connector, &work).await;

    let journal = MemoryJournal::default();
    let together = connector.erase(&work, &journal).await;
    let left = contents(&labs[0], &case).await;
    let together_said: Vec<String> = together.iter().map(said).collect();
    for (i, outcome) in together.iter().enumerate() {
        if let Outcome::Done(done) = outcome
            && done.changed > 0
        {
            assert_eq!(journal.announced(&keys[i]), done.receipt, "seed {seed}: what {i} announced is what was done");
        }
    }
    let mut seen = String::new();
    for order in orders(case.subjects.len()) {
        let alone = fresh(&labs[1], &case).await;
        let mut said_alone = vec![String::new(); case.subjects.len()];
        for i in &order {
            said_alone[*i] = said(&alone.erase(&work[*i..=*i], &MemoryJournal::default()).await[0]);
        }
        let left_alone = contents(&labs[1], &case).await;
        if said_alone == together_said && left_alone == left {
            seen.clear();
            break;
        }
        if seen.is_empty() {
            seen = format!("{said_alone:#?}\n{left_alone}");
        }
    }
    assert!(
        seen.is_empty(),
        "seed {seed}: the batch says\n{together_said:#?}\n{left}\nand one by one\n{seen}\n{}\n{}\n{:?}",
        case.script,
        case.toml,
        case.subjects
            .iter()
            .map(|s| s.identifiers.iter().map(|i| i.given().expose()).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    );

    let receipts: Vec<Option<Receipt>> = together.iter().map(receipt).collect();
    let work = items(&keys, &case.subjects, &receipts);
    let verified = connector.verify(Verb::Erase, &work).await;
    for (i, verdict) in verified.iter().enumerate() {
        let one: Vec<Verdict> = connector.verify(Verb::Erase, &work[i..=i]).await;
        assert_eq!(
            format!("{verdict:?}"),
            format!("{:?}", one[0]),
            "seed {seed}, verification of {i}\n{}",
            case.script
        );
    }
}

async fn agree(kind: Kind, seeds: std::ops::Range<u64>) {
    let labs = [Lab::new(kind).await, Lab::new(kind).await];
    for seed in seeds {
        agrees(seed, &labs).await;
    }
}

#[tokio::test]
async fn a_batch_is_answered_as_one_by_one_on_sqlite() {
    agree(Kind::Sqlite, 0..120).await;
}

#[tokio::test]
async fn a_batch_is_answered_as_one_by_one_on_postgres() {
    agree(Kind::Postgres, 1000..1030).await;
}

#[tokio::test]
async fn a_batch_is_answered_as_one_by_one_on_mariadb() {
    agree(Kind::Mariadb, 2000..2020).await;
}

#[tokio::test]
#[ignore = "minutes of further cases"]
async fn many_more_batches_are_answered_as_one_by_one_on_sqlite() {
    agree(Kind::Sqlite, 10_000..14_000).await;
}

const SHOP: &str = "
CREATE TABLE customers (id INT PRIMARY KEY, email VARCHAR(200) NOT NULL, phone VARCHAR(40), full_name VARCHAR(200));
CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT NOT NULL REFERENCES customers (id), ship_to VARCHAR(200));
CREATE TABLE letters (id INT PRIMARY KEY, email VARCHAR(200), body VARCHAR(200));";
const SHOP_TOML: &str = r#"
[[tables]]
name = "customers"
key = "id"
identify = { email = "email", phone = "phone", customer_id = "id" }
on_delete = "hash"
columns = ["email", "full_name"]

[[tables]]
name = "orders"
key = "id"
references = { customer_id = "customers.id" }
on_delete = "null"
columns = ["ship_to"]

[[tables]]
name = "letters"
key = "id"
identify = { email = "email" }
on_delete = "delete"
"#;

fn shop(lab: &Lab) -> Engine {
    let (dialect, name) =
        lab.pick((Dialect::Sqlite, "sqlite"), (Dialect::Postgres, "postgres"), (Dialect::Mysql, "mysql"));
    engine(&lab.spec(SHOP_TOML), dialect, name).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// Nobody of a batch of strangers goes alone: the databases take the statements that are made for all of them.
async fn strangers_go_together(lab: Lab) {
    let mut script = SHOP.to_owned();
    let mut subjects = Vec::new();
    for i in 0..40 {
        let _ = write!(
            script,
            "INSERT INTO customers VALUES ({i}, 'Person{i}@x.example', '+49151555{i:05}', 'n');
             INSERT INTO orders VALUES (2{i:03}, {i}, 'street'), (1{i:03}, {i}, 'street');
             INSERT INTO letters VALUES ({i}, 'person{i}@x.example', 'words');",
        );
        let (id, email, phone) = (i.to_string(), format!("person{i}@x.example"), format!("+49151555{i:05}"));
        let all = [
            (IdentifierType::CustomerId, id.as_str()),
            (IdentifierType::Email, email.as_str()),
            (IdentifierType::Phone, phone.as_str()),
        ];
        subjects.push(subject(&all[i % 2..]));
    }
    lab.sql(&script).await;
    let engine = shop(&lab);
    let context = engine.context(1).await.expect("a context");
    let keys: Vec<String> = (0..subjects.len()).map(|i| i.to_string()).collect();
    let work = items(&keys, &subjects, &[]);
    let sink = MemorySink::default();
    let exported = together::export(&context, &work, &sink).await.expect("nothing in the way");
    assert!(exported.iter().all(|o| matches!(o, Some(Outcome::Done(done)) if done.found == 4)), "{exported:?}");
    assert!(keys.iter().all(|key| sink.records(key).len() == 4));
    let erased = together::erase(&context, &work, &MemoryJournal::default()).await.expect("nothing in the way");
    assert!(erased.iter().all(|o| matches!(o, Some(Outcome::Done(done)) if done.changed == 4)), "{erased:?}");
    let receipts: Vec<Option<Receipt>> = erased.iter().flatten().map(receipt).collect();
    let work = items(&keys, &subjects, &receipts);
    let verified = together::verify(&context, Verb::Erase, &work).await.expect("nothing in the way");
    assert!(verified.iter().all(|v| matches!(v, Some(Verdict::Confirmed(_)))), "{verified:?}");
    assert_eq!(lab.count("SELECT count(*) FROM letters").await, 0);
    assert_eq!(lab.count("SELECT count(*) FROM customers WHERE email LIKE 'redacted:%'").await, 40);
}

fn letters(lab: &Lab) -> Arc<dyn Connector> {
    let toml = "[[tables]]\nname = \"letters\"\nkey = \"id\"\nidentify = { email = \"email\" }\non_delete = \"delete\"";
    lab.connector(toml)
}

async fn three_letters(lab: &Lab) -> [Subject; 3] {
    lab.sql("CREATE TABLE letters (id INT PRIMARY KEY, email VARCHAR(200), body VARCHAR(200))").await;
    lab.sql("INSERT INTO letters VALUES (1, 'a@x.example', ''), (2, 'b@x.example', 'stone'), (3, 'c@x.example', '')")
        .await;
    ["a@x.example", "b@x.example", "c@x.example"].map(super::by_email)
}

fn keys() -> Vec<String> {
    ["a", "b", "c"].map(str::to_owned).to_vec()
}

/// What the database refuses for one person is done for the others.
async fn a_person_in_trouble_does_not_stop_the_others(lab: Lab) {
    let subjects = three_letters(&lab).await;
    lab.sql(lab.pick(
        "CREATE TRIGGER no BEFORE DELETE ON letters WHEN old.body = 'stone' BEGIN SELECT RAISE(ABORT, 'no'); END",
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF OLD.body = 'stone' THEN RAISE EXCEPTION 'no'; END IF; RETURN OLD; END$$; \
         CREATE TRIGGER no BEFORE DELETE ON letters FOR EACH ROW EXECUTE FUNCTION no()",
        "CREATE TRIGGER no BEFORE DELETE ON letters FOR EACH ROW SET @no = IF(OLD.body = 'stone', (SELECT 1 UNION SELECT 2), 1)",
    ))
    .await;
    let keys = keys();
    let answers = letters(&lab).erase(&items(&keys, &subjects, &[]), &MemoryJournal::default()).await;
    for i in [0, 2] {
        assert!(matches!(&answers[i], Outcome::Done(done) if done.changed == 1 && done.found == 1), "{answers:?}");
    }
    assert!(matches!(&answers[1], Outcome::Trouble(_)), "{answers:?}");
    assert_eq!(lab.query("SELECT id FROM letters").await, ["2"]);
}

/// What a trigger quietly keeps of one person's is not said to be gone, and is not laid at another's door.
async fn a_row_that_quietly_stays_is_residue_of_its_own_person(lab: Lab) {
    if lab.kind == Kind::Mariadb {
        return; // No trigger there can keep a row without an error.
    }
    let subjects = three_letters(&lab).await;
    lab.sql(lab.pick(
        "CREATE TRIGGER lie BEFORE DELETE ON letters WHEN old.body = 'stone' BEGIN SELECT RAISE(IGNORE); END",
        "CREATE FUNCTION lie() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF OLD.body = 'stone' THEN RETURN NULL; END IF; RETURN OLD; END$$; \
         CREATE TRIGGER lie BEFORE DELETE ON letters FOR EACH ROW EXECUTE FUNCTION lie()",
        "",
    ))
    .await;
    let keys = keys();
    let answers = letters(&lab).erase(&items(&keys, &subjects, &[]), &MemoryJournal::default()).await;
    let told = |i: usize| match &answers[i] {
        Outcome::Done(done) => (done.changed, done.evidence.collections[0].after),
        other => panic!("{other:?}"),
    };
    assert_eq!([told(0), told(1), told(2)], [(1, 0), (0, 1), (1, 0)]);
}

/// Who asks twice is told the second time that nothing is left.
async fn a_person_named_twice_is_counted_once(lab: Lab) {
    let [a, b, _] = three_letters(&lab).await;
    let subjects = [a.clone(), b, a];
    let keys = keys();
    let answers = letters(&lab).erase(&items(&keys, &subjects, &[]), &MemoryJournal::default()).await;
    assert!(matches!(&answers[0], Outcome::Done(done) if done.changed == 1), "{answers:?}");
    assert!(matches!(&answers[1], Outcome::Done(done) if done.changed == 1), "{answers:?}");
    assert!(matches!(&answers[2], Outcome::NothingFound(_)), "{answers:?}");
}

/// A journal that takes the right to act on one item away.
struct Losing(&'static str);

#[async_trait::async_trait]
impl Journal for Losing {
    async fn intend(&self, key: &str, _: &Receipt) -> Result<(), Lost> {
        if key == self.0 { Err(Lost) } else { Ok(()) }
    }
}

async fn an_item_that_was_taken_away_is_left_out(lab: Lab) {
    let subjects = three_letters(&lab).await;
    let keys = keys();
    let answers = letters(&lab).erase(&items(&keys, &subjects, &[]), &Losing("b")).await;
    assert!(matches!(&answers[0], Outcome::Done(done) if done.changed == 1), "{answers:?}");
    assert!(matches!(&answers[1], Outcome::Trouble(Trouble::Lost)), "{answers:?}");
    assert!(matches!(&answers[2], Outcome::Done(done) if done.changed == 1), "{answers:?}");
    assert_eq!(lab.query("SELECT id FROM letters").await, ["2"]);
}

/// An item that an earlier run announced is told with what that run did, in the midst of others.
async fn an_item_with_a_receipt_keeps_its_counts(lab: Lab) {
    let subjects = three_letters(&lab).await;
    let (keys, connector) = (keys(), letters(&lab));
    let first = connector.erase(&items(&keys, &subjects, &[])[1..2], &MemoryJournal::default()).await;
    let receipts = [None, receipt(&first[0]), None];
    let answers = connector.erase(&items(&keys, &subjects, &receipts), &MemoryJournal::default()).await;
    for answer in &answers {
        assert!(matches!(answer, Outcome::Done(done) if done.changed == 1 && done.found == 1), "{answers:?}");
    }
    assert_eq!(lab.count("SELECT count(*) FROM letters").await, 0);
}

super::facts! {
    strangers_go_together
    a_person_in_trouble_does_not_stop_the_others
    a_row_that_quietly_stays_is_residue_of_its_own_person
    a_person_named_twice_is_counted_once
    an_item_that_was_taken_away_is_left_out
    an_item_with_a_receipt_keeps_its_counts
}
