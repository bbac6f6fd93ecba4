//! The turns of load generators, which are compared by their own CPU time for a message.
//!
//! All of them load one Parrot, which has cores of its own. Each round is a process of its own, so that its layout in
//! memory differs from round to round. The load generator measures its CPU time itself, because only it knows when its
//! window opens and closes.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use parrot_load::{Latency, Target};
use rustix::process::Pid;
use serde::Deserialize;

use super::Turns;
use super::order::order;
use crate::comparison::Round;
use crate::results::{Results, Run};
use crate::running::Running;
use crate::server::{Place, Server};

/// What a load generator prints, which is a part of a report of `parrot-load`.
#[derive(Deserialize)]
struct Report {
    messages: u64,
    messages_per_second: f64,
    client: Client,
}

#[derive(Deserialize)]
struct Client {
    cpu_per_message: Option<f64>,
}

impl Turns<'_> {
    /// Measures the rounds of `clients`. One that fails has no further rounds.
    ///
    /// # Errors
    ///
    /// If the server that they load cannot be started or ended.
    pub(super) fn take_clients(&self, clients: &[&Server], results: &mut Results) -> Result<()> {
        let errors = self.measure.errors.join("parrot.stderr");
        let server = self.measure.start(self.suite, &self.measure.loaded, errors)?;
        let mut clients = clients.to_vec();
        for block in 0..self.rounds {
            for place in order(block, clients.len()) {
                let Some(client) = clients.get(place) else { continue };
                let outcome = self.client_round(client, &server, block);
                self.record(client, outcome, results)?;
                if self.measure.interrupt.stop.stopped() {
                    return Ok(());
                }
            }
            clients.retain(|client| results.cell_mut(&self.suite.name, &client.name).errors.is_empty());
        }
        server.finish()?;
        Ok(())
    }

    /// Runs `client` once, on the cores of this process.
    fn client_round(&self, client: &Server, server: &Running<'_>, block: usize) -> Result<Run> {
        let Target::Tcp(address) = server.target else { bail!("load generators are compared over TCP") };
        let place = Place { port: address.port(), directory: self.measure.errors };
        let mut command = client.client_command(&place, self.suite.connections, self.timing)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A second Ctrl-C kills it with the server.
        command.process_group(0);
        let mut groups = self.measure.interrupt.servers();
        let mut process = command.spawn().with_context(|| format!("cannot start {}", client.name))?;
        let group = Pid::from_child(&process);
        groups.push(group);
        drop(groups);
        // Both are short, so neither pipe can be full while the other one is read.
        let (mut printed, mut errors) = (String::new(), String::new());
        process.stdout.take().context("no standard output")?.read_to_string(&mut printed)?;
        process.stderr.take().context("no standard error")?.read_to_string(&mut errors)?;
        let mut groups = self.measure.interrupt.servers();
        let status = process.wait()?;
        groups.retain(|other| *other != group);
        drop(groups);
        if !status.success() {
            bail!("{} failed ({status}): {}", client.name, errors.lines().last().unwrap_or("it printed no error"));
        }
        let report: Report = serde_json::from_str(&printed)
            .with_context(|| format!("{} printed no report like that of parrot-load --json", client.name))?;
        Ok(Run {
            messages_per_second: report.messages_per_second,
            cpu_per_message: report.client.cpu_per_message,
            latency: Latency { count: report.messages, ..Latency::default() },
            round: Some(Round { block, process: block }),
            ..Run::default()
        })
    }
}
