//! People in tests: somebody with a session, and their browser.

use super::{Answer, Edge};
use axum::body::Body;
use axum::http::{Request, header};
use redress_domain::{ControllerId, Role, Roles};
use redress_store::Identified;
use sqlx::{Connection as _, Row as _, SqliteConnection};
use std::time::Duration;

/// Where the service is, for browsers of tests.
pub(crate) const HERE: &str = "http://dsr.example";

/// Somebody's browser with a session.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    pub(crate) cookie: String,
    pub(crate) session: String,
}

impl Edge {
    /// Somebody who signs in with these roles at these controllers (none: all).
    pub(crate) async fn someone(&self, name: &str, roles: &[Role], controllers: Option<&[&ControllerId]>) -> Browser {
        let who = Identified {
            issuer: "test".into(),
            subject: name.to_owned().into(),
            name: name.to_owned().into(),
            email: None,
            roles: Roles::new(roles.iter().copied()),
            controllers: controllers.map(|all| all.iter().map(|&id| id.clone()).collect()),
        };
        let (_, session, text) = self.store.sign_in(&who, Duration::from_hours(8)).await.unwrap();
        Browser { cookie: format!("redress_session={text}"), session: session.to_string() }
    }

    /// The same with the emergency rights taken up.
    pub(crate) async fn break_glass(&self, browser: &Browser) {
        let until = self.store.now_ms() + 600_000;
        let sql = "UPDATE sessions SET glass_until = $1 WHERE id = $2";
        let mut database = self.database().await;
        sqlx::query(sql).bind(until).bind(&browser.session).execute(&mut database).await.unwrap();
    }

    /// Everything that is in the database, as one text.
    pub(crate) async fn everything(&self) -> String {
        let mut database = self.database().await;
        let tables = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
        let mut out = String::new();
        for table in sqlx::query(tables).fetch_all(&mut database).await.unwrap() {
            let table: String = table.get(0);
            let columns =
                format!("SELECT group_concat('quote(\"' || name || '\")', '||') FROM pragma_table_info('{table}')");
            let columns: String =
                sqlx::query(sqlx::AssertSqlSafe(columns)).fetch_one(&mut database).await.unwrap().get(0);
            let rows = format!("SELECT {columns} FROM \"{table}\" ORDER BY 1");
            out.push_str(&table);
            for row in sqlx::query(sqlx::AssertSqlSafe(rows)).fetch_all(&mut database).await.unwrap() {
                out.push('\n');
                out.push_str(row.get(0));
            }
        }
        out
    }

    async fn database(&self) -> SqliteConnection {
        SqliteConnection::connect(&format!("sqlite://{}", self.folder.join("redress.db").display())).await.unwrap()
    }

    /// What a browser asks; with a form, what it sends from one of our own pages.
    pub(crate) async fn browse(&self, cookie: Option<&str>, path: &str, form: Option<&str>) -> Answer {
        self.browse_from(cookie, path, form, HERE).await
    }

    /// The same from a page of `origin`.
    pub(crate) async fn browse_from(
        &self,
        cookie: Option<&str>,
        path: &str,
        form: Option<&str>,
        origin: &str,
    ) -> Answer {
        let mut request =
            Request::builder().uri(path).header(header::HOST, "dsr.example").header("accept", "text/html");
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        if form.is_some() {
            request = request
                .method("POST")
                .header(header::ORIGIN, origin)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        self.send(request.body(form.map_or_else(Body::empty, |form| Body::from(form.to_owned()))).unwrap()).await
    }

    /// The token of a browser's pages.
    pub(crate) async fn token(&self, cookie: &str) -> String {
        let page = self.browse(Some(cookie), "/sign-in", None).await.text();
        page.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token").to_owned()
    }
}

impl Answer {
    /// The cookie that it lets a browser keep, as the browser sends it back.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.filter_map(|cookie| cookie.split(';').next());
        pairs.find(|pair| pair.starts_with(&format!("{name}="))).map(str::to_owned)
    }
}
