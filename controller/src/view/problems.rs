//! Shows problems the way compilers do: file, line, column, the excerpt, and what to do.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use holdfast_inventory::diagnostic::{Problem, Problems};

/// Renders every problem; `color` as the stream allows.
pub fn render(problems: &Problems, color: bool) -> String {
    let mut text = String::new();
    for problem in &problems.0 {
        text.push_str(&render_one(problem, color));
        text.push_str("\n\n");
    }
    let count = problems.0.len();
    text.push_str(&format!(
        "{count} problem{} found; nothing was done\n",
        if count == 1 { "" } else { "s" }
    ));
    text
}

fn render_one(problem: &Problem, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let title = Level::ERROR.primary_title(problem.message.clone());
    let mut group = match &problem.at {
        Some(at) => {
            let end = at.file.text.len();
            let span = at.span.start.min(end)..at.span.end.clamp(at.span.start.min(end), end);
            let annotation = AnnotationKind::Primary.span(span).label(problem.label.clone());
            title.element(
                Snippet::source(at.file.text.clone())
                    .path(at.file.path.display().to_string())
                    .fold(true)
                    .annotation(annotation),
            )
        }
        None => annotate_snippets::Group::with_title(title),
    };
    if let Some(help) = &problem.help {
        group = group.element(Level::HELP.message(help.clone()));
    }
    renderer.render(&[group])
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_inventory::diagnostic::{Location, SourceFile};

    #[test]
    fn a_problem_shows_its_file_line_excerpt_and_help() {
        let file = SourceFile::new("inventory.toml", "[hosts.db01]\nadress = \"10.0.0.7\"\n");
        let problem = Problem::at(Location::new(&file, 13..19), "unknown key `adress`").help("did you mean `address`?");
        let mut problems = Problems::new();
        problems.push(problem);
        let text = render(&problems, false);
        assert!(text.contains("inventory.toml:2:1"), "{text}");
        assert!(text.contains("adress = \"10.0.0.7\""), "{text}");
        assert!(text.contains("did you mean `address`?"), "{text}");
        assert!(text.ends_with("1 problem found; nothing was done\n"), "{text}");
    }
}
