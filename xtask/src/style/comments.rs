//! Where prose stands in a text, and which of its lines are too wide.

use super::files::Kind;

/// Widest line of Markdown or comment, in columns.
const WIDEST: usize = 110;

/// Lines of prose that belong together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Whether these are the documentation of an item.
    pub(super) is_doc: bool,
    /// Number and text of each line, without the marks of a comment.
    pub(super) lines: Vec<(usize, String)>,
}

/// One comment, or one line of it.
struct Comment {
    line: usize,
    /// The slashes or hashes with which it begins.
    mark: &'static str,
    text: String,
}

/// The blocks of prose in a text; and its lines with comments or prose that are too wide, with their widths.
pub(super) fn prose(kind: Kind, text: &str) -> (Vec<Block>, Vec<(usize, usize)>) {
    let comments = match kind {
        Kind::Rust => rust(text),
        Kind::Toml => hashes(text, true),
        Kind::Script => hashes(text, false),
        Kind::Markdown => {
            let whole =
                |(nth, line): (usize, &str)| Comment { line: nth + 1, mark: "", text: line.to_owned() };
            text.lines().enumerate().map(whole).collect()
        }
    };
    let comments = without_code(comments);
    let widths: Vec<_> = text.lines().map(|line| line.chars().count()).collect();
    let is_wide = |comment: &&Comment| widths[comment.line - 1] > WIDEST && !cannot_wrap(&comment.text);
    let wide = comments.iter().filter(is_wide).map(|comment| (comment.line, widths[comment.line - 1]));
    let wide = wide.collect();
    (blocks(comments), wide)
}

/// Rows of tables and bare links are as wide as they are.
fn cannot_wrap(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '-', '*', '>', '<']);
    let is_definition = line.starts_with('[') && line.contains("]: ");
    line.starts_with('|') || is_definition || !line.trim().contains(' ')
}

/// Drops blocks of code between lines of three back-ticks.
fn without_code(comments: Vec<Comment>) -> Vec<Comment> {
    let mut is_code = false;
    let mut is_prose = |comment: &Comment| {
        let is_fence = comment.text.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    };
    comments.into_iter().filter(|comment| is_prose(comment)).collect()
}

/// Joins the comments on adjacent lines; an empty line parts them.
fn blocks(comments: Vec<Comment>) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut last = (0, "");
    for Comment { line, mark, text } in comments {
        let goes_on = last == (line - 1, mark) && !text.trim().is_empty();
        last = if text.trim().is_empty() { (0, "") } else { (line, mark) };
        match blocks.last_mut() {
            Some(block) if goes_on => block.lines.push((line, text)),
            _ => blocks.push(Block { is_doc: mark == "///" || mark == "//!", lines: vec![(line, text)] }),
        }
    }
    blocks
}

/// Comments that begin with a hash: lines, and in TOML also what follows a value.
fn hashes(text: &str, after_values: bool) -> Vec<Comment> {
    let comment = |(nth, line): (usize, &str)| {
        let start = if after_values { hash_outside_strings(line)? } else { line.find(|mark| mark != ' ')? };
        let text = line[start..].strip_prefix('#')?.to_owned();
        Some(Comment { line: nth + 1, mark: "#", text })
    };
    text.lines().enumerate().filter_map(comment).collect()
}

fn hash_outside_strings(line: &str) -> Option<usize> {
    let mut quote = None;
    line.char_indices().find_map(|(at, mark)| {
        match (quote, mark) {
            (None, '"' | '\'') => quote = Some(mark),
            (Some(open), _) if open == mark => quote = None,
            (None, '#') => return Some(at),
            _ => {}
        }
        None
    })
}

/// The comments of a Rust file.
fn rust(text: &str) -> Vec<Comment> {
    let mut scanner = Scanner { rest: text, line: 1, comments: Vec::new() };
    while !scanner.rest.is_empty() {
        scanner.step();
    }
    scanner.comments
}

/// Tells comments from what only looks like one: strings and characters.
struct Scanner<'t> {
    rest: &'t str,
    line: usize,
    comments: Vec<Comment>,
}

impl Scanner<'_> {
    fn step(&mut self) {
        let rest = self.rest;
        if rest.starts_with("//") {
            let mark = if rest.starts_with("////") {
                "//"
            } else {
                ["///", "//!"].into_iter().find(|mark| rest.starts_with(mark)).unwrap_or("//")
            };
            let end = rest.find('\n').unwrap_or(rest.len());
            self.comments.push(Comment { line: self.line, mark, text: rest[mark.len()..end].to_owned() });
            self.skip(end);
        } else if rest.starts_with("/*") {
            let end = rest.find("*/").map_or(rest.len(), |at| at + 2);
            for (nth, text) in rest[..end].lines().enumerate() {
                self.comments.push(Comment { line: self.line + nth, mark: "/*", text: text.to_owned() });
            }
            self.skip(end);
        } else if let Some(len) = raw_string(rest).or_else(|| string(rest)).or_else(|| character(rest)) {
            self.skip(len);
        } else {
            // A name as a whole, so that its last letter is not taken for the beginning of a raw string.
            let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
            let name = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
            self.skip(name.max(rest.chars().next().map_or(0, char::len_utf8)));
        }
    }

    fn skip(&mut self, len: usize) {
        let (passed, rest) = self.rest.split_at(len);
        self.line += passed.matches('\n').count();
        self.rest = rest;
    }
}

/// The length of the raw string with which a text begins.
fn raw_string(text: &str) -> Option<usize> {
    let after = ["r", "br", "cr"].into_iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let content = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let len = content.find(&end).map_or(content.len(), |at| at + end.len());
    Some(text.len() - content.len() + len)
}

/// The length of the string with which a text begins.
fn string(text: &str) -> Option<usize> {
    let content = ["\"", "b\"", "c\""].into_iter().find_map(|quote| text.strip_prefix(quote))?;
    Some(text.len() - content.len() + closing(content, '"'))
}

/// The length of the character with which a text begins; `None` where it is the mark of a lifetime.
fn character(text: &str) -> Option<usize> {
    let content = ["'", "b'"].into_iter().find_map(|quote| text.strip_prefix(quote))?;
    let mut letters = content.chars();
    let first = letters.next()?;
    let is_character = first == '\\' || letters.next() == Some('\'');
    is_character.then(|| text.len() - content.len() + closing(content, '\''))
}

/// How far it is to the end of what a quote has opened.
fn closing(content: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in content.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    content.len()
}
