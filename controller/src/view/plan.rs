//! Shows a plan: folded resource by resource, each change with its symbol, its reason and its diff.

use crate::redact;
use crate::view::diff;
use crate::view::fold::{Piece, fold_pieces};
use crate::view::sanitize::one_line;
use crate::view::terminal::{BOLD, DIM, GREEN, RED, YELLOW, paint};
use crate::view::words::counted;
use anstyle::Style;
use holdfast_plan::address::Address;
use holdfast_plan::change::{Action, Change, HostPlan, Note, Plan, Reason, Refusal};
use holdfast_plan::resource::{Difference, UndoKind, short_digest};

/// What to show of a plan.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanView {
    /// Resources that are as desired, too.
    pub all: bool,
    /// Text diffs.
    pub diff: bool,
    /// The sh of every step.
    pub scripts: bool,
    /// Every host's own text, where hosts are alike but for their values.
    pub every: bool,
}

/// Renders the whole plan and its summary line.
pub fn render(plan: &Plan, view: PlanView) -> String {
    let mut text = render_hosts(&plan.hosts, view);
    text.push_str(&summary(plan));
    text.push('\n');
    text
}

/// Different texts of one shape that are all shown. From there on one is shown as a sample: nobody reads the two
/// hundred files that differ in a host's name.
const TEXTS_MAX: usize = 3;

/// Renders hosts, resource by resource: what several have in common stands once.
pub fn render_hosts(hosts: &[HostPlan], view: PlanView) -> String {
    let of_hosts = hosts
        .iter()
        .map(|host| (host.host.clone(), pieces(host, view)))
        .collect();
    let mut text = String::new();
    for block in fold_pieces(of_hosts, if view.every { usize::MAX } else { TEXTS_MAX }) {
        text.push_str(&format!("{}\n{}\n", paint(BOLD, block.title()), block.text));
    }
    text
}

/// What is said of one host, in pieces that are folded with their equals on others.
fn pieces(host: &HostPlan, view: PlanView) -> Vec<Piece> {
    let shown = |change: &&Change| view.all || change.action != Action::NoOp;
    let mut pieces: Vec<Piece> = host.notes.iter().map(note).collect();
    if host.refusals.is_empty() {
        let changes = host.changes.iter().filter(shown);
        pieces.extend(changes.map(|change| piece(change, view)));
        return pieces;
    }
    pieces.extend(host.refusals.iter().map(refusal));
    // Not with the changes of other hosts, which are carried out.
    let waiting = host.changes.iter().filter(shown).count();
    if waiting > 0 {
        let text = format!(
            "    nothing is done until then; waiting: {}\n",
            counted(waiting, "change")
        );
        pieces.push(Piece {
            shape: text.clone(),
            text: paint(DIM, text.trim_end()) + "\n",
        });
    }
    pieces
}

fn note(note: &Note) -> Piece {
    let text = format!("  {} {}\n", paint(YELLOW, "*"), one_line(&note.text));
    Piece {
        shape: text.clone(),
        text,
    }
}

fn refusal(refusal: &Refusal) -> Piece {
    let subject = match &refusal.address {
        Some(address) => format!("{}: ", one_line(&address.to_string())),
        None => String::new(),
    };
    let text = format!("  {} {subject}{}\n", paint(RED, "!"), one_line(&refusal.message));
    Piece {
        shape: text.clone(),
        text,
    }
}

/// One change: the line of it is its shape, with what differs and how its diff goes; values and texts may be the
/// host's own.
fn piece(change: &Change, view: PlanView) -> Piece {
    let (symbol, style) = symbol(change);
    let mut text = format!(
        "  {} {:<40} {}  {}\n",
        paint(style, symbol),
        one_line(&change.address.to_string()),
        paint(style, word(change)),
        paint(DIM, reason(&change.reason)),
    );
    let mut shape = text.clone();
    if let Reason::LeftBlueprint { was, undoing, .. } = &change.reason {
        // What was foretold of this host is more exact.
        let left = undoing.leaves.as_ref().filter(|_| change.notes.is_empty());
        let returns = (undoing.kind == UndoKind::Restore).then_some(was);
        for (name, words) in [("comes back", returns), ("left", left)] {
            let Some(words) = words.filter(|words| !words.is_empty()) else {
                continue;
            };
            shape.push_str(&format!("{name}\n"));
            let words = if change.desired.sensitive {
                redact::HIDDEN.to_owned()
            } else {
                one_line(words)
            };
            text.push_str(&format!("        {}\n", paint(DIM, format!("{name}: {words}"))));
        }
    }
    for difference in differences(&change.reason) {
        if difference.attribute == "digest" && change.diff.is_some() && view.diff {
            continue;
        }
        shape.push_str(&format!("{}\n", difference.attribute));
        text.push_str(&format!(
            "        {}: {} -> {}\n",
            difference.attribute,
            shown(change, &difference.observed),
            shown(change, &difference.desired)
        ));
    }
    if change.steps.iter().any(|step| step.guard.is_some()) {
        let line = format!(
            "        {}\n",
            paint(
                YELLOW,
                "guarded: the host takes it back unless it is confirmed over a new connection"
            )
        );
        shape.push_str(&line);
        text.push_str(&line);
    }
    for note in &change.notes {
        let mark = if note.warning {
            paint(YELLOW, "! ")
        } else {
            String::new()
        };
        let line = format!("        {mark}{}\n", one_line(&note.text));
        // What goes along on one host is no sample of what goes on another.
        shape.push_str(&line);
        text.push_str(&line);
    }
    if let (true, Some(shown)) = (view.diff, &change.diff) {
        shape.extend(shown.lines().filter_map(|line| line.chars().next()));
        text.push_str(&diff::render(shown, "        "));
    }
    if view.scripts && change.desired.sensitive && !change.steps.is_empty() {
        text.push_str(&format!("        {} {}\n", paint(DIM, "|"), redact::HIDDEN));
    } else if view.scripts {
        for line in change.steps.iter().flat_map(|step| step.apply.as_str().lines()) {
            text.push_str(&format!("        {} {line}\n", paint(DIM, "|")));
        }
        // Who asks for the sh of each host gets it.
        shape.clone_from(&text);
    }
    Piece { shape, text }
}

/// A value of a change: what is sensitive is told without it.
fn shown(change: &Change, text: &str) -> String {
    if change.desired.sensitive {
        redact::HIDDEN.to_owned()
    } else {
        short_digest(&one_line(text))
    }
}

/// The symbol and colour of a change.
pub fn symbol(change: &Change) -> (&'static str, Style) {
    match change.action {
        Action::Delete if undone(change) != Some(UndoKind::Remove) => ("<", YELLOW),
        Action::Create => ("+", GREEN),
        Action::Update => ("~", YELLOW),
        Action::Replace => ("-/+", YELLOW),
        Action::Delete => ("-", RED),
        Action::Adopt => ("=", GREEN),
        Action::Forget => ("x", DIM),
        Action::Restart => ("@", YELLOW),
        Action::NoOp => (" ", DIM),
        Action::Unknown => ("?", YELLOW),
    }
}

/// What becomes of what is deleted: only some of it goes.
fn undone(change: &Change) -> Option<UndoKind> {
    match &change.reason {
        Reason::LeftBlueprint { undoing, .. } => Some(undoing.kind),
        _ => None,
    }
}

/// The word of a change.
pub fn word(change: &Change) -> &'static str {
    match (&change.reason, undone(change)) {
        (Reason::LookedAtAgain { .. }, _) => "recheck",
        (_, Some(UndoKind::Restore)) => "restore",
        (_, Some(UndoKind::Run)) => "undo",
        _ => action_word(change.action),
    }
}

/// The word of an action.
pub fn action_word(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Replace => "replace",
        Action::Delete => "delete",
        Action::Adopt => "adopt",
        Action::Forget => "forget",
        Action::Restart => "restart",
        Action::NoOp => "no-op",
        Action::Unknown => "unknown",
    }
}

fn differences(reason: &Reason) -> &[Difference] {
    match reason {
        Reason::DiffersFromBlueprint { differences }
        | Reason::BlueprintChanged { differences }
        | Reason::Drifted { differences }
        | Reason::LastAttemptFailed { differences }
        | Reason::LeftBlueprint { differences, .. } => differences,
        _ => &[],
    }
}

/// Says why, in a few words.
pub fn reason(reason: &Reason) -> String {
    match reason {
        Reason::NotThere => "not there".to_owned(),
        Reason::DiffersFromBlueprint { .. } => "was there before, and differs".to_owned(),
        Reason::BlueprintChanged { .. } => "the blueprint changed".to_owned(),
        Reason::Drifted { .. } => "drifted: changed on the host, not in a blueprint".to_owned(),
        Reason::LastAttemptFailed { .. } => "the last attempt did not finish".to_owned(),
        Reason::Tainted => "tainted: a person asked for it to be made anew".to_owned(),
        Reason::AlreadyAsDesired => "already as desired".to_owned(),
        Reason::LeftBlueprint { undoing, .. } => {
            format!("no blueprint declares it any more; {}", one_line(&undoing.does))
        }
        Reason::NothingToUndo { why } => format!(
            "no blueprint declares it any more; stays on the host: {}",
            one_line(why)
        ),
        Reason::DependencyChanges { on } => format!("{} changes", addresses(on)),
        Reason::RestartOwed { on } => format!("owed since {} changed", addresses(on)),
        Reason::BecameAnother { was, is } => format!(
            "it was {}, and is {} now: the old one is undone first",
            one_line(was),
            one_line(is)
        ),
        Reason::LookedAtAgain { after } => format!("as desired now; looked at again after {}", addresses(after)),
        Reason::KnownAfter { after, why } => format!("known after {} ({})", addresses(after), one_line(why)),
    }
}

/// Addresses named in a reason, at most: a line that wraps tells less.
const NAMED_MAX: usize = 3;

fn addresses(list: &[Address]) -> String {
    if list.len() > NAMED_MAX {
        return format!(
            "{} and {} more",
            addresses(&list[..NAMED_MAX - 1]),
            list.len() - (NAMED_MAX - 1)
        );
    }
    list.iter()
        .map(|address| one_line(&address.to_string()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The summary line: `Plan: 4 to create, 1 to update, 0 to replace, 0 to delete`, or that there is nothing to do.
/// What is on a refused host is in no count: it will not happen.
pub fn summary(plan: &Plan) -> String {
    if plan.hosts.is_empty() {
        return "No plan: no host could be observed".to_owned();
    }
    let of = counted(plan.hosts.len(), "host");
    let (refused, able): (Vec<&HostPlan>, Vec<&HostPlan>) =
        plan.hosts.iter().partition(|host| !host.refusals.is_empty());
    let changes: Vec<&Change> = able
        .iter()
        .flat_map(|host| &host.changes)
        .filter(|change| change.action != Action::NoOp)
        .collect();
    let refusals = match refused.len() {
        0 => String::new(),
        number => format!("; {number} of {of} refused"),
    };
    if changes.is_empty() {
        return match able.len() {
            0 => format!("No plan: {of} refused"),
            1 => format!("Nothing to do: 1 host is as desired{refusals}"),
            number => format!("Nothing to do: {number} hosts are as desired{refusals}"),
        };
    }
    let count = |action: Action| changes.iter().filter(|change| change.action == action).count();
    let again = |change: &&&Change| matches!(change.reason, Reason::LookedAtAgain { .. });
    let again = changes.iter().filter(again).count();
    let undone = |kind: UndoKind| changes.iter().filter(|change| undone(change) == Some(kind)).count();
    let (restored, run) = (undone(UndoKind::Restore), undone(UndoKind::Run));
    let mut text = format!(
        "Plan: {} to create, {} to update, {} to replace, {} to delete",
        count(Action::Create),
        count(Action::Update),
        count(Action::Replace),
        count(Action::Delete) - restored - run
    );
    for (number, words) in [
        (restored, "to restore"),
        (run, "to undo"),
        (count(Action::Adopt), "to adopt"),
        (count(Action::Forget), "to forget"),
        (count(Action::Restart), "to restart"),
        (count(Action::Unknown) - again, "known later"),
        (again, "to look at again"),
    ] {
        if number > 0 {
            text.push_str(&format!(", {number} {words}"));
        }
    }
    let changing = able.iter().filter(|host| host.has_changes()).count();
    text.push_str(&match plan.hosts.len() {
        1 => format!(" on {of}{refusals}"),
        _ => format!(" on {changing} of {of}{refusals}"),
    });
    text
}
