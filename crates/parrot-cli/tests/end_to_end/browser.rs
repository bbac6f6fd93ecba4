//! The page of `--admin` in a real browser.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parrot_testkit::client::{connect, echo, free_port};
use parrot_testkit::parrot::Parrot;
use parrot_testkit::wait_until;

use crate::admin::SetAtEnd;
use crate::support::start;
use crate::webdriver::Browser;

/// Keys as WebDriver names them.
const LEFT: &str = "\u{e012}";
const ESCAPE: &str = "\u{e00c}";
const TAB: &str = "\u{e004}";

/// The chart of the messages.
const MESSAGES: &str = "figure:nth-child(2)";

fn open(browser: &Browser, parrot: &Parrot) {
    browser.open(&format!("http://{}/", parrot.pages().unwrap()));
    wait_until("the page shows the server", || browser.text("#state") == "● serving");
}

#[test]
fn the_page_moves_while_load_runs() {
    let Some(browser) = Browser::start() else { return };
    let parrot = start(&["--admin", "127.0.0.1:0", "--idle-timeout", "1h"]);
    open(&browser, &parrot);
    let address = parrot.address();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let stream = connect(address);
            while !over.load(Ordering::Relaxed) {
                echo(&stream, &[b'x'; 1000]);
                // Other tests run beside this one.
                thread::sleep(Duration::from_millis(2));
            }
        });
        let _over = SetAtEnd(&over);
        let rate = || browser.text(&format!("{MESSAGES} .legend b")).replace(',', "").parse().unwrap_or(0.0);
        wait_until("messages arrive in the page", || rate() > 10.0);
        let line =
            || browser.run(&format!("return document.querySelector('{MESSAGES} .plot .series').getAttribute('d')"));
        let before = line();
        wait_until("the line moves", || line() != before);
        assert_eq!(browser.text("#listeners tr td:last-child"), "1");
    });
    assert_eq!(browser.console(), [""; 0]);
    drop(browser);
    parrot.stop().unwrap();
}

#[test]
fn the_page_shows_older_values_by_keyboard() {
    let Some(browser) = Browser::start() else { return };
    let parrot = start(&["--admin", "127.0.0.1:0"]);
    open(&browser, &parrot);
    let samples = || browser.run("return sampleCount()").as_u64();
    wait_until("there are some samples", || samples() >= Some(3));
    // The link to the charts comes first, then the button, then the charts.
    let focused = || browser.run("return document.activeElement.getAttribute('role') ?? document.activeElement.id");
    wait_until("the keyboard reaches a chart", || {
        browser.press(TAB);
        focused() == "slider"
    });
    assert_eq!(browser.text("#when"), "now");
    browser.press(LEFT);
    browser.press(LEFT);
    assert!(browser.text("#when").ends_with(", 2 s ago"), "{}", browser.text("#when"));
    let said = browser.run("return document.activeElement.getAttribute('aria-valuetext')");
    assert!(said.as_str().unwrap().ends_with(", 2 s ago: open 0"), "{said}");
    browser.press(ESCAPE);
    assert_eq!(browser.text("#when"), "now");
    assert_eq!(browser.console(), [""; 0]);
    drop(browser);
    parrot.stop().unwrap();
}

#[test]
fn the_page_survives_a_restart_of_the_server() {
    let Some(browser) = Browser::start() else { return };
    let place = format!("127.0.0.1:{}", free_port().unwrap());
    let process = || browser.run("return server").as_str().unwrap_or_default().to_owned();
    let first = start(&["--admin", &place]);
    open(&browser, &first);
    let before = process();
    assert!(before.starts_with(&format!("{} ", first.pid().as_raw_nonzero())), "{before}");
    first.stop().unwrap();
    wait_until("the page notices", || browser.text("#state").starts_with("✕ not reachable since "));
    assert!(browser.text("title").starts_with("Parrot ✕ not reachable"));
    assert_ne!(browser.text("#when"), "now", "the numbers are old");
    let second = start(&["--admin", &place]);
    wait_until("the page shows the new server", || browser.text("#state") == "● serving" && process() != before);
    echo(&second.connect(), b"squawk");
    wait_until("it counts", || browser.text("#listeners tr td:last-child") == "1");
    // The browser itself notes that nobody was there, and nothing else is wrong.
    let console = browser.console();
    assert!(console.iter().all(|line| line.contains("net::ERR_CONNECTION_")), "{console:?}");
    drop(browser);
    second.stop().unwrap();
}

#[test]
fn the_page_is_calm_for_users_who_want_that() {
    let Some(browser) = Browser::start() else { return };
    let parrot = start(&["--admin", "127.0.0.1:0"]);
    browser.prefer("prefers-reduced-motion", "reduce");
    open(&browser, &parrot);
    let wait = || browser.run("return waitTime()").as_u64();
    assert_eq!(wait(), Some(10_000));
    assert_ne!(browser.text("#when"), "now", "the page says how old its numbers are");
    browser.prefer("prefers-reduced-motion", "no-preference");
    assert_eq!(wait(), Some(1000));
    wait_until("it is up to date again", || browser.text("#when") == "now");
    assert_eq!(browser.console(), [""; 0]);
    drop(browser);
    parrot.stop().unwrap();
}

#[test]
fn the_page_fits_every_width_and_scheme() {
    let Some(browser) = Browser::start() else { return };
    let parrot = start(&["--admin", "127.0.0.1:0"]);
    open(&browser, &parrot);
    for width in [360, 768, 1600] {
        let grounds = ["light", "dark"].map(|scheme| {
            browser.show_as(width, scheme);
            let fits = "const charts = [...document.querySelectorAll('.plot svg')].map((c) => c.getBoundingClientRect());
                return innerWidth >= document.documentElement.scrollWidth
                    && charts.length === 6 && charts.every((c) => c.width > 250 && c.height > 100 && c.right <= innerWidth)";
            wait_until("the page fits", || browser.run(fits) == true);
            browser.run("return getComputedStyle(document.body).backgroundColor")
        });
        assert_ne!(grounds[0], grounds[1], "{width}");
    }
    assert_eq!(browser.console(), [""; 0]);
    drop(browser);
    parrot.stop().unwrap();
}
