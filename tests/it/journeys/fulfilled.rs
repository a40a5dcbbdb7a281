//! Access, correction and deletion in all five systems at once.

use crate::support::{Person, Systems, TestApp};

#[tokio::test]
async fn smoke() {
    let (app, systems) = tokio::join!(TestApp::builder().start(), Systems::all());
    let ann = Person::new("ann");
    let mut people = ann.twins();
    people.push(ann.clone());
    systems.fill(&people).await;
    let api = app.controller(&systems.toml("acme")).await;
    assert_eq!(systems.census(&ann.email).await, 3 * 6 + 2 * 2);
    let view = api.fulfilled(&ann.deletion()).await;
    println!("{view:#}");
    assert_eq!(systems.census(&ann.email).await, 0);
}
