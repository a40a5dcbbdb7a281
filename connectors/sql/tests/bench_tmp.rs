//! tmp
use super::*;
async fn bench(kind: Kind) {
    let lab = Lab::new(kind).await;
    lab.sql(CUSTOMERS).await;
    lab.sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id VARCHAR(40) REFERENCES customers (id)); CREATE INDEX o ON orders (customer_id)").await;
    for c in 0..20 {
        let v: Vec<String> = (0..5000).map(|i| { let n = c*5000+i; format!("('C-{n}', 'Person{n}@x.example', '+49151{n:08}', 'N')") }).collect();
        lab.sql(&format!("INSERT INTO customers VALUES {}", v.join(","))).await;
        let v: Vec<String> = (0..5000).map(|i| { let n = c*5000+i; format!("({n}, 'C-{n}')") }).collect();
        lab.sql(&format!("INSERT INTO orders VALUES {}", v.join(","))).await;
    }
    let idx = lab.pick("lower(email)", "lower(email)", "email");
    lab.sql(&format!("CREATE INDEX ce ON customers ({idx}); ANALYZE{}", lab.pick("", "", " TABLE customers"))).await;
    let tables = format!("{CUSTOMERS_TOML}\n[[tables]]\nname = \"orders\"\nkey = \"id\"\nreferences = {{ customer_id = \"customers.id\" }}\non_delete = \"delete\"");
    let connector = lab.connector(&tables);
    for (what, kinds) in [("email+id", vec![IdentifierType::CustomerId, IdentifierType::Email]), ("email", vec![IdentifierType::Email]), ("phone", vec![IdentifierType::Phone])] {
        let base = match what { "email+id" => 1000, "email" => 2000, _ => 3000 };
        let subjects: Vec<Subject> = (0..50).map(|i| { let n = base + i; subject(&kinds.iter().map(|k| (*k, match k { IdentifierType::CustomerId => format!("C-{n}"), IdentifierType::Email => format!("person{n}@x.example"), IdentifierType::Phone => format!("+49151{n:08}") })).collect::<Vec<_>>().iter().map(|(k, v)| (*k, v.as_str())).collect::<Vec<_>>()) }).collect();
        let batch: Vec<Work> = subjects.iter().map(|s| item(s, None)).collect();
        let t = std::time::Instant::now();
        let a = connector.erase(&batch, &MemoryJournal::default()).await;
        let n: u64 = a.into_iter().map(|o| crate::conformance::done(o).changed).sum();
        eprintln!("{kind:?} {what}: 50 in {:?}, changed {n}", t.elapsed());
        let t = std::time::Instant::now();
        let v = connector.verify(Verb::Erase, &batch).await;
        eprintln!("{kind:?} {what}: verify {:?} {}", t.elapsed(), v.iter().all(|v| matches!(v, Verdict::Confirmed(_))));
        let t = std::time::Instant::now();
        let s = match what { "email+id" => "person5000@x.example", "email" => "person5001@x.example", _ => "person5002@x.example" };
        erase(&connector, &by_email(s)).await;
        eprintln!("{kind:?} single: {:?}", t.elapsed());
    }
}
#[tokio::test] async fn bench_sqlite() { bench(Kind::Sqlite).await; }
#[tokio::test] async fn bench_postgres() { bench(Kind::Postgres).await; }
#[tokio::test] async fn bench_mariadb() { bench(Kind::Mariadb).await; }
