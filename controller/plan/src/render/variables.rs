//! Which variables a template names. Inside of `each` and `with` a bare word names a part of the item, and no variable.

use super::raw;
use handlebars::template::{HelperTemplate, Parameter, Template as Parsed, TemplateElement};
use std::collections::BTreeSet;

/// Blocks whose inside is about another value.
const TURNING: [&str; 2] = ["each", "with"];

/// Lists the variables that a parsed template names, whichever of its branches are taken.
pub(super) fn named(parsed: &Parsed) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    of_template(parsed, 0, &mut found);
    found
}

/// `turns` counts the blocks around it whose inside is about another value.
fn of_template(parsed: &Parsed, turns: usize, found: &mut BTreeSet<String>) {
    for element in &parsed.elements {
        match element {
            TemplateElement::Expression(call)
            | TemplateElement::HtmlExpression(call)
            | TemplateElement::HelperBlock(call) => of_call(call, turns, found),
            _ => {}
        }
    }
}

fn of_call(call: &HelperTemplate, turns: usize, found: &mut BTreeSet<String>) {
    // Without values it is no call: it prints what it names.
    if call.params.is_empty() || matches!(call.name, Parameter::Subexpression(_)) {
        of_parameter(&call.name, turns, found);
    }
    for parameter in &call.params {
        of_parameter(parameter, turns, found);
    }
    let turned = turns + usize::from(raw(&call.name).is_some_and(|name| TURNING.contains(&name)));
    if let Some(inner) = &call.template {
        of_template(inner, turned, found);
    }
    if let Some(inner) = &call.inverse {
        of_template(inner, turns, found);
    }
}

fn of_parameter(parameter: &Parameter, turns: usize, found: &mut BTreeSet<String>) {
    match parameter {
        Parameter::Path(_) | Parameter::Name(_) => found.extend(raw(parameter).and_then(|path| variable(path, turns))),
        Parameter::Subexpression(inner) => {
            if let TemplateElement::Expression(call) = inner.element.as_ref() {
                of_call(call, turns, found);
            }
        }
        _ => {}
    }
}

/// Finds the variable that a path begins with, if it begins with one.
fn variable(path: &str, turns: usize) -> Option<String> {
    let mut rest = path;
    let mut ups = 0;
    while let Some(outer) = rest.strip_prefix("../") {
        (rest, ups) = (outer, ups + 1);
    }
    let from_root = ["@root.", "@root/"].iter().find_map(|root| rest.strip_prefix(root));
    if from_root.is_none() && ups < turns {
        return None;
    }
    let rest = from_root.unwrap_or(rest);
    let rest = ["this.", "this/", "./"]
        .iter()
        .find_map(|this| rest.strip_prefix(this))
        .unwrap_or(rest);
    let first = rest.split(['.', '/', '[']).next()?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!first.is_empty() && first != "this" && first.chars().all(is_name)).then(|| first.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::render::Template;

    fn variables(text: &str) -> String {
        let template = Template::compile(text).expect("a template");
        template.variables().collect::<Vec<_>>().join(" ")
    }

    // Issue 8, "Done when" 9.
    #[test]
    fn a_template_names_its_variables_and_not_the_parts_of_their_items() {
        assert_eq!(variables("no braces"), "");
        assert_eq!(variables("{{port}} {{site.name}} {{this.zone}}"), "port site zone");
        assert_eq!(
            variables("{{#if (eq role 'web')}}{{a}}{{else}}{{b}}{{/if}}"),
            "a b role"
        );
        assert_eq!(variables("{{default opt fallback}}"), "fallback opt");
        assert_eq!(
            variables("{{#each peers}}{{this}} {{name}} {{../port}} {{@index}}{{else}}{{none}}{{/each}}"),
            "none peers port"
        );
        assert_eq!(
            variables("{{#each peers}}{{#if up}}{{@root.ntp}}{{/if}}{{/each}}"),
            "ntp peers"
        );
        assert_eq!(
            variables("{{#with site}}{{#each hosts}}{{../x}}{{../../y}}{{/each}}{{/with}}"),
            "site y"
        );
    }
}
