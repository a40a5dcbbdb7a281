//! Serves one simulated vendor until it is ended, for clients that are not ours: `serve salesforce [port]` prints its URL.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut given = std::env::args().skip(1);
    let vendor = given.next().ok_or("name a vendor, such as salesforce")?;
    let port = given.next().map_or(Ok(0), |port| port.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let served = redress_sandbox::serve(&vendor, port).await?;
        println!("{}", served.url());
        std::future::pending::<()>().await;
        Ok(())
    })
}
