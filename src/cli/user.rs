//! People who look at the board: the operator lets somebody in with a link, without an identity provider.

use super::{Json, operator};
use crate::app::App;
use crate::config::Config;
use crate::link::Invited;
use anyhow::{Result, anyhow};
use clap::Subcommand;
use redress_domain::Role;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Print a link that signs somebody in to the board once, within fifteen minutes.
    Link {
        /// Who it is for. The same name is the same person; what a new link says holds from its use on.
        #[arg(long)]
        name: String,
        /// What they may do: auditor, privacy_analyst, privacy_lead, operator, admin, break_glass, controller_user or
        /// controller_admin. Can be given more than once.
        #[arg(long = "role", required = true, value_parser = role)]
        roles: Vec<Role>,
        /// A controller that they see; can be given more than once. Without it they see every controller.
        #[arg(long = "controller")]
        controllers: Vec<String>,
        #[command(flatten)]
        output: Json,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| format!("must be one of {}", Role::ALL.map(Role::as_str).join(", ")))
}

impl UserCommand {
    pub(super) async fn run(self, config: Config) -> Result<()> {
        let Self::Link { name, roles, controllers, output } = self;
        let public_url = config.public_url();
        let app = App::open(config).await?;
        let mut ids = Vec::new();
        for controller in &controllers {
            ids.push(operator::named(app.store(), controller).await?.id);
        }
        let invited = Invited::new(&name, &roles, (!ids.is_empty()).then_some(ids)).map_err(|fault| anyhow!(fault))?;
        let link = invited.link(app.store(), &public_url).await?;
        if output.json {
            println!("{}", json!({ "link": link }));
        } else {
            println!("{link}\nIt signs in once, within fifteen minutes.");
        }
        Ok(())
    }
}
