//! Who calls, and what they may do here: an API key of one controller, or a person who signed in on the board.
//!
//! Every route names the permit it needs beside its path (`routes` in `http`), and [`Caller`] is the only way to a controller's rows:
//! none can forget to ask. People act through a browser, which sends their cookie wherever a web site leads it; so what changes
//! something must also come from our own pages ([`is_from_here`]) and carry their token ([`Viewer::token`]).

use super::Edge;
use super::problem::Problem;
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use redress_domain::{ControllerId, DsrId, Permit, Role, Roles};
use redress_store::{Controller, Session};
use ring::digest::{SHA256, digest};
use serde_json::Value;

/// The cookie of a session.
pub(crate) const COOKIE_NAME: &str = "redress_session";
/// The header that carries the token of a page beside the cookie.
pub(crate) const TOKEN_HEADER: &str = "x-csrf-token";
/// The header (or parameter of the query) by which somebody who sees several controllers says which one is meant.
pub(crate) const CONTROLLER: &str = "controller";
pub(crate) const CONTROLLER_HEADER: &str = "redress-controller";

/// Who looks or acts, before it is known at which controller.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    pub(crate) who: Who,
    pub(crate) roles: Roles,
    /// Whose requests they see; none: everybody's.
    pub(crate) scope: Option<Vec<ControllerId>>,
    /// What their pages send with every change; empty for those who can change nothing.
    token: String,
}

/// What somebody showed to be let in.
#[derive(Debug, Clone)]
pub(crate) enum Who {
    /// An API key.
    Key(String),
    /// A person with a session.
    Person(Box<Session>),
    /// Whoever sits at this machine, where the service listens to this machine only: they may look.
    Local,
}

/// The call was vouched for before: it is a form of our own page, whose token was looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vouched;

impl Viewer {
    /// Whether they may do something, somewhere.
    pub(crate) fn may(&self, permit: Permit) -> bool {
        self.roles.may(permit)
    }

    /// Who they are, as the audit log names them.
    pub(crate) fn actor(&self) -> &str {
        match &self.who {
            Who::Key(id) => id,
            Who::Person(session) => session.user_id.as_str(),
            Who::Local => "local",
        }
    }

    /// How to call them on a page.
    pub(crate) fn name(&self) -> &str {
        match &self.who {
            Who::Key(_) => "API key",
            Who::Person(session) => session.name.expose(),
            Who::Local => "this machine",
        }
    }

    /// Their session, if they have one.
    pub(crate) fn session(&self) -> Option<&Session> {
        match &self.who {
            Who::Person(session) => Some(session),
            Who::Key(_) | Who::Local => None,
        }
    }

    /// What a form sends along.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Whether they are shown pseudonyms only: nothing that names a person, nor what a controller calls its request.
    pub(crate) fn is_pseudonymised(&self) -> bool {
        !matches!(self.who, Who::Key(_)) && self.roles.is_pseudonymised()
    }

    /// Whether they may know of legal holds of which nobody outside the processor may learn: people who are not a controller's own.
    /// Every API key is a controller's own.
    pub(crate) fn sees_gagged(&self) -> bool {
        matches!(self.who, Who::Person(_))
            && self.roles.iter().any(|role| !role.is_of_one_controller())
            && !self.roles.iter().any(Role::is_of_one_controller)
    }

    /// The controllers they see, by name.
    pub(crate) async fn controllers(&self, edge: &Edge) -> Result<Vec<Controller>, Problem> {
        if let Some([one]) = self.scope.as_deref() {
            return Ok(vec![edge.store.controller(one).await?]);
        }
        let mut all = edge.store.controllers().await?;
        all.retain(|controller| self.scope.as_ref().is_none_or(|scope| scope.contains(&controller.id)));
        Ok(all)
    }

    /// Refuses whoever does not hold the permit.
    pub(crate) fn demand(&self, permit: Permit) -> Result<(), Problem> {
        if self.may(permit) { Ok(()) } else { Err(self.refusal(permit)) }
    }

    fn refusal(&self, permit: Permit) -> Problem {
        let may: Vec<&str> = Role::ALL.into_iter().filter(|role| role.may(permit)).map(Role::as_str).collect();
        let may = may.join(", ");
        if matches!(self.who, Who::Person(_)) && self.roles.is_empty() {
            return Problem::forbidden(
                "you are signed in, but nobody has given you a role here: an administrator can, or the groups of your account have to be named in this installation's configuration",
            );
        }
        let who = match &self.who {
            Who::Key(_) => format!("a key with the role {}", self.roles),
            Who::Local => "whoever has not signed in".to_owned(),
            Who::Person(_) => format!("somebody with the role {}", self.roles),
        };
        let unbroken = self.roles.iter().any(|role| role == Role::BreakGlass) && !self.roles.glass_is_broken();
        let emergency = if unbroken && Role::BreakGlass.may(permit) {
            "; in an emergency you may take that right up for minutes at /settings/sessions"
        } else {
            ""
        };
        Problem::forbidden(format!("{who} may not {}; {may} may{emergency}", permit.allows()))
    }

    /// Who calls with these headers, if it is anybody; what is given and does not hold is an error and no other way is tried.
    pub(crate) async fn find(headers: &HeaderMap, edge: &Edge) -> Result<Option<Self>, Problem> {
        Self::look_up(headers, edge, true).await
    }

    /// The same for what a browser does by itself, as a stream does: it keeps no session from becoming idle.
    pub(crate) async fn find_unattended(headers: &HeaderMap, edge: &Edge) -> Result<Option<Self>, Problem> {
        Self::look_up(headers, edge, false).await
    }

    async fn look_up(headers: &HeaderMap, edge: &Edge, attended: bool) -> Result<Option<Self>, Problem> {
        if let Some(text) = credentials(headers, "bearer") {
            return Self::of_key(text, edge).await?.map(Some).ok_or_else(|| Problem::unauthorized(true));
        }
        if let Some(password) = basic_password(headers) {
            return Self::of_key(&password, edge).await;
        }
        if let Some(text) = edge.people.cookie(headers, COOKIE_NAME)
            && let Some(viewer) = Self::of_session(text, edge, attended).await?
        {
            return Ok(Some(viewer));
        }
        let local = edge.board_open && is_local(headers);
        Ok(local.then(|| Self { who: Who::Local, roles: Role::Auditor.into(), scope: None, token: String::new() }))
    }

    /// Whose session a cookie's text is: of a person, or of a key.
    async fn of_session(text: &str, edge: &Edge, attended: bool) -> Result<Option<Self>, Problem> {
        let store = &edge.store;
        let of_key = if attended { store.key_session(text).await? } else { store.key_session_unattended(text).await? };
        if let Some((_, caller)) = of_key {
            return Ok(Some(Self::with_key(caller, text)));
        }
        let found = if attended { store.session(text).await? } else { store.session_unattended(text).await? };
        let Some(session) = found else { return Ok(None) };
        // Whoever sees no controller may do nothing: an empty list must never be taken for none, which is everybody's.
        let nothing = session.controllers.as_ref().is_some_and(Vec::is_empty);
        Ok(Some(Self {
            roles: if nothing { Roles::default() } else { session.roles.clone() },
            scope: session.controllers.clone(),
            who: Who::Person(Box::new(session)),
            token: token_of(text),
        }))
    }

    async fn of_key(text: &str, edge: &Edge) -> Result<Option<Self>, Problem> {
        Ok(edge.store.authenticate(text).await?.map(|caller| Self::with_key(caller, text)))
    }

    fn with_key(caller: redress_store::Caller, text: &str) -> Self {
        Self {
            who: Who::Key(caller.key_id.to_string()),
            roles: caller.role.into(),
            scope: Some(vec![caller.controller_id]),
            token: token_of(text),
        }
    }
}

/// The token is made of the secret that the browser holds, so that nothing has to be kept and nobody else can know it.
pub(crate) fn token_of(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("redress page token {secret}").as_bytes()))
}

/// The viewer of a page, who holds the permit of its route; where it needs none, anybody who is known. Whoever is nobody is asked who
/// they are.
impl FromRequestParts<Edge> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let Some(viewer) = Self::find(&parts.headers, edge).await? else { return Err(Problem::sign_in_first()) };
        if let Some(permit) = needed(parts, edge)? {
            viewer.demand(permit)?;
        }
        Ok(viewer)
    }
}

/// Who calls at which controller, with the permit of the route.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) controller_id: ControllerId,
    /// As the audit log names them: the id of a key or of a person.
    pub(crate) actor: String,
    /// What the controller calls its request is not shown to them.
    pub(crate) pseudonymised: bool,
    /// They see every controller, and what belongs to none.
    pub(crate) sees_everybody: bool,
    /// They have taken up emergency rights.
    pub(crate) under_glass: bool,
    /// They may know of legal holds of which nobody outside may learn.
    pub(crate) sees_gagged: bool,
}

impl Caller {
    /// What is recorded of a view of personal data: one by emergency rights says so.
    pub(crate) fn seen(&self, mut data: Value) -> Value {
        if let (true, Some(members)) = (self.under_glass, data.as_object_mut()) {
            members.insert("break_glass".into(), true.into());
        }
        data
    }
}

impl Caller {
    /// A request as they may see it: without what its controller calls it, and without what people wrote about it.
    pub(crate) fn veiled(&self, mut view: Value) -> Value {
        if self.pseudonymised {
            view["reference"] = Value::Null;
            for note in view["clock_notes"].as_array_mut().into_iter().flatten() {
                note["reason"] = Value::Null;
            }
        }
        view
    }
}

impl FromRequestParts<Edge> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let viewer = admitted(parts, edge).await?;
        viewer.demand(permit(parts, edge)?)?;
        let controller_id = which(parts, edge, &viewer).await?;
        let pseudonymised = viewer.is_pseudonymised();
        let sees_everybody = viewer.scope.is_none();
        let under_glass = viewer.roles.glass_is_broken();
        let sees_gagged = viewer.sees_gagged();
        Ok(Self {
            controller_id,
            actor: viewer.actor().to_owned(),
            pseudonymised,
            sees_everybody,
            under_glass,
            sees_gagged,
        })
    }
}

/// A person who calls about the installation itself and not about one controller; keys are of one controller and may not.
///
/// A route that needs no permit is then for everybody who has signed in.
#[derive(Debug, Clone)]
pub(crate) struct Staff(pub(crate) Viewer);

impl Staff {
    /// Their session.
    pub(crate) fn session(&self) -> Result<&Session, Problem> {
        self.0.session().ok_or_else(|| Problem::forbidden("only a person who has signed in may do this"))
    }
}

impl FromRequestParts<Edge> for Staff {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let staff = Self(admitted(parts, edge).await?);
        if let Some(permit) = needed(parts, edge)? {
            staff.0.demand(permit)?;
            // Whoever is confined to some controllers would reach the others through people whom they let in.
            if permit == Permit::People && staff.0.scope.is_some() {
                return Err(Problem::forbidden("people are administered by those who see every controller"));
            }
        }
        staff.session()?;
        Ok(staff)
    }
}

/// Whoever calls, about what is their own and no controller's, with the permit of the route: a key or a person.
#[derive(Debug, Clone)]
pub(crate) struct Oneself(pub(crate) Viewer);

impl FromRequestParts<Edge> for Oneself {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, Problem> {
        let viewer = admitted(parts, edge).await?;
        viewer.demand(permit(parts, edge)?)?;
        Ok(Self(viewer))
    }
}

/// Who calls the interface: known, and where a browser asks for a change, one of our own pages did.
async fn admitted(parts: &Parts, edge: &Edge) -> Result<Viewer, Problem> {
    let viewer = match Viewer::find(&parts.headers, edge).await? {
        // A page may be looked at by whoever sits here; the interface asks who it is.
        Some(viewer) if !matches!(viewer.who, Who::Local) => viewer,
        _ => return Err(Problem::unauthorized(false)),
    };
    let by_browser = credentials(&parts.headers, "bearer").is_none();
    if by_browser && !matches!(parts.method, Method::GET | Method::HEAD) && parts.extensions.get::<Vouched>().is_none()
    {
        let token = parts.headers.get(TOKEN_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        vouch(&parts.headers, &viewer, token)?;
    }
    Ok(viewer)
}

/// Refuses a change that another web site may have made this browser ask for.
pub(crate) fn vouch(headers: &HeaderMap, viewer: &Viewer, token: &str) -> Result<(), Problem> {
    // Both sides are digests of fixed length; the comparison does not tell where they differ.
    let same = |(a, b): (&str, &str)| a.bytes().zip(b.bytes()).fold(0_u8, |acc, (a, b)| acc | (a ^ b)) == 0;
    let known = !viewer.token.is_empty() && viewer.token.len() == token.len() && same((&viewer.token, token));
    if known && is_from_here(headers) {
        return Ok(());
    }
    Err(Problem::forbidden(format!(
        "a change made by a browser must come from a page of this service, with its token ({TOKEN_HEADER}); load the page again and repeat it"
    )))
}

/// Whether a browser says that one of our own pages asked for this; one that says nothing is not believed.
pub(crate) fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site")
        && site != "same-origin"
    {
        return false;
    }
    match (text(ORIGIN.as_str()), text(HOST.as_str())) {
        // `Referrer-Policy: no-referrer` makes browsers send no origin with a form, or "null"; then the other header is needed.
        (Some(origin), Some(host)) if origin != "null" => {
            origin.split_once("://").is_some_and(|(_, name)| name.eq_ignore_ascii_case(host))
        }
        _ => text("sec-fetch-site") == Some("same-origin"),
    }
}

/// The permit that the route of this call needs. A route that names none lets nobody in.
pub(crate) fn permit(parts: &Parts, edge: &Edge) -> Result<Permit, Problem> {
    needed(parts, edge)?.ok_or_else(|| Problem::forbidden("nobody may do this"))
}

/// What the table of routes says that the route of this call needs; a route that is not in it lets nobody in.
fn needed(parts: &Parts, edge: &Edge) -> Result<Option<Permit>, Problem> {
    let path = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let method = if parts.method == Method::HEAD { Method::GET } else { parts.method.clone() };
    let found = edge.0.permits.get(&(method.as_str().to_ascii_lowercase(), path)).copied();
    found.ok_or_else(|| Problem::forbidden("nobody may do this"))
}

/// The controller that a call is about: the key's own; for people that of the request in the path, or the one they name.
async fn which(parts: &mut Parts, edge: &Edge, viewer: &Viewer) -> Result<ControllerId, Problem> {
    if let (Who::Key(_), Some([own])) = (&viewer.who, viewer.scope.as_deref()) {
        return Ok(own.clone());
    }
    let named = named(parts)?;
    let params = RawPathParams::from_request_parts(parts, edge).await.map_err(|_| Problem::not_found())?;
    let id = params.iter().find(|(name, _)| *name == "id").map(|(_, value)| value.to_owned());
    if let Some(id) = id.as_deref().filter(|id| id.starts_with("dsr_")) {
        let id = DsrId::parse(id).map_err(|_| Problem::not_found())?;
        return Ok(edge.store.controller_of(&id, viewer.scope.as_deref()).await?);
    }
    let mut seen = viewer.controllers(edge).await?;
    match named {
        Some(name) => {
            let found = seen.into_iter().find(|controller| controller.name == name);
            found.map(|controller| controller.id).ok_or_else(Problem::not_found)
        }
        None if seen.len() == 1 => Ok(seen.remove(0).id),
        None => {
            let fault = format!("must name the controller that is meant (or the header {CONTROLLER_HEADER})");
            Err(Problem::invalid_query(vec![(CONTROLLER.to_owned(), fault)]))
        }
    }
}

/// The controller that is named by the query, from which it is taken away, or by the header.
fn named(parts: &mut Parts) -> Result<Option<String>, Problem> {
    let query = parts.uri.query().unwrap_or_default();
    let (named, rest): (Vec<_>, Vec<_>) =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().partition(|(name, _)| name == CONTROLLER);
    if let Some((_, name)) = named.into_iter().next() {
        let rest = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(rest).finish();
        let path = parts.uri.path().to_owned();
        let uri = if rest.is_empty() { path } else { format!("{path}?{rest}") };
        parts.uri = uri.parse().map_err(|_| Problem::not_found())?;
        return Ok(Some(name));
    }
    let header = parts.headers.get(CONTROLLER_HEADER).map(|value| value.to_str().map(str::to_owned));
    header.transpose().map_err(|_| Problem::not_found())
}

/// What follows the scheme in the one `Authorization` header.
fn credentials<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (given, rest) = value.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// A browser sends the API key as the password of HTTP Basic.
fn basic_password(headers: &HeaderMap) -> Option<String> {
    let pair = credentials(headers, "basic").and_then(|text| STANDARD.decode(text).ok())?;
    let pair = String::from_utf8(pair).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

/// The one cookie of this name.
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, wanted: &str) -> Option<&'h str> {
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == wanted)
        .map(|(_, value)| value);
    let first = found.next();
    first.filter(|_| found.next().is_none())
}

/// Whether the call came to this machine under its own name and not through a proxy: a web site that gives its name our
/// address, or a proxy in front of us, must not open the board to others.
pub(crate) fn is_local(headers: &HeaderMap) -> bool {
    let forwarded = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let local = name.eq_ignore_ascii_case("localhost")
        || name == "[::1]"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    local && !forwarded.iter().any(|header| headers.contains_key(*header))
}
