//! Points that figures are made of: which one is meant, and where its records are.

use serde::Deserialize;

use super::super::cell::Cell;
use super::super::group::{Groups, Load, Section};
use super::super::quantity::Quantity;

/// A point in a closed loop.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// `SERVER:PROTOCOL`; the best of them counts.
    pub(super) servers: Vec<String>,
    pub(super) workload: String,
    pub(super) connections: u32,
    #[serde(default = "one")]
    pub(super) depth: u32,
}

/// Another point; what is not said is as in the first one, whose best server is meant.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Against {
    servers: Option<Vec<String>>,
    workload: Option<String>,
    connections: Option<u32>,
    depth: Option<u32>,
}

fn one() -> u32 {
    1
}

impl Against {
    pub(super) fn place(&self, of: &Place, servers: Vec<String>) -> Place {
        Place {
            servers: self.servers.clone().unwrap_or(servers),
            workload: self.workload.clone().unwrap_or_else(|| of.workload.clone()),
            connections: self.connections.unwrap_or(of.connections),
            depth: self.depth.unwrap_or(of.depth),
        }
    }
}

impl Place {
    /// The point of one of its servers, in words.
    pub(super) fn of(&self, server: &str) -> String {
        let Self { workload, connections, depth, .. } = self;
        let server = server.replace(':', "-");
        let plural = if *connections == 1 { "" } else { "s" };
        format!("{server}, {workload}, {connections} connection{plural}, depth {depth}")
    }

    /// The server that is best in `quantity`, and its repeats.
    pub(super) fn best<'g>(
        &self,
        groups: &'g Groups<'_>,
        scenario: &str,
        quantity: Quantity,
    ) -> Result<(String, &'g Cell<'g>), String> {
        let mut best: Option<(f64, String, &Cell<'_>)> = None;
        let mut missing = Vec::new();
        for server in &self.servers {
            let cell = self.cell(groups, scenario, server)?;
            let Some((cell, value)) = cell.and_then(|cell| Some((cell, cell.median(quantity)?)))
            else {
                missing.push(server.as_str());
                continue;
            };
            let is_better = best.as_ref().is_none_or(|(best, ..)| {
                if quantity == Quantity::Rate { value > *best } else { value < *best }
            });
            if is_better {
                best = Some((value, server.clone(), cell));
            }
        }
        let found = best.map(|(_, server, cell)| (server, cell));
        found.ok_or_else(|| {
            format!("there is no valid record of {}", self.of(&missing.join(" or ")))
        })
    }

    /// `None` if it was not measured; an error if that was done in several ways, since then
    /// nobody knows which is meant.
    fn cell<'g>(
        &self,
        groups: &'g Groups<'_>,
        scenario: &str,
        server: &str,
    ) -> Result<Option<&'g Cell<'g>>, String> {
        let depth = ("depth".to_owned(), self.depth.to_string());
        let is_it = |section: &&Section<'_>| {
            let setup = &section.setup;
            setup.scenario == scenario
                && setup.workload == self.workload
                && setup.settings.contains(&depth)
        };
        let is_server = |id: usize| {
            let variant = groups.variants.get(id);
            variant.is_some_and(|one| format!("{}:{}", one.server, one.protocol) == server)
        };
        let sections = groups.sections.iter().filter(is_it);
        let mut cells = sections.flat_map(|section| &section.cells).filter(|((at, id), _)| {
            at.load == Load::Closed && at.connections == self.connections && is_server(*id)
        });
        match (cells.next(), cells.next()) {
            (Some(_), Some(_)) => Err(format!(
                "there are records of {} with several settings or of several machines",
                self.of(server)
            )),
            (found, _) => Ok(found.map(|(_, cell)| cell)),
        }
    }
}
