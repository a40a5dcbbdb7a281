//! Who is found: every spelling of the person, and nobody else.

use super::*;
use redress_domain::Identifier;

facts! {
    an_address_is_found_in_every_spelling_and_near_twins_are_untouched
    an_address_outside_ascii_is_found_in_every_spelling
    a_batch_finds_what_a_single_item_finds
    a_phone_number_is_found_in_every_notation
    a_customer_id_is_found_by_its_columns_type
    a_hostile_identifier_matches_nothing
    a_row_of_another_customer_id_is_a_contradiction
    a_childs_other_address_is_a_contradiction
    a_person_known_only_by_the_weaker_identifier_is_found
    more_matches_than_allowed_change_nothing
    an_old_row_of_a_redacted_person_is_no_contradiction
    whole_thousands_of_rows_are_found
    a_latin1_column_is_searched_for_any_letter
    a_latin1_key_is_told_from_those_that_a_collation_equates
    a_number_shared_by_different_addresses_changes_nothing
    two_rows_that_share_one_key_change_nothing
}

async fn addresses(lab: &Lab, addresses: &[&str]) {
    lab.sql(CUSTOMERS).await;
    for (i, address) in addresses.iter().enumerate() {
        lab.sql(&format!("INSERT INTO customers (id, email) VALUES ('c{i:02}', '{address}')")).await;
    }
}

async fn left(lab: &Lab) -> Vec<String> {
    lab.query("SELECT id FROM customers ORDER BY id").await
}

async fn an_address_is_found_in_every_spelling_and_near_twins_are_untouched(lab: Lab) {
    let theirs =
        ["person07@example.org", "Person07@Example.ORG", "  PERSON07@example.org ", "person07@example.org\t\r\n"];
    let others = [
        "pérson07@example.org",
        "xperson07@example.org",
        "person07@example.org.evil.org",
        "person07@example.orgx",
        "person07+x@example.org",
        "person_7@example.org",
        "person07@example.org, b@example.org",
        "<person07@example.org>",
        "реrson07@example.org",
        "",
    ];
    addresses(&lab, &[&theirs[..], &others[..]].concat()).await;
    let (connector, person) = (lab.connector(CUSTOMERS_TOML), by_email("PERSON07@example.org"));
    assert_eq!(erase(&connector, &person).await.changed, theirs.len() as u64);
    assert_eq!(left(&lab).await.len(), others.len());
    assert!(matches!(verify(&connector, &person, None).await, Verdict::Confirmed(_)));
}

async fn an_address_outside_ascii_is_found_in_every_spelling(lab: Lab) {
    let theirs = [
        "josé@bücher.example",
        "JOSÉ@BÜCHER.example",
        "jose\u{301}@xn--bcher-kva.example",
        "JOSE\u{301}@Xn--Bcher-Kva.Example",
        "\u{a0}José@bu\u{308}cher.example ",
    ];
    let others = ["jose@bücher.example", "josè@bücher.example", "josé@bucher.example", "jose@xn--bcher-kva.example"];
    for given in ["josé@bücher.example", "JOSE\u{301}@xn--bcher-kva.example"] {
        lab.sql("DROP TABLE IF EXISTS customers").await;
        addresses(&lab, &[&theirs[..], &others[..]].concat()).await;
        let (connector, person) = (lab.connector(CUSTOMERS_TOML), by_email(given));
        assert_eq!(erase(&connector, &person).await.changed, theirs.len() as u64, "{given}");
        assert_eq!(left(&lab).await.len(), others.len());
    }
    // A letter whose lower case is ASCII: the Kelvin sign.
    lab.sql("DELETE FROM customers; INSERT INTO customers (id, email) VALUES ('k', '\u{212a}arl@x.example')").await;
    assert_eq!(erase(&lab.connector(CUSTOMERS_TOML), &by_email("karl@x.example")).await.changed, 1);
}

async fn a_batch_finds_what_a_single_item_finds(lab: Lab) {
    let (ann, bea) = (by_email("ann@x.example"), by_email("bea@x.example"));
    let connector = lab.connector(CUSTOMERS_TOML);
    for irregular in [false, true] {
        lab.sql("DROP TABLE IF EXISTS customers").await;
        addresses(&lab, &["ANN@x.example", "joann@x.example", "Bea@X.example", "abea@x.example"]).await;
        let mut each = 1;
        if irregular {
            lab.sql("INSERT INTO customers (id, email) VALUES ('i1', ' ann@x.example'), ('i2', 'bea@x.example ')")
                .await;
            each = 2;
        }
        let batch = [item(&ann, None), item(&bea, None)];
        let answers = connector.erase(&batch, &MemoryJournal::default()).await;
        assert_eq!(answers.into_iter().map(|a| crate::conformance::done(a).changed).collect::<Vec<_>>(), [each, each]);
        assert_eq!(left(&lab).await, ["c01", "c03"]);
    }
}

async fn a_phone_number_is_found_in_every_notation(lab: Lab) {
    lab.sql(CUSTOMERS).await;
    let theirs = [
        "+4915112345678",
        "0151/12345678",
        "0049 151 12345678",
        "(0151) 1234-5678",
        " 0151.12345678\n",
        "0151\u{a0}1234\u{a0}5678",
    ];
    let others = ["0151 12345679", "+43151 12345678", "015112345678 ext 5", "12345678", "0151 123456780", ""];
    for (i, number) in theirs.iter().chain(&others).enumerate() {
        lab.sql(&format!("INSERT INTO customers (id, phone) VALUES ('c{i:02}', '{number}')")).await;
    }
    let person = subject(&[(IdentifierType::Phone, "+4915112345678")]);
    assert_eq!(erase(&lab.connector(CUSTOMERS_TOML), &person).await.changed, theirs.len() as u64);
    assert_eq!(left(&lab).await.len(), others.len());
}

async fn a_customer_id_is_found_by_its_columns_type(lab: Lab) {
    let uuid = "0d9c53aa-8c5b-4d2e-9b0f-5b1c3f6f0a11";
    let bytes = "0d9c53aa8c5b4d2e9b0f5b1c3f6f0a11";
    let uuid_type = lab.pick("TEXT", "uuid", "UUID");
    let (binary, literal) = (
        lab.pick("BLOB", "bytea", "BINARY(16)"),
        lab.pick(format!("x'{bytes}'"), format!("'\\x{bytes}'"), format!("x'{bytes}'")),
    );
    lab.sql(&format!(
        "CREATE TABLE numbers (id INTEGER PRIMARY KEY, body VARCHAR(20)); INSERT INTO numbers VALUES (42, 'x'), (420, 'y');
         CREATE TABLE uuids (id {uuid_type} PRIMARY KEY, body VARCHAR(20)); INSERT INTO uuids VALUES ('{uuid}', 'x');
         CREATE TABLE bins (id {binary} PRIMARY KEY, body VARCHAR(20)); INSERT INTO bins VALUES ({literal}, 'x');
         CREATE TABLE decimals (id INTEGER PRIMARY KEY, n NUMERIC(12,2)); INSERT INTO decimals VALUES (1, 42), (2, 42.10);
         CREATE TABLE texts (id VARCHAR(80) PRIMARY KEY, body VARCHAR(20)); INSERT INTO texts VALUES ('C-42', 'x'), ('c-43', 'y');"
    ))
    .await;
    let table = |name: &str, column: &str| {
        format!(
            "[[tables]]\nname = \"{name}\"\nkey = \"id\"\nidentify = {{ customer_id = \"{column}\" }}\non_delete = \"delete\"\n"
        )
    };
    let all = [
        table("numbers", "id"),
        table("uuids", "id"),
        table("bins", "id"),
        table("decimals", "n"),
        table("texts", "id"),
    ]
    .concat();
    let connector = lab.connector(&all);
    for (id, found) in [
        ("42", 2),
        ("042", 0),
        ("4", 0),
        ("99999999999999999999999999", 0),
        ("C-42", 1),
        ("c-42", 0),
        ("C-43", 0),
        (uuid, 2),
        ("not a uuid", 0),
        ("42 OR 1=1", 0),
    ] {
        let outcome = only(connector.discover(&[item(&by_id(id), None)]).await);
        match outcome {
            Outcome::Done(done) => assert_eq!(done.found, found, "{id}"),
            Outcome::NothingFound(_) => assert_eq!(found, 0, "{id}"),
            other => panic!("{id}: {other:?}"),
        }
    }
    for id in ["42", uuid, "C-42"] {
        let done = erase(&connector, &by_id(id)).await;
        assert_eq!(done.found, done.changed, "{id}");
    }
    assert_eq!(
        lab.count("SELECT (SELECT count(*) FROM numbers) + (SELECT count(*) FROM uuids) + (SELECT count(*) FROM bins)")
            .await,
        1
    );
}

async fn a_hostile_identifier_matches_nothing(lab: Lab) {
    addresses(&lab, &["ann@x.example", "a%@x.example", "b_b@x.example"]).await;
    let connector = lab.connector(CUSTOMERS_TOML);
    for id in [
        "' OR 1=1 --",
        "%",
        "_",
        "c%",
        "c0_",
        "\"",
        "`",
        "\\",
        "\\' OR 1=1 --",
        "$1",
        "?",
        ":id",
        "@x",
        "c00;",
        "c00'--",
        "{{id}}",
        "NULL",
    ] {
        let outcome = try_erase(&connector, &by_id(id)).await;
        assert!(matches!(outcome, Outcome::NothingFound(_)), "{id}: {outcome:?}");
    }
    for address in [
        "%@x.example",
        "_nn@x.example",
        "a'or'1'='1@x.example",
        "*@x.example",
        "$1@x.example",
        "?@x.example",
        "bxb@x.example",
    ] {
        let outcome = try_erase(&connector, &by_email(address)).await;
        assert!(matches!(outcome, Outcome::NothingFound(_)), "{address}: {outcome:?}");
    }
    assert_eq!(left(&lab).await.len(), 3);
    assert_eq!(erase(&connector, &by_email("a%@x.example")).await.changed, 1);
    assert_eq!(left(&lab).await, ["c00", "c02"]);
}

async fn a_row_of_another_customer_id_is_a_contradiction(lab: Lab) {
    lab.sql(CUSTOMERS).await;
    lab.sql("INSERT INTO customers (id, email) VALUES ('C-1', 'ann@x.example'), ('C-2', 'family@x.example'), ('C-3', 'family@x.example')").await;
    let connector = lab.connector(CUSTOMERS_TOML);
    let both = subject(&[(IdentifierType::CustomerId, "C-2"), (IdentifierType::Email, "family@x.example")]);
    let (code, detail) = told(try_erase(&connector, &both).await);
    assert_eq!(code, "identifiers_contradict");
    assert!(detail.contains("customer_id") && detail.contains("email") && !detail.contains("family"), "{detail}");
    assert_eq!(left(&lab).await.len(), 3);
    // Without the weaker identifier, or with the other value as well, it is clear.
    let two = subject(&[
        (IdentifierType::CustomerId, "C-2"),
        (IdentifierType::CustomerId, "C-3"),
        (IdentifierType::Email, "family@x.example"),
    ]);
    assert_eq!(crate::conformance::done(only(connector.discover(&[item(&two, None)]).await)).found, 2);
    assert_eq!(erase(&connector, &by_id("C-2")).await.changed, 1);
    assert_eq!(left(&lab).await, ["C-1", "C-3"]);
}

const ORDERS: &str = "CREATE TABLE orders (id VARCHAR(40) PRIMARY KEY, customer_id VARCHAR(40), email VARCHAR(254));";

async fn a_childs_other_address_is_a_contradiction(lab: Lab) {
    lab.sql(CUSTOMERS).await;
    lab.sql(ORDERS).await;
    lab.sql("INSERT INTO customers (id, email) VALUES ('C-1', 'ann@x.example'); INSERT INTO orders VALUES ('o1', 'C-1', 'ann@x.example'), ('o2', 'C-1', NULL), ('o3', 'C-1', 'bob@x.example')").await;
    let tables = format!(
        "{CUSTOMERS_TOML}
[[tables]]
name = \"orders\"
key = \"id\"
identify = {{ email = \"email\" }}
references = {{ customer_id = \"customers.id\" }}
on_delete = \"delete\"
"
    );
    let connector = lab.connector(&tables);
    let ann = by_email("ann@x.example");
    assert_eq!(told(try_erase(&connector, &ann).await).0, "identifiers_contradict");
    assert_eq!(lab.count("SELECT count(*) FROM orders").await, 3);
    // By the customer id alone, nothing says that the order is not hers.
    assert_eq!(erase(&connector, &by_id("C-1")).await.changed, 4);
}

async fn a_person_known_only_by_the_weaker_identifier_is_found(lab: Lab) {
    lab.sql("CREATE TABLE leads (id INTEGER PRIMARY KEY, ref VARCHAR(40), email VARCHAR(254));").await;
    lab.sql(
        "INSERT INTO leads VALUES (1, NULL, 'ann@x.example'), (2, '', 'ann@x.example'), (3, 'C-1', 'old@x.example')",
    )
    .await;
    let tables = "[[tables]]\nname = \"leads\"\nkey = \"id\"\nidentify = { email = \"email\", customer_id = \"ref\" }\non_delete = \"delete\"";
    let ann = subject(&[(IdentifierType::CustomerId, "C-1"), (IdentifierType::Email, "ann@x.example")]);
    assert_eq!(erase(&lab.connector(tables), &ann).await.changed, 3);
}

async fn more_matches_than_allowed_change_nothing(lab: Lab) {
    addresses(&lab, &["ann@x.example"; 26]).await;
    let connector = lab.connector(CUSTOMERS_TOML);
    let ann = by_email("ann@x.example");
    let journal = MemoryJournal::default();
    match crate::conformance::trouble(only(connector.erase(&[item(&ann, None)], &journal).await)) {
        Trouble::Ambiguous { matched: 26, problem } => assert_eq!(problem.code, "too_many_matches"),
        other => panic!("{other:?}"),
    }
    assert_eq!((journal.items(), left(&lab).await.len()), (0, 26));
    assert!(matches!(verify(&connector, &ann, None).await, Verdict::Residue { remaining: 26, .. }));
}

async fn an_old_row_of_a_redacted_person_is_no_contradiction(lab: Lab) {
    lab.sql("CREATE TABLE people (id INTEGER PRIMARY KEY, ref VARCHAR(60), email VARCHAR(254), name VARCHAR(60));")
        .await;
    lab.sql("INSERT INTO people VALUES (1, 'C-1', 'ann@x.example', 'Ann')").await;
    let tables = "[[tables]]\nname = \"people\"\nkey = \"id\"\nidentify = { email = \"email\", customer_id = \"ref\" }\non_delete = \"hash\"\ncolumns = [\"ref\", \"name\"]";
    let connector = lab.connector(tables);
    let ann = subject(&[(IdentifierType::CustomerId, "C-1"), (IdentifierType::Email, "ann@x.example")]);
    assert_eq!(erase(&connector, &ann).await.changed, 1);
    let again = erase(&connector, &ann).await;
    assert_eq!((again.found, again.changed), (1, 0));
    assert!(matches!(verify(&connector, &ann, None).await, Verdict::Confirmed(_)));
}

async fn whole_thousands_of_rows_are_found(lab: Lab) {
    lab.sql(CUSTOMERS).await;
    lab.sql("CREATE TABLE events (id INTEGER PRIMARY KEY, customer_id VARCHAR(40), parent_id INTEGER); CREATE INDEX events_c ON events (customer_id); CREATE INDEX events_p ON events (parent_id);").await;
    lab.sql("INSERT INTO customers (id, email) VALUES ('C-1', 'ann@x.example'), ('C-2', 'bob@x.example')").await;
    let values: Vec<String> = (0..3000)
        .map(|i| match i % 3 {
            0 => format!("({i}, 'C-1', NULL)"),
            1 => format!("({i}, NULL, {})", i - 1),
            _ => format!("({i}, 'C-2', NULL)"),
        })
        .collect();
    lab.sql(&format!("INSERT INTO events VALUES {}", values.join(", "))).await;
    let tables = format!(
        "{CUSTOMERS_TOML}\n[[tables]]\nname = \"events\"\nkey = \"id\"\nreferences = {{ customer_id = \"customers.id\", parent_id = \"events.id\" }}\non_delete = \"delete\""
    );
    let connector = lab.connector(&tables);
    let done = erase(&connector, &by_id("C-1")).await;
    assert_eq!((done.found, done.changed), (2001, 2001));
    assert_eq!(lab.count("SELECT count(*) FROM events WHERE customer_id = 'C-2'").await, 1000);
    assert_eq!(lab.count("SELECT count(*) FROM events").await, 1000);
    assert!(matches!(verify(&connector, &by_id("C-1"), done.receipt.as_ref()).await, Verdict::Confirmed(_)));
}

async fn a_latin1_column_is_searched_for_any_letter(lab: Lab) {
    let charset = lab.pick("", "", " CHARACTER SET latin1");
    lab.sql(&format!(
        "CREATE TABLE old (id VARCHAR(40){charset} PRIMARY KEY, email VARCHAR(254){charset});
         INSERT INTO old VALUES ('C-1', 'jos\u{e9}@x.example'), ('C-2', 'jose@x.example'), ('\u{dc}-3', 'ann@x.example');"
    ))
    .await;
    let tables = "[[tables]]\nname = \"old\"\nkey = \"id\"\nidentify = { email = \"email\", customer_id = \"id\" }\non_delete = \"delete\"";
    let connector = lab.connector(tables);
    let greek = Subject {
        identifiers: vec![Identifier::parse(IdentifierType::CustomerId, "Ω-1 漢", None).expect("valid")],
        region: None,
    };
    assert!(matches!(try_erase(&connector, &greek).await, Outcome::NothingFound(_)));
    assert!(matches!(try_erase(&connector, &by_email("jos\u{14d}@x.example")).await, Outcome::NothingFound(_)));
    assert_eq!(erase(&connector, &by_email("Jose\u{301}@x.example")).await.changed, 1);
    assert_eq!(erase(&connector, &by_id("\u{dc}-3")).await.changed, 1);
    assert_eq!(lab.query("SELECT id FROM old").await, ["C-2"]);
}

async fn a_latin1_key_is_told_from_those_that_a_collation_equates(lab: Lab) {
    for charset in ["latin1 COLLATE latin1_bin", "utf8mb3 COLLATE utf8mb3_bin"] {
        let charset = lab.pick(String::new(), String::new(), format!(" CHARACTER SET {charset}"));
        lab.sql("DROP TABLE IF EXISTS kids; DROP TABLE IF EXISTS members").await;
        lab.sql(&format!(
            "CREATE TABLE members (username VARCHAR(50){charset} PRIMARY KEY, email VARCHAR(60), name VARCHAR(60));
             CREATE TABLE kids (id INTEGER PRIMARY KEY, member VARCHAR(50){charset});
             INSERT INTO members VALUES ('jos\u{e9}', 'ann@x.example', 'A'), ('jose', 'bob@x.example', 'B'), ('JOS\u{c9}', 'carl@x.example', 'C');
             INSERT INTO kids VALUES (1, 'jos\u{e9}'), (2, 'jose'), (3, 'JOS\u{c9}');"
        ))
        .await;
        let tables = "[[tables]]\nname = \"members\"\nkey = \"username\"\nidentify = { email = \"email\", customer_id = \"username\" }\nfields = { name = \"name\" }\non_delete = \"delete\"\n\
                      [[tables]]\nname = \"kids\"\nkey = \"id\"\nreferences = { member = \"members.username\" }\non_delete = \"delete\"";
        let connector = lab.connector(tables);
        let given = by_id("jos\u{e9}");
        assert_eq!(crate::conformance::done(only(connector.discover(&[item(&given, None)]).await)).found, 2);
        let corrections = [redress_domain::Correction { field: "name".into(), value: "Z".into() }];
        let work = crate::conformance::rectifying("r", &given, &corrections);
        assert_eq!(
            crate::conformance::done(only(connector.rectify(&[work], &MemoryJournal::default()).await)).changed,
            1
        );
        let ann = by_email("ann@x.example");
        let erased = erase(&connector, &ann).await;
        assert_eq!((erased.found, erased.changed), (2, 2), "{charset}");
        assert_eq!(lab.query("SELECT name FROM members ORDER BY name").await, ["B", "C"], "{charset}");
        assert_eq!(lab.query("SELECT id FROM kids ORDER BY id").await, ["2", "3"], "{charset}");
        assert!(matches!(verify(&connector, &ann, erased.receipt.as_ref()).await, Verdict::Confirmed(_)));
    }
}

async fn a_number_shared_by_different_addresses_changes_nothing(lab: Lab) {
    lab.sql(CUSTOMERS).await;
    lab.sql(
        "INSERT INTO customers VALUES ('C-1', 'ann@x.example', '+4915112345678', 'Ann'), ('C-2', 'bob@x.example', '0151 12345678', 'Bob'), \
         ('C-3', NULL, '0151/12345678', 'Who')",
    )
    .await;
    let (connector, journal) = (lab.connector(CUSTOMERS_TOML), MemoryJournal::default());
    let phone = subject(&[(IdentifierType::Phone, "+4915112345678")]);
    let (code, detail) = told(only(connector.erase(&[item(&phone, None)], &journal).await));
    assert_eq!(code, "identifiers_contradict");
    assert!(detail.contains("phone") && !detail.contains("ann@"), "{detail}");
    let sink = crate::conformance::MemorySink::default();
    assert_eq!(told(only(connector.export(&[item(&phone, None)], &sink).await)).0, "identifiers_contradict");
    assert_eq!((journal.items(), sink.records("item").len(), left(&lab).await.len()), (0, 0, 3));
    // The same address in two spellings is one person's.
    lab.sql("UPDATE customers SET email = 'ANN@x.example ' WHERE id = 'C-2'").await;
    assert_eq!(erase(&connector, &phone).await.changed, 3);
}

async fn two_rows_that_share_one_key_change_nothing(lab: Lab) {
    let (structure, strangers) = match lab.kind {
        Kind::Sqlite => ("CREATE TABLE people (id PRIMARY KEY, email VARCHAR(60), name VARCHAR(60));", "people"),
        Kind::Postgres => (
            "CREATE TABLE people (id int PRIMARY KEY, email text, name text); CREATE TABLE former () INHERITS (people);",
            "former",
        ),
        // InnoDB keeps a key unique.
        Kind::Mariadb => return,
    };
    lab.sql(structure).await;
    let tables = "[[tables]]\nname = \"people\"\nkey = \"id\"\nidentify = { email = \"email\" }\nfields = { name = \"name\" }\non_delete = ";
    // Whether the other row is somebody else's or the same person's.
    for other in ["bob@x.example", "ann@x.example"] {
        lab.sql(
            "DELETE FROM people; INSERT INTO people VALUES (1, 'ann@x.example', 'Ann'), (2, 'ann@x.example', 'Ann')",
        )
        .await;
        lab.sql(&format!("INSERT INTO {strangers} VALUES ('1', '{other}', 'Other')")).await;
        for on_delete in ["\"delete\"", "\"null\"\ncolumns = [\"name\"]", "\"hash\"\ncolumns = [\"name\"]"] {
            let connector = lab.connector(&format!("{tables}{on_delete}"));
            let ann = by_email("ann@x.example");
            assert_eq!(told(try_erase(&connector, &ann).await).0, "key_not_unique", "{other} {on_delete}");
            let sink = crate::conformance::MemorySink::default();
            let exported = only(connector.export(&[item(&ann, None)], &sink).await);
            assert_eq!((told(exported).0, sink.records("item").len()), ("key_not_unique", 0), "{other}");
            let corrections = [redress_domain::Correction { field: "name".into(), value: "Anna".into() }];
            let work = crate::conformance::rectifying("r", &ann, &corrections);
            let corrected = only(connector.rectify(&[work], &MemoryJournal::default()).await);
            assert_eq!(told(corrected).0, "key_not_unique", "{other}");
        }
        let rows = lab.query("SELECT name FROM people ORDER BY name").await;
        assert_eq!(rows, ["Ann", "Ann", "Other"], "{other}");
    }
}
