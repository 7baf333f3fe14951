//! Keeps sensitive values out of everything that is shown or recorded, wherever they turn up.
//!
//! Two ways, since either alone has a hole. What *says* of itself that it is sensitive is shown without its values
//! ([`document`]). And the values themselves are known to the process and taken out of every text on its way to a
//! stream, and of what steps print on its way to the record ([`text`], [`event()`]): a check that echoes its password
//! tells nobody.
//!
//! Until values are references that are resolved on their way to the host, the plans and ledgers in the store and the
//! job on the host hold them: the store is readable by its owner alone.

use crate::view::sanitize::visible;
use holdfast_plan::content::Blobs;
use holdfast_plan::event::Event;
use holdfast_plan::resource::DesiredResource;
use holdfast_plan::sh::quote;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

/// What stands for a value that is not shown.
pub const HIDDEN: &str = "(sensitive)";

/// The shortest value that is looked for: shorter ones are words (`true`, `web01`) that stand in every text, and
/// masking them would break the texts and tell which they are.
const VALUE_BYTES_MIN: usize = 8;

/// The largest content whose lines are looked for: as much as a diff shows.
const CONTENT_BYTES_MAX: usize = 64 * 1024;

/// The values in every form in which they are printed, the longest first.
static FORMS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// The lines of contents, the longest first. They are looked for in what steps print alone: a line such as `[server]`
/// stands in many a text, and says nothing there.
static LINES: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Learns the values of sensitive resources.
pub fn keep<'r>(resources: impl Iterator<Item = &'r DesiredResource>) {
    let mut found = BTreeSet::new();
    for value in resources.flat_map(DesiredResource::secrets) {
        // A text of several lines is shown a line at a time.
        for part in std::iter::once(value).chain(value.lines()) {
            if part.trim().len() >= VALUE_BYTES_MIN {
                found.extend(forms(part.trim()));
            }
        }
    }
    add(&FORMS, found);
}

/// Learns the lines of the contents of sensitive resources.
pub fn keep_contents<'r>(resources: impl Iterator<Item = &'r DesiredResource>, blobs: &Blobs) {
    let mut found = BTreeSet::new();
    for resource in resources.filter(|resource| resource.sensitive) {
        let lifecycle = resource.resource.lifecycle();
        for content in lifecycle.contents().into_iter().chain(lifecycle.undo_contents()) {
            let bytes = blobs
                .get(&content.sha256)
                .filter(|bytes| bytes.len() <= CONTENT_BYTES_MAX);
            let text = bytes
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .unwrap_or_default();
            let lines = text.lines().map(str::trim).filter(|line| line.len() >= VALUE_BYTES_MIN);
            found.extend(lines.map(str::to_owned));
        }
    }
    add(&LINES, found);
}

fn add(known: &RwLock<Vec<String>>, mut found: BTreeSet<String>) {
    if found.is_empty() {
        return;
    }
    let mut kept = known.write().unwrap_or_else(PoisonError::into_inner);
    found.extend(kept.drain(..));
    kept.extend(found);
    kept.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
}

/// How a value looks as it is, in sh, in JSON, in the JSON of sh, and made visible.
fn forms(value: &str) -> Vec<String> {
    let in_json = |text: &str| {
        let quoted = Value::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let quoted = quote(value);
    let in_sh = quoted.trim_matches('\'').to_owned();
    let mut forms = vec![
        in_json(value),
        in_json(&in_sh),
        visible(value.as_bytes()),
        in_sh,
        value.to_owned(),
    ];
    forms.retain(|form| form.len() >= VALUE_BYTES_MIN);
    forms
}

/// Takes the values out of a text.
pub fn text(text: &str) -> Cow<'_, str> {
    let forms = FORMS.read().unwrap_or_else(PoisonError::into_inner);
    let mut clean = Cow::Borrowed(text);
    for form in forms.iter() {
        if clean.contains(form.as_str()) {
            clean = Cow::Owned(clean.replace(form.as_str(), HIDDEN));
        }
    }
    clean
}

/// Takes the values, and the lines of contents, out of what a step printed, which need not be text.
fn output(bytes: &mut Vec<u8>) {
    for known in [&LINES, &FORMS] {
        take_out(&known.read().unwrap_or_else(PoisonError::into_inner), bytes);
    }
}

fn take_out(forms: &[String], bytes: &mut Vec<u8>) {
    for form in forms.iter().map(String::as_bytes) {
        let mut from = 0;
        while let Some(found) = bytes[from..].windows(form.len()).position(|window| window == form) {
            let at = from + found;
            bytes.splice(at..at + form.len(), HIDDEN.bytes());
            from = at + HIDDEN.len();
        }
    }
}

/// Takes the values out of what an event says in a host's words: the record is for ever. What was intended, and the
/// attributes that are put back by it, stay whole.
pub fn event(event: &mut Event) {
    match event {
        Event::StepReported { report, .. } => {
            output(&mut report.output);
            words(&mut report.status);
        }
        Event::JobEnded { ended, .. } => words(ended),
        Event::AttemptEnded { result, .. } => words(result),
        Event::DriftSeen { drifted, .. } => words(drifted),
        _ => {}
    }
}

/// Takes the values out of every text in something.
fn words<T: Serialize + DeserializeOwned>(value: &mut T) {
    if FORMS.read().unwrap_or_else(PoisonError::into_inner).is_empty() {
        return;
    }
    let clean = serde_json::to_value(&*value).and_then(|mut json| {
        clean_strings(&mut json);
        serde_json::from_value(json)
    });
    // What is written as JSON is read back: texts stay texts.
    if let Ok(clean) = clean {
        *value = clean;
    }
}

fn clean_strings(value: &mut Value) {
    match value {
        Value::String(string) => {
            if let Cow::Owned(clean) = text(string) {
                *string = clean;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(clean_strings),
        Value::Object(map) => map.values_mut().for_each(clean_strings),
        _ => {}
    }
}

/// Hides in a JSON document what belongs to sensitive resources: of each its values, and of each change of one what
/// the host showed, how it differs, and the sh.
pub fn document(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if is_sensitive(map.get("desired")) {
                for key in ["observed", "reason", "steps", "diff"] {
                    if let Some(part) = map.get_mut(key) {
                        hide(
                            part,
                            &["attribute", "reason", "kind", "on", "after", "blobs", "before_digest"],
                            key == "observed",
                        );
                    }
                }
            }
            if map.get("sensitive") == Some(&Value::Bool(true)) && map.contains_key("resource") {
                for key in ["env", "resource", "ready"] {
                    if let Some(part) = map.get_mut(key) {
                        hide(
                            part,
                            &[
                                "type", "name", "path", "ensure", "sha256", "mode", "owner", "group", "user",
                            ],
                            key == "env",
                        );
                    }
                }
            }
            map.values_mut().for_each(document);
        }
        Value::Array(values) => values.iter_mut().for_each(document),
        _ => {}
    }
}

fn is_sensitive(desired: Option<&Value>) -> bool {
    desired.and_then(|desired| desired.get("sensitive")) == Some(&Value::Bool(true))
}

/// Hides every string but those under the keys given. In a list of `pairs` (attributes, variables) the names stay.
fn hide(value: &mut Value, but: &[&str], pairs: bool) {
    match value {
        Value::String(text) => HIDDEN.clone_into(text),
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if !but.contains(&key.as_str()) {
                    hide(value, but, key == "env");
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                match value {
                    Value::Array(pair) if pairs => pair.iter_mut().skip(1).for_each(|value| hide(value, but, false)),
                    value => hide(value, but, false),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_plan::address::{Address, ResourceType};
    use holdfast_plan::event::JobEnded;
    use holdfast_plan::ids::{AttemptId, MachineId, RunId};
    use holdfast_plan::observation::{Attributes, JobEnd, StepReport, StepStatus};
    use holdfast_plan::outcome::{Outcome, RefusalKind};
    use holdfast_plan::resource::{Ensure, File, Line, Resource};
    use std::collections::BTreeMap;

    fn line(text: &str, sensitive: bool) -> DesiredResource {
        DesiredResource {
            address: Address::new(ResourceType::Line, "secret"),
            resource: Resource::Line(Line {
                path: "/etc/x".to_owned(),
                ensure: Ensure::Present,
                line: text.to_owned(),
                validate: None,
            }),
            needs: Vec::new(),
            restart_on: Vec::new(),
            env: Vec::new(),
            ready: None,
            timeout_ms: 1_000,
            sensitive,
            prevent_undo: false,
            critical: None,
            declared_at: String::new(),
        }
    }

    // REVIEW H17
    #[test]
    fn a_sensitive_value_is_taken_out_in_every_form_in_which_it_is_printed() {
        let value = "it's a \"secret\"\u{7} of ours";
        keep([line(value, true), line("plainly shown", false), line("short", true)].iter());
        let json = Value::from(value).to_string();
        let sh = quote(value);
        let json_of_sh = Value::from(sh.as_str()).to_string();
        for shown in [value, &json, &sh, &json_of_sh, &visible(value.as_bytes())] {
            let clean = text(shown);
            assert!(
                !clean.contains("secret\\\"") && !clean.contains("of ours"),
                "{shown}: {clean}"
            );
            assert!(clean.contains(HIDDEN), "{shown}: {clean}");
        }
        assert_eq!(text("plainly shown, and short"), "plainly shown, and short");
        let mut printed = [b"\xff ".as_slice(), value.as_bytes(), b" and ", value.as_bytes()].concat();
        output(&mut printed);
        assert_eq!(printed, b"\xff (sensitive) and (sensitive)");
    }

    // REVIEW H17
    #[test]
    fn the_record_keeps_no_value_in_a_hosts_words_and_what_is_needed_whole() {
        let secret = "password=open-sesame-4711";
        let mut blobs = Blobs::default();
        let content = blobs.insert(b"[database]\npassword = correct horse\nuser = db\n".to_vec());
        let mut file = line("", true);
        file.resource = Resource::File(File {
            path: "/etc/db.conf".to_owned(),
            ensure: Ensure::Present,
            content: Some(content),
            mode: None,
            owner: None,
            group: None,
            sensitive: true,
            validate: None,
        });
        keep([line(secret, true)].iter());
        keep_contents([file].iter(), &blobs);

        let quoted = format!("cat: {secret}\nline 2: password = correct horse\n[main]");
        let report = StepReport {
            index: 1,
            status: StepStatus::NotConverged {
                missing: vec![format!("line {secret}")],
            },
            changing: true,
            before: Attributes(vec![("line".to_owned(), secret.to_owned())]),
            after: Attributes::default(),
            before_digest: None,
            output: quoted.into_bytes(),
            seconds: 1,
        };
        let (machine, attempt) = (MachineId("m1".to_owned()), AttemptId("a1".to_owned()));
        let mut reported = Event::StepReported {
            machine: machine.clone(),
            attempt: attempt.clone(),
            report,
        };
        event(&mut reported);
        let Event::StepReported { report, .. } = &reported else {
            unreachable!("it stays what it is")
        };
        let printed = String::from_utf8_lossy(&report.output);
        assert_eq!(printed, "cat: (sensitive)\nline 2: (sensitive)\n[main]");
        let missing = vec!["line (sensitive)".to_owned()];
        assert_eq!(report.status, StepStatus::NotConverged { missing });
        assert_eq!(report.before.get("line"), Some(secret), "it is put back by this");

        let what = format!("1 line {secret} -> 1 line other");
        let end = JobEnd::Stale { what: what.clone() };
        let kind = RefusalKind::Stale;
        let told = Attributes(vec![("line".to_owned(), secret.to_owned())]);
        let address = Address::new(ResourceType::Line, "secret");
        for mut said in [
            Event::JobEnded {
                machine: machine.clone(),
                attempt,
                ended: JobEnded::Ended { end },
            },
            Event::AttemptEnded {
                run: RunId("r1".to_owned()),
                host: "web01".into(),
                attempt: None,
                result: Outcome::Refused { kind, detail: what },
            },
            Event::DriftSeen {
                host: "web01".into(),
                machine,
                drifted: BTreeMap::from([(address, told)]),
                mended: Vec::new(),
            },
        ] {
            event(&mut said);
            let json = serde_json::to_string(&said).expect("json");
            assert!(!json.contains("sesame") && json.contains(HIDDEN), "{json}");
        }
    }

    // REVIEW D7
    #[test]
    fn a_document_tells_of_a_sensitive_change_without_its_values() {
        let resource = serde_json::to_value(line("hunter2", true)).expect("json");
        let mut change = serde_json::json!({
            "address": "line.secret", "action": "create", "desired": resource,
            "reason": { "reason": "drifted", "differences": [{ "attribute": "line", "observed": "hunter1", "desired": "hunter2" }] },
            "observed": [["line", "hunter1"]], "diff": "+hunter2",
            "steps": [{ "apply": "echo hunter2", "wanted": ["line hunter2", "x hunter2"], "life": { "kind": "begins", "capture": "hunter2" } }],
        });
        document(&mut change);
        let text = change.to_string();
        assert!(!text.contains("hunter"), "{text}");
        assert_eq!(change["desired"]["resource"]["path"], "/etc/x");
        assert_eq!(change["observed"][0][0], "line");
        assert_eq!(change["reason"]["differences"][0]["attribute"], "line");
        assert_eq!(change["steps"][0]["life"]["kind"], "begins");
        let mut open = serde_json::to_value(line("hunter2", false)).expect("json");
        document(&mut open);
        assert_eq!(open["resource"]["line"], "hunter2", "what is not sensitive is shown");
    }
}
