//! The rules of data subject requests: pure, synchronous, without I/O, clock or randomness.
//!
//! Read in this order: [`words`] (the field's terms), [`identifier`] and [`subject`] (who), [`submission`] (what the
//! controller sent), [`regulation`] and [`deadline`] (by when), [`stage`] and [`step`] (where a request and its parts
//! stand), [`plan`] (what to do next), [`hold`] (what may not be done), [`fair`] (whose turn it is), [`limits`] (how often a system may be asked), [`forecast`] (when it will be
//! done), [`report`] (what it comes to), [`roles`] (who may do what).

pub mod breaker;
pub mod calendar;
pub mod clock;
pub mod deadline;
pub mod fair;
pub mod forecast;
pub mod hold;
pub mod id;
pub mod identifier;
pub mod limits;
pub mod notice;
pub mod personal;
pub mod plan;
pub mod regulation;
pub mod report;
pub mod roles;
pub mod rules;
pub mod stage;
pub mod step;
pub mod subject;
pub mod submission;
pub mod terms;
pub mod vectors;
pub mod watch;
pub mod words;

pub use clock::{Clock, ManualClock, SystemClock};
pub use id::{
    ControllerId, DsrId, EventId, HoldId, KeyId, MessageId, NoticeId, RouteId, SessionId, StepId, SystemId, UserId,
    WebhookId,
};
pub use identifier::{Identifier, IdentifierType};
pub use personal::Personal;
pub use roles::{Permit, Role, Roles};
pub use subject::{Correction, Subject};
pub use words::{RequestType, Verb};
