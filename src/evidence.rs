//! Evidence is written while it is sent: what a controller shows an authority about one request or a period, as a signed ZIP.
//!
//! It is read page by page, so that a year's log needs no more memory than a day's; whoever stops reading stops the writing. What is
//! said of a request is named here one by one: nothing about a data subject, and not what the controller calls it.

use axum::body::Bytes;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use redress_domain::DsrId;
use redress_jobs::certificate::Signer;
use redress_jobs::evidence::{About, EvidenceWriter};
use redress_store::{AuditEvent, Controller, DsrRow, EndedDsr, Error, Store};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Events that are read at a time.
const EVENTS_PAGE: i64 = 500;
/// Requests that are read at a time.
const REQUESTS_PAGE: i64 = 100;
/// Parts that wait to be sent.
const PARTS: usize = 4;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// One request.
    Request(DsrId),
    /// From the beginning of a day to the end of another, in the controller's time zone.
    Days(Date, Date),
}

/// Begins to write; what is written comes in parts.
///
/// # Errors
/// The database is away, or the master key is another one.
pub(crate) async fn write(
    store: &Store,
    controller: Controller,
    asked: Asked,
) -> Result<mpsc::Receiver<io::Result<Bytes>>, Error> {
    let signer = Signer::from_seed(&store.signing_seed().await?);
    let (parts, sent) = mpsc::channel(PARTS);
    let writing = Writing { store: store.clone(), controller, buffer: Buffer::default(), parts };
    tokio::spawn(async move {
        let parts = writing.parts.clone();
        if let Err(Stopped::Failed(error)) = writing.run(asked, &signer).await {
            tracing::warn!(%error, "evidence could not be written to its end");
            let _nobody_reads_any_more = parts.send(Err(error)).await;
        }
    });
    Ok(sent)
}

/// Why nothing more is written.
enum Stopped {
    /// Whoever asked stopped reading.
    Unread,
    Failed(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Stopped::Failed(error)
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Stopped::Failed(io::Error::other(error))
    }
}

/// What was written and is not sent yet.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("never held across a panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Zip = EvidenceWriter<Buffer>;

struct Writing {
    store: Store,
    controller: Controller,
    buffer: Buffer,
    parts: mpsc::Sender<io::Result<Bytes>>,
}

impl Writing {
    async fn run(self, asked: Asked, signer: &Signer) -> Result<(), Stopped> {
        let now = Timestamp::from_millisecond(self.store.now_ms()).unwrap_or_default();
        let zone = TimeZone::get(&self.controller.timezone).unwrap_or(TimeZone::UTC);
        let (about, period) = match &asked {
            Asked::Request(id) => (About::Request(id.to_string()), None),
            Asked::Days(from, to) => {
                let begins =
                    |date: Date| date.to_zoned(zone.clone()).map(|at| at.timestamp()).map_err(io::Error::other);
                let (from, to) = (begins(*from)?, begins(to.checked_add(1.day()).map_err(io::Error::other)?)?);
                (About::Period(from.to_string(), to.to_string()), Some((from, to)))
            }
        };
        let id = self.controller.id.as_str();
        let mut zip = EvidenceWriter::new(self.buffer.clone(), about, id, &self.controller.name, now)?;
        let mut books = BTreeSet::new();
        match (&asked, period) {
            (Asked::Request(id), _) => self.request(&mut zip, id, &mut books).await?,
            (Asked::Days(..), Some(period)) => self.period(&mut zip, period, &mut books).await?,
            (Asked::Days(..), None) => {}
        }
        for book in self.store.rule_books(books.into_iter().collect()).await? {
            zip.file(&format!("rules/{}.txt", book.digest), book.body.as_bytes())?;
        }
        zip.finish(signer)?;
        self.send().await
    }

    /// Sends what is in the buffer.
    async fn send(&self) -> Result<(), Stopped> {
        let part = std::mem::take(&mut *self.buffer.0.lock().expect("never held across a panic"));
        if part.is_empty() {
            return Ok(());
        }
        self.parts.send(Ok(part.into())).await.map_err(|_| Stopped::Unread)
    }

    async fn request(&self, zip: &mut Zip, id: &DsrId, books: &mut BTreeSet<String>) -> Result<(), Stopped> {
        let events = self.store.events_of(&self.controller.id, id).await?;
        zip.begin_events()?;
        write_events(zip, &events)?;
        let certificate = match self.store.certificate(&self.controller.id, id).await {
            Ok(document) => Some(document),
            Err(Error::NotFound) => None,
            Err(error) => return Err(error.into()),
        };
        self.files_of(zip, id, certificate, books).await
    }

    async fn period(
        &self,
        zip: &mut Zip,
        (from, to): (Timestamp, Timestamp),
        books: &mut BTreeSet<String>,
    ) -> Result<(), Stopped> {
        let id = &self.controller.id;
        let mut after = self.store.first_event_at(id, from).await? - 1;
        let last = self.store.first_event_at(id, to).await? - 1;
        zip.begin_events()?;
        while after < last {
            let events = self.store.events_after(id, after, EVENTS_PAGE.min(last - after)).await?;
            let Some(end) = events.last() else { break };
            after = end.seq;
            write_events(zip, &events)?;
            self.send().await?;
        }
        let span = (from.as_millisecond(), to.as_millisecond());
        let mut before: Option<EndedDsr> = None;
        loop {
            let page = self.store.ended_in(id, span, before.as_ref(), REQUESTS_PAGE).await?;
            let Some(end) = page.last().cloned() else { return Ok(()) };
            for ended in page {
                self.files_of(zip, &ended.id, ended.certificate, books).await?;
            }
            before = Some(end);
            self.send().await?;
        }
    }

    /// The dates of a request with their reasons, and its certificate.
    async fn files_of(
        &self,
        zip: &mut Zip,
        id: &DsrId,
        certificate: Option<Value>,
        books: &mut BTreeSet<String>,
    ) -> Result<(), Stopped> {
        let row = self.store.dsr(&self.controller.id, id).await?.row;
        if let Some(clock) = &row.clock {
            books.insert(clock.books.regulations.clone());
            books.extend(clock.books.calendars.iter().cloned());
            books.extend(clock.books.terms.clone());
        }
        let text = serde_json::to_vec_pretty(&dates(&row)).map_err(io::Error::other)?;
        zip.file(&format!("requests/{id}.json"), &text)?;
        if let Some(document) = certificate {
            let text = serde_json::to_vec_pretty(&document).map_err(io::Error::other)?;
            zip.file(&format!("certificates/{id}.json"), &text)?;
        }
        Ok(())
    }
}

/// The dates of a request and what they follow from.
fn dates(row: &DsrRow) -> Value {
    let time = |ms: i64| Timestamp::from_millisecond(ms).ok().map(|at| at.to_string());
    let facts = row.clock.as_ref().map(|clock| &clock.facts);
    json!({
        "id": row.id,
        "type": row.kind,
        "status": row.status,
        "regulation": row.regulation,
        "jurisdiction": row.jurisdiction,
        "instruction_received_at": time(row.instruction_received_at),
        "data_subject_received_at": row.data_subject_received_at.map(time),
        "deadlines": row.deadlines,
        "pauses": facts.map(|facts| json!(facts.pauses)),
        "extension": facts.map(|facts| json!(facts.extension)),
        "acknowledged_at": facts.and_then(|facts| facts.acknowledged_at),
        "closed_at": row.closed_at.map(time),
        "out_of_scope": row.out_of_scope.iter().map(|(system, reason)| json!({ "system": system, "reason": reason })).collect::<Vec<_>>(),
        "rules": row.clock.as_ref().map(|clock| json!(clock.books)),
    })
}

fn write_events(zip: &mut Zip, events: &[AuditEvent]) -> Result<(), Stopped> {
    for event in events {
        zip.event(&serde_json::to_vec(event).map_err(io::Error::other)?)?;
    }
    Ok(())
}
