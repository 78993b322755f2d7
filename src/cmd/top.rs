//! `barge top`

use clap::Args;
use serde_json::Value;

use super::World;
use super::answers;
use super::containers::Selection;
use super::exit::Status;
use super::table;
use super::tree::Act;
use crate::api::model::top;
use crate::engine::Processes;
use crate::error::Result;
use crate::remote::{Host, Request, escape};

/// Show the processes of a running container
///
/// Columns are named as Podman names them (pid huser args), as ps does (-o pid,comm), or by one of the
/// sets of ps (aux, -ef). No program of the container is run.
#[derive(Args, Debug)]
pub(crate) struct Top {
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Container, by name or ID, and then columns
    #[arg(
        value_name = "CONTAINER",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        num_args = 0..
    )]
    words: Vec<String>,
}

impl Act for Top {
    fn act(self, world: &mut World) -> Result<Status> {
        let (name, wanted) = match (self.latest, self.words.split_first()) {
            (true, _) => (None, self.words.as_slice()),
            (false, Some((name, wanted))) => (Some(name.clone()), wanted),
            (false, None) => (None, &[][..]),
        };
        // What is wrong with them is told before anything is looked for.
        top::check(wanted)?;
        let engine = world.power()?;
        let names = Selection::named(name.into_iter().collect(), self.latest)
            .chosen(&engine, Vec::new())?;
        let processes = engine.processes(names.first().map(String::as_str).unwrap_or_default())?;
        world.out.text(&table_of(&processes, wanted)?)?;
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let (name, wanted) = match (self.latest, self.words.split_first()) {
            (false, Some((name, wanted))) => (vec![name.clone()], wanted),
            _ => (Vec::new(), self.words.as_slice()),
        };
        let names = Selection::named(name, self.latest).chosen_on(host, Vec::new())?;
        let path = names.first().map(|name| escape(name)).unwrap_or_default();
        let request = Request::get(format!("/containers/{path}/top"))
            .maybe("ps_args", (!wanted.is_empty()).then(|| wanted.join(" ")));
        let found = host.document(request)?;
        let row = |row: &Value| -> Vec<String> {
            let cells = row.as_array().map(Vec::as_slice).unwrap_or_default();
            cells.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let mut rows = vec![row(&found["Titles"])];
        rows.extend(answers::list(&found, "Processes").iter().map(row));
        world.out.text(&table::layout(&rows))?;
        Ok(Status::SUCCESS)
    }
}

/// Lays processes out with the columns that are wanted.
pub(super) fn table_of(processes: &Processes, wanted: &[String]) -> Result<String> {
    let (titles, rows) = top::rows(processes, wanted)?;
    let rows: Vec<Vec<String>> = std::iter::once(titles).chain(rows).collect();
    Ok(table::layout(&rows))
}
