//! A plain CRM of nobody's: a manifest that uses what the engine has, and a server that misbehaves in every way we know.

use crate::conformance::{
    self, Broken, MemoryJournal, MemorySink, Person, Target, ann, bea, done, nobody, nothing_found, only, trouble, work,
};
use crate::{Connector, Effect, Network, Outcome, Receipt, SystemSpec, Trouble, Work, manifest};
use async_trait::async_trait;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Router, response::IntoResponse as _};
use redress_domain::{IdentifierType, Subject, Verb};
use redress_sandbox::kit::{too_many, wrap};
use redress_sandbox::vendors::asked::{empty, json};
use redress_sandbox::{Fault, Served, World};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const MANIFEST: &str = r#"
base_url = "https://${inputs.account}.plain.example/v1"

[connector]
id = "plain"
name = "Plain"
about = "Contacts with notes"
family = "crm"
api = "v1"
verified_on = "2026-11-22"

[inputs.account]
type = "host_label"
about = "The first label of your address"

[inputs.secret]
type = "secret"
about = "Client secret"

[auth]
kind = "oauth2_client_credentials"
token_url = "https://${inputs.account}.plain.example/token"
client_id = "us"
client_secret = "${inputs.secret}"

[check]
method = "GET"
path = "/me"

[[outcome]]
when = { pointer = "/error", in = ["token_ended"] }
class = "token_expired"

[[outcome]]
when = { pointer = "/error", in = ["slow_down"] }
class = "throttled"
wait_seconds = 7

[[outcome]]
when = { status = [200], pointer = "/ok", is = false }
class = "invalid"

[[outcome]]
scope = "item"
when = { pointer = "/status", is = "unknown" }
class = "gone"

[[outcome]]
scope = "item"
when = { pointer = "/status", is = "locked" }
class = "held"

[find.contact]
by = ["customer_id", "email", "phone"]
fields = { customer_id = "ref", email = "mail", phone = "tel" }
items = "/contacts"
key = "/id"
exact = [
  { by = "customer_id", pointers = ["/ref"] },
  { by = "email", pointers = ["/mail"] },
  { by = "phone", pointers = ["/tel"] },
]
batch = { max_items = 50 }
paging = { kind = "cursor", pointer = "/next", query = "cursor" }
yields = { crm_id = "/id" }

[find.contact.request]
method = "GET"
path = "/contacts"
query = { field = "${subject.field}", values = { value = "${subjects.value|csv}", lang = "csv" } }

[find.note]
from = "contact"
items = "/notes"
key = "/id"
request = { method = "GET", path = "/contacts/${record.key}/notes" }
paging = { kind = "next_url", pointer = "/next" }

[correct.contact]
from = "contact"
fields = { full_name = "/name" }
request = { method = "PATCH", path = "/contacts/${record.key}", body = '''"${changes}"''' }

[delete.note]
from = "note"
effect = "permanent_delete"
request = { method = "DELETE", path = "/notes/${record.key}", headers = { idempotency-key = "${step.key}" } }

[delete.contact]
from = "contact"
effect = "soft_delete"
residual_days = 30
after = ["note"]
items = "/results"
batch = { max_items = 2, correlate = "order" }
each = '''{"id": "${record.key}"}'''
request = { method = "POST", path = "/contacts/delete", body = '''{"contacts": "${records.each}"}''' }

[verify.note]
uses = "note"

[verify.contact]
uses = "contact"
request = { method = "GET", path = "/contacts/${record.key}" }
"#;

/// The same vendor, which now takes orders and carries them out later.
const ORDERS: &str = r#"
[delete.contact]
from = "contact"
effect = "schedule_delete"
completes_within_days = 9
after = ["note"]
request = { method = "POST", path = "/orders", body = '''{"contact": "${record.key}"}''' }

[delete.contact.poll]
handle = "/order"
request = { method = "GET", path = "/orders/${handle}" }
status = "/state"
running = ["waiting"]
done = ["done"]
every_seconds = 600

[verify.note]
"#;

fn with_orders() -> String {
    let (before, after) = MANIFEST.split_once("[delete.contact]").expect("it is there");
    let (_, after) = after.split_once("[verify.note]").expect("it is there");
    format!("{before}{ORDERS}{after}")
}

type Place = State<Arc<World>>;

fn pairs(text: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

fn first<'p>(pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn object(body: &Bytes) -> Option<Map<String, Value>> {
    serde_json::from_slice(body).ok()
}

fn signed(world: &World, headers: &HeaderMap) -> Option<Response> {
    let token =
        headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer ")).unwrap_or_default();
    if world.is_revoked() {
        return Some(json(401, &json!({"error": "who are you"})));
    }
    if world.get("tokens", token).is_none() {
        return Some(json(200, &json!({"error": "token_ended"})));
    }
    None
}

async fn token(State(world): Place, body: Bytes) -> Response {
    let pairs = pairs(&String::from_utf8_lossy(&body));
    if world.is_revoked() || first(&pairs, "client_secret") != Some("s3cret-of-plain") {
        return json(400, &json!({"error": "invalid_client"}));
    }
    let token = format!("t{}", world.next_id());
    world.put("tokens", &token, json!({}));
    json(200, &json!({"access_token": token, "expires_in": 3600}))
}

async fn me(State(world): Place, headers: HeaderMap) -> Response {
    signed(&world, &headers).unwrap_or_else(|| json(200, &json!({"ok": true})))
}

/// Fuzzy on purpose: whatever contains the value.
async fn contacts(State(world): Place, headers: HeaderMap, uri: Uri) -> Response {
    if let Some(refused) = signed(&world, &headers) {
        return refused;
    }
    let query = pairs(uri.query().unwrap_or_default());
    let field = first(&query, "field").unwrap_or_default().to_owned();
    let values: Vec<String> = first(&query, "values").unwrap_or_default().split(',').map(str::to_lowercase).collect();
    let after: usize = first(&query, "cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let all: Vec<Value> = world
        .all("contacts")
        .into_iter()
        .map(|(_, contact)| Value::Object(contact))
        .filter(|contact| {
            let stored = contact[&field].as_str().unwrap_or_default().to_lowercase();
            values.iter().any(|value| stored.contains(value.as_str()) || value.contains(&stored))
        })
        .collect();
    let next = (all.len() > after + 5).then(|| (after + 5).to_string());
    json(200, &json!({"ok": true, "contacts": all.iter().skip(after).take(5).collect::<Vec<_>>(), "next": next}))
}

async fn contact(State(world): Place, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if let Some(refused) = signed(&world, &headers) {
        return refused;
    }
    match world.get("contacts", &id) {
        Some(contact) => json(200, &Value::Object(contact)),
        None => json(404, &json!({"error": "no such contact"})),
    }
}

async fn patch(State(world): Place, headers: HeaderMap, Path(id): Path<String>, body: Bytes) -> Response {
    if let Some(refused) = signed(&world, &headers) {
        return refused;
    }
    let (Some(mut contact), Some(changes)) = (world.get("contacts", &id), object(&body)) else {
        return json(404, &json!({"error": "no such contact"}));
    };
    contact.extend(changes);
    world.put("contacts", &id, Value::Object(contact));
    json(200, &json!({"ok": true}))
}

async fn notes(State(world): Place, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if let Some(refused) = signed(&world, &headers) {
        return refused;
    }
    let all = world.all("notes").into_iter().map(|(_, note)| note).filter(|note| note["contact"] == *id);
    let mut answer = json!({"ok": true, "notes": all.collect::<Vec<_>>()});
    if let Some(next) = world.get("next", "notes") {
        answer["next"] = next["url"].clone();
    }
    json(200, &answer)
}

async fn delete_note(State(world): Place, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if let Some(refused) = signed(&world, &headers) {
        return refused;
    }
    if headers.get("idempotency-key").is_none() {
        return json(400, &json!({"error": "idempotency-key is missing"}));
    }
    match world.take("notes", &id) {
        Some(_) => empty(204),
        None => json(404, &json!({"error": "no such note"})),
    }
}

async fn delete_contacts(State(world): Place, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refused) = signed(&world, &headers) {
        return refused;
    }
    let body = object(&body).map(Value::Object).unwrap_or_default();
    let ids: Vec<String> =
        body["contacts"].as_array().into_iter().flatten().filter_map(|c| Some(c["id"].as_str()?.to_owned())).collect();
    if ids.is_empty() || ids.len() > 2 || ids.iter().any(|id| world.get("poison", id).is_some()) {
        return json(400, &json!({"error": "one of these cannot be"}));
    }
    let results = ids.iter().map(|id| {
        if world.get("locked", id).is_some() {
            return json!({"id": id, "status": "locked"});
        }
        let status = if world.take("contacts", id).is_some() { "deleted" } else { "unknown" };
        json!({"id": id, "status": status})
    });
    json(200, &json!({"ok": true, "results": results.collect::<Vec<_>>()}))
}

async fn order(State(world): Place, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refused) = signed(&world, &headers) {
        return refused;
    }
    let contact = object(&body).and_then(|body| Some(body.get("contact")?.as_str()?.to_owned()));
    let order = format!("o{}", world.next_id());
    world.put("orders", &order, json!({"contact": contact, "state": "waiting", "at": world.now_ms()}));
    json(202, &json!({"order": order}))
}

async fn order_state(State(world): Place, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if let Some(refused) = signed(&world, &headers) {
        return refused;
    }
    let Some(mut order) = world.get("orders", &id) else { return json(404, &json!({"error": "no such order"})) };
    if order["state"] == "waiting" && world.now_ms() - order["at"].as_i64().unwrap_or_default() > 86_400_000 {
        order.insert("state".into(), json!("done"));
        world.take("contacts", order["contact"].as_str().unwrap_or_default());
        world.put("orders", &id, Value::Object(order.clone()));
    }
    json(200, &Value::Object(order))
}

fn router(world: &Arc<World>) -> Router {
    let router = Router::new()
        .route("/token", post(token))
        .route("/v1/me", get(me))
        .route("/v1/contacts", get(contacts))
        .route("/v1/contacts/delete", post(delete_contacts))
        .route("/v1/contacts/{id}", get(contact).patch(patch))
        .route("/v1/contacts/{id}/notes", get(notes))
        .route("/v1/notes/{id}", delete(delete_note))
        .route("/v1/orders", post(order))
        .route("/v1/orders/{id}", get(order_state))
        .fallback(|| async { (axum::http::StatusCode::NOT_FOUND, "no such page").into_response() })
        .with_state(Arc::clone(world));
    wrap(router, world, too_many, &["/token"])
}

struct Plain {
    served: Served,
    manifest: String,
}

impl Plain {
    async fn serve(manifest: impl Into<String>) -> Self {
        let world = Arc::new(World::default());
        Self { served: Served::start(router(&world), world, 0).await.expect("a free port"), manifest: manifest.into() }
    }

    async fn holding(people: &[Person]) -> Self {
        let plain = Self::serve(MANIFEST).await;
        for person in people {
            plain.put(person);
        }
        plain
    }

    fn world(&self) -> &Arc<World> {
        self.served.world()
    }

    fn put(&self, person: &Person) -> String {
        let id = format!("c{}", self.world().next_id());
        let note = format!("n{}", self.world().next_id());
        self.world().put(
            "contacts",
            &id,
            json!({"id": id, "mail": person.email, "tel": person.phone, "ref": person.customer_id, "name": person.full_name}),
        );
        self.world().put("notes", &note, json!({"id": note, "contact": id, "text": format!("for {}", person.email)}));
        id
    }

    fn spec(url: &str, max_matches: u64) -> SystemSpec {
        SystemSpec {
            name: "plain-under-test".into(),
            connector: "plain".into(),
            settings: Map::from_iter([("account".into(), json!("acme")), ("base_url".into(), json!(url))]),
            secrets: BTreeMap::from([("secret".to_owned(), "s3cret-of-plain".into())]),
            tables: Vec::new(),
            max_matches,
            base_dir: None,
            network: Network::default(),
        }
    }

    fn connect(&self, url: &str, max_matches: u64) -> Arc<dyn Connector> {
        manifest::connect_text(&self.manifest, &Self::spec(url, max_matches))
            .unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    fn connector(&self) -> Arc<dyn Connector> {
        self.connect(&self.served.url(), 25)
    }

    fn left(&self, email: &str) -> u64 {
        let contacts = self.world().all("contacts");
        let contacts = contacts.iter().filter(|(_, contact)| contact["mail"] == *email).count();
        let notes = self.world().all("notes");
        (contacts + notes.iter().filter(|(_, note)| note["text"] == format!("for {email}")).count()) as u64
    }

    fn calls(&self, method: &str, path: &str) -> usize {
        self.world().hits().iter().filter(|hit| hit.method == method && hit.path == path).count()
    }
}

#[async_trait]
impl Target for Plain {
    async fn seed(&self, people: &[Person]) {
        self.world().clear();
        self.world().revoke(false);
        for person in people {
            self.put(person);
        }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Plain::connector(self)
    }

    fn limited(&self) -> Option<Arc<dyn Connector>> {
        Some(self.connect(&self.served.url(), 1))
    }

    async fn snapshot(&self) -> BTreeMap<String, u64> {
        let people = [conformance::everybody(), conformance::crowd().into()].concat();
        people.into_iter().map(|person| (person.email.clone(), self.left(&person.email))).collect()
    }

    fn broken(&self, how: Broken) -> Option<Arc<dyn Connector>> {
        match how {
            Broken::Unreachable => Some(self.connect("http://127.0.0.1:9", 25)),
            Broken::WrongPassword => {
                self.world().revoke(true);
                Some(self.connector())
            }
        }
    }

    fn cannot_carry(&self) -> Option<&'static str> {
        Some("the values are a list with commas, for which there is no escape")
    }

    fn correctable(&self) -> Option<&str> {
        Some("full_name")
    }

    async fn read_field(&self, email: &str, _field: &str) -> Option<String> {
        let contacts = self.world().all("contacts");
        let (_, contact) = contacts.into_iter().find(|(_, contact)| contact["mail"] == *email)?;
        Some(contact["name"].as_str()?.to_owned())
    }

    async fn let_time_pass(&self) {
        self.world().travel(Duration::from_hours(25));
    }

    fn secrets(&self) -> Vec<String> {
        vec!["s3cret-of-plain".into()]
    }
}

fn by_email(person: &Person) -> Subject {
    conformance::subject(&[(IdentifierType::Email, &person.email)])
}

fn people(n: usize) -> Vec<Person> {
    (0..n)
        .map(|n| {
            Person::new(
                &format!("P-{n:03}"),
                &format!("person{n:03}@shop.example"),
                &format!("+49151123450{n:02}"),
                "A B",
            )
        })
        .collect()
}

async fn erase(connector: &Arc<dyn Connector>, people: &[Person], journal: &MemoryJournal) -> Vec<Outcome> {
    let subjects: Vec<Subject> = people.iter().map(by_email).collect();
    let batch: Vec<Work<'_>> =
        people.iter().zip(&subjects).map(|(person, subject)| work(&person.customer_id, subject)).collect();
    connector.erase(&batch, journal).await
}

#[tokio::test]
async fn conforms() {
    conformance::run(&Plain::serve(MANIFEST).await).await;
}

#[tokio::test]
async fn conforms_where_the_vendor_takes_orders() {
    conformance::run(&Plain::serve(with_orders()).await).await;
}

#[tokio::test]
async fn a_batch_is_found_by_one_search_and_each_answer_is_ones_own() {
    let people = people(20);
    let plain = Plain::holding(&people).await;
    let erased = erase(&plain.connector(), &people, &MemoryJournal::default()).await;
    for outcome in erased {
        let erased = done(outcome);
        assert_eq!((erased.found, erased.changed), (2, 2));
        assert_eq!(erased.effect, Some(Effect::Soft { residual_days: Some(30) }), "the weaker of two effects is told");
        assert_eq!(erased.yielded.len(), 1, "the contact's id");
    }
    assert_eq!(plain.calls("GET", "/v1/contacts"), 4, "twenty in pages of five");
    assert_eq!(plain.calls("POST", "/v1/contacts/delete"), 10);
    assert!(plain.world().all("contacts").is_empty() && plain.world().all("notes").is_empty());
}

#[tokio::test]
async fn one_that_the_vendor_does_not_take_hides_nobody_elses_outcome() {
    let people = people(4);
    let plain = Plain::serve(MANIFEST).await;
    let ids: Vec<String> = people.iter().map(|person| plain.put(person)).collect();
    plain.world().put("poison", &ids[0], json!({}));
    plain.world().put("locked", &ids[3], json!({}));
    let mut outcomes = erase(&plain.connector(), &people, &MemoryJournal::default()).await;
    assert_eq!(trouble(outcomes.remove(3)), Trouble::Held("vendor_hold".into()));
    assert_eq!(done(outcomes.remove(2)).changed, 2);
    assert_eq!(done(outcomes.remove(1)).changed, 2);
    assert!(matches!(trouble(outcomes.remove(0)), Trouble::Denied(problem) if problem.code == "refused"));
}

#[tokio::test]
async fn what_was_done_before_a_limit_was_met_is_told_as_done() {
    let people = people(6);
    let plain = Plain::holding(&people).await;
    let (connector, journal) = (plain.connector(), MemoryJournal::default());
    // The limit is met by the second deletion of contacts.
    plain.world().fault(Fault::Slow(Duration::ZERO), Some("/contacts/delete"));
    plain.world().fault(Fault::Status(429, "{}".into(), Some("40".into())), Some("/contacts/delete"));
    let outcomes = erase(&connector, &people, &journal).await;
    let wait = Trouble::Throttled(Duration::from_secs(40));
    let told: Vec<bool> = outcomes.iter().map(|outcome| matches!(outcome, Outcome::Done(_))).collect();
    assert_eq!(told, [true, true, false, false, false, false]);
    for outcome in &outcomes[2..] {
        assert!(matches!(outcome, Outcome::Trouble(trouble) if *trouble == wait), "{outcome:?}");
    }
    assert_eq!(plain.calls("POST", "/v1/contacts/delete"), 2, "nothing was sent against the limit");
    // Later: each with what it announced.
    let subject = by_email(&people[4]);
    let prior = journal.announced(&people[4].customer_id).expect("it was announced");
    let item = Work { prior: Some(&prior), ..work(&people[4].customer_id, &subject) };
    let erased = done(only(connector.erase(&[item], &journal).await));
    assert_eq!((erased.found, erased.changed), (2, 2), "its note, deleted earlier, is told too");
}

#[tokio::test]
async fn a_lost_answer_is_told_by_the_next_run_with_the_same_counts() {
    for at in ["/notes/", "/contacts/delete"] {
        let plain = Plain::holding(&[ann(), bea()]).await;
        let (connector, journal, subject) = (plain.connector(), MemoryJournal::default(), ann().subject());
        plain.world().fault(Fault::EffectThen500, Some(at));
        let fate = trouble(only(connector.erase(&[work("e", &subject)], &journal).await));
        assert!(matches!(fate, Trouble::Retry(_)), "{at}: {fate:?}");
        let prior = journal.announced("e").expect("it was announced");
        let item = Work { prior: Some(&prior), ..work("e", &subject) };
        let erased = done(only(connector.erase(&[item], &journal).await));
        assert_eq!((erased.found, erased.changed), (2, 2), "{at}");
        assert_eq!((plain.left(&ann().email), plain.left(&bea().email)), (0, 2));
    }
}

#[tokio::test]
async fn a_wait_is_never_absurd() {
    for (said, longest) in [
        ("0", 1),
        ("-1", 1),
        ("1e10", 86_400),
        ("99999999999", 86_400),
        ("soon", 1),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 1),
    ] {
        let plain = Plain::holding(&[ann()]).await;
        plain.world().fault(Fault::Status(429, "{}".into(), Some(said.into())), Some("/v1/contacts"));
        match trouble(only(plain.connector().discover(&[work("d", &ann().subject())]).await)) {
            Trouble::Throttled(wait) => assert!(wait.as_secs() <= longest, "{said}: {wait:?}"),
            other => panic!("{said}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_is_never_nobody() {
    let deep = format!("{{\"ok\":true,\"contacts\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    for fault in [
        Fault::Truncated,
        Fault::Html,
        Fault::Endless(20 << 20),
        Fault::Status(200, deep, None),
        Fault::Status(200, String::new(), None),
        Fault::Status(204, String::new(), None),
        Fault::Status(200, "{\"ok\":true}".into(), None),
        Fault::Status(200, "{\"ok\":true,\"contacts\":null}".into(), None),
        Fault::Status(200, "{\"ok\":true,\"contacts\":[{\"mail\":\"ann@shop.example\"}]}".into(), None),
        Fault::Status(500, "{\"ok\":true,\"contacts\":[]}".into(), None),
        Fault::Status(502, "bad gateway".into(), None),
    ] {
        let plain = Plain::holding(&[ann()]).await;
        plain.world().fault(fault.clone(), Some("/v1/contacts"));
        let (subject, journal) = (by_email(&ann()), MemoryJournal::default());
        let fate = trouble(only(plain.connector().erase(&[work("e", &subject)], &journal).await));
        assert!(matches!(fate, Trouble::Retry(_)), "{fault:?}: {fate:?}");
        assert_eq!((journal.items(), plain.left(&ann().email)), (0, 2));
    }
    for (status, code) in [(403, "permission_missing"), (404, "refused"), (302, "refused"), (418, "refused")] {
        let plain = Plain::holding(&[ann()]).await;
        plain.world().fault(Fault::Status(status, "{}".into(), None), Some("/v1/contacts"));
        match trouble(only(plain.connector().discover(&[work("d", &by_email(&ann()))]).await)) {
            Trouble::Denied(problem) => assert_eq!(problem.code, code, "{status}"),
            other => panic!("{status}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_deletion_answered_by_a_page_for_people_was_not_done() {
    for fault in [Fault::Html, Fault::Status(200, "{\"ok\":true,\"results\":[]}".into(), None)] {
        let plain = Plain::holding(&[ann()]).await;
        plain.world().fault(fault, Some("/contacts/delete"));
        let fate =
            trouble(only(plain.connector().erase(&[work("e", &by_email(&ann()))], &MemoryJournal::default()).await));
        assert!(matches!(&fate, Trouble::Retry(problem) if problem.code == "answer_unreadable"), "{fate:?}");
    }
}

#[tokio::test]
async fn pages_that_lead_back_or_elsewhere_are_not_followed() {
    let plain = Plain::holding(&[ann()]).await;
    let page = "{\"ok\":true,\"contacts\":[],\"next\":\"0\"}";
    for _ in 0..3 {
        plain.world().fault(Fault::Status(200, page.into(), None), Some("/v1/contacts"));
    }
    let fate = trouble(only(plain.connector().discover(&[work("d", &by_email(&ann()))]).await));
    assert!(matches!(&fate, Trouble::Retry(problem) if problem.code == "pages_loop"), "{fate:?}");

    let plain = Plain::holding(&[ann()]).await;
    for (next, code) in [("https://elsewhere.example/notes", "host_not_pinned"), ("?page=2", "pages_loop")] {
        plain.world().put("next", "notes", json!({"url": next}));
        match trouble(only(plain.connector().discover(&[work("d", &by_email(&ann()))]).await)) {
            Trouble::Denied(problem) | Trouble::Retry(problem) => assert_eq!(problem.code, code),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_refused_credential_is_told_once_for_everybody_and_never_as_nobody() {
    let people = people(20);
    let plain = Plain::holding(&people).await;
    let connector = plain.connector();
    done(only(connector.discover(&[work("d", &by_email(&people[0]))]).await));
    plain.world().revoke(true);
    let before = plain.world().hits().len();
    for outcome in erase(&connector, &people, &MemoryJournal::default()).await {
        match trouble(outcome) {
            Trouble::Denied(problem) => assert_eq!(problem.code, "credentials_refused"),
            other => panic!("{other:?}"),
        }
    }
    assert!(plain.world().hits().len() - before <= 3, "a vendor that refuses us is not asked for each person");
}

#[tokio::test]
async fn an_ended_token_is_renewed_and_the_call_repeated_once() {
    let plain = Plain::holding(&[ann()]).await;
    let connector = plain.connector();
    for _ in 0..2 {
        done(only(connector.discover(&[work("d", &by_email(&ann()))]).await));
        plain.world().tables().remove("tokens");
    }
    assert_eq!(plain.calls("POST", "/token"), 2);
}

#[tokio::test]
async fn an_identifier_that_cannot_be_sent_keeps_nobody_else_back() {
    let plain = Plain::holding(&[ann(), bea()]).await;
    let odd = conformance::subject(&[(IdentifierType::CustomerId, "a,b")]);
    let (other, journal) = (by_email(&bea()), MemoryJournal::default());
    let mut outcomes = plain.connector().erase(&[work("1", &odd), work("2", &other)], &journal).await;
    assert_eq!(done(outcomes.remove(1)).changed, 2);
    match trouble(outcomes.remove(0)) {
        Trouble::Denied(problem) => assert_eq!(problem.code, "identifier_not_sendable"),
        other => panic!("{other:?}"),
    }
    assert!(plain.world().hits().iter().all(|hit| !hit.query.contains("a%2Cb")), "nothing was sent");
}

#[tokio::test]
async fn a_record_that_contradicts_a_stronger_identifier_stops_for_a_person() {
    let plain = Plain::holding(&[Person::new("C-77", "somebody.else@shop.example", &ann().phone, "X Y")]).await;
    let (subject, journal) = (ann().subject(), MemoryJournal::default());
    match trouble(only(plain.connector().erase(&[work("e", &subject)], &journal).await)) {
        Trouble::Ambiguous { problem, .. } => assert_eq!(problem.code, "identifiers_contradict"),
        other => panic!("{other:?}"),
    }
    assert_eq!(journal.items(), 0);
    // By phone alone: two addresses under one number are two people until somebody says otherwise.
    plain.put(&ann());
    let phone = conformance::subject(&[(IdentifierType::Phone, &ann().phone)]);
    match trouble(only(plain.connector().erase(&[work("e", &phone)], &journal).await)) {
        Trouble::Ambiguous { problem, .. } => assert_eq!(problem.code, "identifiers_contradict"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_same_person_twice_in_a_batch_is_deleted_once_and_told_twice() {
    let plain = Plain::holding(&[ann()]).await;
    let (one, two, journal) = (ann().subject(), by_email(&ann()), MemoryJournal::default());
    let outcomes = plain.connector().erase(&[work("1", &one), work("2", &two)], &journal).await;
    assert_eq!(outcomes.into_iter().map(|outcome| done(outcome).changed).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(plain.calls("POST", "/v1/contacts/delete"), 1);
}

#[tokio::test]
async fn an_export_hands_over_what_hangs_on_a_contact_and_stops_where_a_part_is_missing() {
    let plain = Plain::holding(&[ann(), bea()]).await;
    let (sink, subject) = (MemorySink::default(), by_email(&ann()));
    assert_eq!(done(only(plain.connector().export(&[work("x", &subject)], &sink).await)).found, 2);
    assert!(sink.text("x").contains("for ann@shop.example") && !sink.text("x").contains("Bea"));
    plain.world().fault(Fault::Status(500, String::new(), None), Some("/notes"));
    let fate = trouble(only(plain.connector().export(&[work("y", &subject)], &sink).await));
    assert!(matches!(fate, Trouble::Retry(_)), "{fate:?}");
}

fn accepted(outcome: Outcome) -> Receipt {
    match outcome {
        Outcome::Accepted { receipt, check_after, completes_within } => {
            assert_eq!(check_after, Duration::from_mins(10));
            assert_eq!(completes_within, Some(Duration::from_hours(9 * 24)));
            receipt
        }
        other => panic!("expected Accepted, got {other:?}"),
    }
}

#[tokio::test]
async fn an_order_is_given_once_and_followed_until_it_is_done() {
    let plain = Plain::serve(with_orders()).await;
    plain.put(&ann());
    let (connector, journal, subject) = (plain.connector(), MemoryJournal::default(), by_email(&ann()));
    let mut receipt = accepted(only(connector.erase(&[work("e", &subject)], &journal).await));
    receipt = accepted(only(connector.erase(&[Work { prior: Some(&receipt), ..work("e", &subject) }], &journal).await));
    // A limit on the way costs no second order.
    plain.world().fault(Fault::Status(429, "{}".into(), None), Some("/orders/"));
    let item = Work { prior: Some(&receipt), ..work("e", &subject) };
    assert!(matches!(trouble(only(connector.erase(&[item], &journal).await)), Trouble::Throttled(_)));
    plain.let_time_pass().await;
    let erased = done(only(connector.erase(&[Work { prior: Some(&receipt), ..work("e", &subject) }], &journal).await));
    assert_eq!((erased.found, erased.changed, erased.effect), (2, 2, Some(Effect::Permanent)));
    assert_eq!((plain.calls("POST", "/v1/orders"), plain.left(&ann().email)), (1, 0));
}

#[tokio::test]
async fn an_order_that_failed_is_given_again() {
    let plain = Plain::serve(with_orders()).await;
    plain.put(&ann());
    let (connector, journal, subject) = (plain.connector(), MemoryJournal::default(), by_email(&ann()));
    let receipt = accepted(only(connector.erase(&[work("e", &subject)], &journal).await));
    let (order, mut state) = plain.world().all("orders").remove(0);
    state.insert("state".into(), json!("failed"));
    plain.world().put("orders", &order, Value::Object(state));
    let item = Work { prior: Some(&receipt), ..work("e", &subject) };
    let fate = trouble(only(connector.erase(&[item], &journal).await));
    assert!(matches!(&fate, Trouble::Retry(problem) if problem.code == "order_failed"), "{fate:?}");
    let prior = journal.announced("e").expect("it was told");
    accepted(only(connector.erase(&[Work { prior: Some(&prior), ..work("e", &subject) }], &journal).await));
    assert_eq!(plain.calls("POST", "/v1/orders"), 2);
}

#[tokio::test]
async fn a_record_that_is_there_again_is_deleted_again() {
    let plain = Plain::holding(&[ann()]).await;
    let (connector, journal, subject) = (plain.connector(), MemoryJournal::default(), by_email(&ann()));
    let contacts = plain.world().all("contacts");
    let erased = done(only(connector.erase(&[work("e", &subject)], &journal).await));
    let (id, contact) = contacts.into_iter().next().expect("one contact");
    plain.world().put("contacts", &id, Value::Object(contact));
    let prior = erased.receipt.expect("an erasure has a receipt");
    let item = || Work { prior: Some(&prior), ..work("e", &subject) };
    match only(connector.verify(Verb::Erase, &[item()]).await) {
        crate::Verdict::Residue { remaining, .. } => assert_eq!(remaining, 1),
        other => panic!("{other:?}"),
    }
    assert_eq!(done(only(connector.erase(&[item()], &journal).await)).changed, 2);
    conformance::confirmed(only(connector.verify(Verb::Erase, &[item()]).await));
}

#[tokio::test]
async fn nobody_is_asked_about_a_receipt_that_cannot_be_read() {
    let plain = Plain::holding(&[ann()]).await;
    let (subject, prior) = (by_email(&ann()), Receipt("{\"steps\": 1".into()));
    let item = Work { prior: Some(&prior), ..work("e", &subject) };
    let fate = trouble(only(plain.connector().erase(&[item], &MemoryJournal::default()).await));
    assert!(matches!(&fate, Trouble::Denied(problem) if problem.code == "receipt_unreadable"), "{fate:?}");
    assert_eq!(plain.left(&ann().email), 2);
    nothing_found(only(plain.connector().erase(&[work("n", &nobody().subject())], &MemoryJournal::default()).await));
}

#[test]
fn every_fault_of_the_settings_is_told_at_once() {
    let spec = SystemSpec {
        name: "plain".into(),
        connector: "plain".into(),
        settings: Map::from_iter([
            ("account".into(), json!("acme.evil.example/")),
            ("acount".into(), json!("acme")),
            ("base_url".into(), json!("ftp://x")),
        ]),
        secrets: BTreeMap::from([("password".to_owned(), "x".into())]),
        tables: Vec::new(),
        max_matches: 25,
        base_dir: None,
        network: Network::default(),
    };
    let faults = manifest::connect_text(MANIFEST, &spec).map(drop).expect_err("refused");
    let mut paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        ["secrets.password", "secrets.secret", "settings.account", "settings.acount", "settings.base_url"]
    );
}

#[tokio::test]
async fn who_is_not_known_by_anything_searchable_is_told_so_and_is_not_nobody() {
    let plain = Plain::holding(&[ann()]).await;
    let subject = conformance::subject(&[(IdentifierType::LeadId, "7")]);
    let fate = trouble(only(plain.connector().erase(&[work("e", &subject)], &MemoryJournal::default()).await));
    assert!(matches!(&fate, Trouble::Denied(problem) if problem.code == "no_usable_identifier"), "{fate:?}");
    assert!(plain.world().hits().is_empty());
}
