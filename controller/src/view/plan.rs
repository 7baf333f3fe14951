//! Shows a plan: identical hosts folded, each change with its symbol, its reason and its diff.

use crate::view::diff;
use crate::view::fold::fold;
use crate::view::sanitize::one_line;
use crate::view::terminal::{BOLD, DIM, GREEN, RED, YELLOW, paint};
use anstyle::Style;
use holdfast_plan::address::Address;
use holdfast_plan::change::{Action, Change, HostPlan, Plan, Reason};
use holdfast_plan::resource::Difference;

/// What to show of a plan.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanView {
    /// Resources that are as desired, too.
    pub all: bool,
    /// Text diffs.
    pub diff: bool,
    /// The sh of every step.
    pub scripts: bool,
}

/// Renders the whole plan and its summary line.
pub fn render(plan: &Plan, view: PlanView) -> String {
    let mut text = String::new();
    let blocks = plan
        .hosts
        .iter()
        .map(|host| (host.host.clone(), render_host(host, view)));
    for block in fold(blocks) {
        if block.text.is_empty() {
            continue;
        }
        text.push_str(&paint(BOLD, block.title()));
        text.push('\n');
        text.push_str(&block.text);
        text.push('\n');
    }
    text.push_str(&summary(plan));
    text.push('\n');
    text
}

/// Renders one host without its name: what is folded with its equals.
pub fn render_host(host: &HostPlan, view: PlanView) -> String {
    let mut text = String::new();
    for refusal in &host.refusals {
        let subject = refusal
            .address
            .as_ref()
            .map_or(String::new(), |address| format!("{address}: "));
        text.push_str(&format!(
            "  {} {subject}{}\n",
            paint(RED, "!"),
            one_line(&refusal.message)
        ));
    }
    for change in host
        .changes
        .iter()
        .filter(|change| view.all || change.action != Action::NoOp)
    {
        text.push_str(&render_change(change, view));
    }
    text
}

fn render_change(change: &Change, view: PlanView) -> String {
    let (symbol, style) = symbol(change.action);
    let mut text = format!(
        "  {} {:<40} {}  {}\n",
        paint(style, symbol),
        one_line(&change.address.to_string()),
        paint(style, action_word(change.action)),
        paint(DIM, reason(&change.reason)),
    );
    for difference in differences(&change.reason) {
        if difference.attribute == "digest" && change.diff.is_some() && view.diff {
            continue;
        }
        text.push_str(&format!(
            "        {}: {} -> {}\n",
            difference.attribute,
            one_line(&difference.observed),
            one_line(&difference.desired)
        ));
    }
    if let (true, Some(shown)) = (view.diff, &change.diff) {
        text.push_str(&diff::render(shown, "        "));
    }
    if view.scripts {
        for line in change.steps.iter().flat_map(|step| step.apply.as_str().lines()) {
            text.push_str(&format!("        {} {line}\n", paint(DIM, "|")));
        }
    }
    text
}

/// The symbol and colour of an action.
pub fn symbol(action: Action) -> (&'static str, Style) {
    match action {
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
        | Reason::LastAttemptFailed { differences } => differences,
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
        Reason::LeftBlueprint => "no blueprint declares it any more; puts back what was before".to_owned(),
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
pub fn summary(plan: &Plan) -> String {
    if plan.hosts.is_empty() {
        return "No plan: no host could be observed".to_owned();
    }
    let nothing =
        |host: &HostPlan| host.refusals.is_empty() && host.changes.iter().all(|change| change.action == Action::NoOp);
    if plan.hosts.iter().all(nothing) {
        let hosts = plan.hosts.len();
        return format!(
            "Nothing to do: {hosts} host{} as desired",
            if hosts == 1 { " is" } else { "s are" }
        );
    }
    let count = |action: Action| {
        plan.hosts
            .iter()
            .flat_map(|host| &host.changes)
            .filter(|change| change.action == action)
            .count()
    };
    let mut text = format!(
        "Plan: {} to create, {} to update, {} to replace, {} to delete",
        count(Action::Create),
        count(Action::Update),
        count(Action::Replace),
        count(Action::Delete)
    );
    for (action, word) in [
        (Action::Adopt, "to adopt"),
        (Action::Forget, "to forget"),
        (Action::Restart, "to restart"),
        (Action::Unknown, "known later"),
    ] {
        let number = count(action);
        if number > 0 {
            text.push_str(&format!(", {number} {word}"));
        }
    }
    let hosts = plan.hosts.len();
    let changing = plan
        .hosts
        .iter()
        .filter(|host| host.changes.iter().any(|change| change.action != Action::NoOp))
        .count();
    let refused = plan.hosts.iter().filter(|host| !host.refusals.is_empty()).count();
    text.push_str(&format!(
        " on {changing} of {hosts} host{}",
        if hosts == 1 { "" } else { "s" }
    ));
    if refused > 0 {
        text.push_str(&format!("; {refused} refused"));
    }
    text
}
