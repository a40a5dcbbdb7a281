//! What foreign keys may and may not do to rows that are declared to stay.

use super::*;

facts! {
    a_row_that_stays_lets_go_of_a_row_that_goes
    a_row_that_cannot_let_go_stops_the_deletion
    an_undeclared_table_stops_the_deletion_by_name
    a_cascade_over_an_undeclared_table_never_takes_a_row_that_stays
    a_cascade_into_an_undeclared_table_stops_only_a_deletion_that_it_would_follow
    an_undeclared_table_may_let_go_but_not_be_given_to_somebody_else
    an_undeclared_reference_never_takes_another_persons_row
    a_reference_without_a_foreign_key_is_left_alone
    a_circle_of_references_that_cannot_be_null_is_deleted_where_the_database_can
    a_cascade_among_deleted_rows_is_counted_row_by_row
    the_check_warns_of_foreign_keys_to_come
    a_foreign_key_of_two_columns_is_let_go_too
}

const PEOPLE: &str = "
CREATE TABLE people (id INTEGER PRIMARY KEY, email VARCHAR(60));
INSERT INTO people VALUES (1, 'ann@x.example'), (2, 'bob@x.example');
";
const PEOPLE_TOML: &str =
    "[[tables]]\nname = \"people\"\nkey = \"id\"\nidentify = { email = \"email\" }\non_delete = \"delete\"\n";

fn orders(on_delete: &str) -> String {
    format!(
        "{PEOPLE_TOML}[[tables]]\nname = \"orders\"\nkey = \"id\"\nreferences = {{ person_id = \"people.id\" }}\non_delete = {on_delete}\n"
    )
}

async fn orders_table(lab: &Lab, null: &str, rule: &str) {
    lab.sql("DROP TABLE IF EXISTS orders; DROP TABLE IF EXISTS people").await;
    lab.sql(PEOPLE).await;
    lab.sql(&format!(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, person_id INTEGER {null}, ship_to VARCHAR(60), \
         CONSTRAINT orders_person FOREIGN KEY (person_id) REFERENCES people (id) {rule});
         INSERT INTO orders VALUES (10, 1, 'street'), (20, 2, 'road');"
    ))
    .await;
}

async fn a_row_that_stays_lets_go_of_a_row_that_goes(lab: Lab) {
    let ann = by_email("ann@x.example");
    for rule in ["", "ON DELETE RESTRICT", "ON DELETE CASCADE", "ON DELETE SET NULL"] {
        for (on_delete, ship_to) in [
            ("\"null\"\ncolumns = [\"ship_to\"]", "-"),
            ("\"hash\"\ncolumns = [\"ship_to\"]", "redacted:"),
            ("\"keep\"\nreason = \"tax_law_10_years\"", "street"),
        ] {
            orders_table(&lab, "", rule).await;
            let connector = lab.connector(&orders(on_delete));
            let erased = erase(&connector, &ann).await;
            assert_eq!(lab.query("SELECT id FROM people").await, ["2"], "{rule} {on_delete}");
            let rows =
                lab.query("SELECT id, coalesce(person_id, 0), coalesce(ship_to, '-') FROM orders ORDER BY id").await;
            assert!(rows[0].starts_with(&format!("10|0|{ship_to}")), "{rule} {on_delete}: {rows:?}");
            assert_eq!(rows[1], "20|2|road");
            let verdict = verify(&connector, &ann, erased.receipt.as_ref()).await;
            assert!(matches!(verdict, Verdict::Confirmed(_)), "{rule} {on_delete}: {verdict:?}");
        }
    }
}

async fn a_row_that_cannot_let_go_stops_the_deletion(lab: Lab) {
    for rule in ["", "ON DELETE CASCADE"] {
        orders_table(&lab, "NOT NULL", rule).await;
        let connector = lab.connector(&orders("\"null\"\ncolumns = [\"ship_to\"]"));
        let journal = MemoryJournal::default();
        let ann = by_email("ann@x.example");
        let (code, detail) = told(only(connector.erase(&[item(&ann, None)], &journal).await));
        assert_eq!(code, "foreign_key_blocks");
        assert!(detail.contains("orders") && detail.contains("person_id"), "{detail}");
        assert_eq!(journal.items(), 0);
        assert_eq!(lab.count("SELECT count(*) FROM people").await, 2);
        assert_eq!(lab.count("SELECT count(*) FROM orders WHERE ship_to IS NOT NULL").await, 2);
    }
}

async fn an_undeclared_table_stops_the_deletion_by_name(lab: Lab) {
    orders_table(&lab, "", "").await;
    let connector = lab.connector(PEOPLE_TOML);
    let (code, detail) = told(try_erase(&connector, &by_email("ann@x.example")).await);
    assert_eq!(code, "foreign_key_blocks");
    if lab.kind != Kind::Sqlite {
        assert!(detail.contains("orders_person") && detail.contains("orders"), "{detail}");
    }
    assert_eq!(lab.count("SELECT count(*) FROM people").await, 2);
    assert_eq!(erase(&lab.connector(&orders("\"delete\"")), &by_email("ann@x.example")).await.changed, 2);
}

async fn a_cascade_over_an_undeclared_table_never_takes_a_row_that_stays(lab: Lab) {
    lab.sql(PEOPLE).await;
    lab.sql(
        "CREATE TABLE carts (id INTEGER PRIMARY KEY, person_id INTEGER, FOREIGN KEY (person_id) REFERENCES people (id) ON DELETE CASCADE);
         CREATE TABLE invoices (id INTEGER PRIMARY KEY, person_id INTEGER, cart_id INTEGER, FOREIGN KEY (cart_id) REFERENCES carts (id) ON DELETE CASCADE);
         INSERT INTO carts VALUES (5, 1); INSERT INTO invoices VALUES (50, 1, 5);",
    )
    .await;
    let tables = format!(
        "{PEOPLE_TOML}[[tables]]\nname = \"invoices\"\nkey = \"id\"\nreferences = {{ person_id = \"people.id\" }}\non_delete = \"keep\"\nreason = \"tax_law_10_years\""
    );
    let (code, detail) = told(try_erase(&lab.connector(&tables), &by_email("ann@x.example")).await);
    assert_eq!(code, "foreign_key_blocks");
    assert!(detail.contains("1 rows of table carts") && detail.contains("declare"), "{detail}");
    assert_eq!(
        lab.count(
            "SELECT (SELECT count(*) FROM people) + (SELECT count(*) FROM invoices) + (SELECT count(*) FROM carts)"
        )
        .await,
        4
    );
}

async fn a_cascade_into_an_undeclared_table_stops_only_a_deletion_that_it_would_follow(lab: Lab) {
    let quote = |name: &str| lab.pick(format!("\"{name}\""), format!("\"{name}\""), format!("`{name}`"));
    let accounts = quote("Old Accounts");
    lab.sql(&format!(
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, shop INTEGER NOT NULL, email VARCHAR(60), UNIQUE (shop, id));
         CREATE TABLE {accounts} (id INTEGER PRIMARY KEY, shop INTEGER, customer_id INTEGER,
           CONSTRAINT accounts_customer FOREIGN KEY (shop, customer_id) REFERENCES customers (shop, id) ON DELETE CASCADE);
         CREATE TABLE invoices (id INTEGER PRIMARY KEY, account_id INTEGER, amount INTEGER,
           FOREIGN KEY (account_id) REFERENCES {accounts} (id) ON DELETE CASCADE);
         INSERT INTO customers VALUES (1, 7, 'ann@x.example'), (2, 7, 'bob@x.example'), (3, 7, 'ann@x.example');
         INSERT INTO {accounts} VALUES (10, 7, 1), (11, 7, 3); INSERT INTO invoices VALUES (100, 10, 5), (101, 11, 5);"
    ))
    .await;
    // The invoices are declared to stay, but nothing says that they are Ann's: no search finds them.
    let customers = PEOPLE_TOML.replace("people", "customers");
    let invoices = "[[tables]]\nname = \"invoices\"\nkey = \"id\"\nidentify = { customer_id = \"id\" }\non_delete = \"keep\"\nreason = \"tax_law_10_years\"\n";
    let connector = lab.connector(&format!("{customers}{invoices}"));
    let (ann, journal) = (by_email("ann@x.example"), MemoryJournal::default());
    let (code, detail) = told(only(connector.erase(&[item(&ann, None)], &journal).await));
    assert_eq!(code, "foreign_key_blocks");
    for word in ["2 rows", "Old Accounts", "shop, customer_id", "CASCADE", "references", "keep"] {
        assert!(detail.contains(word), "{word}: {detail}");
    }
    assert_eq!(journal.items(), 0, "nothing was announced");
    assert_eq!(lab.count("SELECT count(*) FROM customers").await, 3);
    assert_eq!(lab.count(&format!("SELECT count(*) FROM {accounts}")).await, 2);
    assert_eq!(lab.count("SELECT count(*) FROM invoices").await, 2);
    // Bob has no account, so the same key is not in his way.
    assert_eq!(erase(&connector, &by_email("bob@x.example")).await.changed, 1);
    // Declared, it is done as declared.
    let declared = format!(
        "{customers}[[tables]]\nname = \"Old Accounts\"\nkey = \"id\"\nreferences = {{ customer_id = \"customers.id\" }}\n\
         on_delete = \"keep\"\nreason = \"tax_law_10_years\"\n"
    );
    assert_eq!(erase(&lab.connector(&declared), &ann).await.changed, 2);
    assert_eq!(lab.count(&format!("SELECT count(*) FROM {accounts}")).await, 2);
    assert_eq!(lab.count("SELECT count(*) FROM invoices").await, 2);
}

async fn an_undeclared_table_may_let_go_but_not_be_given_to_somebody_else(lab: Lab) {
    let connector = lab.connector(PEOPLE_TOML);
    orders_table(&lab, "", "ON DELETE SET NULL").await;
    assert_eq!(erase(&connector, &by_email("ann@x.example")).await.changed, 1);
    assert_eq!(lab.query("SELECT id, coalesce(person_id, 0) FROM orders ORDER BY id").await, ["10|0", "20|2"]);
    // InnoDB knows no SET DEFAULT.
    if lab.kind != Kind::Mariadb {
        orders_table(&lab, "DEFAULT 2", "ON DELETE SET DEFAULT").await;
        let (code, detail) = told(try_erase(&lab.connector(PEOPLE_TOML), &by_email("ann@x.example")).await);
        assert_eq!(code, "foreign_key_blocks");
        assert!(detail.contains("table orders") && detail.contains("SET DEFAULT"), "{detail}");
        assert_eq!(lab.query("SELECT person_id FROM orders ORDER BY id").await, ["1", "2"]);
        assert_eq!(lab.count("SELECT count(*) FROM people").await, 2);
    }
}

async fn an_undeclared_reference_never_takes_another_persons_row(lab: Lab) {
    lab.sql(PEOPLE).await;
    lab.sql(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, person_id INTEGER, gift_to INTEGER, FOREIGN KEY (person_id) REFERENCES people (id), \
         FOREIGN KEY (gift_to) REFERENCES people (id) ON DELETE CASCADE);
         INSERT INTO orders VALUES (10, 1, NULL), (20, 2, 1);",
    )
    .await;
    let (code, detail) = told(try_erase(&lab.connector(&orders("\"delete\"")), &by_email("ann@x.example")).await);
    assert_eq!(code, "foreign_key_blocks");
    assert!(detail.contains("gift_to"), "{detail}");
    assert_eq!(lab.count("SELECT count(*) FROM orders").await, 2);
}

async fn a_reference_without_a_foreign_key_is_left_alone(lab: Lab) {
    lab.sql(PEOPLE).await;
    lab.sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, person_id INTEGER, ship_to VARCHAR(60)); INSERT INTO orders VALUES (10, 1, 'street')").await;
    let connector = lab.connector(&orders("\"null\"\ncolumns = [\"ship_to\"]"));
    assert_eq!(erase(&connector, &by_email("ann@x.example")).await.changed, 2);
    assert_eq!(lab.query("SELECT person_id, coalesce(ship_to, '-') FROM orders").await, ["1|-"]);
}

async fn a_circle_of_references_that_cannot_be_null_is_deleted_where_the_database_can(lab: Lab) {
    lab.sql("CREATE TABLE people (id INTEGER PRIMARY KEY, email VARCHAR(60), head INTEGER NOT NULL, CONSTRAINT heads FOREIGN KEY (head) REFERENCES people (id));").await;
    lab.sql("INSERT INTO people VALUES (1, 'ann@x.example', 1)").await;
    lab.sql("INSERT INTO people VALUES (2, NULL, 1); INSERT INTO people VALUES (3, NULL, 2)").await;
    let tables = PEOPLE_TOML.replace("on_delete", "references = { head = \"people.id\" }\non_delete");
    let outcome = try_erase(&lab.connector(&tables), &by_email("ann@x.example")).await;
    if lab.kind == Kind::Mariadb {
        // InnoDB looks at each row as it goes.
        assert_eq!(told(outcome).0, "foreign_key_blocks");
        assert_eq!(lab.count("SELECT count(*) FROM people").await, 3);
    } else {
        assert_eq!(crate::conformance::done(outcome).changed, 3);
    }
}

async fn a_cascade_among_deleted_rows_is_counted_row_by_row(lab: Lab) {
    orders_table(&lab, "NOT NULL", "ON DELETE CASCADE").await;
    let erased = erase(&lab.connector(&orders("\"delete\"")), &by_email("ann@x.example")).await;
    assert_eq!((erased.found, erased.changed), (2, 2));
    lab.sql("CREATE TABLE tree (id INTEGER PRIMARY KEY, email VARCHAR(60), up INTEGER, FOREIGN KEY (up) REFERENCES tree (id) ON DELETE CASCADE);").await;
    let values: Vec<String> = (2..700).map(|i| format!("({i}, NULL, {})", i - 1)).collect();
    lab.sql("INSERT INTO tree VALUES (1, 'ann@x.example', NULL)").await;
    for chunk in values.chunks(100) {
        lab.sql(&format!("INSERT INTO tree VALUES {}", chunk.join(", "))).await;
    }
    let tables = "[[tables]]\nname = \"tree\"\nkey = \"id\"\nidentify = { email = \"email\" }\nreferences = { up = \"tree.id\" }\non_delete = \"delete\"";
    let erased = erase(&lab.connector(tables), &by_email("ann@x.example")).await;
    assert_eq!((erased.found, erased.changed), (699, 699));
}

async fn the_check_warns_of_foreign_keys_to_come(lab: Lab) {
    orders_table(&lab, "", "ON DELETE CASCADE").await;
    let undeclared = lab.connector(PEOPLE_TOML).check().await.expect("in order").warnings.join("\n");
    assert!(
        undeclared.contains("orders") && undeclared.contains("CASCADE") && undeclared.contains("not declared"),
        "{undeclared}"
    );
    let declared = lab.connector(&orders("\"keep\"\nreason = \"tax\"")).check().await.expect("in order");
    assert!(declared.warnings.iter().any(|w| w.contains("orders") && w.contains("ON DELETE CASCADE")), "{declared:?}");
    assert!(declared.ok.iter().any(|line| line.starts_with("table people: key id")), "{declared:?}");
    assert!(declared.warnings.iter().any(|w| w.contains("no usable index")), "{declared:?}");
    assert_eq!(declared.warnings.iter().any(|w| w.contains("binary log")), lab.kind == Kind::Mariadb, "{declared:?}");
    let index = lab.pick("lower(email)", "lower(email)", "email");
    lab.sql(&format!("CREATE INDEX people_email ON people ({index})")).await;
    let report = lab.connector(PEOPLE_TOML).check().await.expect("in order");
    assert!(!report.warnings.iter().any(|w| w.contains("no usable index")), "{report:?}");
}

async fn a_foreign_key_of_two_columns_is_let_go_too(lab: Lab) {
    lab.sql(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, shop INTEGER, email VARCHAR(60), UNIQUE (shop, id));
         CREATE TABLE orders (id INTEGER PRIMARY KEY, shop INTEGER NOT NULL, person_id INTEGER, ship_to VARCHAR(60), \
         FOREIGN KEY (shop, person_id) REFERENCES people (shop, id) ON DELETE CASCADE);
         INSERT INTO people VALUES (1, 7, 'ann@x.example'), (2, 7, 'bob@x.example');
         INSERT INTO orders VALUES (10, 7, 1, 'street'), (20, 7, 2, 'road');",
    )
    .await;
    let connector = lab.connector(&orders("\"keep\"\nreason = \"tax_law_10_years\""));
    assert_eq!(erase(&connector, &by_email("ann@x.example")).await.changed, 1);
    let rows = lab.query("SELECT id, shop, coalesce(person_id, 0) FROM orders ORDER BY id").await;
    assert_eq!(rows, ["10|7|0", "20|7|2"]);
}

#[tokio::test]
async fn a_table_of_another_schema_with_capitals_in_its_name_is_reached() {
    let lab = Lab::new(Kind::Postgres).await;
    lab.sql(
        "CREATE SCHEMA \"Crm\"; CREATE TABLE \"Crm\".\"People\" (\"Id\" uuid PRIMARY KEY, email text);
         CREATE TABLE public.notes (id int PRIMARY KEY, person uuid NOT NULL REFERENCES \"Crm\".\"People\");
         INSERT INTO \"Crm\".\"People\" VALUES ('0d9c53aa-8c5b-4d2e-9b0f-5b1c3f6f0a11', 'Ann@x.example');
         INSERT INTO notes VALUES (1, '0d9c53aa-8c5b-4d2e-9b0f-5b1c3f6f0a11');",
    )
    .await;
    let tables = "[[tables]]\nname = \"Crm.People\"\nkey = \"Id\"\nidentify = { email = \"email\" }\non_delete = \"delete\"\n\
                  [[tables]]\nname = \"notes\"\nkey = \"id\"\nreferences = { person = \"Crm.People.Id\" }\non_delete = \"delete\"";
    let erased = erase(&lab.connector(tables), &by_email("ann@x.example")).await;
    assert_eq!((erased.found, erased.changed), (2, 2));
}

#[tokio::test]
async fn a_cascade_into_a_table_that_may_not_be_read_stops_the_deletion() {
    let lab = Lab::new(Kind::Postgres).await;
    lab.sql(PEOPLE).await;
    lab.sql(
        "CREATE SCHEMA \"Back Office\";
         CREATE TABLE \"Back Office\".carts (id int PRIMARY KEY, person_id int REFERENCES people (id) ON DELETE CASCADE);
         INSERT INTO \"Back Office\".carts VALUES (5, 1);
         DO 'BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = ''clerk'') THEN CREATE ROLE clerk LOGIN PASSWORD ''pw''; END IF; END';
         GRANT SELECT, UPDATE, DELETE ON people TO clerk;",
    )
    .await;
    let mut spec = lab.spec(PEOPLE_TOML);
    spec.settings.insert("username".into(), "clerk".into());
    let (code, detail) = told(try_erase(&lab::connect(&spec), &by_email("ann@x.example")).await);
    assert_eq!(code, "foreign_key_blocks", "{detail}");
    assert!(detail.contains("may not read") && detail.contains("Back Office.carts"), "{detail}");
    assert_eq!(lab.count("SELECT count(*) FROM people").await, 2);
}
