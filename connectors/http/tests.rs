use super::*;

#[tokio::test]
async fn a_host_that_was_not_declared_is_never_called() {
    let line = Line::new(&Network::default(), [&Url::parse("https://vendor.example/").expect("a URL")]);
    let call = Call::new(Method::GET, Url::parse("https://elsewhere.example/").expect("a URL"));
    match line.send(call).await {
        Err(Trouble::Denied(problem)) => assert_eq!(problem.code, "host_not_pinned"),
        other => panic!("{other:?}"),
    }
}
