//! `rename`: gives a container another name.

use super::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::net;
use crate::spec::name;
use crate::store::events::{Action, Event};

impl Engine {
    /// Gives a container another name.
    pub fn rename(&self, name: &str, new: &str) -> Result<()> {
        let new = name::parse(new)?;
        let id = self.lookup(name)?.config.id;
        let mut locked = self.store.containers().lock(&id)?;
        if locked.state().name == new {
            return Err(Error::new(
                Kind::Conflict,
                format!("container {} is already called `{new}`", id.short()),
            ));
        }
        let old = locked.state().name.clone();
        locked.rename(&new).context(|| format!("cannot rename container {name}"))?;
        let config = locked.config();
        let members = config.settings.network.memberships();
        let aliases = members.iter().flat_map(|member| &member.aliases).map(String::as_str);
        let known: Vec<_> = aliases.chain([config.hostname()]).collect();
        net::rename(&self.store, &id, &old, &new, &known)?;
        let event = Event::of_named(locked.config(), &new, Action::Rename);
        self.record_event(event.with("oldName", format!("/{old}")));
        Ok(())
    }
}
