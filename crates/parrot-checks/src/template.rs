//! Templates of any text with any values, beside a plain model of them.

use parrot_conn::{Endpoint, Facts, Lookup, Template, TemplateError};
use serde_json::{Value, json};

/// Values of all kinds, any text among them.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The value of `{host}`.
    pub host: &'a str,
    /// The value of each environment variable with an `A` in its name. No other is set.
    pub variable: &'a str,
    /// The value of `{listener}`.
    pub listener: &'a str,
    /// The value of `{local}`, if it is known.
    pub local: Option<Endpoint<'a>>,
    /// The value of `{peer}`.
    pub peer: Endpoint<'a>,
    /// The value of `{connection}`.
    pub connection: Option<u64>,
}

const PID: u64 = 1512;

impl Values<'_> {
    fn lookup(&self, value: Lookup<'_>) -> Option<String> {
        match value {
            Lookup::Host => Some(self.host.to_owned()),
            Lookup::Pid => Some(PID.to_string()),
            Lookup::Variable(name) => name.contains('A').then(|| self.variable.to_owned()),
        }
    }

    fn render(&self, template: &Template) -> String {
        let Values { listener, local, peer, connection, .. } = *self;
        let mut out = b"kept".to_vec();
        template.render(&Facts { listener, local, peer, connection }, &mut out);
        let text =
            String::from_utf8(out).expect("UTF-8").strip_prefix("kept").expect("what was there before").to_owned();
        assert!(text.len() <= template.longest(), "{} bytes, not {}: {text:?}", text.len(), template.longest());
        if !template.uses_local() {
            let mut without = Vec::new();
            template.render(&Facts { listener, local: None, peer, connection }, &mut without);
            assert_eq!(without, text.as_bytes(), "the local address is not used");
        }
        text
    }
}

/// Makes templates of the fields in an input, which are separated by the byte 0xFF: the text, the host, a variable, the
/// listener, the local end and the peer.
pub fn check_template(input: &[u8]) {
    let fields: Vec<String> =
        input.split(|byte| *byte == 0xFF).map(|field| String::from_utf8_lossy(field).into()).collect();
    let field = |index: usize| fields.get(index).map_or("", String::as_str);
    let end = |index| field(index).parse().map_or(Endpoint::Named(field(index)), Endpoint::Ip);
    let values = Values {
        host: field(1),
        variable: field(2),
        listener: field(3),
        local: fields.get(4).map(|_| end(4)),
        peer: end(5),
        connection: field(2).len().checked_sub(1).map(|length| u64::MAX - length as u64),
    };
    check_text(field(0), &values);
    check_identity(&values);
}

/// Compares the template of a text with the model.
pub fn check_text(text: &str, values: &Values<'_>) {
    let raw = Template::raw(text, |value| values.lookup(value));
    let line = Template::line(text, |value| values.lookup(value));
    let expected = model(text, values);
    match (&raw, &expected) {
        (Ok(template), Some(expected)) => assert_eq!(&values.render(template), expected, "{text:?}"),
        (Err(TemplateError::LineBreak), _) => panic!("a raw text may have several lines: {text:?}"),
        (Err(error), None) => assert!(error.to_string().contains("use {host}"), "{error}"),
        _ => panic!("{raw:?}, not {expected:?}: {text:?}"),
    }
    if text.contains('\n') || text.contains('\r') {
        assert_eq!(line, Err(TemplateError::LineBreak), "{text:?}");
        return;
    }
    match line {
        Ok(template) => {
            let line = values.render(&template);
            assert_eq!(line.strip_suffix('\n'), expected.as_deref(), "{text:?}");
            assert_eq!(line.matches(['\n', '\r']).count(), 1, "one line: {line:?}");
        }
        Err(error) => assert_eq!(Some(error), raw.err()),
    }
}

/// Checks that the ready-made greeting is one line of JSON with exactly these values.
pub fn check_identity(values: &Values<'_>) {
    let template = Template::identify(|value| values.lookup(value));
    let line = values.render(&template);
    assert!(template.uses_local());
    assert!(line.ends_with("}\n") && !line.chars().rev().skip(1).any(breaks_line), "one line: {line:?}");
    let end = |end: Endpoint<'_>| match end {
        Endpoint::Ip(address) => address.to_string(),
        Endpoint::Named(name) => cut(name),
    };
    assert_eq!(
        serde_json::from_str::<Value>(&line).expect("JSON"),
        json!({
            "host": values.host,
            "pid": PID,
            "listener": cut(values.listener),
            "local": values.local.map(end),
            "peer": end(values.peer),
            "connection": values.connection,
            "env": { "POD_NAME": values.variable, "POD_NAMESPACE": values.variable, "NODE_NAME": values.variable },
        })
    );
}

/// The text with its placeholders replaced, or `None` if one is wrong.
fn model(mut rest: &str, values: &Values<'_>) -> Option<String> {
    let end = |end: Endpoint<'_>| match end {
        Endpoint::Ip(address) => address.to_string(),
        Endpoint::Named(name) => clean(&cut(name)),
    };
    let replacements = [
        ("{{", "{".to_owned()),
        ("}}", "}".to_owned()),
        ("{host}", clean(values.host)),
        ("{pid}", PID.to_string()),
        ("{listener}", clean(&cut(values.listener))),
        ("{local}", values.local.map(end).unwrap_or_default()),
        ("{peer}", end(values.peer)),
        ("{connection}", values.connection.map(|number| number.to_string()).unwrap_or_default()),
    ];
    let mut text = String::new();
    while let Some(first) = rest.chars().next() {
        if let Some((placeholder, value)) = replacements.iter().find(|(placeholder, _)| rest.starts_with(placeholder)) {
            text.push_str(value);
            rest = &rest[placeholder.len()..];
        } else if let Some(variable) = rest.strip_prefix("{env:") {
            let (name, after) = variable.split_once('}').filter(|(name, _)| !name.is_empty() && !name.contains('{'))?;
            text.push_str(&if name.contains('A') { clean(values.variable) } else { String::new() });
            rest = after;
        } else if first == '{' || first == '}' {
            return None;
        } else {
            text.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    Some(text)
}

fn clean(value: &str) -> String {
    value.chars().map(|next| if breaks_line(next) { '?' } else { next }).collect()
}

/// The control characters by their numbers, and the two separators.
fn breaks_line(next: char) -> bool {
    matches!(u32::from(next), 0..=0x1F | 0x7F..=0x9F | 0x2028 | 0x2029)
}

/// As many whole characters as fit into 256 bytes.
fn cut(name: &str) -> String {
    let mut shown = String::new();
    for next in name.chars() {
        if shown.len() + next.len_utf8() > 256 {
            break;
        }
        shown.push(next);
    }
    shown
}
