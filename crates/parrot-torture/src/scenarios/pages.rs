//! Bad clients of the pages (`--admin`), which have a thread of their own.

use std::net::TcpStream;

use anyhow::{Result, ensure};
use parrot_testkit::PATIENCE;
use parrot_testkit::client::reset;
use parrot_testkit::http::{MISDEEDS, get};

use crate::scenario::{Scenario, Storm};

pub(super) const ALL: &[Scenario] = &[Scenario {
    name: "bad-pages",
    story: "a thousand bad HTTP clients of the pages at a time, and good ones among them",
    arguments: &["--admin", "127.0.0.1:0"],
    storm: bad_clients,
    ..Scenario::PLAIN
}];

fn bad_clients(storm: &mut Storm<'_>) -> Result<()> {
    let pages = storm.server.pages()?;
    let count = storm.number(1000, 100);
    let (mut waves, mut answers) = (0, 0);
    while storm.goes_on() || waves == 0 {
        let mut clients = Vec::with_capacity(count);
        for number in 0..count {
            let mut client = TcpStream::connect_timeout(&pages, PATIENCE)?;
            // The pages may have closed it by then.
            let _ = MISDEEDS.iter().cycle().nth(number).map(|misdeed| misdeed(&mut client));
            clients.push(client);
            if number % 50 == 49 {
                let answer = get(pages, "/healthz")?;
                ensure!(answer.status == 200, "/healthz says {}: {}", answer.status, answer.body);
                answers += 1;
            }
        }
        for client in clients {
            reset(client)?;
        }
        waves += 1;
    }
    storm.report(format!("{waves} waves of {count} bad clients, {answers} good requests answered"));
    Ok(())
}
