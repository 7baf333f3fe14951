//! Shows why a plan does with a resource what it does; hosts of which the same is said stand together.

use crate::redact::HIDDEN;
use crate::view::fold::{Piece, fold_pieces};
use crate::view::plan::{action_word, reason};
use crate::view::sanitize::one_line;
use crate::view::terminal::{BOLD, DIM, RED, YELLOW, paint};
use holdfast_inventory::HostName;
use holdfast_plan::change::Reason;
use holdfast_plan::desired::{Sources, Used};
use holdfast_plan::explain::{Compared, Decided, Explanation, InLedger, Waits};
use holdfast_plan::ledger::Origin;
use holdfast_plan::resource::short_digest;
use serde_json::{Value, json};

/// What is said of one resource of one host.
pub struct Explained {
    /// Which host.
    pub host: HostName,
    /// What was decided.
    pub explanation: Explanation,
    /// Where its values come from; `None`: no blueprint declares it there.
    pub sources: Option<Sources>,
}

/// Letters of a variable's value that are shown: a list of twenty names fits, and no file does.
const VALUE_LETTERS_MAX: usize = 200;

/// Texts of one shape that are all shown: the paths and addresses of each host explain nothing.
const TEXTS_MAX: usize = 1;

/// Renders explanations, folded like a plan: with `every`, each host's own text.
pub fn render(explained: &[Explained], every: bool) -> String {
    let mut of_hosts: Vec<(HostName, Vec<Piece>)> = Vec::new();
    for one in explained {
        let piece = piece(one);
        match of_hosts.iter_mut().find(|(host, _)| *host == one.host) {
            Some((_, pieces)) => pieces.push(piece),
            None => of_hosts.push((one.host.clone(), vec![piece])),
        }
    }
    let mut text = String::new();
    for block in fold_pieces(of_hosts, if every { usize::MAX } else { TEXTS_MAX }) {
        text.push_str(&format!("{}\n{}\n", paint(BOLD, block.title()), block.text));
    }
    text
}

/// Rows with a name each; their shape is what stays when the host's own values are taken out.
struct Rows {
    text: String,
    shape: String,
}

impl Rows {
    /// A row that is the same on hosts that are alike.
    fn row(&mut self, name: &str, words: &str) {
        let line = format!("    {} {words}\n", paint(DIM, format!("{name:<10}")));
        self.shape.push_str(&line);
        self.text.push_str(&line);
    }

    /// A row whose words may be the host's own.
    fn own(&mut self, name: &str, shape: &str, words: &str) {
        self.shape.push_str(&format!("{name} {shape}\n"));
        self.text
            .push_str(&format!("    {} {words}\n", paint(DIM, format!("{name:<10}"))));
    }
}

fn piece(one: &Explained) -> Piece {
    let explanation = &one.explanation;
    let address = format!("  {}\n", paint(BOLD, one_line(&explanation.address.to_string())));
    let mut rows = Rows {
        text: address.clone(),
        shape: address,
    };
    for decided in &explanation.decided {
        of_decided(&mut rows, decided);
    }
    for why in &explanation.host_refused {
        rows.row(
            "held back",
            &paint(RED, format!("nothing is done on this host: {}", one_line(why))),
        );
    }
    let declared = one_line(&explanation.declared_at);
    match (explanation.declared, declared.as_str()) {
        (true, at) => rows.row("declared", at),
        (false, "") => rows.row("declared", "nowhere any more"),
        (false, at) => rows.row("declared", &format!("nowhere any more; it was at {at}")),
    }
    of_sources(&mut rows, one.sources.as_ref(), explanation.sensitive);
    match &explanation.ledger {
        Some(entry) => of_ledger(&mut rows, entry, explanation.sensitive),
        None => rows.row("ledger", "does not have it"),
    }
    for waits in &explanation.waits_for {
        rows.row("waits for", &of_waits(waits));
    }
    of_compared(&mut rows, &explanation.compared, explanation.sensitive);
    Piece {
        shape: rows.shape,
        text: rows.text,
    }
}

fn of_decided(rows: &mut Rows, decided: &Decided) {
    let word = decided.action.map_or("refused", action_word);
    let words = match (&decided.reason, &decided.refusal) {
        (_, Some(message)) => paint(RED, one_line(message)),
        (Some(because), None) => reason(because),
        (None, None) => String::new(),
    };
    rows.row(word, &words);
    if decided.rule.is_some() {
        rows.row("rule", &format!("{}: {}", paint(YELLOW, decided.name), decided.why));
    }
    if decided.guarded {
        rows.row(
            "guarded",
            "it changes what carries us: the host takes it back unless it is confirmed over a new connection",
        );
    }
}

fn of_sources(rows: &mut Rows, sources: Option<&Sources>, sensitive: bool) {
    let Some(sources) = sources else { return };
    for file in &sources.files {
        rows.row("from file", &one_line(&file.display().to_string()));
    }
    for used in &sources.variables {
        let (value, from) = of_variable(used, sensitive);
        // The place of what is the host's own differs from host to host.
        let layer = used.var.as_ref().map_or(String::new(), |var| var.origin.to_string());
        let words = format!("{} = {value}  {}", used.name, paint(DIM, from));
        rows.own("variable", &format!("{} {layer}", used.name), &words);
    }
}

/// The value of a variable, and where it comes from.
fn of_variable(used: &Used, sensitive: bool) -> (String, String) {
    let Some(var) = &used.var else {
        return ("(not defined)".to_owned(), "from nowhere".to_owned());
    };
    let from = match &var.at {
        Some(at) => format!("from {}, {at}", var.origin),
        None => format!("from {}", var.origin),
    };
    if sensitive {
        return (HIDDEN.to_owned(), one_line(&from));
    }
    let value = one_line(&json!(var.value).to_string());
    let mut shown: String = value.chars().take(VALUE_LETTERS_MAX).collect();
    if shown.len() < value.len() {
        shown.push_str("...");
    }
    (shown, one_line(&from))
}

fn of_ledger(rows: &mut Rows, entry: &InLedger, sensitive: bool) {
    let origin = match entry.origin {
        Origin::Adopted => "adopted",
        Origin::Applied => "ours",
    };
    rows.row("ledger", &format!("{}, {origin}", entry.phase.word()));
    if let Some(was) = &entry.was {
        let was = if sensitive { HIDDEN.to_owned() } else { one_line(was) };
        rows.own("before", "", &was);
    }
    let leaves = entry
        .undo
        .leaves
        .as_ref()
        .map_or(String::new(), |leaves| format!("; left: {leaves}"));
    rows.own("undo", "", &one_line(&format!("{}{leaves}", entry.undo.does)));
    if !entry.restart_owed_since.is_empty() {
        let on: Vec<String> = entry
            .restart_owed_since
            .iter()
            .map(|on| one_line(&on.to_string()))
            .collect();
        rows.row("owed", &format!("a restart, since {} changed", on.join(", ")));
    }
}

fn of_waits(waits: &Waits) -> String {
    let because = match waits.because {
        "place" => "it comes first",
        key => key,
    };
    let now = match waits.action {
        Some(action) => format!("{} in this plan", action_word(action)),
        None => "no change in this plan".to_owned(),
    };
    format!("{} ({because}; {now})", one_line(&waits.address.to_string()))
}

fn of_compared(rows: &mut Rows, compared: &[Compared], sensitive: bool) {
    if compared.is_empty() {
        rows.row("compared", "nothing: the probe reported nothing");
        return;
    }
    let cell = |value: &Option<String>| match value {
        None => "-".to_owned(),
        Some(_) if sensitive => HIDDEN.to_owned(),
        Some(value) => short_digest(&one_line(value)),
    };
    let head = ["attribute", "observed", "desired", "ledger"].map(str::to_owned);
    let mut table = vec![(false, head)];
    for row in compared {
        let cells = [&row.observed, &row.desired, &row.ledger].map(cell);
        let [observed, desired, ledger] = cells;
        table.push((row.differs, [one_line(&row.attribute), observed, desired, ledger]));
        rows.shape.push_str(&format!("{} {}\n", row.attribute, row.differs));
    }
    let widths: Vec<usize> = (0..4)
        .map(|at| table.iter().map(|(_, row)| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    for (place, (differs, row)) in table.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        let line = cells.join("  ");
        let line = line.trim_end();
        rows.text.push_str(&match (place, differs) {
            (0, _) => format!("    {}\n", paint(DIM, format!("{:<10} {line}", "compared"))),
            (_, true) => format!("{:13}{} {}\n", "", paint(YELLOW, "~"), paint(YELLOW, line)),
            (_, false) => format!("{:15}{line}\n", ""),
        });
    }
}

/// One explanation as JSON. Of what is sensitive no value is told.
pub fn document(one: &Explained) -> Value {
    let explanation = &one.explanation;
    let mut document = json!(explanation);
    document["host"] = json!(one.host);
    document["files"] = json!(one.sources.as_ref().map(|sources| &sources.files));
    let variables = one.sources.iter().flat_map(|sources| &sources.variables).map(|used| {
        let var = used.var.as_ref();
        let value = var.map(|var| {
            if explanation.sensitive {
                json!(HIDDEN)
            } else {
                json!(var.value)
            }
        });
        let at = var.and_then(|var| var.at.as_ref()).map(ToString::to_string);
        json!({ "name": used.name, "value": value, "from": var.map(|var| &var.origin), "at": at })
    });
    document["variables"] = variables.collect();
    if explanation.sensitive {
        hide(&mut document, explanation);
    }
    document
}

fn hide(document: &mut Value, explanation: &Explanation) {
    for (row, of) in document["compared"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .zip(&explanation.compared)
    {
        for (key, value) in [
            ("observed", &of.observed),
            ("desired", &of.desired),
            ("ledger", &of.ledger),
        ] {
            if value.is_some() {
                row[key] = json!(HIDDEN);
            }
        }
    }
    for (row, of) in document["decided"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .zip(&explanation.decided)
    {
        if let Some(because) = &of.reason {
            row["reason"] = json!({ "reason": word(because) });
        }
    }
    if let Some(was) = document["ledger"].get_mut("was").filter(|was| !was.is_null()) {
        *was = json!(HIDDEN);
    }
}

/// The word of a reason, without what belongs to it.
fn word(reason: &Reason) -> Value {
    json!(reason)["reason"].clone()
}
