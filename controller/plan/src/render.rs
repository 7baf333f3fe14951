//! Handlebars, strict: an undefined variable is a problem with a place, wherever it stands.
//!
//! handlebars-rust's strict mode lets `{{#if typo}}` and `{{#each typo}}..{{else}}` pass, so every compiled template
//! is rewritten once: each path becomes a call of a helper of ours that refuses what is missing. What the templates
//! are for (TOML values, `template` files, never sh text) is the callers' concern; this module reads no file.

mod variables;

use handlebars::template::{HelperTemplate, Parameter, Subexpression, Template as Parsed, TemplateElement};
use handlebars::{
    Context, Handlebars, Helper, HelperDef, Path, RenderContext, RenderError, RenderErrorReason, Renderable,
    ScopedJson, TemplateErrorReason,
};
use holdfast_inventory::diagnostic::suggest;
use holdfast_inventory::{VarValue, Vars};
use serde_json::Value as Json;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

/// The variables of one host, merged, by name.
pub type Values = serde_json::Map<String, Json>;

/// Takes variables over from the inventory. A float stays as written, so that `1.10` is `1.10` in a file.
pub fn values(vars: &Vars) -> Values {
    vars.iter()
        .map(|(name, var)| (name.clone(), json(&var.value)))
        .collect()
}

fn json(value: &VarValue) -> Json {
    match value {
        VarValue::String(text) | VarValue::Float(text) => text.as_str().into(),
        VarValue::Integer(number) => (*number).into(),
        VarValue::Boolean(flag) => (*flag).into(),
        VarValue::Array(items) => items.iter().map(json).collect(),
        VarValue::Table(entries) => {
            Json::Object(entries.iter().map(|(key, value)| (key.clone(), json(value))).collect())
        }
    }
}

/// The helpers a template may use, each with how many values it takes.
const HELPERS: [(&str, usize); 6] = [
    ("if", 1),
    ("unless", 1),
    ("each", 1),
    ("with", 1),
    ("eq", 2),
    ("default", 2),
];

/// Those of them that have a body.
const BLOCK_HELPERS: [&str; 4] = ["if", "unless", "each", "with"];

/// The helper that a printed value is rewritten to. No template can name it: it is no identifier.
const PRINT: &str = "<print>";

/// The helper that a path among a helper's values is rewritten to.
const DEFINED: &str = "<defined>";

/// A template, compiled once and rendered for each host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Template {
    text: Arc<str>,
    parsed: Option<Arc<Parsed>>,
    /// The variables that it names.
    variables: Arc<BTreeSet<String>>,
}

/// What is wrong in a template, or with its variables.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What is wrong.
    pub message: String,
    /// Where: bytes of the template's text.
    pub span: Range<usize>,
    /// What to do.
    pub help: Option<String>,
}

/// The merged variables of one host in the form that templates read.
#[derive(Debug)]
pub struct Scope {
    context: Context,
}

impl Scope {
    /// Takes the variables.
    pub fn new(vars: Values) -> Self {
        let mut context = Context::null();
        *context.data_mut() = Json::Object(vars);
        Self { context }
    }

    /// Shows the variables.
    pub fn vars(&self) -> &Values {
        self.context.data().as_object().expect("made from a map")
    }
}

impl Template {
    /// Takes a text as it is.
    pub fn literal(text: &str) -> Self {
        Self {
            text: text.into(),
            parsed: None,
            variables: Arc::default(),
        }
    }

    /// Compiles a text; one without `{{` is kept as it is.
    pub fn compile(text: &str) -> Result<Self, Fault> {
        if !text.contains("{{") {
            return Ok(Self::literal(text));
        }
        let mut parsed = Parsed::compile(text).map_err(|error| {
            let (line, column) = error.pos().unwrap_or((1, 1));
            explain_syntax(text, tag_at(text, line, column), error.reason())
        })?;
        let variables = Arc::new(variables::named(&parsed));
        make_strict(text, &mut parsed)?;
        Ok(Self {
            text: text.into(),
            parsed: Some(Arc::new(parsed)),
            variables,
        })
    }

    /// Tells whether there is anything to fill in.
    pub fn is_literal(&self) -> bool {
        self.parsed.is_none()
    }

    /// Lists the variables that it names, whichever of its branches are taken.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(String::as_str)
    }

    /// Shows the text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Fills in the variables.
    pub fn render(&self, scope: &Scope) -> Result<String, Fault> {
        let Some(parsed) = &self.parsed else {
            return Ok(self.text.to_string());
        };
        parsed
            .renders(&REGISTRY, &scope.context, &mut RenderContext::new(None))
            .map_err(|error| self.explain(&error, scope))
    }

    fn explain(&self, error: &RenderError, scope: &Scope) -> Fault {
        let tag = tag_at(&self.text, error.line_no.unwrap_or(1), error.column_no.unwrap_or(1));
        match error.reason() {
            RenderErrorReason::MissingVariable(path) => {
                let path = path.as_deref().unwrap_or("");
                Fault {
                    message: format!("undefined variable `{path}`"),
                    span: word_in(&self.text, &tag, path),
                    help: Some(help_undefined(path, scope.vars())),
                }
            }
            RenderErrorReason::Other(message) => Fault {
                message: message.clone(),
                span: tag,
                help: Some("print its entries with `each`, or name one of them".to_owned()),
            },
            reason => Fault {
                message: format!("the template can't be filled in: {reason}"),
                span: tag,
                help: None,
            },
        }
    }
}

/// Renders a field of a host (`address`, a path, `state_dir`) with the host's variables.
pub fn render_host_field(text: &str, vars: &Values) -> Result<String, Fault> {
    Template::compile(text)?.render(&Scope::new(vars.clone()))
}

/// Says what a person sees; the parser lists the rules of its grammar.
fn explain_syntax(text: &str, at: Range<usize>, reason: &TemplateErrorReason) -> Fault {
    let before = &text[..at.start];
    let (message, span) = match (reason, before.rfind("{{")) {
        (TemplateErrorReason::InvalidSyntax(_), Some(open)) if !before[open..].contains("}}") => {
            let line_end = text[open..].find('\n').map_or(text.len(), |length| open + length);
            ("this `{{` begins no expression".to_owned(), open..line_end)
        }
        (TemplateErrorReason::InvalidSyntax(expected), _) if expected.contains("helper_block_end") => {
            ("a block is not closed: `{{/if}}` or its like is missing".to_owned(), at)
        }
        (TemplateErrorReason::InvalidSyntax(_), _) => ("this is no expression".to_owned(), at),
        (reason, _) => (reason.to_string(), at),
    };
    Fault {
        message,
        span,
        help: Some("write {{name}}; a literal `{{` is written `\\{{`".to_owned()),
    }
}

fn help_undefined(path: &str, vars: &Values) -> String {
    let mut known = vars;
    let mut word = path;
    // `site.nmae`: what is known of `site` is the better list.
    if let Some((first, rest)) = path.split_once('.')
        && let Some(Json::Object(inner)) = vars.get(first)
    {
        known = inner;
        word = rest;
    }
    match suggest(word, known.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "define it under [vars], for a group or a host, or with -e; `{{default NAME \"x\"}}` makes it optional"
            .to_owned(),
    }
}

/// Gives the bytes from a line and column (from 1, in characters) to the end of the tag that begins there.
fn tag_at(text: &str, line: usize, column: usize) -> Range<usize> {
    let line_start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let start = text[line_start..]
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or(text.len(), |(offset, _)| line_start + offset);
    let rest = &text[start..];
    let end = rest
        .find("}}")
        .map_or_else(|| rest.find('\n').unwrap_or(rest.len()), |end| end + 2);
    start..start + end
}

/// Finds `word` as a whole within a tag, or behind it: the error of an inner block may name the outer one.
fn word_in(text: &str, tag: &Range<usize>, word: &str) -> Range<usize> {
    let joins = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | '/');
    text[tag.start..]
        .match_indices(word)
        .map(|(offset, _)| tag.start + offset..tag.start + offset + word.len())
        .find(|found| {
            !found.is_empty() && !text[..found.start].ends_with(joins) && !text[found.end..].starts_with(joins)
        })
        .unwrap_or_else(|| tag.clone())
}

fn make_strict(text: &str, parsed: &mut Parsed) -> Result<(), Fault> {
    for (index, element) in parsed.elements.iter_mut().enumerate() {
        let tag = parsed
            .mapping
            .get(index)
            .map_or(0..0, |place| tag_at(text, place.0, place.1));
        let fault = |message: String, help: &str| Fault {
            message,
            span: tag.clone(),
            help: Some(help.to_owned()),
        };
        match element {
            TemplateElement::RawString(_) | TemplateElement::Comment(_) => {}
            TemplateElement::Expression(call) | TemplateElement::HtmlExpression(call)
                if call.params.is_empty() && call.hash.is_empty() && matches!(call.name, Parameter::Path(_)) =>
            {
                let printed = std::mem::replace(&mut call.name, Parameter::Name(PRINT.to_owned()));
                if let Some((helper, _)) = HELPERS.iter().find(|(helper, _)| raw(&printed) == Some(helper)) {
                    return Err(fault(
                        format!("`{helper}` is a helper and needs values"),
                        "a variable needs another name",
                    ));
                }
                call.params.push(printed);
            }
            TemplateElement::Expression(call)
            | TemplateElement::HtmlExpression(call)
            | TemplateElement::HelperBlock(call) => make_call_strict(text, &tag, call)?,
            TemplateElement::PartialExpression(_) | TemplateElement::PartialBlock(_) => {
                return Err(fault("partials are not built yet".to_owned(), "write the text out"));
            }
            TemplateElement::DecoratorExpression(_) | TemplateElement::DecoratorBlock(_) => {
                return Err(fault("decorators are not built yet".to_owned(), "write the text out"));
            }
            _ => return Err(fault("not built yet".to_owned(), "write the text out")),
        }
    }
    Ok(())
}

fn make_call_strict(text: &str, tag: &Range<usize>, call: &mut HelperTemplate) -> Result<(), Fault> {
    let name = match (&call.name, &call.params[..]) {
        // `{{(eq a b)}}`: the name is the call itself.
        (Parameter::Subexpression(_), []) => {
            let inner = std::mem::replace(&mut call.name, Parameter::Name(PRINT.to_owned()));
            call.params.push(inner);
            return make_parameter_strict(text, tag, &mut call.params[0]);
        }
        (name, _) => raw(name).unwrap_or("").to_owned(),
    };
    let fault = |message: String, help: String| Fault {
        message,
        span: word_in(text, tag, &name),
        help: Some(help),
    };
    let Some((_, wanted)) = HELPERS.iter().find(|(helper, _)| *helper == name) else {
        let words = HELPERS.map(|(helper, _)| helper);
        let help = match suggest(&name, words) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("use one of: {}", words.join(", ")),
        };
        return Err(fault(format!("unknown helper `{name}`"), help));
    };
    if call.params.len() != *wanted || !call.hash.is_empty() {
        let values = if *wanted == 1 { "one value" } else { "two values" };
        return Err(fault(
            format!("`{name}` takes {values}"),
            "options such as `key=value` are not built yet".to_owned(),
        ));
    }
    let is_for_blocks = BLOCK_HELPERS.contains(&name.as_str());
    if is_for_blocks != call.block {
        let help = if is_for_blocks {
            format!("write {{{{#{name} ...}}}}...{{{{/{name}}}}}")
        } else {
            format!("write {{{{{name} ...}}}}, or {{{{#if ({name} ...)}}}}")
        };
        let what = if is_for_blocks { "needs a" } else { "takes no" };
        return Err(fault(format!("`{name}` {what} block"), help));
    }
    for (index, parameter) in call.params.iter_mut().enumerate() {
        let may_be_missing = name == "default" && index == 0 && matches!(parameter, Parameter::Path(_));
        if !may_be_missing {
            make_parameter_strict(text, tag, parameter)?;
        }
    }
    for inner in [&mut call.template, &mut call.inverse].into_iter().flatten() {
        make_strict(text, inner)?;
    }
    Ok(())
}

fn make_parameter_strict(text: &str, tag: &Range<usize>, parameter: &mut Parameter) -> Result<(), Fault> {
    match parameter {
        Parameter::Literal(_) | Parameter::Name(_) => Ok(()),
        Parameter::Path(_) => {
            let path = std::mem::replace(parameter, Parameter::Name(String::new()));
            *parameter = Parameter::Subexpression(Subexpression::new(
                Parameter::Name(DEFINED.to_owned()),
                vec![path],
                HashMap::new(),
            ));
            Ok(())
        }
        Parameter::Subexpression(inner) => match inner.element.as_mut() {
            TemplateElement::Expression(call) => make_call_strict(text, tag, call),
            _ => Ok(()),
        },
        _ => Err(Fault {
            message: "not built yet".to_owned(),
            span: tag.clone(),
            help: None,
        }),
    }
}

fn raw(parameter: &Parameter) -> Option<&str> {
    match parameter {
        Parameter::Name(name) => Some(name),
        Parameter::Path(Path::Relative((_, raw)) | Path::Local((_, _, raw))) => Some(raw),
        _ => None,
    }
}

static REGISTRY: LazyLock<Handlebars<'static>> = LazyLock::new(|| {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    registry.register_escape_fn(handlebars::no_escape);
    // The others would shadow variables of the same name.
    for builtin in [
        "lookup", "raw", "log", "ne", "gt", "gte", "lt", "lte", "and", "or", "not", "len",
    ] {
        registry.unregister_helper(builtin);
    }
    registry.register_helper(PRINT, Box::new(Print));
    registry.register_helper(DEFINED, Box::new(Defined));
    registry.register_helper("default", Box::new(Default_));
    registry
});

/// Prints a value that is there and is no list or table.
struct Print;

/// Hands on a value that is there.
struct Defined;

/// Gives the first value, or the second if the first is not defined.
struct Default_;

impl HelperDef for Print {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let value = defined(helper, 0)?;
        match value {
            Json::Array(_) | Json::Object(_) => {
                let path = helper
                    .param(0)
                    .and_then(|param| param.relative_path())
                    .map_or("", String::as_str);
                let what = if value.is_array() { "list" } else { "table" };
                Err(RenderErrorReason::Other(format!("the {what} `{path}` can't be printed")).into())
            }
            _ => Ok(ScopedJson::Derived(value.clone())),
        }
    }
}

impl HelperDef for Defined {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        defined(helper, 0).map(|value| ScopedJson::Derived(value.clone()))
    }
}

impl HelperDef for Default_ {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let value = defined(helper, 0).or_else(|_| defined(helper, 1))?;
        Ok(ScopedJson::Derived(value.clone()))
    }
}

fn defined<'a>(helper: &'a Helper<'_>, index: usize) -> Result<&'a Json, RenderError> {
    match helper.param(index) {
        Some(param) if !param.is_value_missing() => Ok(param.value()),
        Some(param) => Err(RenderError::strict_error(param.relative_path())),
        None => Err(RenderError::strict_error(None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn vars() -> Values {
        let vars = json!({
            "name": "web01", "port": 8080, "tls": false, "site": { "host": "a.example" }, "list": ["x", "y"],
            "html": "<a & b>", "nothing": [],
        });
        vars.as_object().expect("a map").clone()
    }

    fn render(text: &str) -> Result<String, String> {
        render_host_field(text, &vars()).map_err(|fault| {
            let help = fault.help.map(|help| format!(" -> {help}")).unwrap_or_default();
            format!("{:?} {}{help}", &text[fault.span], fault.message)
        })
    }

    #[test]
    fn values_are_filled_in_unescaped() {
        assert_eq!(
            render("{{name}}:{{port}} {{site.host}} {{html}}").as_deref(),
            Ok("web01:8080 a.example <a & b>")
        );
        assert_eq!(
            render("{{#each list}}{{@index}}={{this}} {{../name}};{{/each}}").as_deref(),
            Ok("0=x web01;1=y web01;")
        );
        assert_eq!(render("{{#with site}}{{host}}{{/with}}").as_deref(), Ok("a.example"));
        assert_eq!(
            render("{{#if tls}}s{{else if port}}p{{else}}n{{/if}}").as_deref(),
            Ok("p")
        );
        assert_eq!(render("{{#if (eq name \"web01\")}}one{{/if}}").as_deref(), Ok("one"));
        assert_eq!(render("{{#each nothing}}{{else}}none{{/each}}").as_deref(), Ok("none"));
        assert_eq!(
            render("{{default typo \"d\"}} {{default name \"d\"}}").as_deref(),
            Ok("d web01")
        );
        assert_eq!(render(r"\{{name}}").as_deref(), Ok("{{name}}"));
    }

    #[test]
    fn an_undefined_variable_is_found_wherever_it_stands() {
        let undefined = |text: &str| render(text).expect_err(text);
        assert_eq!(
            undefined("a {{prot}}"),
            "\"prot\" undefined variable `prot` -> did you mean `port`?"
        );
        assert_eq!(
            undefined("{{#if tsl}}{{/if}}"),
            "\"tsl\" undefined variable `tsl` -> did you mean `tls`?"
        );
        assert_eq!(
            undefined("{{#unless tsl}}{{/unless}}"),
            "\"tsl\" undefined variable `tsl` -> did you mean `tls`?"
        );
        assert_eq!(
            undefined("{{#each lst}}{{else}}-{{/each}}"),
            "\"lst\" undefined variable `lst` -> did you mean `list`?"
        );
        assert_eq!(
            undefined("{{#with ste}}{{else}}-{{/with}}"),
            "\"ste\" undefined variable `ste` -> did you mean `site`?"
        );
        assert_eq!(
            undefined("{{#if (eq nme 1)}}{{/if}}"),
            "\"nme\" undefined variable `nme` -> did you mean `name`?"
        );
        assert_eq!(
            undefined("{{#if tls}}{{else if prot}}{{/if}}"),
            "\"prot\" undefined variable `prot` -> did you mean `port`?"
        );
        assert_eq!(
            undefined("{{site.hots}}"),
            "\"site.hots\" undefined variable `site.hots` -> did you mean `host`?"
        );
        assert_eq!(
            undefined("\n\n é{{#if port}}\n{{prot}}{{/if}}"),
            "\"prot\" undefined variable `prot` -> did you mean `port`?"
        );
        assert!(undefined("{{default zzzzzz yyyyyy}}").contains("undefined variable `yyyyyy`"));
    }

    #[test]
    fn what_a_template_can_not_say_is_refused_by_name() {
        let refused = |text: &str| render(text).expect_err(text);
        assert_eq!(
            refused("{{fi name 1}}"),
            "\"fi\" unknown helper `fi` -> did you mean `if`?"
        );
        assert!(refused("{{lookup site name}}").contains("unknown helper `lookup`"));
        assert!(refused("{{> part}}").contains("partials are not built yet"));
        assert!(refused("{{#if port includeZero=true}}{{/if}}").contains("`if` takes one value"));
        assert!(refused("{{list}}").contains("the list `list` can't be printed"));
        assert!(refused("{{if tls}}").contains("`if` needs a block -> write {{#if ...}}...{{/if}}"));
        assert!(refused("{{#default tls 1}}x{{/default}}").contains("`default` takes no block"));
        assert!(refused("{{eq}}").contains("needs values"));
        assert!(refused("a {{name").starts_with("\"{{name\" this `{{` begins no expression"));
        assert!(refused("a {{#if tls}} b").contains("a block is not closed"));
        assert!(refused("{{#if tls}}{{/each}}").contains("\"if\" was opened, but \"each\" is closing"));
    }
}
